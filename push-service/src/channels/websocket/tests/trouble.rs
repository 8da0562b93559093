//! Channels while storage is slow, silent or in trouble: open channels stay, hellos are answered, nothing is lost.

use std::time::Duration;

use push_protocol::UserAgentIdentity;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::rig::{ATTACHING, Rig, UserAgent, limits, name};
use crate::defaults::{
    ANSWER_WITHIN, ATTACH_DELAY_LONGEST, ATTACHES_PER_MINUTE, CHANNEL_TICK, PENDING_ACKNOWLEDGEMENTS,
};

/// When a hello is answered at the latest, on the clock of deadlines.
const ANSWERED: Duration = ANSWER_WITHIN.saturating_add(CHANNEL_TICK.saturating_mul(2));

fn ack(messages: &[String]) -> Value {
    let update = |version: &String| json!({"channelID": name(1), "version": version, "code": 100});
    let updates: Vec<Value> = messages.iter().map(update).collect();
    json!({"messageType": "ack", "updates": updates})
}

async fn hello(agent: &mut UserAgent, uaid: &str) {
    agent
        .send(&json!({"messageType": "hello", "use_webpush": true, "uaid": uaid}))
        .await;
}

/// PR-3: an open channel stays for as long as the trouble lasts, its requests are answered with trouble, and its user agent gets
/// what it waited for afterwards, without another request.
#[tokio::test(start_paused = true)]
async fn open_channels_stay() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    agent
        .send(&json!({"messageType": "urgency", "min": "high"}))
        .await;
    agent.receive().await;
    agent.ping().await;
    rig.push(subscription, b"x").await;

    rig.storage.trouble(true);
    agent.send(&json!({"messageType": "urgency", "min": "low"})).await;
    assert_eq!(agent.receive().await["status"], 200);
    let hours = Duration::from_secs(3_600);
    assert!(
        timeout(hours, agent.receive()).await.is_err(),
        "the page can't be read"
    );
    agent
        .send(&json!({"messageType": "register", "channelID": name(2)}))
        .await;
    assert_eq!(agent.receive().await["status"], 500);

    rig.storage.trouble(false);
    let message = timeout(limits().ask_storage_again_after * 3, agent.receive())
        .await
        .unwrap();
    assert_eq!(message["messageType"], "notification");
}

/// PR-3, PR-16: with a storage that hangs, thousands of hellos are answered "try again" in time. None of them keeps its turn or
/// its channel, and hellos are answered again when storage answers again.
#[tokio::test(start_paused = true)]
async fn thousands_of_hellos_while_storage_hangs() {
    const MANY: usize = 5_000;
    let rig = Rig::new();
    let mut known = rig.connect();
    let uaid = known.hello(None).await;
    known.register(1).await;
    known.close().await;

    rig.storage.takes(Duration::from_secs(20));
    let mut agents = Vec::with_capacity(MANY);
    for n in 0..MANY {
        let mut agent = rig.connect_with_room(1_024);
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&n.to_be_bytes());
        hello(&mut agent, &UserAgentIdentity::from_random(seed).to_hex()).await;
        agents.push(agent);
    }
    let answered = Instant::now() + ANSWERED;
    for agent in &mut agents {
        let code = tokio::time::timeout_at(answered, agent.closed()).await;
        assert_eq!(code.expect("answered in time"), 1013);
    }
    assert_eq!(rig.turns_to_attach(), ATTACHING);
    let attaches = rig.storage.attaches();
    assert!(
        attaches <= 4 * ATTACHING,
        "{attaches} attaches that no channel waits for"
    );
    drop(agents);
    rig.emptied().await;

    rig.storage.takes(Duration::ZERO);
    let mut agent = rig.connect();
    assert_eq!(agent.hello(Some(&uaid)).await, uaid);
}

/// PR-15, PR-16: a user agent that attaches too often waits and is then served; meanwhile it takes no turn from others.
#[tokio::test(start_paused = true)]
async fn a_delayed_attach_delays_no_other() {
    let rig = Rig::new();
    let mut impatient = Vec::new();
    for n in 0..=ATTACHING as u8 {
        let mut agent = rig.connect();
        let uaid = agent.hello(None).await;
        agent.register(n).await;
        agent.close().await;
        for _ in 0..ATTACHES_PER_MINUTE {
            let mut agent = rig.connect();
            agent.hello(Some(&uaid)).await;
            agent.close().await;
        }
        impatient.push((uaid, rig.connect()));
    }
    let mut other = rig.connect();
    let uaid = other.hello(None).await;
    other.register(100).await;
    other.close().await;

    let begun = Instant::now();
    for (uaid, agent) in &mut impatient {
        hello(agent, uaid).await;
    }
    let mut other = rig.connect();
    other.hello(Some(&uaid)).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    for (uaid, agent) in &mut impatient {
        assert_eq!(agent.receive().await["uaid"], json!(*uaid));
    }
    assert!(begun.elapsed() >= ATTACH_DELAY_LONGEST - CHANNEL_TICK);
    assert!(begun.elapsed() < ANSWERED);
}

/// PR-16, WS-REG-9: a register and an unregister that storage does not answer are answered 500 in time.
#[tokio::test(start_paused = true)]
async fn requests_while_storage_hangs() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    agent.register(1).await;
    rig.storage.takes(Duration::from_secs(3_600));
    for kind in ["register", "unregister"] {
        agent
            .send(&json!({"messageType": kind, "channelID": name(1)}))
            .await;
        let reply = timeout(ANSWERED, agent.receive()).await.unwrap();
        assert_eq!(
            (&reply["messageType"], &reply["status"]),
            (&json!(kind), &json!(500))
        );
    }
}

/// PR-16: a channel that ends while storage hangs goes in bounded time all the same.
#[tokio::test(start_paused = true)]
async fn a_channel_ends_while_storage_hangs() {
    let rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    rig.push(subscription, b"x").await;
    let message = agent.receive().await;
    rig.storage.takes(Duration::from_secs(3_600));
    agent.acknowledge(&message).await;
    drop(agent);
    let begun = Instant::now();
    rig.emptied().await;
    assert!(begun.elapsed() <= ANSWER_WITHIN * 4, "{:?}", begun.elapsed());
}

/// PR-18: acknowledgements that storage does not take are kept up to their bound, however long that lasts. Then the channel is not
/// read, and when storage is well again all of them count.
#[tokio::test(start_paused = true)]
async fn acknowledgements_in_trouble_are_bounded() {
    const A_FRAME: usize = 100;
    let rig = Rig::new();
    let mut agent = rig.connect_with_room(1_024);
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    rig.push(subscription, b"x").await;
    let message = agent.receive().await;
    let version = message["version"].as_str().unwrap().to_owned();
    let many = ack(&vec![version; A_FRAME]);
    rig.storage.trouble(true);
    let mut sent = 0;
    let storage_is_well = async {
        tokio::time::sleep(Duration::from_secs(120)).await;
        rig.storage.trouble(false);
    };
    let sending = async {
        while timeout(Duration::from_secs(20), agent.send(&many)).await.is_ok() {
            sent += A_FRAME;
            assert!(sent <= 2 * PENDING_ACKNOWLEDGEMENTS, "{sent} were taken");
        }
        assert!(sent >= PENDING_ACKNOWLEDGEMENTS, "{sent}");
    };
    tokio::join!(sending, storage_is_well);
    rig.until(|rig| rig.waiting() == 0).await;
}

/// PR-4: with a storage that takes its time, what was acknowledged is not offered again by a page that was asked for
/// before, at whatever moment of the page the acknowledgement came.
#[tokio::test(start_paused = true)]
async fn acknowledged_while_a_slow_page_is_read() {
    for later_ms in [0, 100, 200, 290, 310] {
        let rig = Rig::new();
        let mut agent = rig.connect();
        agent.hello(None).await;
        let subscription = agent.register(1).await;
        let mut messages = Vec::new();
        for body in [b"1", b"2", b"3"] {
            rig.push(subscription, body).await;
            messages.push(agent.receive().await);
        }
        rig.storage.takes(Duration::from_millis(300));
        agent.send(&json!({"messageType": "urgency", "min": "low"})).await;
        assert_eq!(agent.receive().await["status"], 200);
        let soon = Duration::from_millis(later_ms);
        assert!(timeout(soon, agent.receive()).await.is_err());
        agent.acknowledge(&messages[1]).await;
        let long = Duration::from_secs(20);
        assert!(
            timeout(long, agent.receive()).await.is_err(),
            "it came again, {later_ms} ms"
        );
        assert_eq!(rig.waiting(), 2);
    }
}
