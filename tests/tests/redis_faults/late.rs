//! A Redis that comes after the service, or that no wait makes fit.

use std::time::{Duration, Instant};

use push_tests::binaries;
use push_tests::node::Node;
use push_tests::redis::{Configuration, Server};
use push_tests::user_agent::UserAgent;

use super::{ready, settings};

/// A node that starts before its Redis is ready when Redis is there; the log has one line when the wait begins and one when it
/// ends.
#[tokio::test]
async fn a_redis_that_comes_late_is_waited_for() {
    let mut server = Server::start(Configuration::new()).await;
    let url = server.url();
    server.kill().await;
    let mut node = Node::starting(settings(&url).set("storage.redis.start_within", "1m")).await;
    let (why, _) = ready(&node, 503).await;
    assert!(why.contains("starting: waits for"), "{why}");
    node.log()
        .wait_for_line(&["Redis cannot be used yet"])
        .await
        .expect("the node waits");
    server.start_again().await;
    let began = Instant::now();
    node.listens().await;
    println!("listens {:?} after Redis", began.elapsed());
    ready(&node, 200).await;
    let said = node.log().text();
    for words in ["Redis cannot be used yet", "Redis can be used now"] {
        assert_eq!(said.matches(words).count(), 1, "{words}: {said}");
    }
    let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
    agent.subscribe(None).await;
}

/// What no wait mends ends the start at once, however long a Redis that is away would be waited for: a wrong password, a server
/// that is not fit, a database that it does not have.
#[tokio::test]
async fn what_no_wait_mends_ends_the_start_at_once() {
    let closed = Server::start(Configuration::new().user("push", "right")).await;
    let evicting = Server::start(Configuration::new().memory(100_000_000, "allkeys-lru")).await;
    let fit = Server::start(Configuration::new()).await;
    let rows = [
        (format!("redis://push:wrong@{}", closed.address()), "storage.url"),
        (format!("redis://{}", closed.address()), "storage.url"),
        (evicting.url(), "maxmemory-policy noeviction"),
        (format!("redis://{}/99", fit.address()), "database"),
        (
            format!("redis+cluster://{}", fit.address()),
            "cluster support disabled",
        ),
    ];
    // A build of the binary is not part of what is measured.
    binaries::push_service();
    for (url, words) in rows {
        let began = Instant::now();
        let refused = Node::refused(settings(&url).set("storage.redis.start_within", "10m")).await;
        let took = began.elapsed();
        println!("{took:?}: {}", refused.said.lines().last().unwrap_or_default());
        assert!(took < Duration::from_secs(5), "{url}: {took:?}");
        assert_eq!(refused.status.code(), Some(1), "{url}: {}", refused.said);
        assert!(refused.said.contains(words), "{url}: {}", refused.said);
        assert!(
            !refused.said.contains("wrong@") && !refused.said.contains("Redis cannot be used yet"),
            "{}",
            refused.said
        );
    }
}
