//! Two nodes on one storage, with wake-ups that are lost, late, or out of order on their way: what user agents see.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, advance, timeout};

use crate::channels::rig::{Rig, UserAgent};
use crate::defaults::{CHANNEL_TICK, CLUSTER_RECONCILE, RECONCILE_PER_SECOND, STORAGE_RETRY_AFTER};
use crate::storage::bucket;

/// Longer than any test that doesn't wait for it.
const NEVER: Duration = Duration::from_secs(1_000_000);

/// After so long every session has had its turn.
const PERIOD: Duration = CLUSTER_RECONCILE.saturating_add(CHANNEL_TICK);

/// A user agent that gets nothing for this long is quiet: five periods.
const QUIET: Duration = CLUSTER_RECONCILE.saturating_mul(5);

fn body_of(message: &Value) -> &str {
    assert_eq!(message["messageType"], "notification", "{message}");
    message["data"].as_str().unwrap()
}

async fn is_quiet(agent: &mut UserAgent, long: Duration) -> bool {
    timeout(long, agent.receive()).await.is_err()
}

/// PR-14: the last message before a quiet night comes within the period although its wake-up was lost, with no reconnect and
/// no later message; without comparisons it doesn't come.
#[tokio::test(start_paused = true)]
async fn the_last_message_before_a_quiet_night() {
    let mut rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    rig.storage.wires.lose(true);
    rig.push(subscription, b"x").await;
    assert!(is_quiet(&mut agent, QUIET).await, "the session was not told");
    rig.reconcile();
    let message = timeout(PERIOD, agent.receive()).await.unwrap();
    assert_eq!(body_of(&message), "eA");
    agent.acknowledge(&message).await;
    rig.until(|rig| rig.waiting() == 0).await;
    assert!(is_quiet(&mut agent, QUIET).await, "it came once");
}

/// PR-14: each session has its turn once in a period, and those that have missed nothing are not woken: no page is read.
#[tokio::test(start_paused = true)]
async fn idle_sessions_are_left_alone() {
    const PAGES: &str = "push_service_storage_step_duration_seconds_count{step=\"page\"}";
    let mut rig = Rig::new();
    let mut agents = Vec::new();
    for n in 0..20 {
        let mut agent = rig.connect();
        agent.hello(None).await;
        let subscription = agent.register(n).await;
        rig.push(subscription, b"x").await;
        let message = agent.receive().await;
        agent.acknowledge(&message).await;
        agents.push(agent);
    }
    let mut stranger = rig.connect();
    stranger.hello(None).await;
    rig.until(|rig| rig.waiting() == 0).await;
    rig.reconcile();
    assert!(is_quiet(&mut agents[0], CLUSTER_RECONCILE * 3 + CHANNEL_TICK).await);
    let level = rig.metric("push_service_sessions_compared_total{outcome=\"level\"}");
    assert_eq!((level, rig.metric(PAGES)), (60, 0), "the stranger has no seat");
}

/// PR-14: after a gap the sessions of its buckets are compared at once, and no others.
#[tokio::test(start_paused = true)]
async fn a_gap_is_closed_at_once() {
    let mut rig = Rig::with_period(NEVER);
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    rig.reconcile();
    rig.storage.wires.lose(true);
    rig.push(subscription, b"x").await;
    let bucket = bucket(subscription.user_agent);
    let others: Vec<u16> = (0..2_000).filter(|other| *other != bucket).collect();
    rig.gap(&others);
    assert!(is_quiet(&mut agent, QUIET).await);
    rig.gap(&[bucket]);
    let message = timeout(Duration::from_secs(1), agent.receive()).await.unwrap();
    assert_eq!(body_of(&message), "eA");
}

/// PR-14: a process that was paused compares every session when it goes on.
#[tokio::test(start_paused = true)]
async fn a_pause_is_a_gap() {
    let mut rig = Rig::with_period(NEVER);
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    rig.reconcile();
    rig.storage.wires.lose(true);
    rig.push(subscription, b"x").await;
    assert!(is_quiet(&mut agent, QUIET).await);
    advance(Duration::from_secs(10)).await;
    let message = timeout(Duration::from_secs(1), agent.receive()).await.unwrap();
    assert_eq!(body_of(&message), "eA");
}

/// PR-3, PR-14: a comparison that storage has trouble with is made when storage is well again, and until then every channel stays.
#[tokio::test(start_paused = true)]
async fn trouble_forgets_no_gap() {
    let mut rig = Rig::with_period(NEVER);
    let mut agents = Vec::new();
    for n in 0..5 {
        let mut agent = rig.connect();
        agent.hello(None).await;
        agents.push((agent.register(n).await, agent));
    }
    rig.reconcile();
    rig.storage.wires.lose(true);
    for (subscription, _) in &agents {
        rig.push(*subscription, b"x").await;
    }
    rig.storage.trouble(true);
    let everywhere: Vec<u16> = (0..1_024).collect();
    rig.gap(&everywhere);
    assert!(is_quiet(&mut agents[0].1, QUIET).await);
    rig.storage.trouble(false);
    let soon = Instant::now() + STORAGE_RETRY_AFTER * 2;
    for (_, agent) in &mut agents {
        let message = tokio::time::timeout_at(soon, agent.receive()).await.unwrap();
        assert_eq!(body_of(&message), "eA");
    }
}

/// PR-14: a gap is closed at a bounded rate, and one that is told again and again meanwhile is closed once more, not for
/// each time.
#[tokio::test(start_paused = true)]
async fn gaps_are_paced_and_add_up_to_one() {
    let mut rig = Rig::with_period(NEVER);
    let mut agents = Vec::new();
    for n in 0..200 {
        let mut agent = rig.connect();
        agent.hello(None).await;
        agent.register(n).await;
        agents.push(agent);
    }
    rig.reconcile();
    let go = rig.storage.refresh.next();
    let everywhere: Vec<u16> = (0..1_024).collect();
    rig.gap(&everywhere);
    rig.until(|rig| rig.storage.refresh.has_come()).await;
    for _ in 0..100 {
        rig.gap(&everywhere);
    }
    let begun = Instant::now();
    go.send(()).unwrap();
    let level = |rig: &Rig| rig.metric("push_service_sessions_compared_total{outcome=\"level\"}");
    rig.until(|rig| level(rig) >= 200).await;
    let least = Duration::from_secs(150) / RECONCILE_PER_SECOND;
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
    assert!(is_quiet(&mut agents[0], QUIET).await);
    let compared = level(&rig);
    assert!((200..=420).contains(&compared), "{compared}");
}

/// PR-10: a user agent that comes to another node is that node's: the older channel closes, its late release takes nothing
/// from the newer one, and what is sent comes there.
#[tokio::test(start_paused = true)]
async fn the_newer_node_wins() {
    let (a, b) = two_nodes();
    let mut old = a.connect();
    let uaid = old.hello(None).await;
    let subscription = old.register(1).await;
    let mut new = b.connect();
    new.hello(Some(&uaid)).await;
    assert_eq!(old.closed().await, 1011);
    a.emptied().await;
    assert!(b.seated(subscription.user_agent).await);
    a.push(subscription, b"x").await;
    assert_eq!(body_of(&new.receive().await), "eA");
}

/// PR-10, PR-15: an identity that logs in a hundred times a second, at two nodes in turn, loses no message, leaves no
/// channel behind, and has its seat once it stays connected.
#[tokio::test(start_paused = true)]
async fn duplicate_logins_at_100_hz() {
    const LOGINS: usize = 300;
    const MESSAGES: u64 = 20;
    let (a, b) = two_nodes();
    let mut first = a.connect();
    let uaid = first.hello(None).await;
    let subscription = first.register(1).await;
    let mut agents = Vec::new();
    for login in 0..LOGINS {
        let mut agent = if login % 2 == 0 { b.connect() } else { a.connect() };
        let hello = serde_json::json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
        agent.send(&hello).await;
        agents.push(agent);
        if login % (LOGINS / MESSAGES as usize) == 0 {
            a.push(subscription, b"x").await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(a.waiting(), MESSAGES, "nothing was acknowledged");
    // A minute later no attach is too frequent any more.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut last = a.connect();
    assert_eq!(last.hello(Some(&uaid)).await, uaid);
    for _ in 0..MESSAGES {
        let message = last.receive().await;
        assert_eq!(body_of(&message), "eA");
        last.acknowledge(&message).await;
    }
    a.until(|a| a.waiting() == 0).await;
    a.until(|a| a.channels() == 1).await;
    b.emptied().await;
    drop((first, agents));
}

/// PR-10, PR-14: if the older channel was not told, the comparison tells it; until then it takes nothing away.
#[tokio::test(start_paused = true)]
async fn a_displacement_that_was_lost() {
    let (mut a, b) = two_nodes();
    let mut old = a.connect();
    let uaid = old.hello(None).await;
    let subscription = old.register(1).await;
    a.storage.wires.lose(true);
    let mut new = b.connect();
    new.hello(Some(&uaid)).await;
    a.storage.wires.lose(false);
    b.push(subscription, b"x").await;
    assert_eq!(body_of(&new.receive().await), "eA");
    a.reconcile();
    assert_eq!(timeout(PERIOD, old.closed()).await, Ok(1011));
    a.emptied().await;
    assert!(b.seated(subscription.user_agent).await);
}

/// PR-10, PR-11: a message that is stored while a user agent moves to another node comes there once, whichever side of the
/// attach it fell on, and whether its wake-up arrived or not.
#[tokio::test(start_paused = true)]
async fn stored_while_a_user_agent_moves() {
    for lossy in [false, true] {
        for later_ms in [50, 150, 250, 350] {
            let (a, mut b) = two_nodes();
            b.reconcile();
            let mut old = a.connect();
            let uaid = old.hello(None).await;
            let subscription = old.register(1).await;
            drop(old);
            a.storage.takes(Duration::from_millis(200));
            a.storage.wires.lose(lossy);
            let mut new = b.connect();
            let push = async {
                tokio::time::sleep(Duration::from_millis(later_ms)).await;
                a.push(subscription, b"x").await;
            };
            tokio::join!(new.hello(Some(&uaid)), push);
            // Two, because its first turn may come while it has no seat yet.
            let message = timeout(PERIOD * 2, new.receive()).await.unwrap();
            assert_eq!(body_of(&message), "eA", "lossy: {lossy}, after {later_ms} ms");
            new.acknowledge(&message).await;
            b.until(|b| b.waiting() == 0).await;
            assert!(is_quiet(&mut new, CLUSTER_RECONCILE).await);
        }
    }
}

/// PR-4, PR-7: wake-ups that come late and the last first deliver everything once, in order.
#[tokio::test(start_paused = true)]
async fn wake_ups_out_of_order() {
    let (a, b) = two_nodes();
    let mut agent = a.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    b.storage.wires.delay();
    for body in [b"1", b"2", b"3"] {
        b.push(subscription, body).await;
    }
    assert!(is_quiet(&mut agent, QUIET).await);
    b.storage.wires.come_in_reverse();
    for body in ["MQ", "Mg", "Mw"] {
        let message = agent.receive().await;
        assert_eq!(body_of(&message), body);
        agent.acknowledge(&message).await;
    }
    a.until(|a| a.waiting() == 0).await;
    assert!(is_quiet(&mut agent, QUIET).await);
}

/// PR-10, PR-12: a session that ends while it's being compared doesn't get its seat back.
#[tokio::test(start_paused = true)]
async fn a_comparison_brings_no_seat_back() {
    let mut rig = Rig::with_period(NEVER);
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    rig.reconcile();
    let go = rig.storage.refresh.next();
    rig.gap(&[bucket(subscription.user_agent)]);
    rig.until(|rig| rig.storage.refresh.has_come()).await;
    agent.close().await;
    rig.emptied().await;
    assert!(!rig.seated(subscription.user_agent).await);
    go.send(()).unwrap();
    rig.until(|rig| rig.metric("push_service_sessions_compared_total{outcome=\"gone\"}") == 1)
        .await;
    assert!(!rig.seated(subscription.user_agent).await);
}

/// PR-10: a seat that got lost is taken again, with what was missed.
#[tokio::test(start_paused = true)]
async fn a_free_seat_is_taken_again() {
    let mut rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    rig.unseat(subscription.user_agent).await;
    rig.push(subscription, b"x").await;
    rig.reconcile();
    let message = timeout(PERIOD, agent.receive()).await.unwrap();
    assert_eq!(body_of(&message), "eA");
    rig.push(subscription, b"y").await;
    assert_eq!(
        body_of(&timeout(Duration::from_secs(1), agent.receive()).await.unwrap()),
        "eQ"
    );
}

/// PR-3: a record that storage has lost closes no channel and tells its user agent nothing; it's counted.
#[tokio::test(start_paused = true)]
async fn a_lost_record_is_no_news_for_its_user_agent() {
    let mut rig = Rig::new();
    let mut agent = rig.connect();
    agent.hello(None).await;
    let subscription = agent.register(1).await;
    rig.forget(subscription.user_agent, 1).await;
    rig.reconcile();
    assert!(is_quiet(&mut agent, QUIET).await);
    agent.ping().await;
    assert!(rig.metric("push_service_sessions_compared_total{outcome=\"unknown\"}") >= 4);
}

fn two_nodes() -> (Rig, Rig) {
    let a = Rig::new();
    let b = a.beside();
    (a, b)
}
