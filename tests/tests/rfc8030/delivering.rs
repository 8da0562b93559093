//! What is pushed: one message, its content by the byte, and nothing that is not the user agent's business.

use std::time::{Duration, SystemTime};

use push_tests::application_server::Push;
use push_tests::monitor::{Fields, Message};
use push_tests::payload;
use push_tests::vapid::Signer;

use crate::rfc8030::world::{ORIGIN, Storage, World};

/// A point on the curve, for header fields that must have one: that of RFC 8292's example.
const KEY: &str = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

/// R30-MON-1, R30-MON-3 to R30-MON-8, R30-ACK-1: a message is one promise of a GET of its own resource, and one response
/// with the body as it was sent; its push resource stands in both, compared character by character.
pub(crate) async fn a_message_is_one_push(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, made, mut monitor) = world.monitoring().await;
    let body = payload::body_of("whole", 4_096);
    let sent_at = SystemTime::now();
    let location = world.accepts(&Push::new(&made.push, "").body(body.clone())).await;
    let message = monitor.message().await;
    assert_eq!(message.method, "GET");
    assert_eq!(message.url.scheme_str(), Some("https"));
    assert!(message.url.to_string().starts_with(&format!("{ORIGIN}/message/")));
    assert_ne!(
        message.url.to_string(),
        location,
        "acknowledging is not taking back"
    );
    assert_eq!(message.stream % 2, 0);
    assert_eq!(
        link_of_promise(&message),
        format!("<{}>; rel=\"urn:ietf:params:push\"", made.push)
    );
    let answer = &message.answer;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, body);
    assert_eq!(message.push_resource(), made.push);
    assert_eq!(answer.header("cache-control"), "private");
    assert_eq!(answer.header("content-security-policy"), "sandbox");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("content-length"), "4096");
    assert_eq!(answer.header("content-encoding"), "aes128gcm");
    for name in ["date", "last-modified"] {
        let time = httpdate::parse_http_date(answer.header(name)).expect("a date");
        let second = Duration::from_secs(1);
        assert!(time + second >= sent_at && time <= SystemTime::now(), "{name}");
    }
    assert!(monitor.is_quiet(), "the request stays open");
    assert_eq!(agent.delete(&message.url).await.status, 204);
}

/// R30-MON-4, R30-MON-9, R30-MSG-6: bodies of all lengths and codings arrive with what decrypts them.
pub(crate) async fn content_comes_as_it_was_sent(storage: Storage) {
    let world = World::start(storage).await;
    let (_agent, made, mut monitor) = world.monitoring().await;
    let crypto_key = format!("keyid=p256dh;dh={KEY}");
    let draft = Push::new(&made.push, "")
        .body(b"\x00\xff\r\n".repeat(10))
        .header("content-encoding", "aesgcm")
        .header("encryption", "keyid=p256dh;salt=AAAAAAAAAAAAAAAAAAAAAA")
        .header("crypto-key", &crypto_key);
    let rows: [(Push, Fields<'_>, Vec<u8>); 4] = [
        (
            Push::new(&made.push, "text").header("content-type", "text/plain"),
            &[("content-encoding", "aes128gcm"), ("content-type", "text/plain")],
            payload::body("text"),
        ),
        (
            draft,
            &[
                ("content-encoding", "aesgcm"),
                ("encryption", "keyid=p256dh;salt=AAAAAAAAAAAAAAAAAAAAAA"),
                ("crypto-key", &crypto_key),
            ],
            b"\x00\xff\r\n".repeat(10),
        ),
        (
            Push::empty(&made.push),
            &[("content-encoding", ""), ("content-length", "0")],
            Vec::new(),
        ),
        (
            Push::empty(&made.push)
                .body(vec![0; 4_096])
                .header("content-encoding", "zeros"),
            &[("content-encoding", "zeros")],
            vec![0; 4_096],
        ),
    ];
    for (push, fields, body) in rows {
        world.accepts(&push).await;
        let message = monitor.message().await;
        assert_eq!(message.answer.body, body);
        for (name, value) in fields {
            assert_eq!(message.answer.header(name), *value, "{name}");
        }
    }
}

/// R30-MON-10, R30-URG-4, R30-TOP-7, V-RES-6: of the other header fields of a push none arrives.
pub(crate) async fn nothing_else_is_forwarded(storage: Storage) {
    let world = World::start(storage).await;
    let (_agent, made, mut monitor) = world.monitoring().await;
    let signer = Signer::generate();
    let push = Push::new(&made.push, "")
        .body(b"body".repeat(10))
        .header("content-encoding", "aesgcm")
        .header("encryption", "salt=AAAAAAAAAAAAAAAAAAAAAA")
        .header(
            "crypto-key",
            &format!("dh={KEY};p256ecdsa={}", signer.public_key()),
        )
        .header("authorization", &signer.authorization(ORIGIN))
        .header("urgency", "high")
        .header("topic", "weather")
        .header("prefer", "handling=lenient")
        .header("link", "</elsewhere>; rel=\"next\"")
        .header("cookie", "who=me")
        .header("user-agent", "sender/1")
        .header("x-forwarded-for", "192.0.2.1");
    world.accepts(&push).await;
    let message = monitor.message().await;
    let promised: Vec<_> = message.promised.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(promised, ["link"]);
    let mut names: Vec<_> = message
        .answer
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    names.sort_unstable();
    let expected = [
        "cache-control",
        "content-encoding",
        "content-length",
        "content-security-policy",
        "crypto-key",
        "date",
        "encryption",
        "last-modified",
        "link",
        "x-content-type-options",
    ];
    assert_eq!(names, expected);
    assert!(!message.answer.header("crypto-key").contains("p256ecdsa"));
    assert!(message.answer.header("crypto-key").contains(&format!("dh={KEY}")));
    assert_eq!(message.push_resource(), made.push);
}

/// R30-MON-2, R30-MON-6, R30-SET-1: the monitor of a set gets the messages of all its subscriptions, each with the push
/// resource that it was sent to, and none of another set.
pub(crate) async fn a_set_tells_subscriptions_apart(storage: Storage) {
    let world = World::start(storage).await;
    let (agent, first) = world.subscriber().await;
    let second = agent.subscribe_in(ORIGIN, &first.set).await;
    let stranger = agent.subscribe(ORIGIN).await;
    let mut monitor = agent.monitor(&first.set).await;
    // One that begins while the set is monitored is in it as well.
    let third = world.elsewhere().await.subscribe_in(ORIGIN, &first.set).await;
    world.accepts(&Push::new(&stranger.push, "not yours")).await;
    for (number, made) in [&first, &second, &third, &first].into_iter().enumerate() {
        let text = number.to_string();
        world.accepts(&Push::new(&made.push, &text)).await;
        let message = monitor.message().await;
        assert_eq!(message.text(), Some(text));
        assert_eq!(message.push_resource(), made.push);
        assert_eq!(
            link_of_promise(&message),
            format!("<{}>; rel=\"urn:ietf:params:push\"", made.push)
        );
        assert_eq!(agent.delete(&message.url).await.status, 204);
    }
    // And a monitor of one subscription gets only that one's.
    world.accepts(&Push::new(&second.push, "second")).await;
    world.accepts(&Push::new(&third.push, "third")).await;
    assert_eq!(world.waits(&third.subscription).await, ["third"]);
}

fn link_of_promise(message: &Message) -> &str {
    let link = message.promised.get("link").expect("the promise has a link");
    link.to_str().expect("ASCII")
}
