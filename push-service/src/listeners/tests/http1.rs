//! HTTP/1.1 on a connection.

use std::time::Duration;

use super::rig::{Node, Setting};
use crate::defaults::UNWANTED_BODY_BYTES;

/// WP-2, R30-V-1: a connection carries one push after the other, also one whose body comes in pieces.
#[tokio::test]
async fn pushes_follow_each_other() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    peer.say(format!("{}Content-Length: 5\r\n\r\nhello", node.push_head()))
        .await;
    assert!(peer.hear().await.starts_with("http/1.1 201 "));
    for end in ["0\r\n\r\n", "0\r\nx-checksum: 7\r\n\r\n", "0\r\n\r\n"] {
        let chunked = format!("Transfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n{end}");
        peer.say(format!("{}{chunked}", node.push_head())).await;
        let answer = peer.hear().await;
        assert!(answer.starts_with("http/1.1 201 "), "{answer}");
        assert!(!answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.contains("\r\nlocation: https://push.example.net/message/"));
        assert!(answer.contains("\r\ndate: "));
    }
}

/// RFC 9112 §9.3: a refused request whose body is short does not cost its sender the connection, however the body is framed;
/// a long one does, and one that does not come.
#[tokio::test]
async fn a_refused_request_keeps_its_connection() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    let forged = "POST /wpush/v1/forged HTTP/1.1\r\nHost: x\r\n";
    for body in [
        "Content-Length: 5\r\n\r\nhello".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned(),
        format!(
            "Content-Length: {UNWANTED_BODY_BYTES}\r\n\r\n{}",
            "a".repeat(UNWANTED_BODY_BYTES)
        ),
    ] {
        peer.say(format!("{forged}{body}")).await;
        let answer = peer.hear().await;
        assert!(answer.starts_with("http/1.1 404 "), "{answer}");
        assert!(!answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    let too_long = format!(
        "{}Content-Length: 6000\r\n\r\n{}",
        node.push_head(),
        "a".repeat(6000)
    );
    peer.say(too_long).await;
    let answer = peer.hear().await;
    assert!(
        answer.starts_with("http/1.1 413 ") && !answer.contains("connection: close"),
        "{answer}"
    );
    peer.say(format!("{}Content-Length: 5\r\n\r\nhello", node.push_head()))
        .await;
    assert!(peer.hear().await.starts_with("http/1.1 201 "));

    let endless = "a".repeat(2 * UNWANTED_BODY_BYTES);
    for body in [
        format!("Content-Length: {}\r\n\r\n", UNWANTED_BODY_BYTES + 1),
        "Content-Length: 5\r\n\r\nhel".to_owned(),
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{endless}\r\n",
            endless.len()
        ),
    ] {
        let mut peer = node.peer().await;
        peer.say(format!("{forged}{body}")).await;
        let answer = peer.hear_all().await;
        assert!(answer.starts_with("http/1.1 404 "), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
}

/// RFC 9110 §9.3.7: HAProxy's default check of a server, in both versions of HTTP in which it sends it, and the same for the
/// server as a whole.
#[tokio::test]
async fn a_load_balancer_s_check_is_answered() {
    let node = Node::start().await;
    for (request, allow) in [
        ("OPTIONS / HTTP/1.0\r\n\r\n", "allow: get, head, options\r\n"),
        (
            "OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n",
            "allow: get, head, options\r\n",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
            "allow: delete, get, head, options, post\r\n",
        ),
    ] {
        let mut peer = node.peer().await;
        peer.say(request).await;
        let answer = peer.hear().await;
        assert!(
            answer.starts_with("http/1.1 204 ") || answer.starts_with("http/1.0 204 "),
            "{request}: {answer}"
        );
        assert!(answer.contains(allow), "{request}: {answer}");
    }
}

/// WP-5, R30-MSG-5: a body that says that it is too long is not asked for, and the connection ends after the answer, so
/// that it is never read as a request.
#[tokio::test]
async fn an_unread_body_ends_the_connection() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    let head = node.push_head();
    peer.say(format!(
        "{head}Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n"
    ))
    .await;
    let answer = peer.hear_all().await;
    assert!(answer.starts_with("http/1.1 413 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"));
}

/// A forged URL costs no body: it is refused before one is asked for.
#[tokio::test]
async fn a_forged_url_is_refused_without_its_body() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    peer.say(
        "POST /wpush/v1/forged HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    assert!(peer.hear_all().await.starts_with("http/1.1 404 "));
}

/// A sender that closes its half after a push still gets its answer.
#[tokio::test]
async fn a_half_closed_sender_is_answered() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    peer.say(format!("{}Content-Length: 5\r\n\r\nhello", node.push_head()))
        .await;
    tokio::io::AsyncWriteExt::shutdown(&mut peer.0).await.unwrap();
    assert!(peer.hear_all().await.starts_with("http/1.1 201 "));
}

/// RFC 9112 §3.2, §6.1, RFC 6455 §4.1: what the parser lets pass and a server has to refuse.
#[tokio::test]
async fn bad_http_is_refused() {
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let rows = [
        ("", "http/1.1 400 "),
        ("Host: x\r\nHost: y\r\n", "http/1.1 400 "),
        ("Host: x\r\nTransfer-Encoding: gzip, chunked\r\n", "http/1.1 501 "),
        (
            &format!("Host: x\r\n{upgrade}Content-Length: 5\r\n"),
            "http/1.1 400 ",
        ),
    ];
    let node = Node::start().await;
    for (fields, status) in rows {
        let mut peer = node.peer().await;
        peer.say(format!("GET / HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"))
            .await;
        let answer = peer.hear_all().await;
        assert!(answer.starts_with(status), "{fields:?}: {answer}");
    }
}

/// RFC 9112 §6.1, §6.3, §11.2: the end of a message is never ambiguous. After two different lengths, a hidden
/// transfer coding or incomplete line breaks there is one answer at most, and the connection is closed. After a length and
/// a transfer coding in one head, no second request is read: from a trusted proxy, and from any other peer.
#[tokio::test]
async fn no_request_is_smuggled() {
    for proxies in [vec!["127.0.0.1"], Vec::new()] {
        let setting = Setting {
            proxies,
            ..Setting::default()
        };
        smuggles_nothing(&Node::with(setting).await).await;
    }
}

async fn smuggles_nothing(node: &Node) {
    let inner = format!("{}Content-Length: 1\r\n\r\nx", node.push_head());
    let length = inner.len();
    for fields in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", length + 5),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", length + 5),
        format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: {length}, 0\r\n"),
        format!("Content-Length: +0\r\nX-Length: {length}\r\n"),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip, chunked\r\n".to_owned(),
        "Content-Length: 0\r\nX: y\r\n z: w\r\nContent-Length : 5\r\n".to_owned(),
    ] {
        let mut peer = node.peer().await;
        peer.say(format!("{}{fields}\r\n0\r\n\r\n{inner}", node.push_head()))
            .await;
        let answer = peer.hear_all().await;
        let answers = answer.matches("http/1.1 ").count();
        assert!(answers <= 1, "{fields:?}: {answer}");
    }
}

/// A proxy that passes a chunked body on keeps its connection too; after one that has a length beside it, it does not.
#[tokio::test]
async fn a_proxy_keeps_its_connection() {
    let setting = Setting {
        proxies: vec!["127.0.0.1"],
        ..Setting::default()
    };
    let node = Node::with(setting).await;
    let mut peer = node.peer().await;
    let body = "\r\n5\r\nhello\r\n0\r\n\r\n";
    for _ in 0..2 {
        peer.say(format!(
            "{}Transfer-Encoding: chunked\r\n{body}",
            node.push_head()
        ))
        .await;
        let answer = peer.hear().await;
        assert!(
            answer.starts_with("http/1.1 201 ") && !answer.contains("connection: close"),
            "{answer}"
        );
    }
    let both = "Transfer-Encoding: chunked\r\nContent-Length: 15\r\n";
    peer.say(format!("{}{both}{body}", node.push_head())).await;
    let answer = peer.hear_all().await;
    assert!(
        answer.starts_with("http/1.1 201 ") && answer.contains("\r\nconnection: close\r\n"),
        "{answer}"
    );
}

/// A head of more than `limits.header_bytes` is refused.
#[tokio::test]
async fn a_long_head_is_refused() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    let long = "a".repeat(node_limit());
    peer.say(format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"))
        .await;
    assert!(peer.hear_all().await.starts_with("http/1.1 431 "));
}

fn node_limit() -> usize {
    Setting::default().limits.header_bytes
}

/// `limits.header_within`: a peer that says nothing, or too little for too long, is closed, on its first request and later.
#[tokio::test(start_paused = true)]
async fn a_slow_head_ends_the_connection() {
    let node = Node::start().await;
    for beginning in ["", "P", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut peer = node.peer().await;
        let started = tokio::time::Instant::now();
        peer.say(beginning).await;
        let answer = peer.hear_all().await;
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{beginning:?} was waited for"
        );
        assert!(
            answer.is_empty() || answer.starts_with("http/1.1 408 "),
            "{answer}"
        );
    }
}

/// The same on a connection that has had an answer before: the time runs from the first byte of the next head.
#[tokio::test(start_paused = true)]
async fn a_slow_second_head_ends_the_connection() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    peer.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(peer.hear().await.starts_with("http/1.1 200 "));
    tokio::time::sleep(Duration::from_secs(45)).await;
    let started = tokio::time::Instant::now();
    peer.say("GET / HT").await;
    peer.hear_all().await;
    assert!(started.elapsed() < Duration::from_secs(30));
}

/// A body that does not come in time is answered 408, and the connection ends.
#[tokio::test(start_paused = true)]
async fn a_slow_body_is_told_so() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    peer.say(format!("{}Content-Length: 5\r\n\r\nhel", node.push_head()))
        .await;
    let answer = peer.hear_all().await;
    assert!(answer.starts_with("http/1.1 408 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"));
}

/// `limits.idle_for`: a connection without a request is closed.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    peer.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(peer.hear().await.starts_with("http/1.1 200 "));
    let started = tokio::time::Instant::now();
    peer.hear_all().await;
    assert!(started.elapsed() >= Duration::from_secs(60));
}
