//! Commands whose output cannot be written: a full disk is told, a reader that has gone is not waited for, and nothing panics.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use push_tests::binaries;
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use tempfile::TempDir;

/// "Standard output was closed", of the user agent.
const OUTPUT_CLOSED: i32 = 7;

/// How a command ended, and what it said on standard error.
struct Ended {
    code: Option<i32>,
    said: String,
}

fn run(mut command: Command, output: impl Into<Stdio>) -> Ended {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut said = String::new();
    let mut errors = child.stderr.take().expect("a pipe");
    errors.read_to_string(&mut said).expect("text");
    let code = child.wait().expect("the command ends").code();
    Ended { code, said }
}

/// The device that is always full.
fn full() -> File {
    File::options().write(true).open("/dev/full").expect("/dev/full")
}

/// A pipe without a reader.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// A store with a subscription, whose node has ended.
async fn store(directory: &Path) {
    let settings = Settings::new()
        .data_directory(directory)
        .set("drain.delay", "0s")
        .set("drain.spread", "0s");
    let mut node = Node::start(settings).await;
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    agent.subscribe(None).await;
    agent.leave().await;
    node.terminate();
    assert!(node.ended().await.0.success());
}

/// Every command of the service that prints a result: a full standard output is told in a sentence, with exit code 1; after a
/// closed pipe there is nothing to tell, but that an export has no end; and what is said on a full standard error is lost,
/// and nothing else is.
#[tokio::test]
async fn the_service_s_commands_say_that_they_cannot_print() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    store(&data).await;
    let command = |words: &str| {
        let mut command = Command::new(binaries::push_service());
        command
            .args(words.split(' '))
            .current_dir(directory.path())
            .env(
                "PUSH_SERVICE__STORAGE__URL",
                format!("embedded:{}", data.display()),
            )
            .env("PUSH_SERVICE_LOG", "info");
        command
    };
    for words in [
        "keys generate",
        "keys show",
        "config check",
        "config print-default",
        "export -",
        "--help",
        "help keys",
        "export --help",
        "--version",
    ] {
        let ended = run(command(words), full());
        assert_eq!(ended.code, Some(1), "{words}: {}", ended.said);
        assert!(
            ended.said.contains("No space left on device"),
            "{words}: {}",
            ended.said
        );
        assert!(!ended.said.contains("panicked"), "{words}: {}", ended.said);

        let ended = run(command(words), closed());
        assert!(!ended.said.contains("panicked"), "{words}: {}", ended.said);
        let (code, is_quiet) = match words {
            "export -" => (1, false),
            _ => (0, true),
        };
        assert_eq!(ended.code, Some(code), "{words}: {}", ended.said);
        assert_eq!(
            !ended.said.contains("push-service: "),
            is_quiet,
            "{words}: {}",
            ended.said
        );

        let mut quiet = command(words);
        let output = quiet.stderr(full()).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words}");
        assert!(!output.stdout.is_empty(), "{words}");
    }
    let ended = run(command("no such command"), full());
    assert_eq!(ended.code, Some(2), "{}", ended.said);
}

/// The same of the user agent, which has an exit code of its own for it.
#[tokio::test]
async fn the_user_agent_s_commands_say_that_they_cannot_print() {
    let directory = TempDir::new().unwrap();
    let node = Node::start(Settings::new()).await;
    let url = format!("ws://{}/", node.connector().address);
    let command = |words: &str| {
        let mut command = Command::new(binaries::user_agent_client());
        command.args(words.split(' ')).current_dir(directory.path());
        command
    };
    for words in [
        &format!("subscribe --server {url} --state s --name door"),
        "list --state s",
        "list --state s --format json",
        "keys --vapid-key k.pem",
        "completions bash",
        "--help",
        "help listen",
        "--version",
    ] {
        let ended = run(command(words), full());
        assert_eq!(ended.code, Some(OUTPUT_CLOSED), "{words}: {}", ended.said);
        assert!(
            ended.said.contains("No space left on device"),
            "{words}: {}",
            ended.said
        );
        assert!(!ended.said.contains("panicked"), "{words}: {}", ended.said);

        let ended = run(command(words), closed());
        assert_eq!(ended.code, Some(OUTPUT_CLOSED), "{words}: {}", ended.said);
        assert!(
            !ended.said.contains("user-agent-client: "),
            "{words}: {}",
            ended.said
        );
        assert!(!ended.said.contains("panicked"), "{words}: {}", ended.said);

        let output = command(words)
            .stderr(full())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{words}");
        assert!(!output.stdout.is_empty(), "{words}");
    }
    assert_eq!(run(command("no such command"), full()).code, Some(2));
}
