//! Who is let in, and with what: passwords, rights, TLS, sealing keys.

use std::process::Stdio;

use push_tests::application_server::{Http, Push};
use push_tests::node::Node;
use push_tests::redis::{Configuration, Server};
use push_tests::settings::Settings;
use push_tests::user_agent::{Subscription, UserAgent};

use super::traffic::Traffic;
use super::{ready, returns, settings};

const PASSWORD: &str = "correct-horse-battery-staple";

/// What the service does in Redis, and nothing else: kept in step with `docs/redis.md`.
const RIGHTS: &str = "-@all +hello +auth +ping +info +time +exists +get +set +scan +hget +hmget +hset +hdel +hlen \
                      +hexists +hgetall +zadd +zrem +zrange +zrangebyscore +pexpire +unlink +eval +evalsha +spublish \
                      +ssubscribe +wait";

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

/// A user of Redis with the rights that the documentation names, and no others, is enough: across nodes, through a
/// restart, for a move and for `begin-anew`; and nothing that the service asked for was denied.
#[tokio::test]
async fn few_rights_are_enough() {
    let server = Server::start(Configuration::new()).await;
    let rights = format!("ACL SETUSER push on >{PASSWORD} ~push:* &push:* {RIGHTS}");
    let rights: Vec<_> = rights.split_whitespace().collect();
    server.command(&rights).await.expect_ok();
    let url = format!("redis://push:{PASSWORD}@{}", server.address());
    let (one, other) = (
        Node::start(settings(&url)).await,
        Node::start(settings(&url)).await,
    );
    let traffic = Traffic::start(&one, &other).await;
    let (mut agent, uaid) = UserAgent::arrive(&one.door(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut http = Http::connect(&other.door()).await.unwrap();
    let push = |text: &str| Push::new(&subscription.push_resource, text);
    assert_eq!(http.push(&push("first")).await.status, 201);
    agent.receives("first").await;
    agent.leave().await;
    let answer = http.push(&push("taken back")).await;
    let deleted = http.delete(answer.header("location")).await.expect("an answer");
    assert_eq!(deleted.status, 204);
    let mut agent = returns(&other, &uaid).await;
    agent.unsubscribe(&subscription.name).await;
    for node in [&one, &other] {
        ready(node, 200).await;
    }
    println!("rights: {:?}", traffic.audit(&other).await);
    for words in [&["storage", "begin-anew"][..], &["export", "moved.export"]] {
        let output = one.runs(words, Stdio::null()).await;
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let denied = server.command(&["ACL", "LOG"]).await;
    assert!(denied.list().is_empty(), "{denied:?}");
}

/// A user agent that is away, and its subscription.
async fn subscribed(node: &Node) -> (String, Subscription) {
    let (mut agent, uaid) = UserAgent::arrive(&node.door(), None).await;
    let subscription = agent.subscribe(None).await;
    agent.leave().await;
    (uaid, subscription)
}

async fn sealing_key() -> String {
    let node = Node::stopped(Settings::new());
    let made = node.runs(&["keys", "generate"], Stdio::null()).await;
    assert!(made.status.success());
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
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
    let other = settings(&server.url()).set("security.sealing_keys", vec![sealing_key().await]);
    let refusal = Node::refused(other).await;
    assert!(refusal.said.contains("security.sealing_keys"), "{}", refusal.said);
    println!("keys: {}", refusal.said);
}

/// PR-27, PR-28: two nodes change their key one after the other, in two rounds: first all learn the new one, then all seal
/// with it. At every moment each opens what the other sealed, and old URLs go on working.
#[tokio::test]
async fn two_nodes_rotate_their_key() {
    let server = Server::start(Configuration::new()).await;
    let (old, new) = (sealing_key().await, sealing_key().await);
    let with = |keys: &[&String]| {
        let keys: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
        settings(&server.url()).set("security.sealing_keys", keys)
    };
    let mut nodes = [Node::start(with(&[&old])).await, Node::start(with(&[&old])).await];
    let mut subscriptions = Vec::new();
    for keys in [[&old, &new], [&new, &old]] {
        for number in 0..nodes.len() {
            nodes[number].terminate();
            assert!(nodes[number].ended().await.0.success());
            let keys: Vec<_> = keys.iter().map(|key| key.to_string()).collect();
            nodes[number].reconfigure(|settings| settings.set("security.sealing_keys", keys));
            nodes[number].start_again().await;
            for node in &nodes {
                subscriptions.push(subscribed(node).await);
            }
            for node in &nodes {
                let mut http = Http::connect(&node.door()).await.unwrap();
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
