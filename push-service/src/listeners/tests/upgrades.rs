//! From HTTP to a channel.

use std::net::IpAddr;

use super::rig::{HELLO, Node, Peer, Setting, UPGRADE, frame};
use crate::channels::websocket_channel_bytes;
use crate::listeners::{Permit, Stream};

/// Hot path: an idle channel is this future, its handle and its session's empty lists. It has to stay small.
#[test]
fn a_channel_is_small() {
    let size = websocket_channel_bytes::<Stream, Permit>();
    println!(
        "{size} bytes, {} of them the channel's",
        websocket_channel_bytes::<(), ()>()
    );
    assert!(size <= 512, "{size} bytes");
}

/// WS-CON-1, WS-CON-2: after 101 the connection is handed over whole: what came with the request, and then the stream.
#[tokio::test]
async fn an_upgraded_connection_is_handed_over() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    let firefox = UPGRADE.replace(
        "Upgrade: w",
        "Sec-WebSocket-Protocol: push-notification\r\nUpgrade: w",
    );
    // The first frame comes in two parts: one with the request, one behind the answer.
    let hello = frame(1, HELLO);
    let (early, later) = hello.split_at(10);
    peer.say([firefox.as_bytes(), early].concat()).await;
    let answer = peer.hear().await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="));
    assert!(answer.contains("sec-websocket-protocol: push-notification"));

    peer.say(later).await;
    let reply = peer.hear_some().await;
    assert!(reply.contains(r#""messagetype":"hello""#), "{reply}");
    peer.say(frame(8, "")).await;
    peer.hear_all().await;
}

/// WS-CON-1, KU-1: a channel opens at any path but those of resources; with a secret only at its path.
#[tokio::test]
async fn channels_open_where_they_may() {
    let open = Node::start().await;
    let closed = Node::with(Setting {
        secret: Some("s3cret"),
        ..Setting::default()
    })
    .await;
    let rows = [
        (&open, "/", 101),
        (&open, "/any/path?x", 101),
        (&open, "/push/x", 405),
        (&open, "/wpush/v1/x", 405),
        (&open, "/subscribe", 405),
        (&open, "/subscription/x", 404),
        (&open, "/%70ush/x", 405),
        (&open, "/%73ubscription/x", 404),
        (&closed, "/s3cret", 101),
        (&closed, "/s3%63%72et", 101),
        (&closed, "/%2Fs3cret", 404),
        (&closed, "/", 404),
        (&closed, "/s3cres", 404),
    ];
    for (node, path, status) in rows {
        let mut peer = node.peer().await;
        peer.say(UPGRADE.replace("GET /", &format!("GET {path}"))).await;
        let answer = peer.hear().await;
        assert!(
            answer.starts_with(&format!("http/1.1 {status} ")),
            "{path}: {answer}"
        );
    }
}

/// RFC 6455 §4.2.2: another version is answered 426 with ours; the connection goes on as HTTP.
#[tokio::test]
async fn another_version_is_told_ours() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    peer.say(UPGRADE.replace("Version: 13", "Version: 8")).await;
    let answer = peer.hear().await;
    assert!(answer.starts_with("http/1.1 426 "), "{answer}");
    assert!(answer.contains("sec-websocket-version: 13"));
    peer.say(UPGRADE).await;
    assert!(peer.hear().await.starts_with("http/1.1 101 "));
}

/// `limits.connections`: a place is taken until the channel ends, not until HTTP does.
#[tokio::test]
async fn the_permit_travels_with_the_channel() {
    let mut setting = Setting::default();
    setting.limits.connections = 1;
    let node = Node::with(setting).await;
    let mut first = node.peer().await;
    first.say([UPGRADE.as_bytes(), &frame(1, HELLO)].concat()).await;
    first.hear().await;
    let reply = first.hear_some().await;
    assert!(
        reply.contains("hello"),
        "HTTP is over on this connection: {reply}"
    );
    assert_eq!(node.peer().await.hear_all().await, "");
    drop(first);
    while !node
        .metrics
        .render()
        .contains("\npush_service_connections{listener=\"http\"} 0\n")
    {
        tokio::task::yield_now().await;
    }
    assert!(
        upgrade(&mut node.peer().await, "")
            .await
            .starts_with("http/1.1 101 ")
    );
}

/// `limits.connections_per_address`: a channel that comes through a trusted proxy counts for the client that the proxy
/// names; what anybody else writes there counts for nothing.
#[tokio::test]
async fn channels_behind_a_proxy_count_for_their_client() {
    let mut setting = Setting {
        proxies: vec!["127.0.0.1"],
        ..Setting::default()
    };
    setting.limits.connections_per_address = 1;
    let node = Node::with(setting).await;
    let mut channels = Vec::new();
    for (client, status) in [("203.0.113.1", 101), ("203.0.113.1", 429), ("203.0.113.2", 101)] {
        let mut peer = node.peer().await;
        let answer = upgrade(&mut peer, &format!("X-Forwarded-For: 198.51.100.9, {client}\r\n")).await;
        assert!(
            answer.starts_with(&format!("http/1.1 {status} ")),
            "{client}: {answer}"
        );
        if status == 101 {
            channels.push(peer);
        }
    }
}

/// `limits.connections_per_address`: a client whose address the trusted proxy does not know counts as the proxy. What it
/// wrote into other fields, or behind a PROXY header, neither frees it nor names another client.
#[tokio::test]
async fn a_client_without_an_address_counts_as_its_proxy() {
    let mut setting = Setting {
        proxies: vec!["127.0.0.1"],
        ..Setting::default()
    };
    setting.limits.connections_per_address = 1;
    let node = Node::with(setting).await;
    let mut channels = Vec::new();
    let rows = [
        ("", "X-Forwarded-For: unknown\r\n", 101),
        ("", "X-Forwarded-For: unknown\r\n", 429),
        ("", "X-Forwarded-For: 203.0.113.1, \r\n", 429),
        ("", "X-Forwarded-For:\r\n", 429),
        ("", "Forwarded: for=203.0.113.1\r\nX-Forwarded-For: _\r\n", 429),
        (
            "",
            "Forwarded: for=unknown\r\nX-Forwarded-For: 203.0.113.1\r\n",
            101,
        ),
        (
            "",
            "Forwarded: for=203.0.113.2\r\nX-Forwarded-For: 203.0.113.1\r\n",
            429,
        ),
        (
            "PROXY TCP4 203.0.113.2 127.0.0.1 1 2\r\n",
            "X-Forwarded-For: 203.0.113.9\r\n",
            101,
        ),
    ];
    for (before, fields, status) in rows {
        let mut peer = node.peer().await;
        peer.say(before).await;
        let answer = upgrade(&mut peer, fields).await;
        let expected = format!("http/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{before}{fields}: {answer}");
        if status == 101 {
            channels.push(peer);
        }
    }
    // The proxy has a channel already.
    let mut hidden = node.peer().await;
    hidden
        .say(format!(
            "PROXY UNKNOWN\r\n{}",
            UPGRADE.replace("Host: x\r\n", "Host: x\r\nX-Forwarded-For: 203.0.113.9\r\n")
        ))
        .await;
    assert_eq!(hidden.hear_all().await, "");
}

async fn upgrade(peer: &mut Peer, field: &str) -> String {
    peer.say(UPGRADE.replace("Host: x\r\n", &format!("Host: x\r\n{field}")))
        .await;
    peer.hear().await
}

/// A trusted proxy's PROXY header says whose the connection is, before TLS and HTTP.
#[tokio::test]
async fn a_proxy_header_says_whose_it_is() {
    let mut setting = Setting {
        proxies: vec!["127.0.0.1"],
        ..Setting::default()
    };
    setting.limits.connections_per_address = 1;
    let node = Node::with(setting).await;
    let mut first = node.peer().await;
    first.say("PROXY TCP4 203.0.113.1 127.0.0.1 4711 80\r\n").await;
    assert!(upgrade(&mut first, "").await.starts_with("http/1.1 101 "));

    let client: IpAddr = [203, 0, 113, 1].into();
    let mut again = node.peer().await;
    again
        .say(format!("PROXY TCP4 {client} 127.0.0.1 4712 80\r\n{UPGRADE}"))
        .await;
    assert_eq!(again.hear_all().await, "");

    let mut other = node.peer().await;
    other.say("PROXY TCP4 203.0.113.2 127.0.0.1 4713 80\r\n").await;
    assert!(upgrade(&mut other, "").await.starts_with("http/1.1 101 "));
}

/// A stranger's PROXY header is not one: it is no HTTP either.
#[tokio::test]
async fn a_strangers_proxy_header_is_refused() {
    let node = Node::start().await;
    let mut peer = node.peer().await;
    peer.say(format!("PROXY TCP4 203.0.113.1 127.0.0.1 4711 80\r\n{UPGRADE}"))
        .await;
    assert!(peer.hear_all().await.starts_with("http/1.1 400 "));
}
