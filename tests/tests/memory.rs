//! What an idle session costs: memory within its budget, every descriptor given back, nothing that stays behind.
//!
//! The user agents are bare sockets of this process; what is measured is the service's own memory. Limits are twice
//! the budgets of `benches/src/budgets.rs`, because a test must fail for a reason and not for a warm cache.

use std::io;
use std::time::Duration;

use futures_util::future::try_join_all;
use push_tests::connector::Connector;
use push_tests::frames::{RawWebSocket, opcode};
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::new_name;
use push_tests::within;
use serde_json::{Value, json};

/// Sessions that are held idle.
const SESSIONS: usize = 5_000;
/// Sessions that are opened at the same time: fewer than the listener's backlog.
const AT_ONCE: usize = 100;
/// What another round of sessions may leave behind, per session: allocators keep some of what they had.
const RESIDUE_BYTES: u64 = 200;

/// Rounds that a leak would grow in, one by one.
const ROUNDS: u32 = 4;
/// Twice the budget of 2 KB.
const CLEAR_BYTES: u64 = 4 * 1_024;
/// Twice the budget of 6 KB.
const TLS_BYTES: u64 = 12 * 1_024;

/// An idle WebSocket in clear stays within its budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sessions_in_clear() {
    let node = Node::start(Settings::new()).await;
    measure(&node, &node.connector(), CLEAR_BYTES).await;
}

/// An idle WebSocket over TLS stays within its budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sessions_over_tls() {
    let node = Node::start(Settings::new().tls()).await;
    measure(&node, &node.tls_connector(), TLS_BYTES).await;
}

/// New user agents, each with its subscription, must stay within the budget; when the same ones come back they must add
/// next to nothing, at the latest when the allocator has settled: a leak adds as much each time. After each round the
/// descriptors are back where they were.
async fn measure(node: &Node, connector: &Connector, budget: u64) {
    drop(open(connector, &vec![None; AT_ONCE]).await);
    let descriptors = settled_descriptors(node, 0).await;
    let before = node.resident_bytes();
    let sessions = open(connector, &vec![None; SESSIONS]).await;
    let known: Vec<_> = sessions
        .iter()
        .map(|session| Some(session.uaid.clone()))
        .collect();
    let first = node.resident_bytes();
    let each = first.saturating_sub(before) / SESSIONS as u64;
    println!("{SESSIONS} idle sessions: {each} bytes each, {before} before");
    assert!(
        each <= budget,
        "an idle session takes {each} bytes, more than {budget}"
    );
    drop(sessions);
    settled_descriptors(node, descriptors).await;

    let mut most = first;
    for round in 2..=ROUNDS {
        let sessions = open(connector, &known).await;
        let resident = node.resident_bytes();
        let grown = resident.saturating_sub(most) / SESSIONS as u64;
        most = most.max(resident);
        println!("round {round} added {grown} bytes each");
        drop(sessions);
        settled_descriptors(node, descriptors).await;
        if grown < RESIDUE_BYTES {
            return;
        }
    }
    panic!("each of {ROUNDS} rounds of the same sessions added {RESIDUE_BYTES} bytes or more");
}

/// A connected user agent with a subscription.
struct Session {
    uaid: String,
    _socket: RawWebSocket,
}

/// Opens a session for each of these identities, or for a new user agent.
async fn open(connector: &Connector, identities: &[Option<String>]) -> Vec<Session> {
    let mut sessions = Vec::with_capacity(identities.len());
    for batch in identities.chunks(AT_ONCE) {
        let opened = try_join_all(batch.iter().map(|uaid| greeted(connector, uaid.as_deref())));
        sessions.extend(
            within("sessions are opened", opened)
                .await
                .expect("sessions are opened"),
        );
    }
    sessions
}

async fn greeted(connector: &Connector, uaid: Option<&str>) -> io::Result<Session> {
    let mut socket = RawWebSocket::connect(connector).await?;
    let hello = json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
    let reply = ask(&mut socket, &hello).await?;
    let given = reply["uaid"].as_str().expect("a uaid").to_owned();
    match uaid {
        Some(uaid) => assert_eq!(given, uaid),
        None => {
            let register = json!({"messageType": "register", "channelID": new_name()});
            assert_eq!(ask(&mut socket, &register).await?["status"], 200);
        }
    }
    Ok(Session {
        uaid: given,
        _socket: socket,
    })
}

async fn ask(socket: &mut RawWebSocket, message: &Value) -> io::Result<Value> {
    socket.send(opcode::TEXT, message.to_string().as_bytes()).await?;
    let (_, reply) = socket.receive().await?;
    serde_json::from_slice(&reply).map_err(io::Error::other)
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
