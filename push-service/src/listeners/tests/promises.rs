//! What stands in the order of the frames, which no library shows.

use http::Method;
use push_tests::application_server::{Http, Push};
use push_tests::monitor::{Connection, Next};
use push_tests::raw_http2::{RawPeer, flag, frame, kind, request};
use push_tests::within;

use super::rig::Node;
use crate::resources::tests::rig::ORIGIN;

/// RFC 9113 §5.1.1, PR-20: whatever monitors a connection has, each promised stream has a higher number than those before it.
#[tokio::test]
async fn promises_come_in_the_order_of_their_streams() {
    let node = Node::start().await;
    let agent = Connection::open(&node.connector()).await;
    let one = agent.subscribe(ORIGIN).await;
    let other = agent.subscribe_in(ORIGIN, &one.set).await;
    let mut sender = Http::connect(&node.connector()).await.unwrap();
    for (number, made) in [&one, &one, &one, &other, &other, &other].iter().enumerate() {
        let push = Push::new(&made.push, &number.to_string());
        assert_eq!(sender.push(&push).await.status, 201);
    }
    let mut peer = RawPeer::connect(node.address, &[]).await;
    assert!(peer.round_trip().await);
    let monitors = [&one.subscription, &other.subscription].map(|url| {
        let path = url.strip_prefix(ORIGIN).unwrap();
        request("GET", path, &[])
    });
    let ends = flag::END_STREAM | flag::END_HEADERS;
    let begun = [(1, &monitors[0]), (3, &monitors[1])]
        .map(|(stream, block)| frame(kind::HEADERS, ends, stream, block));
    peer.say(begun.concat()).await;
    let mut promised = Vec::new();
    while promised.len() < 6 {
        let heard = peer.hear_a(kind::PUSH_PROMISE).await.unwrap();
        promised.push((
            heard.stream,
            u32::from_be_bytes(heard.payload[..4].try_into().unwrap()),
        ));
    }
    assert!(promised.is_sorted_by_key(|(_, stream)| *stream), "{promised:?}");
}

/// RFC 9113 §6.8: after the peer's GOAWAY no stream is opened towards it. Its monitor is answered, and new messages
/// stay stored for the next connection.
#[tokio::test]
async fn nothing_is_promised_after_the_peers_goaway() {
    let node = Node::start().await;
    let agent = Connection::open(&node.connector()).await;
    let made = agent.subscribe(ORIGIN).await;
    let mut sender = Http::connect(&node.connector()).await.unwrap();
    assert_eq!(sender.push(&Push::new(&made.push, "before")).await.status, 201);
    let mut peer = RawPeer::connect(node.address, &[]).await;
    let monitor = request("GET", made.set.strip_prefix(ORIGIN).unwrap(), &[]);
    let ends = flag::END_STREAM | flag::END_HEADERS;
    peer.say(frame(kind::HEADERS, ends, 1, &monitor)).await;
    assert!(peer.hear_a(kind::PUSH_PROMISE).await.is_some());
    assert!(peer.hear_a(kind::DATA).await.is_some());
    let last_stream_and_no_error = [0, 0, 0, 2, 0, 0, 0, 0];
    peer.say(frame(kind::GOAWAY, 0, 0, &last_stream_and_no_error))
        .await;
    // The connection may be over by the time that it could be answered.
    peer.try_say(&frame(kind::PING, 0, 0, b"--------")).await;
    let mut answered = false;
    let mut pushed = false;
    while let Some(heard) = within("the connection ends", peer.hear()).await {
        assert_ne!(
            heard.kind,
            kind::PUSH_PROMISE,
            "a stream was opened behind GOAWAY"
        );
        answered |= heard.kind == kind::HEADERS && heard.stream == 1;
        if !std::mem::replace(&mut pushed, true) {
            assert_eq!(sender.push(&Push::new(&made.push, "behind")).await.status, 201);
        }
    }
    assert!(answered, "the monitor's request is answered");
    let mut monitor = agent.monitor(&made.set).await;
    for expected in ["before", "behind"] {
        let Next::Pushed(message) = monitor.next().await else {
            panic!("nothing has ended");
        };
        assert_eq!(message.read().await.text().as_deref(), Some(expected));
    }
}

/// PR-18, PR-25: a promise that the peer's GOAWAY excludes does not count as delivered: the message is sent again.
#[tokio::test]
async fn promises_that_goaway_excludes_come_again() {
    let node = Node::start().await;
    let agent = Connection::open(&node.connector()).await;
    let made = agent.subscribe(ORIGIN).await;
    let mut sender = Http::connect(&node.connector()).await.unwrap();
    assert_eq!(sender.push(&Push::new(&made.push, "ignored")).await.status, 201);
    let mut peer = RawPeer::connect(node.address, &[]).await;
    let monitor = request("GET", made.set.strip_prefix(ORIGIN).unwrap(), &[]);
    let ends = flag::END_STREAM | flag::END_HEADERS;
    peer.say(frame(kind::HEADERS, ends, 1, &monitor)).await;
    assert!(peer.hear_a(kind::PUSH_PROMISE).await.is_some());
    peer.say(frame(kind::GOAWAY, 0, 0, &[0; 8])).await;
    while within("the connection ends", peer.hear()).await.is_some() {}
    let mut monitor = agent.monitor(&made.set).await;
    let Next::Pushed(message) = monitor.next().await else {
        panic!("nothing has ended");
    };
    assert_eq!(message.read().await.text().as_deref(), Some("ignored"));
}

/// PR-18: a DELETE that arrived whole acknowledges, even if the peer closes the connection without reading the
/// answer.
#[tokio::test]
async fn an_acknowledgement_outlives_its_connection() {
    let node = Node::start().await;
    let agent = Connection::open(&node.connector()).await;
    let made = agent.subscribe(ORIGIN).await;
    let mut sender = Http::connect(&node.connector()).await.unwrap();
    assert_eq!(sender.push(&Push::new(&made.push, "x")).await.status, 201);
    let mut monitor = agent.monitor(&made.set).await;
    let Next::Pushed(message) = monitor.next().await else {
        panic!("nothing has ended");
    };
    let url = message.url().to_string();
    drop((message, monitor));
    let mut peer = RawPeer::connect(node.address, &[]).await;
    assert!(peer.round_trip().await);
    let block = request("DELETE", url.strip_prefix(ORIGIN).unwrap(), &[]);
    peer.say(frame(
        kind::HEADERS,
        flag::END_STREAM | flag::END_HEADERS,
        1,
        &block,
    ))
    .await;
    drop(peer);
    let mut tries = 0;
    while let Next::Pushed(again) = agent
        .monitor_with(&made.set, &[("prefer", "wait=0")])
        .await
        .next()
        .await
    {
        drop(again);
        tries += 1;
        assert!(tries < 20, "it was not acknowledged");
    }
}

/// R30-MON-18, PR-19: what its peer takes back with the request that it was promised on comes again on the one that has its
/// place.
#[tokio::test]
async fn what_breaks_off_with_a_replaced_monitor_comes_on_the_newer() {
    const WINDOW: u32 = 100;
    let node = Node::start().await;
    let connector = node.connector();
    let agent = Connection::open_with(&connector, |builder| {
        builder.initial_window_size(WINDOW);
    });
    let agent = agent.await;
    let made = agent.subscribe(ORIGIN).await;
    let mut sender = Http::connect(&node.connector()).await.unwrap();
    assert_eq!(sender.push(&Push::new(&made.push, "slow")).await.status, 201);
    let mut older = agent.monitor(&made.set).await;
    let begun = older.promise().await;
    let mut newer = agent.monitor(&made.set).await;
    assert_eq!(
        agent.ask(Method::GET, ORIGIN, &[]).await.status,
        200,
        "both are there"
    );
    drop(older);
    let Next::Pushed(again) = newer.next().await else {
        panic!("nothing has ended");
    };
    assert_eq!(again.url(), begun.url());
    assert_eq!(again.read().await.text().as_deref(), Some("slow"));
}
