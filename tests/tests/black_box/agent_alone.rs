//! The user agent's command and what is its own: its state, its certificates, its end.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use push_tests::listener::Agent;
use push_tests::node::Node;
use push_tests::settings::Settings;
use rustix::process::Signal;
use tempfile::TempDir;

/// "The state directory is missing, in use, damaged or not writable."
const STATE: i32 = 3;
/// "The push service can't be reached, or didn't answer in time."
const UNREACHABLE: i32 = 4;

/// Names and contents of a directory's files; but for the lock, in which each process writes its number.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.file_name() != "lock")
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

/// A service that can be reached over TLS only.
async fn secure() -> Node {
    let nowhere = Vec::<String>::new();
    Node::start(Settings::new().tls().set("listen.http", nowhere)).await
}

/// A service with a private CA is trusted by `--ca`, by all that connects, and nothing has to be said about it.
#[tokio::test]
async fn a_private_ca_is_trusted() {
    let node = secure().await;
    let certificate = node.certificate().certificate.display().to_string();
    let agent = Agent::at(&node.tls_connector()).connecting_with(&["--ca", &certificate]);
    let subscription = agent.subscribe("door", &[]).await;
    agent.send(&subscription, "hello").await;
    let mut listener = agent.listen(&[]);
    listener.receives("door", "hello").await;
    listener.terminate();
    assert!(listener.ended().await.success());
    assert!(
        !listener.log().text().contains("certificate"),
        "{}",
        listener.log().text()
    );
}

/// `--insecure` accepts the same service without its CA, and says each time what that means.
#[tokio::test]
async fn insecure_says_so() {
    let node = secure().await;
    let agent = Agent::at(&node.tls_connector()).connecting_with(&["--insecure"]);
    let subscribed = agent.try_subscribe("door", &[]).await;
    assert_eq!(subscribed.code, Some(0), "{}", subscribed.said);
    let sent = agent.try_send(&subscribed.output, "hello").await;
    assert_eq!(sent.code, Some(0), "{}", sent.said);
    let mut listener = agent.listen(&[]);
    listener.receives("door", "hello").await;
    for said in [subscribed.said, sent.said, listener.log().text()] {
        assert!(said.contains("any certificate is accepted"), "{said}");
    }
}

/// A certificate that no authority has signed is refused, with the sentence that says what to do. Who subscribes or sends fails;
/// who listens tries again, because it may be mended.
#[tokio::test]
async fn an_untrusted_certificate_is_refused() {
    let node = secure().await;
    let certificate = node.certificate().certificate.display().to_string();
    let stranger = Agent::at(&node.tls_connector());
    let refused = stranger.try_subscribe("door", &["--timeout", "1"]).await;
    refused.fails_with(UNREACHABLE, &["this machine does not trust the CA", "--ca FILE"]);

    // The file is remembered, and has another certificate when it is read again.
    let directory = TempDir::new().expect("a directory can be made");
    let named = directory.path().join("certificate.pem");
    fs::copy(&certificate, &named).expect("the certificate");
    let agent = stranger.connecting_with(&["--ca", &named.display().to_string()]);
    let subscription = agent.subscribe("door", &[]).await;
    let agent = agent.connecting_with(&[]);
    let sent = agent.try_send(&subscription, "hello").await;
    sent.fails_with(UNREACHABLE, &["certificate"]);
    let other = secure().await;
    fs::copy(&other.certificate().certificate, &named).expect("the other certificate");
    let mut listener = agent.listen(&[]);
    listener
        .says(&["another key signed it", "--ca FILE", "again in"])
        .await;
    listener.terminate();
    assert!(listener.ended().await.success());
}

/// A state directory belongs to one process: a second one names it and leaves it alone. `list` may look, and `subscribe` and
/// `unsubscribe` are done by the process that has it.
#[tokio::test]
async fn a_state_in_use_is_refused() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    let subscription = agent.subscribe("door", &[]).await;
    let listed = agent.list().await;
    let mut listener = agent.listen(&[]);
    listener.says(&["connected"]).await;

    let holder = format!("process {}", listener.pid().as_raw_nonzero());
    let words = [agent.state.to_str().unwrap(), "in use", &holder];
    agent.try_listen(&[]).await.fails_with(STATE, &words);
    assert_eq!(agent.list().await, listed);
    agent.subscribe("window", &[]).await;
    assert_ne!(agent.list().await, listed);
    assert_eq!(agent.try_unsubscribe("window").await.code, Some(0));
    assert_eq!(agent.list().await, listed);

    agent.send(&subscription, "hello").await;
    listener.receives("door", "hello").await;
}

/// PR-3: a damaged state is refused with its file and not touched: that subscriptions are gone is never guessed.
#[tokio::test]
async fn a_damaged_state_is_refused() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    agent.subscribe("door", &[]).await;
    let file = agent.state.join("state.json");
    let whole = fs::read(&file).expect("the state");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [flipped, whole[..whole.len() / 2].to_vec(), Vec::new()] {
        fs::write(&file, damaged).expect("the state");
        let before = files(&agent.state);
        let words = [file.to_str().unwrap(), "damaged", "Nothing was changed"];
        agent.try_listen(&[]).await.fails_with(STATE, &words);
        agent.try_subscribe("door", &[]).await.fails_with(STATE, &words);
        agent.try_list().await.fails_with(STATE, &words);
        assert_eq!(files(&agent.state), before);
    }
    fs::write(&file, whole).expect("the state");
    agent.subscribe("door", &[]).await;
}

/// PR-5: with no room for the state nothing is subscribed, printed or asked of the service, and what is missing is said.
#[tokio::test]
async fn a_full_disk_is_refused() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector()).disk_bytes(4 << 10);
    let refused = agent.try_subscribe("door", &[]).await;
    refused.fails_with(STATE, &["Free some space"]);
}

/// SIGTERM while nothing is to be done ends it within a second, well.
#[tokio::test]
async fn an_idle_agent_ends_at_once() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    agent.subscribe("door", &[]).await;
    let mut listener = agent.listen(&[]);
    listener.says(&["connected"]).await;
    let asked = Instant::now();
    listener.terminate();
    let ended = listener.ended().await;
    assert!(ended.success(), "{ended}: {}", listener.log().text());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

/// SIGHUP and SIGQUIT end `listen` in order, as SIGTERM does; SIGUSR1 and
/// SIGUSR2 end nothing.
#[tokio::test]
async fn signals_end_it_in_order() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    let subscription = agent.subscribe("door", &[]).await;
    for end in [Signal::HUP, Signal::QUIT, Signal::TERM, Signal::INT] {
        let mut listener = agent.listen(&[]);
        listener.says(&["connected"]).await;
        for nothing in [Signal::USR1, Signal::USR2] {
            listener.signal(nothing);
        }
        agent.send(&subscription, "after them").await;
        listener.receives("door", "after them").await;
        listener.signal(end);
        let status = listener.ended().await;
        assert!(status.success(), "{end:?}: {status}: {}", listener.log().text());
    }
}
