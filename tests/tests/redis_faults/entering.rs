//! Who is let in, and with what: passwords, rights, TLS, sealing keys.

use std::process::{Command, Stdio};

use push_tests::application_server::Push;
use push_tests::binaries;
use push_tests::node::Node;
use push_tests::redis::{Cluster, Configuration, Sentinels, Server};
use push_tests::settings::Settings;
use push_tests::user_agent::{Subscription, UserAgent};
use push_tests::within;
use tempfile::TempDir;

use super::traffic::Traffic;
use super::{ready, returns, sender, settings};

const PASSWORD: &str = "correct-horse-battery-staple";

/// What the service does in Redis, and nothing else. These are in `docs/redis.md` as they stand here.
const RIGHTS: &str = "-@all +hello +auth +ping +info +time +exists +get +set +append +scan +hget \
                      +hmget +hset +hincrby +hdel +hlen +hexists +hgetall +zadd +zrem +zrange +zrangebyscore \
                      +zremrangebyscore +pexpire +pttl +unlink +eval +evalsha +spublish +ssubscribe +wait +acl|dryrun \
                      +config|get";
const RIGHTS_IN_A_DATABASE: &str = "+select";
const RIGHTS_UNDER_SENTINELS: &str = "+role";
const RIGHTS_IN_A_CLUSTER: &str = "+cluster|slots +cluster|info +asking";

/// PR-8, PR-28: over TLS, with a user and a password, all works; and neither the log at its most talkative, through trouble
/// and back, nor a refusal holds the password.
#[tokio::test]
async fn tls_and_a_password_let_in_and_stay_secret() {
    let configuration = Configuration::new().durable().tls().user("push", PASSWORD);
    let mut server = Server::start(configuration).await;
    let ca = server.certificate().certificate.display().to_string();
    let configured = |url: &str| settings(url).set("storage.redis.ca", ca.clone());
    let talkative = configured(&server.url()).environment("PUSH_SERVICE_LOG", "trace");
    let node = Node::start(talkative).await;
    let traffic = Traffic::start(&node, &node).await;
    server.kill().await;
    traffic.is_refused().await;
    ready(&node, 503).await;
    server.start_again().await;
    traffic.goes_on().await;
    println!("tls: {:?}", traffic.audit(&node).await);
    assert!(!node.log().text().contains(PASSWORD));

    let wrong = server.url().replace(PASSWORD, "hunter2-hunter2");
    let refusal = Node::refused(configured(&wrong)).await;
    assert!(refusal.said.contains("password"), "{}", refusal.said);
    assert!(!refusal.said.contains("hunter2"), "{}", refusal.said);
    // Without the authority, the server could be anybody.
    let refusal = Node::refused(settings(&server.url())).await;
    assert!(refusal.said.contains("certificate"), "{}", refusal.said);
    assert!(!refusal.said.contains(PASSWORD), "{}", refusal.said);
}

/// The characters that have a meaning in a URL, and one that is not ASCII.
const ODD_PASSWORD: &str = "p@s:s/w%20#r&d?é";

/// User and password are read from files as they are, not percent-encoded, and used in place of those in the URL: for a single Redis,
/// for the servers behind sentinels and for a cluster. Neither log nor status shows the password.
#[tokio::test]
async fn user_and_password_come_from_files() {
    let configuration = Configuration::new().user("push", ODD_PASSWORD);
    let server = Server::start(configuration.clone()).await;
    let sentinels = Sentinels::start_with(1, &configuration).await;
    let cluster = Cluster::start_with(3, 0, &configuration).await;
    let directory = TempDir::new().expect("a directory");
    let file = |name: &str, content: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, content).expect("the file is written");
        file.display().to_string()
    };
    let (user, password) = (
        file("user", "push\n"),
        file("password", &format!("{ODD_PASSWORD}\r\n")),
    );
    for url in [server.url(), sentinels.url(), cluster.url()] {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (_, servers) = rest.rsplit_once('@').expect("user and password");
        for before in ["", "other:wrong@"] {
            let configured = settings(&format!("{scheme}://{before}{servers}"))
                .environment("PUSH_SERVICE__STORAGE__REDIS__USERNAME_FILE", &user)
                .environment("PUSH_SERVICE__STORAGE__REDIS__PASSWORD_FILE", &password)
                .environment("PUSH_SERVICE_LOG", "trace");
            let node = Node::start(configured).await;
            let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
            agent.subscribe(None).await;
            let status = node.ask_admin("/status").await.text();
            assert!(!status.contains(ODD_PASSWORD) && !node.log().text().contains(ODD_PASSWORD));
        }
    }
    let wrong = file("wrong", "hunter2@hunter2");
    let (_, servers) = server
        .url()
        .rsplit_once('@')
        .map(|(user, servers)| (user.to_owned(), servers.to_owned()))
        .expect("a user");
    let configured = settings(&format!("redis://{servers}"))
        .environment("PUSH_SERVICE__STORAGE__REDIS__USERNAME_FILE", &user)
        .environment("PUSH_SERVICE__STORAGE__REDIS__PASSWORD_FILE", &wrong);
    let refusal = Node::refused(configured).await;
    assert!(refusal.said.contains("password"), "{}", refusal.said);
    assert!(!refusal.said.contains("hunter2"), "{}", refusal.said);
}

/// PR-1, PR-3: a Redis that would drop half of its append-only file when it is started again, because its user `default` may
/// not write, is refused, with what has to be set. Without a right to look, the log says that it is not known.
#[tokio::test]
async fn a_redis_that_would_forget_at_a_restart_is_refused() {
    let server = Server::start(Configuration::new().durable().user("push", PASSWORD)).await;
    server
        .command(&["ACL", "SETUSER", "default", "reset"])
        .await
        .expect_ok();
    let refusal = Node::refused(settings(&server.url())).await;
    assert!(
        refusal.said.contains("user default off ~* &* +@all"),
        "{}",
        refusal.said
    );
    let may_not_look = ["ACL", "SETUSER", "push", "-acl|dryrun"];
    server.command(&may_not_look).await.expect_ok();
    let node = Node::start(settings(&server.url())).await;
    let warned = node.log().wait_for_line(&["append-only file", "+acl|dryrun"]);
    assert!(within("its log says so", warned).await.is_some());
}

/// A Redis that keeps nothing on disk, and a user who lacks rights, are warned of at the start and in `/status`, with what to
/// set; and the service starts.
#[tokio::test]
async fn a_redis_that_is_less_safe_than_it_looks_is_warned_of() {
    let server = Server::start(Configuration::new()).await;
    let rights = RIGHTS.replace("+hincrby", "").replace("+zremrangebyscore", "");
    give_rights(&server, &rights).await;
    let url = format!("redis://push:{PASSWORD}@{}", server.address());
    let node = Node::start(settings(&url)).await;
    let warnings = [
        "it keeps nothing on disk (`appendonly no` and no `save`)",
        "run `ACL SETUSER push +hincrby +zremrangebyscore` there",
    ];
    for warning in warnings {
        let words = ["WARN", warning];
        let logged = node.log().wait_for_line(&words);
        assert!(within("its log says so", logged).await.is_some());
    }
    let status = node.ask_admin("/status").await.text();
    assert!(
        warnings.iter().all(|warning| status.contains(warning)),
        "{status}"
    );
    assert!(!status.contains(PASSWORD) && !node.log().text().contains(PASSWORD));
}

/// PR-3: three nodes that start at once on an empty Redis make one store, and none says that data is lost.
#[tokio::test]
async fn three_nodes_start_at_once_on_an_empty_redis() {
    let server = Server::start(Configuration::new()).await;
    for start in 0..10 {
        let node =
            || Node::start(settings(&server.url()).set("storage.redis.prefix", format!("start{start}")));
        let (one, two, three) = tokio::join!(node(), node(), node());
        for node in [one, two, three] {
            let log = node.log().text();
            assert!(!log.contains("begin-anew"), "start {start}: {log}");
        }
    }
}

/// PR-37: a user of Redis with the rights that the documentation names, and no others, is enough, also to move in from
/// embedded storage, to export and to begin anew; and nothing that the service asked for was denied.
#[tokio::test]
async fn few_rights_are_enough() {
    let server = Server::start(Configuration::new().durable()).await;
    give_rights(&server, &format!("{RIGHTS} {RIGHTS_IN_A_DATABASE}")).await;
    let url = format!("redis://push:{PASSWORD}@{}", server.address());
    // Stores of their own, each with its sealing key.
    move_in(&format!("{url}/1")).await;
    let mut node = use_all_rights(&url, 0).await;
    // Nothing is exported from under a running node.
    leave(&mut node).await;
    for words in [&["storage", "begin-anew"][..], &["export", "moved.export"]] {
        let output = node.runs(words, Stdio::null()).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
    }
    nothing_was_denied(&server).await;
}

/// What embedded storage held is in Redis, and goes on there.
async fn move_in(url: &str) {
    let embedded = Settings::new()
        .set("public_url", "https://push.example")
        .set("drain.delay", "0s")
        .set("drain.spread", "0s");
    let mut from = Node::start(embedded).await;
    let (uaid, subscription) = subscribed(&from).await;
    let push = |text: &str| Push::new(&subscription.push_resource, text);
    let mut http = sender(&from).await;
    assert_eq!(http.push(&push("before the move")).await.status, 201);
    leave(&mut from).await;
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("moved").display().to_string();
    assert!(
        from.runs(&["export", &file], Stdio::null())
            .await
            .status
            .success()
    );
    let keys = from.runs(&["keys", "show"], Stdio::null()).await.stdout;
    let keys: Vec<_> = String::from_utf8(keys)
        .expect("keys are text")
        .lines()
        .map(str::to_owned)
        .collect();

    let mut to = Node::stopped(settings(url));
    to.reconfigure(|settings| settings.set("security.sealing_keys", keys));
    let imported = to.runs(&["import", &file], Stdio::null()).await;
    assert!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    to.start_again().await;
    let mut http = sender(&to).await;
    assert_eq!(http.push(&push("behind the move")).await.status, 201);
    let mut agent = returns(&to, &uaid).await;
    agent.receives("before the move").await;
    agent.receives("behind the move").await;
    to.terminate();
    assert!(to.ended().await.0.success());
}

/// The same under sentinels, with a replica that confirms, and in a cluster, with a slot that moves.
#[tokio::test]
async fn few_rights_are_enough_for_many_servers() {
    let sentinels = Sentinels::start(1).await;
    for server in sentinels.servers() {
        give_rights(server, &format!("{RIGHTS} {RIGHTS_UNDER_SENTINELS}")).await;
    }
    let url = sentinels.url().replace("//", &format!("//push:{PASSWORD}@"));
    use_all_rights(&url, 1).await;
    for server in sentinels.servers() {
        nothing_was_denied(server).await;
    }

    let cluster = Cluster::start(3, 0).await;
    for server in cluster.servers() {
        give_rights(server, &format!("{RIGHTS} {RIGHTS_IN_A_CLUSTER}")).await;
    }
    let slot = cluster.slot_of("push:{000}").await;
    let to = (cluster.owner_of_slot(slot).await + 1) % 3;
    let url = cluster.url().replace("//", &format!("//push:{PASSWORD}@"));
    let _node = use_all_rights(&url, 0).await;
    let migration = cluster.begin_migration(slot, to).await;
    while cluster.migrate_keys(migration, 10).await > 0 {}
    // What the store knows of itself is on the other side by now, and asked for there.
    let another = Node::start(settings(&url)).await;
    cluster.end_migration(migration).await;
    ready(&another, 200).await;
    for server in cluster.servers() {
        nothing_was_denied(server).await;
    }
}

async fn give_rights(server: &Server, rights: &str) {
    let rights = format!("ACL SETUSER push on >{PASSWORD} ~push:* &push:* {rights}");
    let rights: Vec<_> = rights.split_whitespace().collect();
    server.command(&rights).await.expect_ok();
}

async fn nothing_was_denied(server: &Server) {
    let denied = server.command(&["ACL", "LOG"]).await;
    assert!(denied.list().is_empty(), "{denied:?}");
}

/// Two nodes do whatever nodes do. One of them is left.
async fn use_all_rights(url: &str, replicas: u32) -> Node {
    let configured = || settings(url).set("storage.redis.wait_replicas", replicas);
    let (mut one, other) = (Node::start(configured()).await, Node::start(configured()).await);
    let traffic = Traffic::start(&one, &other).await;
    let (mut agent, uaid) = UserAgent::arrive(&one.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut http = sender(&other).await;
    let push = |text: &str| Push::new(&subscription.push_resource, text);
    assert_eq!(http.push(&push("first").header("topic", "a")).await.status, 201);
    agent.receives("first").await;
    agent.leave().await;
    let answer = http.push(&push("taken back")).await;
    let deleted = http.delete(answer.header("location")).await.expect("an answer");
    assert_eq!(deleted.status, 204);
    let mut agent = returns(&other, &uaid).await;
    agent.unsubscribe(&subscription.name).await;
    let record = one.ask_admin(&format!("/user-agents/{}", id_of(&uaid))).await;
    assert_eq!(record.status, 200, "{}", record.text());
    for node in [&one, &other] {
        ready(node, 200).await;
    }
    println!("rights: {:?}", traffic.audit(&other).await);
    leave(&mut one).await;
    other
}

async fn leave(node: &mut Node) {
    node.terminate();
    assert!(node.ended().await.0.success());
}

/// What the admin listener calls a user agent: the first half of the SHA-256 of its identity, in hexadecimal.
fn id_of(uaid: &str) -> String {
    let bytes: Vec<_> = (0..uaid.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&uaid[at..at + 2], 16).expect("hexadecimal"))
        .collect();
    let hash = ring::digest::digest(&ring::digest::SHA256, &bytes);
    hash.as_ref()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A user agent that is away, and its subscription.
async fn subscribed(node: &Node) -> (String, Subscription) {
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    agent.leave().await;
    (uaid, subscription)
}

fn sealing_key() -> String {
    let mut command = Command::new(binaries::push_service());
    binaries::without_ours(&mut command);
    let made = command.args(["keys", "generate"]).output();
    let made = made.expect("the command starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout)
        .expect("a key is text")
        .trim()
        .to_owned()
}

/// PR-28: a node without a sealing key is refused, with the command that makes one, and so is one that lacks the key in use.
#[tokio::test]
async fn a_node_without_the_key_in_use_is_refused() {
    let server = Server::start(Configuration::new()).await;
    let _node = Node::start(settings(&server.url())).await;
    let without = Settings::new().set("storage.url", server.url());
    let refusal = Node::refused(without).await;
    assert_eq!(refusal.status.code(), Some(2), "{}", refusal.said);
    assert!(refusal.said.contains("keys generate"), "{}", refusal.said);
    let other = settings(&server.url()).set("security.sealing_keys", vec![sealing_key()]);
    let refusal = Node::refused(other).await;
    assert!(refusal.said.contains("security.sealing_keys"), "{}", refusal.said);
}

/// PR-27, PR-28: two nodes change their key one after the other, in two rounds: first all learn the new one, then all seal
/// with it. At every moment each opens what the other sealed, and old URLs go on working.
#[tokio::test]
async fn two_nodes_rotate_their_key() {
    let server = Server::start(Configuration::new()).await;
    let (old, new) = (sealing_key(), sealing_key());
    let with = |keys: &[&String]| {
        let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
        settings(&server.url()).set("security.sealing_keys", keys)
    };
    let mut nodes = [Node::start(with(&[&old])).await, Node::start(with(&[&old])).await];
    let mut subscriptions = Vec::new();
    for keys in [[&old, &new], [&new, &old]] {
        for number in 0..nodes.len() {
            nodes[number].terminate();
            assert!(nodes[number].ended().await.0.success());
            let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            nodes[number].reconfigure(|settings| settings.set("security.sealing_keys", keys));
            nodes[number].start_again().await;
            for node in &nodes {
                subscriptions.push(subscribed(node).await);
            }
            for node in &nodes {
                let mut http = sender(node).await;
                for (_, subscription) in &subscriptions {
                    let answer = http.push(&Push::new(&subscription.push_resource, "known")).await;
                    assert_eq!(answer.status, 201, "{}", answer.text());
                }
            }
        }
    }
    // From now on a node that has only the old one is refused.
    let refusal = Node::refused(with(&[&old])).await;
    assert!(refusal.said.contains("security.sealing_keys"), "{}", refusal.said);
    for (uaid, _) in &subscriptions {
        returns(&nodes[0], uaid).await.receives("known").await;
    }
}
