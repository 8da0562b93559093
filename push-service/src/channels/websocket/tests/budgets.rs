//! PR-42: a channel whose user agent asks for too much is read more slowly, then closed; others are not slowed down.

use std::time::Duration;

use push_protocol::wire::frame::write_pong;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::rig::{Rig, name};
use crate::defaults::{
    CHANNEL_SLOWED_FOR, CHANNEL_TICK, COST_SUBSCRIBE, COST_UNKNOWN_ACKNOWLEDGEMENT, COST_UNSUBSCRIBE,
    IN_FLIGHT, SUBSCRIPTIONS_PER_USER_AGENT, WORK_PER_USER_AGENT, WORK_PER_USER_AGENT_BURST,
};

const STEPS: &str = "push_service_storage_step_duration_seconds_count{step=\"acknowledge\"} ";
const THROTTLED: &str = "push_service_throttled_total{budget=\"user_agent\"} ";

/// Acknowledgements of messages that never existed, of the own subscription or another.
fn made_up(messages: std::ops::Range<u64>) -> Value {
    let updates = messages.map(|n| {
        let version = format!("{n:021}A");
        json!({"channelID": name(1), "version": version})
    });
    json!({"messageType": "ack", "updates": updates.collect::<Vec<_>>()})
}

/// PR-42: acknowledgements of messages that were never sent cost tokens: few of them reach storage, and a user agent
/// that goes on is closed with 1008. Another user agent at the same address gets its messages meanwhile.
#[tokio::test(start_paused = true)]
async fn made_up_acknowledgements_are_paid_for() {
    let rig = Rig::new();
    let (mut hostile, mut honest) = (rig.connect(), rig.connect());
    hostile.hello(None).await;
    hostile.register(1).await;
    honest.hello(None).await;
    let subscription = honest.register(2).await;
    for n in 0..80 {
        hostile.send(&made_up(n * 120..(n + 1) * 120)).await;
    }
    for _ in 0..100 {
        rig.push(subscription, b"x").await;
        let message = timeout(CHANNEL_TICK, honest.receive()).await.unwrap();
        honest.acknowledge(&message).await;
    }
    let started = Instant::now();
    assert_eq!(hostile.closed().await, 1008);
    assert!(
        started.elapsed() >= CHANNEL_SLOWED_FOR / 2,
        "{:?}",
        started.elapsed()
    );
    let ended = "push_service_channels_closed_total{reason=\"over_budget\"} ";
    rig.until(|rig| rig.metric(ended) == 1).await;
    // A hundred of them are the honest user agent's; each of the others was paid for.
    let earned = WORK_PER_USER_AGENT_BURST + WORK_PER_USER_AGENT * CHANNEL_SLOWED_FOR.as_secs() as u32;
    let most = 100 + u64::from(earned / (120 * COST_UNKNOWN_ACKNOWLEDGEMENT)) + 2;
    let steps = rig.metric(STEPS);
    assert!(steps <= most, "{steps} of {most}");
    assert_eq!(rig.waiting(), 0);
}

/// PR-42: acknowledging what was sent on the channel is free in bursts of any size: 32 at a time, for a thousand
/// messages.
#[tokio::test(start_paused = true)]
async fn bursts_of_acknowledgements_are_free() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscriptions = [agent.register(1).await, agent.register(2).await];
    let started = Instant::now();
    for _ in 0..1_000 / IN_FLIGHT {
        for n in 0..IN_FLIGHT {
            rig.push(subscriptions[n % 2], b"x").await;
        }
        let mut updates = Vec::new();
        for _ in 0..IN_FLIGHT {
            let message = agent.receive().await;
            updates
                .push(json!({"channelID": message["channelID"], "version": message["version"], "code": 100}));
        }
        agent
            .send(&json!({"messageType": "ack", "updates": updates}))
            .await;
    }
    agent.ping().await;
    assert!(started.elapsed() < CHANNEL_TICK, "{:?}", started.elapsed());
    assert_eq!(rig.metric(THROTTLED), 0);
}

/// PR-18, PR-48: messages that were sent on an earlier channel can be acknowledged on the next one, all at once.
#[tokio::test(start_paused = true)]
async fn messages_of_an_earlier_channel_are_acknowledged_at_once() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    let uaid = agent.hello(None).await;
    let subscriptions = [agent.register(1).await, agent.register(2).await];
    let mut updates = Vec::new();
    for n in 0..IN_FLIGHT {
        rig.push(subscriptions[n % 2], b"x").await;
        let message = agent.receive().await;
        updates.push(json!({"channelID": message["channelID"], "version": message["version"]}));
    }
    agent.close().await;
    let mut agent = rig.connect();
    agent
        .send(&json!({"messageType": "hello", "use_webpush": true, "uaid": uaid, "urgency": "high"}))
        .await;
    assert_eq!(agent.receive().await["uaid"], json!(uaid));
    let started = Instant::now();
    agent
        .send(&json!({"messageType": "ack", "updates": updates}))
        .await;
    rig.until(|rig| rig.waiting() == 0).await;
    assert!(started.elapsed() < CHANNEL_TICK, "{:?}", started.elapsed());
    assert_eq!(rig.metric(THROTTLED), 0);
}

/// PR-42: unrequested pongs and nacks get no answer and cost tokens: a flood of them is read slowly.
#[tokio::test(start_paused = true)]
async fn frames_without_answers_are_paid_for() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let mut pongs = Vec::new();
    for _ in 0..1_000 {
        write_pong(&mut pongs, Some([1, 2, 3, 4]), b"");
    }
    let nacks: Vec<Value> = (0..100)
        .map(|_| json!({"messageType": "nack", "version": "x", "code": 301}))
        .collect();
    let started = Instant::now();
    for _ in 0..u64::from(WORK_PER_USER_AGENT_BURST) / 1_000 + 30 {
        agent.send_bytes(&pongs).await;
    }
    agent.send_together(&nacks).await;
    agent.ping().await;
    let earned = Duration::from_secs(30_100 / u64::from(WORK_PER_USER_AGENT));
    assert!(
        started.elapsed() + Duration::from_secs(1) >= earned,
        "{:?}",
        started.elapsed()
    );
    assert!(rig.metric(THROTTLED) > 0);
}

/// PR-42: a user agent that makes all its subscriptions again at once does not wait. One that endlessly makes and
/// ends them is answered more and more slowly, and the wait comes before storage is asked.
#[tokio::test(start_paused = true)]
async fn subscriptions_without_end_are_paid_for() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let started = Instant::now();
    for n in 0..SUBSCRIPTIONS_PER_USER_AGENT {
        agent.register((n % 100) as u8).await;
    }
    assert!(started.elapsed() < CHANNEL_TICK, "{:?}", started.elapsed());
    let pairs = 60;
    for _ in 0..pairs {
        agent.register(1).await;
        agent
            .send(&json!({"messageType": "unregister", "channelID": name(1)}))
            .await;
        assert_eq!(agent.receive().await["status"], 200);
    }
    let cost = pairs * (COST_SUBSCRIBE + COST_UNSUBSCRIBE);
    let earned = Duration::from_secs(u64::from(cost / WORK_PER_USER_AGENT));
    assert!(
        started.elapsed() + Duration::from_secs(1) >= earned,
        "{:?} of {earned:?}",
        started.elapsed()
    );
}
