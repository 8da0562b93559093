//! A Redis that comes back without what it was given: no peer is told "unknown" until an operator says so.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use push_tests::application_server::Push;
use push_tests::node::Node;
use push_tests::redis::{Cluster, Configuration, Server, until};
use push_tests::user_agent::{Subscription, UserAgent};
use push_tests::within;
use tempfile::TempDir;

use super::traffic::Traffic;
use super::{hello_is_trouble, is_trouble, ready, returns, sender, settings};

/// Copies what a server of the default names keeps on disk.
fn copy(from: &Path, to: &Path) {
    let files = from.join("appendonlydir");
    let copied = Command::new("cp").arg("-r").arg(files).arg(to).status();
    assert!(copied.expect("cp starts").success());
}

/// A known user agent: a user agent that is away, and its subscription.
struct Known {
    uaid: String,
    subscription: Subscription,
}

impl Known {
    async fn at(node: &Node) -> Self {
        let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
        let subscription = agent.subscribe(None).await;
        agent.leave().await;
        Self { uaid, subscription }
    }

    fn message(&self) -> Push {
        Push::new(&self.subscription.push_resource, "for a known user agent")
    }

    /// No answer says "unknown".
    async fn is_in_trouble(&self, node: &Node) {
        let mut http = sender(node).await;
        is_trouble(&http.push(&self.message()).await);
        hello_is_trouble(node, &self.uaid).await;
    }

    /// All answers say "unknown".
    async fn is_unknown(&self, node: &Node) {
        let mut http = sender(node).await;
        let answer = http.push(&self.message()).await;
        assert!([404, 410].contains(&answer.status.as_u16()), "{}", answer.status);
        let (_agent, uaid) = UserAgent::arrive(&node.connector(), Some(&self.uaid)).await;
        assert_ne!(uaid, self.uaid);
    }
}

/// PR-3: a Redis that comes back empty is trouble and not "unknown", and `/readyz` says what happened. When its data is back,
/// all is well again by itself, on the channel that was open at the start.
#[tokio::test]
async fn an_empty_redis_is_trouble_until_its_data_is_back() {
    let mut server = Server::start(Configuration::new().durable()).await;
    let node = Node::start(settings(&server.url())).await;
    let known = Known::at(&node).await;
    let traffic = Traffic::start(&node, &node).await;
    server.kill().await;
    let kept = TempDir::new().unwrap();
    copy(server.directory(), kept.path());
    server.start_empty().await;
    let began = Instant::now();
    let said = until("/readyz says that the data is gone", || async {
        let answer = node.ask_admin("/readyz").await;
        (answer.status == 503 && answer.text().contains("has lost its data")).then(|| answer.text())
    })
    .await;
    let noticed = began.elapsed();
    known.is_in_trouble(&node).await;
    traffic.is_refused().await;

    server.kill().await;
    std::fs::remove_dir_all(server.directory().join("appendonlydir")).unwrap();
    copy(kept.path(), server.directory());
    server.start_again().await;
    let healed = traffic.goes_on().await;
    ready(&node, 200).await;
    println!("empty: noticed {noticed:?} ({said:?}), healed {healed:?} after the data was back");
    returns(&node, &known.uaid).await.leave().await;
    println!("empty: {:?}", traffic.audit(&node).await);
}

/// PR-3: what is lost for good is given up by an operator's word: `storage begin-anew` makes the store usable, and only then is
/// anybody told "unknown". Who is connected stays so until the node is restarted, and is told when it comes back.
#[tokio::test]
async fn an_operator_gives_up_what_is_lost() {
    let mut server = Server::start(Configuration::new()).await;
    let mut node = Node::start(settings(&server.url())).await;
    let known = Known::at(&node).await;
    let (mut connected, connected_uaid) = UserAgent::arrive(&node.connector(), None).await;
    connected.subscribe(None).await;
    server.terminate().await;
    server.start_empty().await;
    known.is_in_trouble(&node).await;
    ready(&node, 503).await;

    let anew = node.runs(&["storage", "begin-anew"], Stdio::null()).await;
    assert!(anew.status.success(), "{}", String::from_utf8_lossy(&anew.stderr));
    let said = String::from_utf8_lossy(&anew.stdout).into_owned();
    assert!(said.contains("1024 of 1,024"), "{said}");
    ready(&node, 200).await;
    known.is_unknown(&node).await;
    connected.ping().await;
    node.terminate();
    assert_eq!(connected.closed().await.code, 1001);
    assert!(node.ended().await.0.success());
    node.start_again().await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), Some(&connected_uaid)).await;
    assert_ne!(uaid, connected_uaid);
    let subscription = agent.subscribe(None).await;
    let mut http = sender(&node).await;
    let push = Push::new(&subscription.push_resource, "anew");
    assert_eq!(http.push(&push).await.status, 201);
    agent.receives("anew").await;
    let again = node.runs(&["storage", "begin-anew"], Stdio::null()).await;
    assert!(String::from_utf8_lossy(&again.stdout).contains("no data is lost"));
}

/// Each of three nodes says once that trouble with its storage begins, with the reason, and once that it has ended: when Redis is
/// silent, and when Redis has lost its data and an operator has given that up.
#[tokio::test]
async fn each_node_logs_the_begin_and_the_end_of_trouble() {
    let mut server = Server::start(Configuration::new()).await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Node::start(settings(&server.url())).await);
    }
    let lines = |node: &Node, words: &[&str]| {
        let text = node.log().text();
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        text.lines().filter(has_all).count()
    };
    let begins = ["\"level\":\"ERROR\"", "trouble with storage begins"];
    let ends = ["\"level\":\"INFO\"", "storage works again"];
    let logged = async |what: &str, words: &[&str], times: usize| {
        for node in &nodes {
            until(what, || async { (lines(node, words) == times).then_some(()) }).await;
        }
    };
    server.stop();
    logged("silence is logged", &begins, 1).await;
    server.go_on();
    logged("the end of silence is logged", &ends, 1).await;
    server.terminate().await;
    server.start_empty().await;
    logged("the loss is logged", &["ERROR", "has lost its data"], 1).await;
    logged("it is the only new line", &begins, 2).await;
    let anew = nodes[0].runs(&["storage", "begin-anew"], Stdio::null()).await;
    assert!(anew.status.success(), "{}", String::from_utf8_lossy(&anew.stderr));
    logged("the end of the loss is logged", &ends, 2).await;
    for node in &nodes {
        ready(node, 200).await;
        assert_eq!(
            (lines(node, &begins), lines(node, &ends)),
            (2, 2),
            "{}",
            node.log().tail()
        );
    }
}

/// PR-3: a shard of a cluster comes back empty: a node that starts then starts, and is in trouble about that shard alone.
#[tokio::test]
async fn a_node_that_starts_with_part_of_the_store_lost_is_in_trouble() {
    let mut cluster = Cluster::start(3, 0).await;
    let one = Node::start(settings(&cluster.url())).await;
    // Enough of them that each shard has some.
    let mut all = Vec::new();
    for _ in 0..24 {
        all.push(Known::at(&one).await);
    }
    cluster.server_mut(0).kill().await;
    cluster.server_mut(0).start_empty().await;
    cluster.wait_until_settled().await;
    let other = Node::start(settings(&cluster.url())).await;
    within(
        "its log says so",
        other.log().wait_for_line(&["has lost its mark"]),
    )
    .await;
    for node in [&one, &other] {
        let mut http = sender(node).await;
        let mut answers = Vec::new();
        for known in &all {
            answers.push(http.push(&known.message()).await.status.as_u16());
        }
        answers.sort_unstable();
        answers.dedup();
        assert_eq!(answers, [201, 503]);
        let said = until("/readyz says what is lost", || async {
            let answer = node.ask_admin("/readyz").await;
            (answer.status == 503 && answer.text().contains("has lost its data")).then(|| answer.text())
        })
        .await;
        println!("part: {said:?}");
    }
}

/// A node that starts on a Redis that is wholly empty takes it for a new one, as it must at its first start: from then on
/// what was lost is unknown. This is why a primary must not be started again without its data while nodes may start.
#[tokio::test]
async fn a_node_that_starts_on_an_empty_redis_founds_a_store() {
    let mut server = Server::start(Configuration::new()).await;
    let one = Node::start(settings(&server.url())).await;
    let known = Known::at(&one).await;
    server.kill().await;
    server.start_empty().await;
    known.is_in_trouble(&one).await;
    let other = Node::start(settings(&server.url())).await;
    ready(&other, 200).await;
    known.is_unknown(&other).await;
}
