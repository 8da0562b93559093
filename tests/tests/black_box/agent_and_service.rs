//! The user agent's command and a service that restarts, forgets, or was never one.

use std::fs;
use std::time::Duration;

use push_tests::listener::Agent;
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::within;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// "send: the subscription is gone; forget it."
const GONE: i32 = 5;

/// How long a service that closes at once is watched.
const WATCHED: Duration = Duration::from_secs(2);
/// As many connections as may be made in that time: one each 100 ms at most, and the first.
const CONNECTIONS: usize = 21;
/// Time on a processor in that time, in hundredths of a second; a busy loop takes 200.
const TICKS: u64 = 40;

/// PR-1, PR-36: a service that is killed, or that leaves, is found again; what it accepted meanwhile arrives.
#[tokio::test]
async fn a_service_that_restarts_is_found_again() {
    let mut node = Node::start(Settings::new().set("drain.delay", "0s")).await;
    let agent = Agent::at(&node.connector());
    let subscription = agent.subscribe("door", &[]).await;
    let mut listener = agent.listen(&[]);
    listener.says(&["connected"]).await;

    node.kill().await;
    listener.says(&["again in"]).await;
    node.start_again().await;
    agent.send(&subscription, "after a kill").await;
    listener.receives("door", "after a kill").await;

    node.terminate();
    assert!(node.ended().await.0.success());
    node.start_again().await;
    agent.send(&subscription, "after a drain").await;
    listener.receives("door", "after a drain").await;
    listener.terminate();
    assert!(listener.ended().await.success());
    assert_eq!(agent.subscribe("door", &[]).await, subscription);
}

/// Asked for everything, the log tells what happens, and nothing that is secret: URLs, the identity, the text.
#[tokio::test]
async fn the_log_tells_what_happens_and_no_secret() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    let subscription = agent.subscribe("door", &[]).await;
    agent.send(&subscription, "between us").await;
    let mut listener = agent.listen(&["-vvv", "--count", "1"]);
    listener.receives("door", "between us").await;
    assert!(listener.ended().await.success());
    let log = listener.log().text();
    for told in [
        "connecting",
        "a message arrived",
        "acknowledging",
        "Succeeded",
        "\"door\"",
    ] {
        assert!(log.contains(told), "{told}: {log}");
    }
    let subscription: Value = serde_json::from_str(&subscription).unwrap();
    let state = fs::read_to_string(agent.state.join("state.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    let secrets = [
        subscription["endpoint"].as_str().unwrap(),
        subscription["keys"]["auth"].as_str().unwrap(),
        state["state"]["identity"].as_str().unwrap(),
        "between us",
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

/// WP-RFR-2: a service that lost everything gets the subscriptions anew, with other keys; that is said, shown by `list`, and
/// said again until `subscribe` has printed the new one. The old one is dead.
#[tokio::test]
async fn what_a_service_lost_is_made_anew() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let mut node = Node::start(Settings::new().data_directory(&data)).await;
    let agent = Agent::at(&node.connector());
    let old = agent.subscribe("door", &[]).await;
    let mut listener = agent.listen(&[]);
    listener.says(&["connected"]).await;

    node.kill().await;
    fs::remove_dir_all(&data).unwrap();
    node.start_again().await;
    listener
        .says(&["door", "the service lost this subscription"])
        .await;
    let listed = agent.list().await;
    assert!(listed.contains("\"renewed\""), "{listed}");
    listener.terminate();
    assert!(listener.ended().await.success());

    let mut listener = agent.listen(&[]);
    listener
        .says(&["door", "the service lost this subscription"])
        .await;
    listener.terminate();
    assert!(listener.ended().await.success());

    let new = agent.subscribe("door", &[]).await;
    assert!(listed.contains(&new), "{new} is not in {listed}");
    let keys = |subscription: &str| subscription.split_once("\"keys\"").expect("keys").1.to_owned();
    assert_ne!(keys(&new), keys(&old));
    assert!(agent.list().await.contains("\"ready\""));
    agent.try_send(&old, "to the old one").await.fails_with(GONE, &[]);
    agent.send(&new, "to the new one").await;
    let mut listener = agent.listen(&["--count", "1"]);
    listener.receives("door", "to the new one").await;
    assert!(listener.ended().await.success());
    assert!(
        !listener.log().text().contains("lost"),
        "{}",
        listener.log().text()
    );
}

/// A service that closes each connection at once is left in peace: few connections, and no busy waiting.
#[tokio::test]
async fn a_service_that_closes_at_once_is_not_stormed() {
    let settings = Settings::new();
    let address = settings.address();
    let node = Node::start(settings).await;
    let agent = Agent::at(&node.connector());
    agent.subscribe("door", &[]).await;

    let silent = TcpListener::bind((address, 0)).await.unwrap();
    let agent = agent.moved_to(&format!("ws://{}/", silent.local_addr().unwrap()));
    let mut listener = agent.listen(&[]);
    drop(within("it connects", silent.accept()).await.unwrap());
    let mut connections = 1;
    let ticks = listener.processor_ticks();
    // Running out is how it ends.
    let _ = timeout(WATCHED, async {
        loop {
            drop(silent.accept().await.unwrap());
            connections += 1;
        }
    })
    .await;
    let ticks = listener.processor_ticks() - ticks;
    assert!(connections <= CONNECTIONS, "{connections} connections");
    assert!(ticks <= TICKS, "{ticks} hundredths of a second on a processor");
    listener.says(&["again in"]).await;
    listener.terminate();
    assert!(listener.ended().await.success());
}
