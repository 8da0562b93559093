//! What counts as an attempt at a message, and what doesn't.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use push_tests::listener::{Agent, Listener};
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::within;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::lies::{OUTAGE, deliver};

/// Messages that wait while nothing works.
const WAITING: usize = 40;

/// How often the handler fails in an outage. Chosen: more often than a message has attempts, and in less than 8 s.
const FAILURES: u32 = 5;

/// Between two signals. Chosen: a first one has been taken by then, and if not, a third one does no harm.
const SIGNALS_EVERY: Duration = Duration::from_millis(300);

/// How long a user agent that stops may take. It waits 20 s for its handlers; the rest is for a busy machine.
const STOPPING: Duration = Duration::from_secs(60);

/// A handler that hangs before it has done anything, until there is a file.
fn hanging(until: &Path) -> String {
    format!(
        "echo started; [ -e '{}' ] || sleep 60; cat >/dev/null",
        until.display()
    )
}

/// Interrupts the handler of one message, in this way, so many times. The next start handles the message.
async fn interrupted(times: usize, attempts: &str, interrupt: impl AsyncFn(&mut Listener)) {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    let subscription = agent.subscribe("door", &[]).await;
    agent.send(&subscription, "not yet handled").await;
    let directory = TempDir::new().expect("a directory can be made");
    let ready = directory.path().join("ready");
    let handler = hanging(&ready);
    let options = ["--exec", &handler, "--attempts", attempts];
    for _ in 0..times {
        let mut listener = agent.listen(&options);
        listener.prints("started").await;
        interrupt(&mut listener).await;
    }
    fs::write(&ready, "").expect("a file can be made");
    let mut listener = agent.listen(&options);
    listener.prints("started").await;
    listener.receives("door", "not yet handled").await;
    listener.terminate();
    assert!(listener.ended().await.success());
    let said = listener.log().text();
    assert!(!said.contains("given up"), "{said}");
}

/// PR-45: three crashes while the handler runs are no three failures: the fourth start handles the message.
#[tokio::test]
async fn three_kills_give_nothing_up() {
    interrupted(3, "3", async |listener| listener.kill().await).await;
}

/// PR-45: three times a second signal, which ends everything at once, count nothing.
#[tokio::test]
async fn three_second_signals_give_nothing_up() {
    interrupted(3, "3", async |listener| {
        let ends = async {
            // A signal that is sent while the one before it is still to be taken doesn't count.
            while timeout(SIGNALS_EVERY, listener.ended()).await.is_err() {
                listener.signal(Signal::INT);
            }
        };
        within("it ends", ends).await;
    })
    .await;
}

/// PR-45: an orderly stop that the handler outlives counts nothing, even where one failure would be the last.
#[tokio::test]
async fn an_orderly_stop_gives_nothing_up() {
    interrupted(1, "1", async |listener| {
        listener.terminate();
        listener.ended_within(STOPPING).await;
    })
    .await;
}

/// All these messages are handled, whatever the order.
async fn all_are_handled(listener: &mut Listener, expected: BTreeSet<String>) {
    let mut handled = BTreeSet::new();
    while handled.len() < expected.len() {
        let message = listener.message_after("failed ").await;
        handled.insert(message["text"].as_str().expect("a message has a text").to_owned());
    }
    assert_eq!(handled, expected);
    let said = listener.log().text();
    assert!(!said.contains("given up"), "{said}");
}

fn texts() -> impl Iterator<Item = String> {
    (0..WAITING).map(|number| format!("message {number}"))
}

/// PR-45: while what a handler needs is away, nothing is given up, however many messages fail; all are handled when it is back.
#[tokio::test]
async fn an_outage_of_the_handler_gives_nothing_up() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    let subscription = agent.subscribe("door", &[]).await;
    deliver(&node, &subscription, texts()).await;
    let directory = TempDir::new().expect("a directory can be made");
    let database = directory.path().join("database");
    let handler = format!(
        "[ -e '{}' ] || {{ echo failed; exit 1; }}; cat >/dev/null",
        database.display()
    );
    let mut listener = agent.listen(&["--exec", &handler]);
    // The messages take turns.
    for _ in 0..FAILURES {
        let line = within("a handler fails", listener.line()).await;
        assert_eq!(line.as_deref(), Some("failed"));
    }
    fs::write(&database, "").unwrap();
    all_are_handled(&mut listener, texts().collect()).await;
}

/// PR-45: a command that is not there (127), and then can't be started (126), says nothing of the messages.
#[tokio::test]
async fn a_missing_command_gives_nothing_up() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    let subscription = agent.subscribe("door", &[]).await;
    deliver(&node, &subscription, texts()).await;
    let directory = TempDir::new().expect("a directory can be made");
    let program = directory.path().join("handler");
    let mut listener = agent.listen(&["--exec", program.to_str().unwrap()]);
    listener.says(&["this does not count as an attempt"]).await;
    tokio::time::sleep(OUTAGE / 2).await;
    fs::write(&program, "#!/bin/sh\ncat >/dev/null\n").unwrap();
    tokio::time::sleep(OUTAGE / 2).await;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    all_are_handled(&mut listener, texts().collect()).await;
}

/// PR-45: without a session bus `--notify` can't show anything: all messages are there for who can handle them.
#[tokio::test]
async fn without_a_session_bus_nothing_is_given_up() {
    let node = Node::start(Settings::new()).await;
    let nowhere = "unix:path=/nonexistent/bus";
    let agent = Agent::at(&node.connector()).environment("DBUS_SESSION_BUS_ADDRESS", nowhere);
    let subscription = agent.subscribe("door", &[]).await;
    deliver(&node, &subscription, texts()).await;
    let mut listener = agent.listen(&["--notify"]);
    listener.says(&["this does not count as an attempt"]).await;
    tokio::time::sleep(OUTAGE).await;
    listener.terminate();
    listener.ended().await;
    let said = listener.log().text();
    assert!(!said.contains("given up"), "{said}");
    all_are_handled(&mut agent.listen(&[]), texts().collect()).await;
}
