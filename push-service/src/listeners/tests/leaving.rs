//! Drain: what is under way is finished, and peers are told to go (PR-36).

use std::time::Duration;

use bytes::Bytes;
use push_tests::monitor::Connection;
use tokio::net::TcpStream;

use super::http2::{connect, head, push};
use super::rig::{HELLO, Node, UPGRADE, frame};
use crate::resources::tests::rig::ORIGIN;

const LONG: Duration = Duration::from_secs(3600);

/// PR-36: a push whose body is still coming is answered 201 and its connection closed; an idle connection is closed at
/// once; the port is closed.
#[tokio::test(start_paused = true)]
async fn http1_finishes_what_is_under_way() {
    let node = Node::start().await;
    let (mut busy, mut idle, mut silent) = (node.peer().await, node.peer().await, node.peer().await);
    idle.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.hear().await;
    busy.say(format!(
        "{}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        node.push_head()
    ))
    .await;
    assert!(busy.hear().await.starts_with("http/1.1 100 "));

    let drain = tokio::spawn(node.listeners.drain(LONG));
    assert_eq!(idle.hear_all().await, "");
    assert_eq!(silent.hear_all().await, "");
    assert!(TcpStream::connect(node.address).await.is_err());
    busy.say("hello").await;
    let answer = busy.hear_all().await;
    assert!(answer.starts_with("http/1.1 201 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"));
    drain.await.unwrap();
}

/// PR-36, R30-LB-3: an HTTP/2 peer is told to go, the push under way is answered, and then the connection ends.
#[tokio::test(start_paused = true)]
async fn http2_finishes_what_is_under_way() {
    let node = Node::start().await;
    let (requests, driver) = connect(&node).await;
    assert_eq!(push(&requests, &node.path, 5).await.status(), 201);
    let mut ready = requests.clone().ready().await.unwrap();
    let (response, mut body) = ready.send_request(head(&node.path), false).unwrap();
    body.send_data(Bytes::from_static(b"hel"), false).unwrap();
    assert_eq!(push(&requests, &node.path, 5).await.status(), 201);

    let drain = tokio::spawn(node.listeners.drain(LONG));
    // The peer may open no more requests once it has heard GOAWAY.
    while requests.clone().ready().await.is_ok() {
        tokio::task::yield_now().await;
    }
    body.send_data(Bytes::from_static(b"lo"), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 201);
    driver.await.unwrap().unwrap();
    drain.await.unwrap();
}

/// PR-36, RFC 9112 §9.6: told to go, an HTTP/1.1 peer hears so with its next answer and no earlier: an idle connection is kept for
/// a request that may be under way, and who comes anew is still answered.
#[tokio::test(start_paused = true)]
async fn http1_is_told_with_the_next_answer() {
    let node = Node::start().await;
    let (mut busy, mut idle) = (node.peer().await, node.peer().await);
    for peer in [&mut busy, &mut idle] {
        peer.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let answer = peer.hear().await;
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    busy.say(format!(
        "{}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        node.push_head()
    ))
    .await;
    assert!(busy.hear().await.starts_with("http/1.1 100 "));

    node.listeners.tell_to_go();
    let mut late = node.peer().await;
    busy.say("hello").await;
    for peer in [&mut idle, &mut late] {
        peer.say(format!("{}Content-Length: 5\r\n\r\nhello", node.push_head()))
            .await;
    }
    for peer in [&mut busy, &mut idle, &mut late] {
        let answer = peer.hear_all().await;
        assert!(answer.starts_with("http/1.1 201 "), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    node.listeners.gone().await;

    let mut user_agent = node.peer().await;
    user_agent.say(UPGRADE).await;
    let answer = user_agent.hear().await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(!answer.contains("close"), "{answer}");
}

/// PR-36: told to go, an HTTP/2 peer hears GOAWAY while its push is under way, and who comes anew is still answered.
#[tokio::test(start_paused = true)]
async fn http2_is_told_at_once() {
    let node = Node::start().await;
    let (requests, driver) = connect(&node).await;
    let mut ready = requests.clone().ready().await.unwrap();
    let (response, mut body) = ready.send_request(head(&node.path), false).unwrap();
    body.send_data(Bytes::from_static(b"hel"), false).unwrap();
    assert_eq!(push(&requests, &node.path, 5).await.status(), 201);

    node.listeners.tell_to_go();
    while requests.clone().ready().await.is_ok() {
        tokio::task::yield_now().await;
    }
    let (late, _driver) = connect(&node).await;
    assert_eq!(push(&late, &node.path, 5).await.status(), 201);
    body.send_data(Bytes::from_static(b"lo"), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 201);
    driver.await.unwrap().unwrap();
    node.listeners.gone().await;
}

/// PR-36: a connection that monitors is told to go when its last monitor is over, and not with all others.
#[tokio::test]
async fn a_monitor_is_not_hurried() {
    let node = Node::start().await;
    let agent = Connection::open(&node.connector()).await;
    let made = agent.subscribe(ORIGIN).await;
    let monitor = agent.monitor_with(&made.set, &[]).await;
    let (sender, driver) = connect(&node).await;
    assert_eq!(push(&sender, &node.path, 5).await.status(), 201);

    node.listeners.tell_to_go();
    driver.await.unwrap().unwrap();
    let other = agent.subscribe(ORIGIN).await;
    assert_eq!(agent.delete(&other.set).await.status, 204);
    drop(monitor);
    node.listeners.gone().await;
}

/// PR-36: what is not done by the deadline is cut off; a channel is no longer the listeners' to end.
#[tokio::test(start_paused = true)]
async fn the_deadline_cuts_off() {
    let node = Node::start().await;
    let mut stuck = node.peer().await;
    stuck
        .say(format!(
            "{}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
            node.push_head()
        ))
        .await;
    assert!(stuck.hear().await.starts_with("http/1.1 100 "));
    let mut user_agent = node.peer().await;
    user_agent.say(UPGRADE).await;
    user_agent.hear().await;

    node.listeners.drain(Duration::from_secs(1)).await;
    assert_eq!(stuck.hear_all().await, "");
    user_agent.say(frame(1, HELLO)).await;
    let reply = user_agent.hear_some().await;
    assert!(reply.contains(r#""messagetype":"hello""#), "{reply}");
}
