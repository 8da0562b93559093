//! A primary that sentinels watch: it dies, and a replica takes over.

use std::time::Instant;

use push_tests::application_server::Push;
use push_tests::node::Node;
use push_tests::redis::Sentinels;
use push_tests::user_agent::UserAgent;

use super::traffic::Traffic;
use super::{TROUBLE_WITHIN, is_trouble, ready, returns, sender, settings};

/// PR-1, PR-33: with `wait_replicas = 1` the primary dies, a replica is promoted, and all that was answered 201 is delivered;
/// in between there are 503s and no node restarts. Without a replica that confirms, nothing is answered 201.
#[tokio::test]
async fn what_a_replica_confirmed_survives_its_primary() {
    let mut sentinels = Sentinels::start(1).await;
    let url = sentinels.url();
    let configured = || settings(&url).set("storage.redis.wait_replicas", 1);
    let (one, other) = (Node::start(configured()).await, Node::start(configured()).await);
    let traffic = Traffic::start(&one, &other).await;

    let killed = Instant::now();
    let failover = sentinels.kill_primary_and_wait_for_promotion().await;
    let promoted = killed.elapsed();
    // Nobody confirms until the old primary is back, as a replica.
    let refused = traffic.is_refused().await;
    sentinels.server_mut(failover.killed).start_again().await;
    sentinels.wait_until_settled().await;
    let back = Instant::now();
    traffic.goes_on().await;
    for node in [&one, &other] {
        ready(node, 200).await;
    }
    println!(
        "sentinels: promoted after {promoted:?}, 503 without a replica after {refused:?}, healed {:?} after the replica \
         was back",
        back.elapsed()
    );

    sentinels.servers()[failover.killed].stop();
    let refused = traffic.is_refused().await;
    assert!(refused < TROUBLE_WITHIN, "{refused:?}");
    let mut http = sender(&one).await;
    let (mut agent, uaid) = UserAgent::arrive(&one.door(), None).await;
    let register = agent.register(&push_tests::user_agent::new_name(), None).await;
    assert_eq!(register["status"], 500, "{register}");
    sentinels.servers()[failover.killed].go_on();
    let went_on = traffic.goes_on().await;
    println!("sentinels: replica silent: 503 after {refused:?}, healed {went_on:?}");

    let subscription = agent.subscribe(None).await;
    sentinels.servers()[failover.killed].stop();
    // It is on the primary, so it may arrive; nobody was promised that (PR-2).
    is_trouble(
        &http
            .push(&Push::new(&subscription.push_resource, "unconfirmed"))
            .await,
    );
    sentinels.servers()[failover.killed].go_on();
    agent.leave().await;
    returns(&other, &uaid).await.leave().await;
    println!("sentinels: {:?}", traffic.audit(&other).await);
}
