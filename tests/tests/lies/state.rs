//! The state directory: whom it belongs to, and who may use it.

use std::fs;
use std::os::unix::fs::symlink;

use push_tests::liar::http2;
use push_tests::liar::web_socket::{Liar, Lies};
use push_tests::listener::Agent;
use push_tests::node::Node;
use push_tests::settings::Settings;

/// "the command line, or a file that it names, has to be changed"
const USAGE: i32 = 2;
/// "the state directory is missing, in use, damaged or not writable"
const STATE: i32 = 3;
/// "the push service can't be reached, refuses, or didn't answer in time"
const UNREACHABLE: i32 = 4;

/// PR-43: a typo in the first `--server` binds the state to nothing: the right URL is taken afterwards.
#[tokio::test]
async fn a_typo_in_the_first_server_binds_nothing() {
    let liar = Liar::start(Lies::default()).await;
    let typo = Agent::of("ws://localhost:1/");
    let refused = typo.try_subscribe("door", &["--timeout", "1"]).await;
    refused.fails_with(UNREACHABLE, &[]);
    let agent = typo.moved_to(&liar.url());
    let subscription = agent.subscribe("door", &[]).await;
    liar.pushes(&subscription, "1", "arrived");
    agent.listen(&[]).receives("door", "arrived").await;
}

/// PR-3, PR-43: a `state.json` that leads to a volume which is not mounted is not an empty state: nothing is replaced.
#[tokio::test]
async fn a_volume_that_is_not_mounted_is_no_empty_state() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    let subscription = agent.subscribe("door", &[]).await;
    let file = agent.state.join("state.json");
    let elsewhere = agent.state.with_extension("volume");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(agent.state.with_extension("not-mounted"), &file).unwrap();
    for refused in [
        agent.try_subscribe("door", &[]).await,
        agent.try_listen(&[]).await,
    ] {
        refused.fails_with(STATE, &["state.json", "link"]);
    }
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
    fs::remove_file(&file).unwrap();
    fs::rename(&elsewhere, &file).unwrap();
    assert_eq!(agent.subscribe("door", &[]).await, subscription);
}

/// PR-43: a deleted `lock` lets no second user agent in.
#[tokio::test]
async fn a_deleted_lock_does_not_open_the_directory() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    agent.subscribe("door", &[]).await;
    let mut listener = agent.listen(&[]);
    listener.says(&["connected"]).await;
    fs::remove_file(agent.state.join("lock")).unwrap();
    agent.try_listen(&[]).await.fails_with(STATE, &["in use"]);
    listener.terminate();
    assert!(listener.ended().await.success());
}

/// PR-43, R30-SUB-3: once a service has confirmed something, another service and another transport are refused at once.
#[tokio::test]
async fn a_confirmed_state_stays_with_its_service_and_transport() {
    let liar = http2::Liar::start(http2::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    agent.subscribe("door", &[]).await;
    let other = agent.try_listen(&["--transport", "websocket"]).await;
    other.fails_with(USAGE, &["use --transport http2, or another"]);
    let other = agent.moved_to("https://elsewhere.example/").try_listen(&[]).await;
    other.fails_with(USAGE, &["belongs to the service at"]);
}
