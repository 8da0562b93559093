//! PR-42: connections and requests of an address without tokens.

use tokio::time::Instant;

use super::http2::push;
use super::rig::{Node, Setting, UPGRADE};
use crate::config::IpNetwork;
use crate::defaults::{
    BUDGET_PATIENCE, COST_CHANNEL, COST_CONNECTION, COST_PUSH, COST_REQUEST, HEADER_WITHIN,
    HTTP2_GOODBYE_WITHIN,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// The burst of an address that earns nearly no tokens.
const BURST: u32 = 10_000;

fn poor() -> Setting {
    let mut setting = Setting::default();
    setting.limits.work_per_address = 1;
    setting.limits.work_per_address_burst = BURST;
    setting
}

/// PR-42: requests cost their address tokens, also those to an unknown path. Without tokens a request is answered 429
/// after a while, with `Retry-After`, and a new connection is closed at once, but not one of an unlimited network.
#[tokio::test(start_paused = true)]
async fn an_address_without_tokens_is_refused() {
    for (unlimited, is_refused) in [("192.0.2.0/24", true), ("127.0.0.0/8", false)] {
        let mut setting = poor();
        setting.limits.unlimited_networks = vec![IpNetwork::parse(unlimited).unwrap()];
        let node = Node::with(setting).await;
        let mut peer = node.peer().await;
        for _ in 0..(BURST - COST_CONNECTION) / COST_REQUEST {
            peer.say(GET).await;
            assert!(peer.hear().await.starts_with("http/1.1 200 "));
        }
        let started = Instant::now();
        peer.say("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let answer = peer.hear().await;
        let mut next = node.peer().await;
        if is_refused {
            assert!(answer.starts_with("http/1.1 429 "), "{answer}");
            assert!(answer.contains("retry-after: "), "{answer}");
            assert!(started.elapsed() >= BUDGET_PATIENCE);
            assert_eq!(next.hear_all().await, "");
        } else {
            assert!(answer.starts_with("http/1.1 404 "), "{answer}");
            next.say(GET).await;
            assert!(next.hear().await.starts_with("http/1.1 200 "));
        }
    }
}

/// PR-42: opening channels costs the address of the user agent, as a trusted proxy names it; the proxy itself has no budget.
#[tokio::test(start_paused = true)]
async fn a_proxy_s_client_pays() {
    let mut setting = poor();
    setting.proxies = vec!["127.0.0.1"];
    let node = Node::with(setting).await;
    let mut opened = Vec::new();
    let mut upgrade = async |client: &str| {
        let mut peer = node.peer().await;
        let field = format!("Host: x\r\nX-Forwarded-For: {client}\r\n");
        peer.say(UPGRADE.replace("Host: x\r\n", &field)).await;
        let answer = peer.hear().await;
        opened.push(peer);
        answer
    };
    for _ in 0..BURST / COST_CHANNEL {
        assert!(upgrade("203.0.113.1").await.starts_with("http/1.1 101 "));
    }
    let refused = upgrade("203.0.113.1").await;
    assert!(
        refused.starts_with("http/1.1 429 ") && refused.contains("retry-after: "),
        "{refused}"
    );
    assert!(upgrade("203.0.113.2").await.starts_with("http/1.1 101 "));
}

/// PR-42: a request that is refused because of how it is spelled costs tokens too.
#[tokio::test]
async fn a_malformed_request_is_paid_for() {
    let node = Node::with(poor()).await;
    for _ in 0..BURST / (COST_CONNECTION + COST_REQUEST) {
        let mut peer = node.peer().await;
        peer.say("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n").await;
        assert!(peer.hear().await.starts_with("http/1.1 400 "));
    }
    let started = Instant::now();
    assert_eq!(node.peer().await.hear_all().await, "");
    assert!(started.elapsed() < HEADER_WITHIN / 2, "it is closed at once");
}

/// PR-42: an HTTP/2 connection on which a request was refused for its address's budget is ended, because it could bring
/// hundreds of requests at a time.
#[tokio::test]
async fn a_refusal_ends_an_http2_connection() {
    let node = Node::with(poor()).await;
    let socket = tokio::net::TcpStream::connect(node.address).await.unwrap();
    let (requests, connection) = h2::client::handshake(socket).await.unwrap();
    let ended = tokio::spawn(connection);
    for _ in 0..(BURST - COST_CONNECTION) / COST_PUSH {
        assert_eq!(push(&requests, &node.path, 10).await.status(), 201);
    }
    assert!(!ended.is_finished());
    assert_eq!(push(&requests, &node.path, 10).await.status(), 429);
    let ended = tokio::time::timeout(HTTP2_GOODBYE_WITHIN, ended).await;
    ended.expect("it is told to go").unwrap().unwrap();
}
