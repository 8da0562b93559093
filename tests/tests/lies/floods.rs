//! What a service can make the command do: start handlers, write log lines, put ids into an environment.

use std::path::Path;

use push_tests::liar::web_socket::{Liar, Lies};
use push_tests::listener::Agent;
use push_tests::recipient::Recipient;
use push_tests::within;
use tempfile::TempDir;

/// Messages that can't be decrypted.
const UNDECRYPTABLE: usize = 30_000;

/// The log that they may cause. In bytes. Chosen: a few hundred lines; each for itself makes 8.6 MB.
const LOG_BYTES: usize = 64 << 10;

/// PR-45: the handler dies with the user agent that started it, however that ends; so nothing runs beside the redelivery.
#[tokio::test]
async fn handlers_die_with_the_user_agent() {
    let liar = Liar::start(Lies::default()).await;
    let agent = Agent::of(&liar.url());
    let subscription = agent.subscribe("door", &[]).await;
    liar.pushes(&subscription, "1", "work");
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("pids");
    let handler = format!(
        "sleep 300 & echo $$ $! > '{}'; echo started; wait",
        file.display()
    );
    let mut listener = agent.listen(&["--exec", &handler]);
    listener.prints("started").await;
    let pids = std::fs::read_to_string(&file).unwrap();
    listener.kill().await;
    for pid in pids.split_whitespace() {
        let process = Path::new("/proc").join(pid);
        let gone = async {
            while is_running(&process) {
                tokio::task::yield_now().await;
            }
        };
        within("the handler and what it started are gone", gone).await;
    }
}

/// A process that has ended does not run, even if its parent has not waited for it yet.
fn is_running(process: &Path) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, state)| !state.starts_with(" Z"))
}

/// WS-ACK-2: 30,000 messages that can't be decrypted are acknowledged, and written about in a few lines.
#[tokio::test]
async fn undecryptable_messages_fill_no_log() {
    let liar = Liar::start(Lies::default()).await;
    let agent = Agent::of(&liar.url());
    let subscription = agent.subscribe("door", &[]).await;
    let recipient = Recipient::read(&subscription);
    for number in 0..UNDECRYPTABLE {
        liar.pushes_body(&recipient, &number.to_string(), b"nonsense".to_vec());
    }
    liar.pushes(&subscription, "last", "sense");
    let mut listener = agent.listen(&[]);
    listener.receives("door", "sense").await;
    liar.record().shows_acknowledged("last").await;
    assert_eq!(liar.unacknowledged(), 0);
    listener.terminate();
    assert!(listener.ended().await.success());
    let log = listener.log().text();
    assert!(log.contains("decrypt"), "{log}");
    assert!(log.len() <= LOG_BYTES, "{} bytes of log", log.len());
}

/// PR-45: an invalid id (with a NUL, or of 60 KB) is refused on arrival. Its message costs no attempt, and those behind it
/// are handled.
#[tokio::test]
async fn an_invalid_id_is_refused() {
    let liar = Liar::start(Lies::default()).await;
    let agent = Agent::of(&liar.url());
    let subscription = agent.subscribe("door", &[]).await;
    let ids = ["a\0b".to_owned(), "a".repeat(60_000)];
    for id in &ids {
        liar.pushes(&subscription, id, "no message");
    }
    liar.pushes(&subscription, "good", "a message");
    let mut listener = agent.listen(&["--exec", "cat >/dev/null"]);
    listener.receives("door", "a message").await;
    for id in &ids {
        liar.record().shows_acknowledged(id).await;
    }
    listener.terminate();
    assert!(listener.ended().await.success());
    let said = listener.log().text();
    assert!(!said.contains("failed"), "{said}");
}
