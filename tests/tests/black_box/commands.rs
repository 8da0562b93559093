//! Commands whose output cannot be written: a full disk is told, a reader that has gone is not waited for, and nothing panics.
//! And the load tool at a service that somebody else runs.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use push_tests::binaries;
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use push_tests::within;
use rustix::process::{Pid, Signal, kill_process};
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
        binaries::without_ours(&mut command);
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

/// The load tool says that it cannot print, and measures no further.
#[test]
fn the_load_tool_says_that_it_cannot_print() {
    for words in ["--help", "help throughput", "--version", "startup --times 1"] {
        let command = || {
            let mut command = Command::new(binaries::push_bench());
            command
                .args(["--service-bin".as_ref(), binaries::push_service().as_os_str()])
                .args(words.split(' '));
            command
        };
        let ended = run(command(), full());
        assert_eq!(ended.code, Some(1), "{words}: {}", ended.said);
        assert!(
            ended.said.contains("No space left on device"),
            "{words}: {}",
            ended.said
        );
        assert!(!ended.said.contains("panicked"), "{words}: {}", ended.said);
        let ended = run(command(), closed());
        assert_eq!((ended.code, ended.said.as_str()), (Some(1), ""), "{words}");
    }
}

/// A service over TLS, with a secret.
async fn elsewhere() -> Node {
    let nowhere = Vec::<String>::new();
    let settings = Settings::new()
        .tls()
        .set("listen.http", nowhere)
        .set("security.user_agent_secret", SECRET)
        .set("limits.connections_per_address", 0)
        .set("limits.pushes_per_second", 0);
    Node::start(settings).await
}

const SECRET: &str = "correct-horse-battery";

fn bench(node: &Node, words: &str) -> tokio::process::Command {
    let url = format!("https://{}/{SECRET}", node.tls_connector().address);
    let mut command = tokio::process::Command::new(binaries::push_bench());
    command
        .args(["--url", &url])
        .args(words.split(' '))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// How many subscriptions the service has.
async fn subscriptions(node: &Node) -> u64 {
    let text = node.ask_admin("/metrics").await.text();
    let counted = |name: &str| {
        let mut lines = text.lines();
        let line = lines.find_map(|line| {
            line.strip_prefix("push_service_subscriptions_")?
                .strip_prefix(name)
        });
        line.expect("the metric").trim().parse::<u64>().expect("a number")
    };
    counted("created_total ") - counted("ended_total ")
}

/// `--url` measures a service over TLS with a secret in its path, without its process; the labels say what ran, nothing shows
/// the secret, and no subscription is left.
#[tokio::test]
async fn the_load_tool_measures_a_service_elsewhere() {
    let node = elsewhere().await;
    let rows = [
        (
            "throughput --mode open --rate 300 --messages 60 --user-agents 3 --senders 2",
            "delivery at 300 messages/s, p99",
        ),
        (
            "throughput --over http2 --messages 60 --user-agents 3 --senders 2 --receipts",
            "throughput, closed loop of 2 senders",
        ),
        (
            "throughput --over events --messages 60 --user-agents 3 --senders 2",
            "as events",
        ),
        (
            "connect --user-agents 5 --over-tls",
            "connect over TLS: 5 user agents",
        ),
        (
            "drain --user-agents 4 --messages-each 2",
            "messages to 4 agents back at once",
        ),
        (
            "user-agents --idle 12 --busy 3 --messages 40 --rate 200 --renewed 0",
            "user agents: 12 idle ones",
        ),
    ];
    for (words, label) in rows {
        let output = bench(&node, words).output().await.unwrap();
        let (shown, said) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{words}: {shown}{said}");
        assert!(shown.contains(label), "{words}: {shown}");
        assert!(
            !shown.contains("750") && !shown.contains("2,000"),
            "{words}: {shown}"
        );
        assert!(
            !shown.contains("horse") && !said.contains("horse"),
            "{words}: {shown}{said}"
        );
        assert_eq!(subscriptions(&node).await, 0, "{words}: {shown}{said}");
    }
    for (words, why) in [
        ("idle", "add --pid"),
        ("hostile", "remove --url"),
        ("startup", "remove --url"),
    ] {
        let output = bench(&node, words).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{words}: {said}");
    }
}

/// After Ctrl-C, too, no subscription is left.
#[tokio::test]
async fn the_load_tool_leaves_nothing_when_it_is_interrupted() {
    let node = elsewhere().await;
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = bench(
            &node,
            "throughput --mode open --rate 20 --messages 100000 --user-agents 10 --vapid none",
        )
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        while subscriptions(&node).await < 10 {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
        kill_process(id, signal).unwrap();
        let output = within("the load tool ends", child.wait_with_output())
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("interrupted"), "{said}");
        assert_eq!(subscriptions(&node).await, 0, "{said}");
    }
}
