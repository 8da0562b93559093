//! A Redis whose memory is full, and one that would drop what it was given.

use push_tests::application_server::Push;
use push_tests::node::Node;
use push_tests::redis::{Configuration, Server};
use push_tests::user_agent::UserAgent;

use super::traffic::Traffic;
use super::{is_trouble, ready, returns, sender, settings};

/// What Redis may hold: a few megabytes more than it takes for itself.
const MEMORY: u64 = 6_000_000;

/// Messages of this size fill it soon.
const BODY: usize = 4_000;

/// PR-23, PR-31: when Redis is full, new messages and subscriptions are refused with 503 and everything that makes room still
/// works: acknowledgements, deletes, reading on. Then pushes are accepted again.
#[tokio::test]
async fn a_full_redis_takes_acknowledgements_and_deletes() {
    let server = Server::start(Configuration::new().memory(MEMORY, "noeviction")).await;
    let (one, other) = (
        Node::start(settings(&server.url())).await,
        Node::start(settings(&server.url())).await,
    );
    let traffic = Traffic::start(&one, &other).await;
    let (mut agent, uaid) = UserAgent::arrive(&one.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let spare = agent.subscribe(None).await;
    agent.leave().await;
    let mut http = sender(&other).await;
    let mut stored = Vec::new();
    let large = Push::new(&subscription.push_resource, "").body(vec![7; BODY]);
    let refusal = loop {
        let answer = http.push(&large).await;
        if answer.status != 201 {
            break answer;
        }
        stored.push(answer.header("location").to_owned());
    };
    is_trouble(&refusal);
    assert!(refusal.text().contains("is full"), "{}", refusal.text());
    traffic.is_refused().await;
    // It is well, and full.
    ready(&one, 200).await;

    // Full as it is: the user agent comes back and reads on, may not subscribe, and may end what it has.
    let mut agent = returns(&one, &uaid).await;
    let first = agent.notification().await;
    let register = agent.register(&push_tests::user_agent::new_name(), None).await;
    assert_eq!(register["status"], 500, "{register}");
    agent.unsubscribe(&spare.name).await;
    let last = stored.pop().expect("some were stored");
    let deleted = http.delete(&last).await.expect("an answer");
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    // It acknowledges, pages, and makes room.
    agent.acknowledge(&first).await;
    for _ in 1..stored.len() {
        let notification = agent.notification().await;
        agent.acknowledge(&notification).await;
    }
    let healed = traffic.goes_on().await;
    assert_eq!(http.push(&large).await.status, 201);
    agent.notification().await;
    println!(
        "full: {} messages of {BODY} bytes; accepted again {healed:?} after they were acknowledged; {:?}",
        stored.len(),
        traffic.audit(&other).await
    );
}

/// PR-31: a Redis that would evict is refused at the start, with what has to be set.
#[tokio::test]
async fn a_redis_that_evicts_is_refused() {
    let server = Server::start(Configuration::new().memory(50_000_000, "allkeys-lru")).await;
    let refusal = Node::refused(settings(&server.url())).await;
    assert!(!refusal.status.success());
    assert!(
        refusal.said.contains("set `maxmemory-policy noeviction`"),
        "{}",
        refusal.said
    );
    server
        .command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await
        .expect_ok();
    Node::start(settings(&server.url())).await;
}
