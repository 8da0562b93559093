//! The scripts decide what the decision core decides, step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use push_protocol::{MessageId, UserAgentId};
use push_tests::redis::{Configuration, Server};

use super::super::url::RedisUrl;
use super::super::{Options, Redis};
use super::OWN;
use crate::defaults::RETENTION;
use crate::storage::clock::ManualClock;
use crate::storage::contract::model::{AGENTS, Dice, Draw, remember};
use crate::storage::contract::senders::sender;
use crate::storage::contract::{Announcements, user_agent};
use crate::storage::memory::Memory;
use crate::storage::{Announce, Seat, Storage, WakeUp};

const STEPS: usize = 2_000;

/// Sweeps do nothing visible when they are always done: then both have dropped the same when a step comes.
async fn sweep(memory: &Memory, redis: &Redis) {
    memory.expire(usize::MAX).await.unwrap();
    for agent in 0..AGENTS {
        redis.sweep(user_agent(agent), usize::MAX).await.unwrap();
    }
}

/// PR-6 to PR-12, PR-17, PR-18, PR-21 to PR-24, PR-43: every answer and every wake-up is the same on both, and every
/// sender's sum, whatever happens in whatever order.
#[tokio::test]
async fn redis_does_what_memory_does() {
    let server = Server::start(Configuration::new()).await;
    let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
    let (memory_announcements, redis_announcements) = (
        Arc::new(Announcements::default()),
        Arc::new(Announcements::default()),
    );
    let memory = Memory::new(
        Arc::clone(&memory_announcements) as Arc<dyn Announce>,
        Arc::clone(&clock) as _,
        RETENTION,
    );
    let options = Options {
        incarnation: OWN,
        clock: Some(Arc::clone(&clock) as _),
        ..Options::new(
            RedisUrl::parse(&server.url()).unwrap(),
            Arc::clone(&redis_announcements) as _,
        )
    };
    let redis = Redis::open(options).await.unwrap();
    let (mut dice, seed) = Dice::seeded();
    let mut known = Vec::new();
    for step in 0..STEPS {
        if dice.below(10) == 0 {
            clock.advance(Duration::from_millis(dice.below(20_000)));
        }
        let draw = Draw::next(&mut dice, &known);
        if matches!(draw, Draw::Expire(_)) {
            continue;
        }
        sweep(&memory, &redis).await;
        let answers = (draw.clone().take(&redis).await, draw.clone().take(&memory).await);
        let answers = (without_retention(&answers.0), without_retention(&answers.1));
        assert_eq!(answers.0, answers.1, "SEED={seed} step {step}: {draw:?}");
        sweep(&memory, &redis).await;
        let told = (
            in_order(redis_announcements.take()),
            in_order(memory_announcements.take()),
        );
        assert_eq!(told.0, told.1, "SEED={seed} step {step}: {draw:?}");
        remember(&draw, &memory, &mut known).await;
        if step % 100 == 0 {
            // Redis drops a part whose time is over, and the sweep subtracts its messages too. After a round they are
            // subtracted once.
            redis.senders.exchange(&redis.runner).await.unwrap();
            for n in 1..=3 {
                let waiting = memory.senders().get(&sender(n)).copied().unwrap_or(0);
                assert_eq!(
                    redis.senders.of(sender(n)),
                    waiting,
                    "SEED={seed} step {step}: sender {n}"
                );
            }
            let bytes = memory.usage().map(|usage| usage.bytes);
            assert_eq!(redis.queued_bytes(), bytes, "SEED={seed} step {step}");
        }
    }
    redis.close().await.unwrap();
}

/// Redis keeps a record without subscriptions for less long, because no sweep looks at it. If a session stays, memory makes its
/// unused record a used one in a sweep. Redis does so when the session is compared, which no step here does. When a user agent was
/// last seen follows from its retention.
fn without_retention(answer: &str) -> String {
    let mut answer = answer.replace("unused: true", "unused: false");
    for field in ["retained_for_secs: ", "last_seen: "] {
        if let Some((before, after)) = answer.split_once(field) {
            answer = before.to_owned() + after.trim_start_matches(|c: char| c.is_ascii_digit());
        }
    }
    answer
}

/// What each user agent was told, with what one sweep dropped in the order of ids: sweeps drop in an order of their own.
fn in_order(told: Vec<(UserAgentId, Seat, WakeUp)>) -> Vec<String> {
    let mut wake_ups: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let mut removed: BTreeMap<_, BTreeSet<MessageId>> = BTreeMap::new();
    for (user_agent, seat, wake_up) in told {
        match wake_up {
            WakeUp::Removed(ids) => removed.entry((user_agent, seat.session)).or_default().extend(ids),
            other => wake_ups
                .entry((user_agent, seat.session))
                .or_default()
                .push(format!("{other:?}")),
        }
    }
    let removed = removed.into_iter().map(|told| format!("{told:?}"));
    wake_ups
        .into_iter()
        .map(|told| format!("{told:?}"))
        .chain(removed)
        .collect()
}
