//! PR-42: a channel whose user agent asks for too much is read more slowly, then closed; others are not slowed down.

use std::time::Duration;

use push_protocol::wire::frame::{write_pong, write_text};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::rig::{Rig, name};
use crate::defaults::{
    CHANNEL_SLOWED_FOR, CHANNEL_TICK, COST_SUBSCRIBE, COST_UNKNOWN_ACKNOWLEDGEMENT, COST_UNSUBSCRIBE,
    IN_FLIGHT, SUBSCRIPTIONS_PER_USER_AGENT, WORK_PER_ADDRESS, WORK_PER_ADDRESS_BURST, WORK_PER_USER_AGENT,
    WORK_PER_USER_AGENT_BURST,
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

/// PR-42: frames that get no answer (pongs, fragments, nacks, acknowledgements without ids or of messages that were
/// never stored) cost tokens: a flood of any of them is read slowly.
#[tokio::test(start_paused = true)]
async fn frames_without_answers_are_paid_for() {
    let mut pong = Vec::new();
    write_pong(&mut pong, Some([1, 2, 3, 4]), b"");
    let text = |message: Value| {
        let mut frame = Vec::new();
        write_text(&mut frame, Some([1, 2, 3, 4]), |out| {
            out.extend_from_slice(message.to_string().as_bytes());
        });
        frame
    };
    let version = "A".repeat(22);
    let ping = || text(json!({}));
    // Name, first frame, the frame that is repeated, and the last frame, which is answered.
    let floods = [
        ("pongs", Vec::new(), pong, ping()),
        (
            "fragments",
            b"\x01\x80\0\0\0\0".to_vec(),
            b"\x00\x80\0\0\0\0".to_vec(),
            b"\x80\x82\0\0\0\0{}".to_vec(),
        ),
        (
            "nacks",
            Vec::new(),
            text(json!({"messageType": "nack", "version": "x", "code": 301})),
            ping(),
        ),
        (
            "empty acknowledgements",
            Vec::new(),
            text(json!({"messageType": "ack", "updates": []})),
            ping(),
        ),
        (
            "acknowledgements of what is not stored",
            Vec::new(),
            text(json!({"messageType": "ack", "updates": [{"channelID": name(1), "version": version}]})),
            ping(),
        ),
    ];
    for (what, first, frame, last) in floods {
        let rig = Rig::new();
        let mut agent = rig.connect();
        agent.hello(None).await;
        // The burst is spent.
        for n in 0..WORK_PER_USER_AGENT_BURST / COST_SUBSCRIBE {
            agent.register((n % 100) as u8).await;
        }
        let started = Instant::now();
        let seconds = 4;
        agent.send_bytes(&first).await;
        for _ in 0..seconds * WORK_PER_USER_AGENT / 100 {
            agent.send_bytes(&frame.repeat(100)).await;
        }
        agent.send_bytes(&last).await;
        assert_eq!(agent.receive().await, json!({}), "{what}");
        assert!(rig.metric(THROTTLED) > 0, "{what}");
        let took = started.elapsed();
        let earned = Duration::from_secs(u64::from(seconds));
        assert!(took + Duration::from_secs(1) >= earned, "{what}: {took:?}");
    }
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

/// PR-42: a request that has to be paid for first is not carried out before its tokens are earned.
#[tokio::test(start_paused = true)]
async fn storage_is_asked_when_the_tokens_are_earned() {
    const REGISTERED: &str = "push_service_storage_step_duration_seconds_count{step=\"subscribe\"} ";
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    for n in 0..WORK_PER_USER_AGENT_BURST / COST_SUBSCRIBE {
        agent.register((n % 100) as u8).await;
    }
    let before = rig.metric(REGISTERED);
    let earned = Duration::from_secs(1) * COST_SUBSCRIBE / WORK_PER_USER_AGENT;
    agent
        .send(&json!({"messageType": "register", "channelID": name(1)}))
        .await;
    assert!(timeout(earned / 2, agent.receive()).await.is_err());
    assert_eq!(rig.metric(REGISTERED), before);
    assert_eq!(agent.receive().await["status"], 200);
    assert_eq!(rig.metric(REGISTERED), before + 1);
}

/// PR-42: an address pays for all of its user agents, each of which is within its own budget.
#[tokio::test(start_paused = true)]
async fn an_address_pays_for_its_user_agents() {
    let rig = Rig::new();
    let agents = WORK_PER_ADDRESS_BURST / WORK_PER_USER_AGENT_BURST + 1;
    let started = Instant::now();
    for _ in 0..agents {
        let mut agent = rig.connect();
        agent.hello(None).await;
        for n in 0..WORK_PER_USER_AGENT_BURST / COST_SUBSCRIBE {
            agent.register((n % 100) as u8).await;
        }
    }
    let spent = agents * WORK_PER_USER_AGENT_BURST - WORK_PER_ADDRESS_BURST;
    let earned = Duration::from_secs(u64::from(spent / WORK_PER_ADDRESS));
    let took = started.elapsed();
    assert!(
        took + Duration::from_millis(200) >= earned,
        "{took:?} of {earned:?}"
    );
    assert!(rig.metric("push_service_throttled_total{budget=\"address\"} ") > 0);
}

/// PR-42: subscriptions that are made on channels count for the address. Those that exist already do not.
#[tokio::test(start_paused = true)]
async fn subscriptions_made_on_channels_are_counted() {
    let rig = Rig::with_limits(|limits| {
        limits.records_per_address = 0.001;
        limits.records_per_address_burst = 4;
    });
    let mut agent = rig.connect();
    agent.hello(None).await;
    for _ in 0..3 {
        for n in 1..=3 {
            agent.register(n).await;
        }
    }
    agent.register(4).await;
    agent
        .send(&json!({"messageType": "register", "channelID": name(5)}))
        .await;
    let refused = agent.receive().await;
    assert_eq!(
        (&refused["messageType"], &refused["status"]),
        (&json!("register"), &json!(400))
    );
    agent.register(1).await;
}

/// PR-42: acknowledgements that can't be paid for do not reach storage: a message that one of them names still waits.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_paid_for_is_not_carried_out() {
    let rig = Rig::with_limits(|limits| {
        limits.work_per_user_agent = 1;
        limits.work_per_user_agent_burst = 1_000;
    });
    let mut agent = rig.connect();
    let uaid = agent.hello(None).await;
    let subscription = agent.register(1).await;
    rig.push(subscription, b"x").await;
    let message = agent.receive().await;
    agent.close().await;
    // On this channel it is not offered, because it is not urgent enough.
    let mut agent = rig.connect();
    agent
        .send(&json!({"messageType": "hello", "use_webpush": true, "uaid": uaid, "urgency": "high"}))
        .await;
    assert_eq!(agent.receive().await["uaid"], json!(uaid));
    let mut frame = made_up(0..119);
    let sent = json!({"channelID": message["channelID"], "version": message["version"]});
    frame["updates"].as_array_mut().unwrap().push(sent);
    agent.send(&frame).await;
    assert_eq!(agent.closed().await, 1008);
    rig.until(|rig| rig.channels() == 0).await;
    assert_eq!(rig.waiting(), 1);
}
