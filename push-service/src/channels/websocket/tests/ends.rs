//! Channels that end: acknowledgements that were on their way still count, and nothing else does (PR-18).

use std::time::Duration;

use push_protocol::UserAgentIdentity;
use push_protocol::capability::PushCapability;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::rig::{Rig, UserAgent, limits, name};
use crate::defaults::{ANSWER_WITHIN, CLOSE_WITHIN, PENDING_ACKNOWLEDGEMENTS, PING_BURST};
use crate::storage::{Ending, Storage as _};

/// A user agent with one subscription.
async fn subscribed(rig: &Rig) -> (UserAgent, String, PushCapability) {
    let mut agent = rig.connect();
    let uaid = agent.hello(None).await;
    let subscription = agent.register(1).await;
    (agent, uaid, subscription)
}

/// A user agent that an operator has ended is told so by the end of its channel. Its next hello makes a new one of it.
#[tokio::test]
async fn a_user_agent_that_was_ended_leaves() {
    let rig = Rig::new();
    let (mut agent, uaid, _) = subscribed(&rig).await;
    let user_agent = UserAgentIdentity::parse(&uaid).unwrap().id();
    assert!(rig.storage.end(user_agent, Ending::All).await.unwrap());
    assert_eq!(agent.closed().await, 1001);
    let mut agent = rig.connect();
    assert_ne!(agent.hello(Some(&uaid)).await, uaid);
}

/// Pushes a message and receives it.
async fn delivered(rig: &Rig, agent: &mut UserAgent, to: PushCapability) -> Value {
    rig.push(to, b"x").await;
    agent.receive().await
}

fn ack(version: &Value, times: usize) -> Value {
    let update = json!({"channelID": name(1), "version": version, "code": 100});
    json!({"messageType": "ack", "updates": vec![update; times]})
}

/// PR-18: the acknowledgement that a user agent sends on a channel which a newer one has displaced is taken.
#[tokio::test]
async fn a_displaced_channel_takes_acknowledgements() {
    let rig = Rig::new();
    let (mut old, uaid, subscription) = subscribed(&rig).await;
    let message = delivered(&rig, &mut old, subscription).await;
    let mut new = rig.connect();
    new.hello(Some(&uaid)).await;
    assert_eq!(old.closed().await, 1011);
    old.acknowledge(&message).await;
    rig.until(|rig| rig.waiting() == 0).await;
}

/// PR-18: acknowledgements that arrive while earlier ones are being flushed to a slow storage are taken too.
#[tokio::test(start_paused = true)]
async fn acknowledgements_behind_the_flush_are_taken() {
    let rig = Rig::new();
    let (mut old, uaid, subscription) = subscribed(&rig).await;
    let first = delivered(&rig, &mut old, subscription).await;
    let second = delivered(&rig, &mut old, subscription).await;
    let mut new = rig.connect();
    rig.storage.takes(Duration::from_millis(500));
    old.acknowledge(&first).await;
    new.hello(Some(&uaid)).await;
    old.acknowledge(&second).await;
    rig.until(|rig| rig.waiting() == 0).await;
}

/// PR-18, PR-36: after each kind of close, an acknowledgement that was on its way counts.
#[tokio::test(start_paused = true)]
async fn whatever_ends_a_channel() {
    for reason in ["drain", "stop", "pong", "slow", "malformed", "flood", "binary"] {
        let rig = Rig::new();
        let mut agent = rig.connect_with_room(4_096);
        agent.hello(None).await;
        let subscription = agent.register(1).await;
        let message = delivered(&rig, &mut agent, subscription).await;
        let last = ack(&message["version"], 1);
        let mut behind = Vec::new();
        match reason {
            "drain" => drop(timeout(limits().drain_within / 2, rig.drain(Duration::ZERO)).await),
            "stop" => drop(timeout(Duration::from_millis(1), rig.stop()).await),
            "pong" => {
                agent.answers_pings(false);
                assert_eq!(agent.closed().await, 1011);
            }
            "slow" => {
                let large = vec![0; 4_096];
                for _ in 0..3 {
                    rig.push(subscription, &large).await;
                }
                tokio::time::sleep(limits().write_within + Duration::from_secs(1)).await;
            }
            "malformed" => behind.push(json!({"messageType": "nonsense"})),
            "flood" => behind.resize(PING_BURST as usize + 1, json!({})),
            "binary" => agent.send_bytes(b"\x82\x80\0\0\0\0").await,
            _ => unreachable!(),
        }
        let others = rig.waiting() - 1;
        behind.push(last);
        agent.send_together(&behind).await;
        let counts = timeout(Duration::from_secs(20), rig.until(|rig| rig.waiting() == others));
        assert!(
            counts.await.is_ok(),
            "{reason}: {} wait, not {others}",
            rig.waiting()
        );
    }
}

/// PR-18: a request after the close is not served, and after a malformed text nothing counts.
#[tokio::test(start_paused = true)]
async fn nothing_else_is_served() {
    let rig = Rig::new();
    let (mut old, uaid, subscription) = subscribed(&rig).await;
    let first = delivered(&rig, &mut old, subscription).await;
    let second = delivered(&rig, &mut old, subscription).await;
    let mut new = rig.connect();
    new.hello(Some(&uaid)).await;
    assert_eq!(old.closed().await, 1011);
    let register = json!({"messageType": "register", "channelID": name(2)});
    let unregister = json!({"messageType": "unregister", "channelID": name(1)});
    let hello = json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
    let nonsense = json!({"messageType": "nonsense"});
    old.send_together(&[
        register,
        unregister,
        hello,
        json!({}),
        ack(&first["version"], 1),
        nonsense,
        ack(&second["version"], 1),
    ])
    .await;
    rig.until(|rig| rig.channels() == 1).await;
    assert_eq!(rig.waiting(), 1, "the first one only");
    let message = delivered(&rig, &mut new, subscription).await;
    assert_eq!(message["channelID"], json!(name(1)), "it was not unregistered");
}

/// PR-18, PR-16: what a channel takes after its close is bounded in number and in time, even if the peer floods it
/// and storage is slow.
#[tokio::test(start_paused = true)]
async fn the_last_acknowledgements_are_bounded() {
    for is_slow in [false, true] {
        let rig = Rig::new();
        let (mut old, uaid, subscription) = subscribed(&rig).await;
        let first = delivered(&rig, &mut old, subscription).await;
        let last = delivered(&rig, &mut old, subscription).await;
        let mut new = rig.connect();
        new.hello(Some(&uaid)).await;
        assert_eq!(old.closed().await, 1011);
        let begun = Instant::now();
        if is_slow {
            rig.storage.takes(Duration::from_secs(3_600));
        }
        let window = usize::from(limits().in_flight);
        for _ in 0..PENDING_ACKNOWLEDGEMENTS / window {
            old.send(&ack(&first["version"], window)).await;
        }
        old.send(&ack(&first["version"], PENDING_ACKNOWLEDGEMENTS % window))
            .await;
        old.send(&ack(&last["version"], 1)).await;
        rig.until(|rig| rig.channels() == 1).await;
        let took = begun.elapsed();
        assert!(took <= CLOSE_WITHIN + ANSWER_WITHIN * 2, "{took:?}");
        if !is_slow {
            assert_eq!(
                rig.waiting(),
                1,
                "the first was taken, and the one too many was not"
            );
        }
    }
}

/// PR-18, PR-42: an acknowledgement of a sent message counts, too, if it stands behind the frame for which the channel is
/// closed because it can't be paid for.
#[tokio::test(start_paused = true)]
async fn a_channel_that_costs_too_much_takes_acknowledgements() {
    let rig = Rig::with_limits(|limits| {
        limits.work_per_user_agent = 1;
        limits.work_per_user_agent_burst = 1_000;
    });
    let (mut agent, _, to) = subscribed(&rig).await;
    let message = delivered(&rig, &mut agent, to).await;
    let made_up: Vec<_> = (0..120)
        .map(|n| json!({"channelID": message["channelID"], "version": format!("{n:021}A")}))
        .collect();
    let made_up = json!({"messageType": "ack", "updates": made_up});
    agent.send_together(&[made_up, ack(&message["version"], 1)]).await;
    assert_eq!(agent.closed().await, 1008);
    rig.until(|rig| rig.waiting() == 0).await;
}
