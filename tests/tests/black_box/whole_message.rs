//! The life of a push message on one node, step by step, over every kind of connection.

use push_tests::application_server::{Http, Push};
use push_tests::monitor::Connection;
use push_tests::node::Node;
use push_tests::payload;
use push_tests::settings::Settings;
use push_tests::user_agent::{UserAgent, new_name};
use push_tests::vapid::Signer;
use serde_json::json;

/// WS-HEL-2, WS-REG-4, WS-REG-5, WS-REG-11, WS-NOT-1 to WS-NOT-4, WS-ACK-1, WS-UNR-3, WP-2, WP-7: a message goes from an
/// application server to a connected user agent, is acknowledged and never comes again; the ended subscription is gone.
#[tokio::test]
async fn a_message_from_end_to_end() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    assert!(
        uaid.len() == 32 && uaid.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()),
        "{uaid}"
    );
    let subscription = agent.subscribe(None).await;
    let open = format!("{}/wpush/v1/", node.public_url());
    assert!(subscription.push_resource.starts_with(&open), "{subscription:?}");
    assert!(subscription.push_resource.len() <= 1000, "{subscription:?}");

    let mut server = Http::connect(&node.connector()).await.unwrap();
    let answer = server
        .push(&Push::new(&subscription.push_resource, "first"))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("ttl"), "600");
    assert!(
        answer
            .header("location")
            .starts_with(&format!("{}/", node.public_url())),
        "{answer:?}"
    );
    assert!(answer.body.is_empty(), "{answer:?}");

    let arrived = agent.notification().await;
    assert_eq!(arrived.name, subscription.name);
    assert_eq!(arrived.headers, json!({"encoding": "aes128gcm"}));
    assert_eq!(arrived.text().as_deref(), Some("first"));
    agent.acknowledge_and_settle(&arrived).await;
    agent.leave().await;

    let (mut agent, again) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    assert_eq!(again, uaid);
    server
        .push(&Push::new(&subscription.push_resource, "second"))
        .await;
    agent.receives("second").await;

    agent.unsubscribe(&subscription.name).await;
    let gone = server
        .push(&Push::new(&subscription.push_resource, "third"))
        .await;
    assert_eq!(
        (gone.status.as_u16(), gone.errno()),
        (410, Some(106)),
        "{}",
        gone.text()
    );
}

/// WS-CON-4, R30-TLS-1: user agents and application servers meet over every combination of clear and TLS, HTTP/1.1 and HTTP/2.
#[tokio::test]
async fn every_kind_of_connection_carries_a_message() {
    let node = Node::start(Settings::new().tls()).await;
    for (connector, kind) in [(node.connector(), "clear"), (node.tls_connector(), "TLS")] {
        let (mut agent, _) = UserAgent::arrive(&connector, None).await;
        let push_resource = agent.subscribe(None).await.push_resource;
        let mut old = Http::connect(&connector).await.unwrap();
        let mut new = Http::connect_http2(&connector).await.unwrap();
        for (server, version) in [(&mut old, "HTTP/1.1"), (&mut new, "HTTP/2")] {
            for turn in ["first", "second"] {
                let text = format!("the {turn} over {version} and {kind}");
                let answer = server.push(&Push::new(&push_resource, &text)).await;
                assert_eq!(answer.status, 201, "{text}: {}", answer.text());
                agent.receives(&text).await;
            }
        }
    }
}

/// R30-SEC-7, V-SEC-7: nothing that opens anything, and nothing that was said in confidence, stands in the log, however
/// much is logged.
#[tokio::test]
async fn the_log_keeps_secrets() {
    let mut node = Node::start(Settings::new().environment("PUSH_SERVICE_LOG", "trace")).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let signer = Signer::generate();
    let push_resource = agent.subscribe(Some(&signer.public_key())).await.push_resource;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    let authorization = signer.authorization(node.public_url());
    let push = Push::new(&push_resource, "between us");
    let answer = server.push(&push.header("authorization", &authorization)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    agent.receives("between us").await;
    let message_resource = answer.header("location").to_owned();
    assert_eq!(server.delete(&message_resource).await.unwrap().status, 204);
    assert_eq!(
        server.push(&Push::new(&push_resource, "unsigned")).await.status,
        401
    );

    // Each step of a message has a line, with ids: also of RFC 8030's resources, of receipts, and of a forged URL.
    let subscriber = Connection::open(&node.connector()).await;
    let made = subscriber.subscribe(node.public_url()).await;
    let mut monitor = subscriber.monitor(&made.set).await;
    let push = Push::new(&made.push, "between us too").header("topic", "SecretTopic");
    let answer = server.push(&push.header("prefer", "respond-async")).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let promised = monitor.message().await.url.to_string();
    assert_eq!(subscriber.delete(&promised).await.status, 204);
    let receipts = answer.link("urn:ietf:params:push:receipt").to_owned();
    let forged = format!("{}/push/AForgedTokenOfThirtyTwoCharacters", node.public_url());
    assert_eq!(server.push(&Push::new(&forged, "forged")).await.status, 404);
    assert_eq!(subscriber.delete(&made.subscription).await.status, 204);

    node.terminate();
    let (_, log) = node.ended().await;
    for event in ["accepted", "offered", "acknowledged", "refused", "unsubscribed"] {
        let event = format!("\"event\":\"{event}\"");
        assert!(
            log.text().contains(&event),
            "{event}: what is looked through has the lines"
        );
    }
    let token = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    for secret in [
        uaid,
        token(&push_resource),
        token(&message_resource),
        authorization,
        token(&made.push),
        token(&made.set),
        token(&made.subscription),
        token(answer.header("location")),
        token(&promised),
        token(&receipts),
        token(&forged),
        "SecretTopic".to_owned(),
    ] {
        assert!(
            !log.text().contains(&secret),
            "{secret} stands in the log:\n{}",
            log.tail()
        );
    }
}

/// WS-NOT-5: a message without a body arrives without `data` and without `headers`.
#[tokio::test]
async fn an_empty_message_arrives_empty() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    let answer = server.push(&Push::empty(&subscription.push_resource)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let arrived = agent.notification().await;
    assert_eq!((arrived.body, arrived.headers), (None, json!(null)));
}

/// WS-NOT-4, WS-NOT-6, V-LEG-6: the header fields of the legacy coding travel with the message, without the sender's key.
#[tokio::test]
async fn the_legacy_coding_keeps_its_headers() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    let key = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";
    let push = Push::new(&subscription.push_resource, "")
        .body(vec![7; 64])
        .header("content-encoding", "aesgcm")
        .header("encryption", "salt=\"lngarbyKfMoi9Z75xYXmkg==\"")
        .header("crypto-key", &format!("dh={key};p256ecdsa={key}"));
    let answer = server.push(&push).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let arrived = agent.notification().await;
    assert_eq!(arrived.body, Some(vec![7; 64]));
    assert_eq!(arrived.headers["encoding"], "aesgcm");
    assert_eq!(arrived.headers["encryption"], "salt=lngarbyKfMoi9Z75xYXmkg");
    assert_eq!(arrived.headers["crypto_key"], format!("dh={key}"));
}

/// RFC 8030 §7.2, WP-5: a body of 4,096 bytes and one of the configured limit arrive whole; one byte more is refused.
#[tokio::test]
async fn bodies_up_to_the_limit_arrive() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for bytes in [payload::OVERHEAD_BYTES + 1, 4_096, 5_632] {
        let body = payload::body_of("x", bytes);
        let push = Push::new(&subscription.push_resource, "").body(body.clone());
        assert_eq!(server.push(&push).await.status, 201, "{bytes} bytes");
        assert_eq!(agent.notification().await.body, Some(body), "{bytes} bytes");
    }
    let push = Push::new(&subscription.push_resource, "").body(payload::body_of("x", 5_633));
    let answer = server.push(&push).await;
    assert_eq!(
        (answer.status.as_u16(), answer.errno()),
        (413, Some(104)),
        "{}",
        answer.text()
    );
}

/// WS-ACK-1, WS-ACK-2, WS-ACK-4: acknowledgements with and without code, several at once, of unknown messages, and a `nack`
/// after an `ack` are all taken; what they name does not come again.
#[tokio::test]
async fn acknowledgements_come_in_many_forms() {
    let node = Node::start(Settings::new()).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    let mut arrived = Vec::new();
    for number in 0..4 {
        server
            .push(&Push::new(&subscription.push_resource, &format!("{number}")))
            .await;
        arrived.push(agent.notification().await);
    }
    let without_code = |at: usize| json!({"channelID": subscription.name, "version": arrived[at].version});
    agent
        .send(&json!({"messageType": "ack", "updates": [without_code(0), without_code(1)]}))
        .await;
    let unknown = json!({"channelID": new_name(), "version": "AAAAAAAAAAAAAAAAAAAAAA", "code": 100});
    let undecryptable = json!({"channelID": subscription.name, "version": arrived[2].version, "code": 101});
    agent
        .send(&json!({"messageType": "ack", "updates": [unknown, undecryptable]}))
        .await;
    agent
        .send(&json!({"messageType": "nack", "version": arrived[2].version, "code": 302}))
        .await;
    agent.acknowledge_and_settle(&arrived[3]).await;
    agent.leave().await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    server
        .push(&Push::new(&subscription.push_resource, "the only one"))
        .await;
    agent.receives("the only one").await;
}

/// PR-16: a hundred messages pass through a window that is smaller, each when there is room for it, in order.
#[tokio::test]
async fn a_window_lets_a_long_queue_through() {
    let node = Node::start(Settings::new().set("channels.in_flight", 8)).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    agent.leave().await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    for number in 0..100 {
        server
            .push(&Push::new(&subscription.push_resource, &format!("{number}")))
            .await;
    }
    let (mut agent, _) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    for number in 0..100 {
        agent.receives(&format!("{number}")).await;
    }
}

/// WS-PNG-1, WS-CON-7: both spellings of a ping are answered with `{}`.
#[tokio::test]
async fn a_ping_is_answered() {
    let node = Node::start(Settings::new().set("channels.min_ping_interval", "0s")).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    for ping in [json!({}), json!({"messageType": "ping"})] {
        agent.send(&ping).await;
        let reply = push_tests::within("a pong", agent.event()).await;
        assert!(
            matches!(&reply, push_tests::user_agent::Event::Reply(reply) if *reply == json!({})),
            "{reply:?}"
        );
    }
}
