//! A primary that sentinels watch: it dies, and a replica takes over.

use std::time::Instant;

use push_tests::application_server::Push;
use push_tests::node::Node;
use push_tests::redis::{Sentinels, until};
use push_tests::user_agent::{Event, UserAgent};
use push_tests::within;

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
    // No replica confirms until the old primary is back, as a replica.
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
    let (mut agent, uaid) = UserAgent::arrive(&one.connector(), None).await;
    let register = agent.register(&push_tests::user_agent::new_name(), None).await;
    assert_eq!(register["status"], 500, "{register}");
    sentinels.servers()[failover.killed].go_on();
    let went_on = traffic.goes_on().await;
    println!("sentinels: replica silent: 503 after {refused:?}, healed {went_on:?}");

    let subscription = agent.subscribe(None).await;
    sentinels.servers()[failover.killed].stop();
    // It is on the primary, so it may arrive; that was not promised (PR-2).
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

/// A user agent that subscribes meanwhile; its identity, if its subscription was confirmed.
async fn subscribes(node: &Node) -> Option<String> {
    let mut agent = UserAgent::connect(&node.connector()).await;
    let hello = serde_json::json!({"messageType": "hello", "use_webpush": true});
    agent.send(&hello).await;
    let Event::Reply(reply) = agent.event().await else {
        return None;
    };
    let uaid = reply["uaid"].as_str()?.to_owned();
    let name = push_tests::user_agent::new_name();
    let register = serde_json::json!({"messageType": "register", "channelID": name});
    agent.send(&register).await;
    match agent.event().await {
        Event::Reply(reply) if reply["status"] == 200 => Some(uaid),
        _ => None,
    }
}

/// The number of failovers, and `wait_replicas`: set by hand for a long run, or to see what `wait_replicas = 1`
/// loses.
fn from_environment(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Pairs of senders. Chosen: enough that replicas always lack some messages.
const SENDERS: usize = 4;

/// PR-41: planned failovers, one after the other, lose no message and no subscription with `wait_replicas = "all"`, though
/// the sentinels may promote either of two replicas. With fewer than are connected, the log and `/status` say what may happen.
#[tokio::test]
async fn planned_failovers_lose_nothing_when_all_replicas_confirm() {
    let failovers_wanted: u32 = from_environment("PLANNED_FAILOVERS", "3").parse().unwrap();
    let sentinels = Sentinels::start(2).await;
    let url = sentinels.url();
    let few = Node::start(settings(&url).set("storage.redis.wait_replicas", 1)).await;
    let warned = within("the log warns", few.log().wait_for_line(&["wait_replicas is 1"])).await;
    assert!(warned.is_some());
    let status = few.ask_admin("/status").await.text();
    assert!(
        status.contains("warnings") && status.contains("2 connected replicas"),
        "{status}"
    );
    drop(few);

    let configured = || {
        settings(&url).set(
            "storage.redis.wait_replicas",
            from_environment("PLANNED_WAIT_REPLICAS", "all"),
        )
    };
    let (one, other) = (Node::start(configured()).await, Node::start(configured()).await);
    let mut traffics = Vec::new();
    for _ in 0..SENDERS {
        traffics.push(Traffic::start(&one, &other).await);
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let subscriber = async {
        let mut known = Vec::new();
        while !*stopped.borrow() {
            known.extend(subscribes(&one).await);
        }
        known
    };
    let failovers = async {
        for _ in 0..failovers_wanted {
            let before = sentinels.primary_number().await;
            let fail_over = ["SENTINEL", "FAILOVER", push_tests::redis::sentinels::NAME];
            until("a failover begins", || async {
                let began = sentinels.sentinels()[0].command(&fail_over).await;
                (!began.is_error()).then_some(())
            })
            .await;
            until("another is primary", || async {
                (sentinels.primary_number().await != before).then_some(())
            })
            .await;
            sentinels.wait_until_settled().await;
            for traffic in &traffics {
                traffic.goes_on().await;
            }
        }
        stop.send_replace(true);
    };
    let (known, ()) = tokio::join!(subscriber, failovers);
    ready(&one, 200).await;
    let mut forgotten = 0;
    for uaid in &known {
        let (agent, given) = UserAgent::arrive(&other.connector(), Some(uaid)).await;
        forgotten += usize::from(given != *uaid);
        agent.leave().await;
    }
    println!(
        "sentinels, planned: {forgotten} of {} subscriptions forgotten",
        known.len()
    );
    assert_eq!(forgotten, 0);
    for traffic in traffics {
        println!("sentinels, planned: {:?}", traffic.audit(&other).await);
    }
    let status = other.ask_admin("/status").await.text();
    assert!(!status.contains("wait_replicas"), "{status}");
}
