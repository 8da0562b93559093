//! Where there is no server push, messages come as Server-Sent Events over the same connection.

use push_protocol::Urgency;

use super::service::{Asked, EventsOut, message_event, push_resource};
use super::*;
use crate::defaults::{EVENT_BYTES, EVENT_SKIPPED_BYTES, PUSH_AGAIN_AFTER, REPLACED_WITHIN};

const NO_PUSH: &str = r#"{"detail":"Monitoring needs HTTP/2 with server push enabled."}"#;

/// Asks for events, and what asks.
fn asks_for_events(asked: &Asked) {
    assert_eq!(asked.header("accept"), Some("text/event-stream"));
}

impl Rig {
    /// The service can't push, and the user agent has found that out.
    async fn without_push(wish: Wish) -> (Self, EventsOut) {
        let (mut rig, asked) = Self::asking_for_events(wish).await;
        let events = asked.begins_events();
        assert_eq!(rig.next().await, Incoming::WithoutPush);
        (rig, events)
    }

    /// Up to the request for events.
    async fn asking_for_events(wish: Wish) -> (Self, Asked) {
        let mut rig = Self::new().await;
        rig.say(&Say::Hello(Some(set("a")), wish));
        assert_eq!(rig.next().await, Incoming::Monitoring(set("a")));
        let refused = rig.peer.expects(Method::GET, "/subscriptions/a").await;
        assert_eq!(refused.header("accept"), None);
        refused.explains(400, &[], NO_PUSH);
        let asked = rig.asked_for(Method::GET, "/subscriptions/a").await;
        asks_for_events(&asked);
        (rig, asked)
    }

    /// What is left to hear before the next thing that counts.
    async fn next_but_life(&mut self) -> Incoming {
        loop {
            match self.next().await {
                Incoming::SignOfLife => {}
                incoming => return incoming,
            }
        }
    }

    async fn brought(&mut self) -> Pushed {
        match self.next_but_life().await {
            Incoming::Pushed(pushed) => pushed,
            other => panic!("{other:?}"),
        }
    }
}

/// R30-MON-2, R30-MON-3, R30-ACK-1: a service that says that it can't push is asked for events; each message is what a pushed one
/// is, and is acknowledged by DELETE; a comment is a sign of life; what the end says is known.
#[tokio::test]
async fn a_message_without_push() {
    let (mut rig, mut events) = Rig::without_push(Wish::default()).await;
    events.brings("/message/1?x=%7e", 7, b"body");
    let pushed = rig.brought().await;
    assert_eq!(&*pushed.path, "/message/1?x=%7e");
    assert_eq!(&*pushed.push_resource, push_resource(ORIGIN, 7));
    assert_eq!(&pushed.content.unwrap().body[..], b"body");
    assert_eq!(pushed.metadata.unwrap().time, Some(1_000));
    events.writes(":\n\n");
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    rig.acknowledge("/message/1?x=%7e");
    let asked = rig.asked_for(Method::DELETE, "/message/1?x=%7e").await;
    asked.answers(204, &[]);
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    events.brings("/message/2", 7, b"");
    let empty = rig.brought().await.content.unwrap();
    assert_eq!(empty.body.len(), 0);
    events.tells_end(503, "Storage is away.");
    assert!(matches!(
        rig.next_but_life().await,
        Incoming::Ended(ChannelEnd::Refused { status: 503, .. })
    ));
    assert_eq!(
        rig.channel.take_explanation().as_deref(),
        Some("Storage is away.")
    );
}

/// R30-MON-11, R30-MON-17: what the end of a stream means: come again, the set is gone, the connection broke.
#[tokio::test]
async fn the_end_of_events() {
    type End = fn(EventsOut);
    let rows: [(End, Incoming); 5] = [
        (
            |events| events.tells_end(200, "over"),
            Incoming::Ended(ChannelEnd::Closed(None)),
        ),
        (
            |events| events.tells_end(408, "slow"),
            Incoming::Ended(ChannelEnd::Closed(None)),
        ),
        (|events| events.tells_end(404, "gone"), Incoming::Forgotten),
        (EventsOut::ends, Incoming::Ended(ChannelEnd::Closed(None))),
        (
            |mut events| {
                events.writes("event: message\ndata: {\"message\":");
                events.ends();
            },
            Incoming::Ended(ChannelEnd::Closed(None)),
        ),
    ];
    for (end, expected) in rows {
        let (mut rig, events) = Rig::without_push(Wish::default()).await;
        end(events);
        assert_eq!(rig.next_but_life().await, expected);
    }
    let (mut rig, _events) = Rig::without_push(Wish::default()).await;
    rig.peer.breaks();
    assert_eq!(rig.next_but_life().await, Incoming::Ended(ChannelEnd::Lost));
}

/// R30-MON-2: a service that has only events answers with them whatever it was asked for; they are read as they come.
#[tokio::test]
async fn a_service_that_has_only_events() {
    let (mut rig, asked) = Rig::monitoring().await;
    let mut events = asked.begins_events();
    assert_eq!(rig.next().await, Incoming::WithoutPush);
    events.brings("/message/1", 1, b"body");
    assert_eq!(&*rig.brought().await.path, "/message/1");
}

/// R30-SUB-7: a service that refuses both is asked twice and no more, and its last word is told.
#[tokio::test]
async fn neither_push_nor_events() {
    let (mut rig, asked) = Rig::asking_for_events(Wish::default()).await;
    asked.explains(406, &[], r#"{"detail":"No events either."}"#);
    let refused = ChannelEnd::Refused {
        status: 406,
        retry_after: None,
    };
    assert_eq!(rig.next().await, Incoming::Ended(refused));
    assert_eq!(
        rig.channel.take_explanation().as_deref(),
        Some("No events either.")
    );
    assert!(!rig.peer.asked_now());
}

/// R30-MON-17: other refusals have nothing to do with push.
#[tokio::test]
async fn other_refusals_are_no_reason() {
    for status in [401, 403, 429, 500, 503] {
        let (mut rig, monitor) = Rig::monitoring().await;
        monitor.answers(status, &[]);
        assert!(
            matches!(rig.next().await, Incoming::Ended(ChannelEnd::Refused { .. })),
            "{status}"
        );
        assert!(!rig.peer.asked_now());
    }
}

/// PR-16: whatever a stream says, memory stays bounded, what can be read is handed over, and the rest counts as nonsense.
#[tokio::test]
async fn bad_streams() {
    let good = message_event(ORIGIN, "/message/good", 1, b"body");
    let of =
        |message: &str| format!("data: {{\"message\":\"{message}\",\"push\":\"/push/1\",\"body\":\"\"}}\n\n");
    let nonsense = [
        "data: no JSON\n\n".to_owned(),
        "event: message\ndata: {\"push\":\"/push/1\"}\n\n".to_owned(),
        "data: {\"message\":1,\"push\":\"x\"}\n\n".to_owned(),
        of("https://other.example/message/1"),
        of("http://push.example.net/message/1"),
        of(&format!("/{}", "x".repeat(1_000))),
        format!("data: {}\n\n", "x".repeat(EVENT_BYTES)),
        format!("{}\n", "data: x\n".repeat(EVENT_BYTES)),
    ];
    for text in nonsense {
        let (mut rig, mut events) = Rig::without_push(Wish::default()).await;
        events.writes(&text);
        events.writes(&good);
        assert_eq!(rig.next_but_life().await, Incoming::Nonsense, "{text:.80}");
        assert_eq!(&*rig.brought().await.path, "/message/good");
    }

    // Without an id, relative, of an unknown kind; with a body that can't be read.
    let (mut rig, mut events) = Rig::without_push(Wish::default()).await;
    events.writes("event: surprise\ndata: {}\n\nid: 1\n\n");
    events.writes(of("/message/1"));
    assert_eq!(&*rig.brought().await.path, "/message/1");
    let long = "A".repeat(2 * PUSHED_BYTES);
    for body in [&b"\xff\xfe"[..], b"no base64!", long.as_bytes()] {
        let mut text = b"data: {\"message\":\"/message/2\",\"push\":\"/push/1\",\"body\":\"".to_vec();
        text.extend(body);
        text.extend(b"\"}\r\n\r\n");
        events.writes(text);
        let pushed = rig.brought().await;
        assert_eq!((&*pushed.path, pushed.content), ("/message/2", None));
    }

    let (mut rig, mut events) = Rig::without_push(Wish::default()).await;
    events.writes("x".repeat(EVENT_SKIPPED_BYTES + 2 * EVENT_BYTES));
    assert_eq!(rig.next_but_life().await, Incoming::Ended(ChannelEnd::Garbled));
}

/// R30-MON-12, R30-MON-13, R30-ACK-1: what waits has an end as events, too; the next round is asked for when every
/// acknowledgement was answered, and 204 says that nothing waits.
#[tokio::test]
async fn what_waits_has_an_end() {
    let wish = Wish {
        lowest: Urgency::Low,
        extent: Extent::Waiting,
    };
    let (mut rig, asked) = Rig::asking_for_events(wish).await;
    assert_eq!(
        (asked.header("prefer"), asked.header("urgency")),
        (Some("wait=0"), Some("low"))
    );
    let mut events = asked.begins_events();
    assert_eq!(rig.next().await, Incoming::WithoutPush);
    events.brings("/message/1", 1, b"");
    events.tells_end(200, "No more messages wait.");
    assert_eq!(&*rig.brought().await.path, "/message/1");
    assert_eq!(rig.next_but_life().await, Incoming::CaughtUp(false));
    rig.acknowledge("/message/1");
    rig.say(&Say::Bring(wish));
    let deleted = rig.asked_for(Method::DELETE, "/message/1").await;
    assert!(!rig.peer.asked_now());
    deleted.answers(204, &[]);
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    let asked = rig.asked_for(Method::GET, "/subscriptions/a").await;
    asks_for_events(&asked);
    // One that just ends its answer has brought what it brought.
    let mut events = asked.begins_events();
    events.brings("/message/2", 1, b"");
    events.ends();
    assert_eq!(&*rig.brought().await.path, "/message/2");
    assert_eq!(rig.next_but_life().await, Incoming::CaughtUp(false));
    rig.say(&Say::Bring(wish));
    rig.asked_for(Method::GET, "/subscriptions/a")
        .await
        .answers(204, &[]);
    assert_eq!(rig.next_but_life().await, Incoming::CaughtUp(true));
    rig.say(&Say::Bring(wish));
    let asked = rig.asked_for(Method::GET, "/subscriptions/a").await;
    asked.begins_events().ends();
    assert_eq!(
        rig.next_but_life().await,
        Incoming::Ended(ChannelEnd::Closed(None)),
        "nothing proves nothing"
    );
}

/// WS-PNG-1, PR-20: a ping is another request, whose beginning is its answer; what comes on the older one is taken first.
#[tokio::test]
async fn a_ping_asks_again() {
    let (mut rig, mut older) = Rig::without_push(Wish::default()).await;
    rig.channel.ping();
    let asked = rig.asked_for(Method::GET, "/subscriptions/a").await;
    asks_for_events(&asked);
    rig.channel.ping();
    let mut newer = asked.begins_events();
    newer.brings("/message/2", 1, b"");
    assert_eq!(rig.next().await, Incoming::SignOfLife);
    older.brings("/message/1", 1, b"");
    assert_eq!(&*rig.brought().await.path, "/message/1");
    older.tells_end(200, "A newer one monitors.");
    assert_eq!(&*rig.brought().await.path, "/message/2");
    assert!(!rig.peer.asked_now(), "one at a time");
    rig.say(&Say::Bring(Wish {
        lowest: Urgency::High,
        ..Wish::default()
    }));
    let asked = rig.asked_for(Method::GET, "/subscriptions/a").await;
    assert_eq!(asked.header("urgency"), Some("high"));
}

/// PR-36: a stream that died without a word is given up, and the one that was asked for instead is read.
#[tokio::test(start_paused = true)]
async fn a_dead_stream_is_given_up() {
    let (mut rig, older) = Rig::without_push(Wish::default()).await;
    rig.channel.ping();
    let asked = rig.asked_for(Method::GET, "/subscriptions/a").await;
    let mut newer = asked.begins_events();
    newer.brings("/message/1", 1, b"");
    let begin = Instant::now();
    assert_eq!(&*rig.brought().await.path, "/message/1");
    assert!(begin.elapsed() <= REPLACED_WITHIN + Duration::from_millis(10));
    tokio::select! {
        () = older.given_up() => {}
        incoming = rig.channel.next() => panic!("{incoming:?}"),
    }
}

/// R30-MON-2: where it is known, events are asked for first; if they are refused then, push is asked for.
#[tokio::test]
async fn what_is_known_of_push() {
    for is_refused in [false, true] {
        let mut rig = Rig::new().await;
        rig.channel.form = Form::Events;
        rig.say(&Say::Hello(Some(set("a")), Wish::default()));
        // Proxies may hold the head of an answer back until a body comes.
        assert_eq!(rig.next().await, Incoming::Monitoring(set("a")));
        let asked = rig.peer.expects(Method::GET, "/subscriptions/a").await;
        asks_for_events(&asked);
        if is_refused {
            asked.answers(406, &[]);
            let mut monitor = rig.asked_for(Method::GET, "/subscriptions/a").await;
            assert_eq!(monitor.header("accept"), None);
            monitor.pushes("/message/1", 1, b"");
            assert_eq!(&*rig.pushed().await.path, "/message/1");
        } else {
            let _events = asked.begins_events();
            assert_eq!(rig.next().await, Incoming::WithoutPush);
        }
    }
}

/// R30-MON-2: that push is missing is remembered for an hour.
#[tokio::test(start_paused = true)]
async fn push_is_tried_again() {
    assert_eq!(Form::of(None), Form::Push);
    let since = Some(Instant::now());
    tokio::time::advance(PUSH_AGAIN_AFTER - Duration::from_secs(1)).await;
    assert_eq!(Form::of(since), Form::Events);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(Form::of(since), Form::Push);
}
