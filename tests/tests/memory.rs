//! What an idle session costs: memory within its budget, every descriptor given back, nothing that stays behind.
//!
//! The user agents are bare sockets of this process; what is measured is the service's own memory. Budgets are twice
//! those of DESIGN §6, because a test must fail for a reason and not for a warm cache.

use futures_util::future::try_join_all;
use push_tests::door::Door;
use push_tests::frames::{RawWebSocket, opcode};
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::within;
use std::io;
use std::time::Duration;

/// Sessions that are held idle.
const SESSIONS: usize = 5_000;
/// Sessions that are opened at the same time: fewer than the listener's backlog.
const AT_ONCE: usize = 100;
/// What another round of sessions may leave behind, per session: allocators keep some of what they had.
const RESIDUE_BYTES: u64 = 200;

/// Twice the 2 KB of DESIGN §6.
const CLEAR_BYTES: u64 = 4 * 1_024;
/// Twice the 6 KB of DESIGN §6.
const TLS_BYTES: u64 = 12 * 1_024;

/// DESIGN §6: an idle WebSocket in clear stays within its budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sessions_in_clear() {
    let node = Node::start(Settings::new()).await;
    measure(&node, &node.door(), CLEAR_BYTES).await;
}

/// DESIGN §6: an idle WebSocket over TLS stays within its budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sessions_over_tls() {
    let node = Node::start(Settings::new().tls()).await;
    measure(&node, &node.tls_door(), TLS_BYTES).await;
}

/// Two rounds of sessions: the first must stay within the budget, the second must add next to nothing, and after each
/// the descriptors are back where they were.
async fn measure(node: &Node, door: &Door, budget: u64) {
    drop(open(door, AT_ONCE).await);
    let descriptors = settled_descriptors(node, 0).await;
    let before = node.resident_bytes();
    let sessions = open(door, SESSIONS).await;
    let first = node.resident_bytes();
    let each = first.saturating_sub(before) / SESSIONS as u64;
    println!("{SESSIONS} idle sessions: {each} bytes each, {before} before");
    assert!(
        each <= budget,
        "an idle session takes {each} bytes, more than {budget}"
    );
    drop(sessions);
    settled_descriptors(node, descriptors).await;

    let sessions = open(door, SESSIONS).await;
    let grown = node.resident_bytes().saturating_sub(first) / SESSIONS as u64;
    println!("a second round added {grown} bytes each");
    assert!(
        grown < RESIDUE_BYTES,
        "a second round of sessions added {grown} bytes each"
    );
    drop(sessions);
    settled_descriptors(node, descriptors).await;
}

async fn open(door: &Door, count: usize) -> Vec<RawWebSocket> {
    let mut sessions = Vec::with_capacity(count);
    while sessions.len() < count {
        let batch = (0..AT_ONCE).map(|_| greeted(door));
        sessions.extend(
            within("sessions are opened", try_join_all(batch))
                .await
                .expect("sessions are opened"),
        );
    }
    sessions
}

async fn greeted(door: &Door) -> io::Result<RawWebSocket> {
    let mut socket = RawWebSocket::connect(door).await?;
    socket
        .send(opcode::TEXT, br#"{"messageType":"hello","use_webpush":true}"#)
        .await?;
    socket.receive().await?;
    Ok(socket)
}

/// Waits until the service holds no more than `expected` descriptors, or, told 0, until their number rests.
async fn settled_descriptors(node: &Node, expected: usize) -> usize {
    let rests = async {
        let mut last = usize::MAX;
        loop {
            let now = node.descriptors();
            if (expected == 0 && now == last) || (expected > 0 && now <= expected) {
                return now;
            }
            last = now;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("the descriptors are given back", rests).await
}
