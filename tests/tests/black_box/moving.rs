//! A service moves to another storage, and its peers do not notice (PR-37).

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};

use push_tests::application_server::{Http, Push};
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::{Notification, Subscription, UserAgent};
use tempfile::TempDir;

/// Under one public URL, as the node that takes over is reached.
fn settings() -> Settings {
    Settings::new()
        .set("public_url", "https://push.example")
        .set("drain.delay", "0s")
        .set("drain.spread", "0s")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It did what it was asked for.
fn went_well(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
}

/// It ended with this code and all these words.
fn refused(output: &Output, code: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of a test is text")
}

async fn stop(node: &mut Node) {
    node.terminate();
    assert!(node.ended().await.0.success());
}

async fn export(node: &Node, file: &Path) -> Output {
    node.runs(&["export", text(file)], Stdio::null()).await
}

async fn import(node: &Node, file: &Path) -> Output {
    node.runs(&["import", text(file)], Stdio::null()).await
}

/// The keys that a node seals and opens with.
async fn keys(node: &Node) -> Vec<String> {
    let shown = node.runs(&["keys", "show"], Stdio::null()).await;
    went_well(&shown);
    assert!(said(&shown).contains("secret"), "{}", said(&shown));
    let keys = String::from_utf8(shown.stdout).expect("keys are text");
    keys.lines().map(str::to_owned).collect()
}

/// A stopped node, and what its user agent has seen and not acknowledged.
struct Source {
    node: Node,
    uaid: String,
    subscription: Subscription,
    seen: Vec<Notification>,
    /// The resources of the messages.
    resources: Vec<String>,
}

impl Source {
    async fn with(texts: &[&str]) -> Self {
        let mut node = Node::start(settings()).await;
        let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
        let subscription = agent.subscribe(None).await;
        let mut server = Http::connect(&node.connector()).await.expect("the node listens");
        let (mut seen, mut resources) = (Vec::new(), Vec::new());
        for text in texts {
            let answer = server.push(&Push::new(&subscription.push_resource, text)).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            resources.push(answer.header("location").to_owned());
            seen.push(agent.notification().await);
        }
        agent.leave().await;
        stop(&mut node).await;
        Self {
            node,
            uaid,
            subscription,
            seen,
            resources,
        }
    }
}

/// PR-37: after a move the old endpoint delivers, what waited comes in its order and under its ids, and a message's URL
/// still takes it back.
#[tokio::test]
async fn everything_goes_on_in_another_store() {
    let source = Source::with(&["one", "two", "three"]).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("a.export");
    let exported = export(&source.node, &file).await;
    went_well(&exported);
    assert!(
        said(&exported).contains("1 user agents, 1 subscriptions and 3 messages"),
        "{}",
        said(&exported)
    );
    assert!(exported.stdout.is_empty());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let keys = keys(&source.node).await;
    assert_eq!(keys.len(), 1);
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&keys[0]) && !text.contains(&source.uaid), "{text}");

    let mut target = Node::stopped(settings());
    refused(
        &import(&target, &file).await,
        2,
        &["keys show", "security.sealing_keys"],
    );
    target.reconfigure(|settings| settings.set("security.sealing_keys", keys));
    went_well(&import(&target, &file).await);
    target.start_again().await;

    let mut server = Http::connect(&target.connector())
        .await
        .expect("the node listens");
    let taken_back = server.delete(&source.resources[1]).await.expect("an answer");
    assert_eq!(taken_back.status, 204, "{}", taken_back.text());
    let (mut agent, uaid) = UserAgent::arrive(&target.connector(), Some(&source.uaid)).await;
    assert_eq!(uaid, source.uaid);
    for before in [&source.seen[0], &source.seen[2]] {
        let again = agent.notification().await;
        assert_eq!((&again.version, &again.body), (&before.version, &before.body));
        agent.acknowledge(&again).await;
    }
    let push = Push::new(&source.subscription.push_resource, "four");
    server.accepts(&push).await;
    agent.receives("four").await;
}

/// PR-37: a storage that is not empty is left alone, unless told to merge, and then only gains.
#[tokio::test]
async fn an_import_merges_only_when_told() {
    let source = Source::with(&["one", "two"]).await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("a.export");
    went_well(&export(&source.node, &file).await);
    let mut target = Node::stopped(settings().set("security.sealing_keys", keys(&source.node).await));
    went_well(&import(&target, &file).await);

    target.start_again().await;
    let (mut agent, _) = UserAgent::arrive(&target.connector(), Some(&source.uaid)).await;
    let first = agent.notification().await;
    agent.acknowledge_and_settle(&first).await;
    agent.leave().await;
    stop(&mut target).await;

    refused(&import(&target, &file).await, 2, &["not empty", "--merge"]);
    let merged = target
        .runs(&["import", "--merge", text(&file)], Stdio::null())
        .await;
    went_well(&merged);
    let said = said(&merged);
    assert!(
        said.contains("Imported 0 subscriptions and 1 messages")
            && said.contains("2 of these were in the storage already"),
        "{said}"
    );
}

/// PR-37: half a file is refused before anything of it is taken in; the whole one, through a pipe, is not.
#[tokio::test]
async fn half_a_file_changes_nothing() {
    let source = Source::with(&["one", "two"]).await;
    let exported = source.node.runs(&["export", "-"], Stdio::null()).await;
    went_well(&exported);
    let directory = TempDir::new().unwrap();
    let (whole, half) = (directory.path().join("whole"), directory.path().join("half"));
    fs::write(&whole, &exported.stdout).unwrap();
    fs::write(&half, &exported.stdout[..exported.stdout.len() / 2]).unwrap();

    let target = Node::stopped(settings().set("security.sealing_keys", keys(&source.node).await));
    refused(&import(&target, &half).await, 1, &["the file is incomplete"]);
    let piped = target.runs(&["import", "-"], File::open(&half).unwrap()).await;
    refused(&piped, 1, &["the file is incomplete"]);
    let piped = target.runs(&["import", "-"], File::open(&whole).unwrap()).await;
    went_well(&piped);
}

/// PR-37: an export needs the store to itself, overwrites no file, and makes no store.
#[tokio::test]
async fn an_export_that_cannot_be_made_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("a.export");
    let running = Node::start(settings()).await;
    refused(&export(&running, &file).await, 1, &["another process", "stop it"]);

    let nowhere = Node::stopped(settings());
    refused(&export(&nowhere, &file).await, 2, &["there is no store"]);
    refused(&export(&nowhere, &file).await, 2, &["there is no store"]);
    let memory = Node::stopped(settings().set("storage.url", "memory:"));
    refused(&export(&memory, &file).await, 2, &["memory"]);
    refused(&import(&memory, &file).await, 2, &["memory"]);
    assert!(
        fs::read_dir(directory.path()).unwrap().next().is_none(),
        "nothing is left over"
    );

    let source = Source::with(&[]).await;
    fs::write(&file, "mine").unwrap();
    refused(&export(&source.node, &file).await, 2, &["already"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let elsewhere = directory.path().join("missing").join("a.export");
    refused(&export(&source.node, &elsewhere).await, 1, &["written"]);
}
