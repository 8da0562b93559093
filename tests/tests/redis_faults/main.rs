//! What becomes of the promise when Redis fails: restarts, failovers, silence, full memory, lost data, lost connections.
//!
//! Each test mistreats real servers while [`traffic`] goes on: a user agent that stays connected, one that is away, and an
//! application server for each of them. In the end what was sent is compared with what came: all that was answered 201 has arrived, in its
//! order, and the channel that was open at the start is open still. What was seen is printed: how long until a sender
//! read 503, and until all was well again.
//!
//! - [`alone`]: the only Redis is killed, falls silent, loads, refuses to write, forgets its scripts.
//! - [`memory`]: it is full, or would evict.
//! - [`lost`]: it comes back empty.
//! - [`isolated`]: a primary that was deposed and does not know it.
//! - [`sentinels`], [`cluster`]: a replica takes over; a slot moves.
//! - [`connections`]: wake-ups are cut off; one node of two is.
//! - [`late`]: it comes after the service.
//! - [`entering`]: passwords, rights, TLS, sealing keys.

mod alone;
mod cluster;
mod connections;
mod entering;
mod isolated;
mod late;
mod lost;
mod memory;
mod sentinels;
mod traffic;

use std::time::{Duration, Instant};

use push_tests::application_server::{Answer, Http};
use push_tests::node::Node;
use push_tests::redis::until;
use push_tests::settings::Settings;
use push_tests::user_agent::{Event, UserAgent};
use push_tests::within;
use serde_json::json;

/// The longest that a sender waits for the answer of a node whose storage is silent: what the service gives a step, three
/// seconds, and as much again for two shared cores.
const TROUBLE_WITHIN: Duration = Duration::from_secs(6);

/// The longest until a node is well again after its storage is. Chosen: the service tries ten times a second; the rest
/// is for two shared cores.
const HEALED_WITHIN: Duration = Duration::from_secs(10);

/// What every node on this Redis is configured with: one public URL, and room for all that waits.
fn settings(url: &str) -> Settings {
    Settings::new()
        .redis(url)
        .set("public_url", "https://push.example")
        .set("limits.queue_messages", 100_000)
        .set("limits.queue_bytes", 1 << 30)
        .set("drain.delay", "0s")
        .set("drain.spread", "0s")
}

/// Waits until `/readyz` has this status; what it says then, and after how long.
async fn ready(node: &Node, status: u16) -> (String, Duration) {
    let began = Instant::now();
    let said = until(&format!("/readyz answers {status}"), || async {
        let answer = node.ask_admin("/readyz").await;
        (answer.status == status).then(|| answer.text())
    })
    .await;
    (said, began.elapsed())
}

/// The answer is that of a storage in trouble: 503, and when to come again (PR-3).
fn is_trouble(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
}

/// An application server that has connected to a node.
async fn sender(node: &Node) -> Http {
    Http::connect(&node.connector()).await.expect("the node listens")
}

/// A known user agent is closed with 1013, and told no identity (PR-3). Returns after how long.
async fn hello_is_trouble(node: &Node, uaid: &str) -> Duration {
    let began = Instant::now();
    let mut agent = UserAgent::connect(&node.connector()).await;
    agent
        .send(&json!({"messageType": "hello", "use_webpush": true, "uaid": uaid}))
        .await;
    match within("hello is answered", agent.event()).await {
        Event::Closed(closed) => assert_eq!(closed.code, 1013, "{closed:?}"),
        other => panic!("a close was expected, not {other:?}"),
    }
    began.elapsed()
}

/// A user agent comes back as who it was.
async fn returns(node: &Node, uaid: &str) -> UserAgent {
    let (agent, given) = UserAgent::arrive(&node.connector(), Some(uaid)).await;
    assert_eq!(given, uaid);
    agent
}
