//! Messages are promised, pushed and handed over.

use h2::Reason;
use push_protocol::message::Coding;
use push_protocol::{Topic, Urgency};

use super::service::{begins, delivers, is_refused, push_resource};
use super::*;
use crate::defaults::PUSHED_WITHIN;

/// R30-MON-3 to R30-MON-9: path, push resource and content of a message, with what it takes to decrypt it.
#[tokio::test]
async fn a_message_as_it_was_pushed() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    monitor.pushes("/message/1", 7, b"body");
    let pushed = rig.pushed().await;
    assert_eq!(&*pushed.path, "/message/1");
    assert_eq!(&*pushed.push_resource, push_resource(ORIGIN, 7));
    let content = pushed.content.unwrap();
    assert_eq!(
        (&content.coding, &content.body[..]),
        (&Coding::Aes128gcm, &b"body"[..])
    );

    let promised = monitor.promises("/message/2", 7);
    let aesgcm = [
        ("content-encoding", "aesgcm"),
        ("encryption", "salt=AAAAAAAAAAAAAAAAAAAAAA"),
        (
            "crypto-key",
            "dh=BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        ),
        ("content-length", "4"),
    ];
    delivers(promised, &aesgcm, b"body");
    let coding = rig.pushed().await.content.unwrap().coding;
    assert!(matches!(coding, Coding::Aesgcm { .. }), "{coding:?}");

    monitor.pushes("/message/3", 7, b"");
    let empty = rig.pushed().await.content.unwrap();
    assert_eq!((empty.coding, empty.body.len()), (Coding::Absent, 0));
}

/// R30-MON-9, R30-URG-4, R30-TOP-7: what the service says of a message beside its content; most say the time only.
#[tokio::test]
async fn what_is_said_of_a_message() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    let promised = monitor.promises("/message/1", 7);
    let date = ("last-modified", "Thu, 01 Jan 1970 00:00:01 GMT");
    delivers(promised, &[date], b"");
    let metadata = rig.pushed().await.metadata.unwrap();
    assert_eq!(
        (metadata.time, metadata.urgency, metadata.topic),
        (Some(1_000), None, None)
    );

    let promised = monitor.promises("/message/2", 7);
    delivers(promised, &[("urgency", "high"), ("topic", "door")], b"");
    let metadata = rig.pushed().await.metadata.unwrap();
    assert_eq!((metadata.time, metadata.urgency), (None, Some(Urgency::High)));
    assert_eq!(metadata.topic, Topic::parse("door"));

    monitor.pushes("/message/3", 7, b"");
    assert_eq!(rig.pushed().await.metadata, None);
}

/// R30-MON-6: the link may stand in the promise, in the answer, or in both, where the answer counts.
#[tokio::test]
async fn either_says_the_push_resource() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    let links = [7, 8].map(|number| format!("<{ORIGIN}/push/{number}>; rel=\"urn:ietf:params:push\""));
    let rows = [(Some(7), None, 7), (None, Some(8), 8), (Some(7), Some(8), 8)];
    for (promised, answered, expected) in rows {
        let field = |number: Option<usize>| number.map(|number| ("link", links[number - 7].as_str()));
        let promise = field(promised).into_iter().collect::<Vec<_>>();
        let promise = monitor.promises_as(Method::GET, &format!("{ORIGIN}/message/1"), &promise);
        delivers(promise, &field(answered).into_iter().collect::<Vec<_>>(), b"");
        assert_eq!(
            &*rig.pushed().await.push_resource,
            push_resource(ORIGIN, expected)
        );
    }
    let promise = monitor.promises_as(Method::GET, &format!("{ORIGIN}/message/1"), &[]);
    delivers(promise, &[], b"");
    assert_eq!(&*rig.pushed().await.push_resource, "", "for no subscription");
}

/// PR-20: streams overtake each other, messages of one subscription don't; other subscriptions don't wait for them.
#[tokio::test]
async fn the_order_of_the_promises() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    let slow = monitor.promises("/message/a1", 1);
    let mut half = monitor.promises("/message/a2", 1);
    let mut half = begins(&mut half, &[]);
    half.send_data("half".into(), false).unwrap();
    let quick = monitor.promises("/message/b1", 2);
    monitor.pushes("/message/a3", 1, b"whole");
    delivers(quick, &[], b"");
    assert_eq!(&*rig.pushed().await.path, "/message/b1");
    half.send_data(" and half".into(), true).unwrap();
    monitor.pushes("/message/b2", 2, b"");
    assert_eq!(&*rig.pushed().await.path, "/message/b2");
    delivers(slow, &[], b"");
    let order = [rig.pushed().await, rig.pushed().await, rig.pushed().await];
    let order = order.map(|pushed| (pushed.path, pushed.content.unwrap().body));
    let expected = [("a1", ""), ("a2", "half and half"), ("a3", "whole")];
    for ((path, body), (id, expected)) in order.iter().zip(expected) {
        assert_eq!(
            (&**path, &body[..]),
            (&*format!("/message/{id}"), expected.as_bytes())
        );
    }
}

/// PR-20, R30-MON-6: as long as it is not known of which subscription a message is, it may be of any.
#[tokio::test]
async fn an_unknown_subscription_holds_up_all() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    let promise = monitor.promises_as(Method::GET, &format!("{ORIGIN}/message/1"), &[]);
    monitor.pushes("/message/2", 2, b"");
    monitor.pushes("/message/3", 3, b"");
    let link = format!("<{}>; rel=\"urn:ietf:params:push\"", push_resource(ORIGIN, 2));
    // After the last of a burst, all of it was seen.
    rig.channel.ping();
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    delivers(promise, &[("link", &link)], b"");
    let order = [rig.pushed().await, rig.pushed().await, rig.pushed().await];
    assert_eq!(
        order.map(|pushed| pushed.path),
        ["/message/1", "/message/2", "/message/3"].map(Box::from)
    );
}

/// R30-H2-4, PR-19: a push that is reset, or no message, is not acknowledged, and those behind it come.
#[tokio::test]
async fn a_push_that_is_none() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    let mut reset = monitor.promises("/message/1", 1);
    let mut cut = monitor.promises("/message/2", 1);
    let mut strange = monitor.promises("/message/3", 1);
    monitor.pushes("/message/4", 1, b"");
    reset.send_reset(Reason::INTERNAL_ERROR);
    let mut cut = begins(&mut cut, &[("content-length", "100")]);
    cut.send_data("less".into(), true).unwrap();
    let gone = http::Response::builder().status(404).body(()).unwrap();
    strange.send_response(gone, true).unwrap();
    assert_eq!(&*rig.pushed().await.path, "/message/4");
    rig.channel.ping();
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    assert!(!rig.peer.asked_now(), "nothing is acknowledged");
}

/// R30-SEC-7, RFC 9113 §8.4: promises for another origin, or other than a `GET`, are refused and count as nonsense; what
/// follows is taken.
#[tokio::test]
async fn promises_that_are_not_allowed() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    let rows = [
        (Method::GET, "https://other.example/message/1".to_owned()),
        (Method::GET, format!("{ORIGIN}:8443/message/1")),
        (Method::GET, "http://push.example.net/message/1".to_owned()),
        (Method::HEAD, format!("{ORIGIN}/message/1")),
        (Method::GET, format!("{ORIGIN}/{}", "x".repeat(1_000))),
    ];
    for (method, url) in rows {
        let promised = monitor.promises_as(method, &url, &[]);
        assert_eq!(rig.next().await, Incoming::Nonsense, "{url}");
        let refused = is_refused(promised);
        let reason = tokio::select! {
            reason = refused => reason,
            incoming = rig.channel.next() => panic!("{incoming:?}"),
        };
        assert_eq!(reason, Reason::CANCEL, "{url}");
    }
    monitor.pushes("/message/1", 1, b"");
    assert_eq!(&*rig.pushed().await.path, "/message/1");
}

/// R30-H2-3, PR-16: a body that is longer than any may be is not read, whatever the service says of its length; it is
/// handed over as what can't be read.
#[tokio::test]
async fn a_body_without_end() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    let mut promised = monitor.promises("/message/1", 1);
    let mut stream = begins(&mut promised, &[]);
    let mut sent = 0;
    let flood = async {
        loop {
            stream.reserve_capacity(PUSHED_BYTES);
            match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(room)) => {
                    stream.send_data(vec![0; room].into(), false).unwrap();
                    sent += room;
                }
                Some(Err(_)) | None => return,
            }
        }
    };
    let hears = async {
        let pushed = rig.pushed().await;
        assert_eq!(pushed.content, None);
        rig.channel.next().await
    };
    tokio::select! {
        () = flood => {}
        incoming = hears => panic!("{incoming:?}"),
    }
    assert!(sent <= 3 * PUSHED_BYTES, "{sent}");
}

/// R30-MON-17, R30-EXP-2: a set that is gone, heard of before the service has answered the ping or later.
#[tokio::test]
async fn a_set_that_is_gone() {
    let mut rig = Rig::new().await;
    rig.say(&Say::Hello(Some(set("a")), Wish::default()));
    for _ in 0..2 {
        let incoming = rig.next().await;
        if incoming == Incoming::Forgotten {
            break;
        }
        assert_eq!(incoming, Incoming::Monitoring(set("a")));
        let monitor = rig.asked_for(Method::GET, "/subscriptions/a").await;
        monitor.answers(404, &[]);
    }
    rig.register(1);
    let asked = rig.asked_for(Method::POST, "/subscribe").await;
    assert_eq!(asked.header("link"), None);
    asked.enrolls(1, "b");
    assert!(matches!(rig.next().await, Incoming::SubscriptionMade(..)));
    rig.asked_for(Method::GET, "/subscriptions/b").await;
}

/// R30-MON-11: what was pushed before monitoring ended is handed over before the end is, also if it comes later.
#[tokio::test]
async fn the_end_of_monitoring_comes_last() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    monitor.pushes("/message/1", 1, b"");
    let late = monitor.promises("/message/2", 2);
    monitor.answers(503, &[("retry-after", "60")]);
    assert_eq!(&*rig.pushed().await.path, "/message/1");
    rig.channel.ping();
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    delivers(late, &[], b"");
    assert_eq!(&*rig.pushed().await.path, "/message/2");
    let refused = ChannelEnd::Refused {
        status: 503,
        retry_after: Some(Duration::from_secs(60)),
    };
    assert_eq!(rig.next().await, Incoming::Ended(refused));
}

/// PR-17: a push that doesn't come to its end ends the channel, so that it comes again in its order; an idle channel has
/// no timer.
#[tokio::test(start_paused = true)]
async fn a_push_that_stalls() {
    let (mut rig, mut monitor) = Rig::monitoring().await;
    let _promised = monitor.promises("/message/1", 1);
    let begin = Instant::now();
    assert_eq!(rig.next().await, Incoming::Ended(ChannelEnd::Lost));
    assert!(begin.elapsed() >= PUSHED_WITHIN && begin.elapsed() < 2 * PUSHED_WITHIN);

    let (mut rig, _monitor) = Rig::monitoring().await;
    let idle = tokio::time::timeout(100 * PUSHED_WITHIN, rig.next()).await;
    assert!(idle.is_err() && rig.channel.timer.is_none());
}
