//! Each step aborted by Redis at each of its calls (PR-39): Redis does not take back what a script has written.
//!
//! Random steps build a state, which is saved. One more random step runs on that state, first whole and then with an
//! abort at its first call, its second, and so on. After each abort the test checks what is left and runs the same
//! step again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use push_protocol::{MessageId, MessageNumber, ReceiptOutcome, SubscriptionId, Topic, UserAgentId};
use push_tests::redis::Reply;

use super::super::Redis;
use super::super::keys::{BODIES, EXPECTED, RECORD, of_user_agent};
use super::super::record::Meta;
use super::OWN;
use super::laboratory::Laboratory;
use crate::defaults::{MESSAGE_OVERHEAD_BYTES, RETENTION};
use crate::storage::clock::Clock as _;
use crate::storage::contract::model::{AGENTS, Dice, Draw, remember};
use crate::storage::contract::{Announcements, enqueue, everything, name, seat, subscribe, user_agent};
use crate::storage::memory::Memory;
use crate::storage::portable::PortableSubscription;
use crate::storage::{
    Announce, Attached, Ending, Enqueue, Manner, MessageEnd, PASSING_WITH_RECEIPT, Portable, Storage,
};

/// States that are built, and steps that are tried on each.
const STATES: usize = 12;
const STEPS_EACH: usize = 6;
const DRAWS: usize = 120;

/// The longest that a test takes: by so much the expiry of a key, in real time, may differ from that of a record, in test time.
const TEST_MS: u64 = 3_600_000;

/// Comes before the script's own text.
const PRELUDE: &str = "
local redis = (function(real)
    local at, calls = tonumber(real.call('GET', 'abort-at') or '0'), 0
    local function is_aborted()
        calls = calls + 1
        if calls == at then
            real.call('SET', 'aborted', '1')
            return true
        end
    end
    return {
        error_reply = real.error_reply,
        call = function(...)
            if is_aborted() then
                error('aborted by the test')
            end
            if (...) == 'SPUBLISH' then
                real.call('INCR', 'told')
            end
            return real.call(...)
        end,
        pcall = function(...)
            if is_aborted() then
                return real.error_reply('aborted by the test')
            end
            return real.pcall(...)
        end,
    }
end)(redis)
";

const SAVE: &str = "redis.call('SELECT', 1) redis.call('FLUSHDB') redis.call('SELECT', 0)
for _, key in ipairs(redis.call('KEYS', 'push:{*}:*')) do redis.call('COPY', key, key, 'DB', 1) end";

const RESTORE: &str = "redis.call('DEL', 'aborted', 'told', 'abort-at')
for _, key in ipairs(redis.call('KEYS', 'push:{*}:*')) do redis.call('DEL', key) end
redis.call('SELECT', 1)
for _, key in ipairs(redis.call('KEYS', 'push:{*}:*')) do redis.call('COPY', key, key, 'DB', 0) end";

/// The keys of user agents, and those of buckets about their receipts, that have no expiry.
const ENDLESS: &str = "local endless = {}
for _, key in ipairs(redis.call('KEYS', 'push:{*}:*')) do
    local kind = key:match('}:(.*)')
    if (kind:match('^%l:') or kind == 'owing' or kind == 'expected') and redis.call('PTTL', key) == -1 then
        table.insert(endless, key)
    end
end
return endless";

/// What is stored for a user agent.
#[derive(Clone, PartialEq, Eq, Debug)]
struct View {
    waiting: BTreeSet<u64>,
    outcomes: BTreeMap<u64, ReceiptOutcome>,
    /// Those of `outcomes` whose message was passed on and not stored.
    passed: BTreeSet<u64>,
    /// How many receipts it expects.
    expected: i64,
    /// Whether its record was unused, before it was read.
    unused: Option<bool>,
}

/// A step that is aborted.
#[derive(Clone, Debug)]
enum Step {
    Draw(Box<Draw>),
    Sweep(UserAgentId),
    Clear(UserAgentId),
}

impl Step {
    fn next(dice: &mut Dice, known: &[(UserAgentId, push_protocol::MessageId)]) -> Self {
        match dice.below(10) {
            0 => Self::Sweep(user_agent(dice.below(u64::from(AGENTS)) as u8)),
            1 => Self::Clear(user_agent(dice.below(u64::from(AGENTS)) as u8)),
            _ => loop {
                let draw = Draw::next(dice, known);
                if !matches!(
                    draw,
                    Draw::Relay(..) | Draw::Overdue | Draw::Owing | Draw::Expire(_) | Draw::Inspect(_)
                ) {
                    return Self::Draw(Box::new(draw));
                }
            },
        }
    }

    /// The user agent whose keys it writes to.
    fn user_agent(&self) -> UserAgentId {
        match self {
            Self::Sweep(user) | Self::Clear(user) => *user,
            Self::Draw(draw) => match &**draw {
                Draw::Subscribe(request) => request.user_agent,
                Draw::Enqueue(request) => request.user_agent,
                Draw::Unsubscribe(user, _)
                | Draw::Attach(user, ..)
                | Draw::Page(user, ..)
                | Draw::Release(user, _)
                | Draw::Acknowledge(user, ..)
                | Draw::End(user, _)
                | Draw::Trace(user, _) => *user,
                _ => user_agent(AGENTS - 1),
            },
        }
    }

    fn new_message(&self) -> Option<u64> {
        let Self::Draw(draw) = self else { return None };
        match &**draw {
            Draw::Enqueue(Enqueue { nonce, .. }) => Some(*nonce),
            _ => None,
        }
    }

    /// The same request, sent once more: its message has another nonce.
    fn as_another(&self) -> Self {
        let mut another = self.clone();
        if let Self::Draw(draw) = &mut another
            && let Draw::Enqueue(request) = &mut **draw
        {
            request.nonce += 1 << 32;
        }
        another
    }

    /// Whether it removes everything.
    fn ends_all(&self) -> bool {
        matches!(self, Self::Draw(draw) if matches!(**draw, Draw::End(_, Ending::All)))
    }

    async fn take(&self, redis: &Redis) -> String {
        match self.clone() {
            Self::Draw(draw) => draw.take(redis).await,
            Self::Sweep(user) => format!("{:?}", redis.sweep(user, 1_000).await.map(|(_, all)| all)),
            Self::Clear(user) => match redis.outbox(user, 100).await {
                Ok(outcomes) => {
                    let ids: Vec<_> = outcomes.iter().map(|outcome| outcome.id).collect();
                    format!("{:?}", redis.clear_outbox(user, &ids).await)
                }
                Err(error) => format!("{error:?}"),
            },
        }
    }
}

impl Laboratory {
    async fn run(&self, script: &str) {
        let reply = self.server.command(&["EVAL", script, "0"]).await;
        assert!(!reply.is_error(), "{reply:?}");
    }

    async fn restore(&self) {
        self.run(RESTORE).await;
    }

    async fn flag(&self, name: &str) -> bool {
        self.server.command(&["EXISTS", name]).await.integer() == 1
    }

    /// Steps that are seldom drawn at random: a message that replaces the one of its topic, and receipts that are expected.
    async fn aimed(&self, dice: &mut Dice) -> Vec<Step> {
        let mut steps = Vec::new();
        let fields = async |key: &str| {
            let listed = self.server.command(&["HKEYS", key]).await;
            let fields = listed.list().iter().map(|field| match field {
                Reply::Bytes(field) => field.clone(),
                other => panic!("{other:?} is no field"),
            });
            fields.collect::<Vec<_>>()
        };
        for agent in 0..AGENTS {
            let user = user_agent(agent);
            let [bodies, expected] = [BODIES, EXPECTED].map(|kind| of_user_agent("push", user, kind));
            let of_topics = fields(&bodies).await;
            if let Some(field) = of_topics.iter().find(|field| field[0] == b't' && field.len() > 9) {
                let topic = std::str::from_utf8(&field[9..]).unwrap();
                let request = Enqueue {
                    subscription: SubscriptionId(field[1..9].try_into().unwrap()),
                    topic: Topic::parse(topic),
                    nonce: dice.below(1 << 30),
                    ..enqueue(agent, 0, b"replaces")
                };
                steps.push(Step::Draw(Box::new(Draw::Enqueue(request))));
            }
            let outcomes = fields(&expected)
                .await
                .into_iter()
                .take(3)
                .map(|message| MessageEnd {
                    receipts: user_agent(agent),
                    user_agent: UserAgentId(message[..16].try_into().unwrap()),
                    id: MessageId {
                        number: MessageNumber(7),
                        nonce: u64::from_be_bytes(message[16..24].try_into().unwrap()),
                    },
                    how: ReceiptOutcome::Acknowledged,
                });
            let outcomes: Vec<_> = outcomes.collect();
            if !outcomes.is_empty() {
                steps.push(Step::Draw(Box::new(Draw::Settle(outcomes))));
            }
        }
        steps
    }

    /// Runs a step with an abort at its call `k`; returns whether it was aborted, and whether a wake-up was
    /// published.
    async fn aborted(&self, step: &Step, k: usize) -> (bool, bool) {
        self.restore().await;
        self.server
            .command(&["SET", "abort-at", &k.to_string()])
            .await
            .expect_ok();
        step.take(&self.redis).await;
        let seen = (self.flag("aborted").await, self.flag("told").await);
        self.server.command(&["DEL", "abort-at"]).await;
        seen
    }

    /// PR-29: everything about a user agent has an expiry.
    async fn all_expire(&self, context: &str) {
        let endless = self.server.command(&["EVAL", ENDLESS, "0"]).await;
        assert!(endless.list().is_empty(), "{endless:?} stay for ever: {context}");
    }

    /// Whether a record is unused, if there is one. Its key lasts for as long as the record says that it is retained.
    async fn unused(&self, user: UserAgentId, context: &str) -> Option<bool> {
        let record = of_user_agent("push", user, RECORD);
        let Reply::Bytes(meta) = self.server.command(&["HGET", &record, "m"]).await else {
            return None;
        };
        let meta = Meta::read(&meta).expect("a record that can be read");
        let left_ms = self.server.command(&["PTTL", &record]).await.integer();
        let said_ms = meta.retained_until_ms.saturating_sub(self.clock.now_us() / 1_000);
        assert!(
            left_ms >= 0 && left_ms.cast_unsigned() + TEST_MS > said_ms,
            "the key lasts for {left_ms} ms, the record for {said_ms} ms: {context}"
        );
        Some(meta.unused)
    }

    /// Reads a user agent as its next session would, and compares its sums with the waiting messages.
    async fn view(&self, user: UserAgentId, context: &str) -> View {
        let unused = self.unused(user, context).await;
        self.redis.sweep(user, usize::MAX).await.unwrap();
        let attach = self.redis.attach(user, seat(99), everything(), Manner::Insisting);
        let page = match attach.await.unwrap() {
            Attached::Known { page, .. } => page,
            _ => Default::default(),
        };
        let [record, expected] = [RECORD, EXPECTED].map(|kind| of_user_agent("push", user, kind));
        let meta = self.server.command(&["HGET", &record, "m"]).await;
        if let Reply::Bytes(meta) = meta {
            let meta = Meta::read(&meta).expect("a record that can be read");
            let bytes: u64 = page
                .messages
                .iter()
                .map(|message| message.content.body.len() as u64 + MESSAGE_OVERHEAD_BYTES)
                .sum();
            let there = (page.messages.len() as u32, bytes);
            assert_eq!(
                (meta.messages, meta.bytes),
                there,
                "sums are what waits: {context}"
            );
        }
        let outcomes = self.redis.outbox(user, 1_000).await.unwrap();
        View {
            waiting: page.messages.iter().map(|message| message.id.nonce).collect(),
            outcomes: outcomes
                .iter()
                .map(|outcome| (outcome.id.nonce, outcome.how))
                .collect(),
            passed: outcomes
                .iter()
                .filter(|outcome| outcome.id.number == PASSING_WITH_RECEIPT)
                .map(|outcome| outcome.id.nonce)
                .collect(),
            expected: self.server.command(&["HLEN", &expected]).await.integer(),
            unused,
        }
    }

    /// Tries a step with an abort at each of its calls; returns how many calls there were.
    async fn try_everywhere(&self, step: &Step, seed: u64) -> usize {
        let user = step.user_agent();
        let before = {
            self.restore().await;
            self.view(user, "before").await
        };
        self.restore().await;
        let answer = step.take(&self.redis).await;
        let whole = self.view(user, "whole").await;
        for k in 1.. {
            let context = format!("SEED={seed} call {k} of {step:?}");
            let (was_aborted, told) = self.aborted(step, k).await;
            if !was_aborted {
                return k - 1;
            }
            self.all_expire(&context).await;
            let left = self.view(user, &context).await;
            let kept: BTreeSet<_> = before.waiting.intersection(&whole.waiting).copied().collect();
            assert!(
                left.waiting.is_superset(&kept),
                "lost: {context}\n{before:?}\n{left:?}"
            );
            let known: BTreeSet<_> = before.waiting.union(&whole.waiting).copied().collect();
            assert!(
                left.waiting.is_subset(&known),
                "from nowhere: {context}\n{left:?}"
            );
            let is_stored = step
                .new_message()
                .is_some_and(|nonce| left.waiting.contains(&nonce));
            if step
                .new_message()
                .is_some_and(|nonce| whole.waiting.contains(&nonce))
                && !is_stored
            {
                assert_eq!(
                    left.waiting, before.waiting,
                    "refused, and lost others: {context}"
                );
            }
            if told {
                assert_eq!(left.waiting, whole.waiting, "told what did not happen: {context}");
            }
            if is_stored {
                assert_eq!(left.unused, Some(false), "used, and not kept: {context}");
            }
            if before.unused == Some(false) && whole.unused == Some(false) {
                assert_eq!(left.unused, Some(false), "unused again: {context}");
            }
            self.aborted(step, k).await;
            if is_stored {
                // PR-2: a request that was answered 503 may have been stored; its repetition is another message.
                step.as_another().take(&self.redis).await;
                self.view(user, &context).await;
                continue;
            }
            let again = step.take(&self.redis).await;
            let repeated = self.view(user, &context).await;
            let context = format!("{context}\nfirst {answer}\nagain {again}");
            assert_eq!(repeated.waiting, whole.waiting, "repeated: {context}");
            // After the end of everything, its outbox belongs to no record, and expires. A message that was passed on is given up
            // when its time for an acknowledgement is over: later than in a step that was not aborted.
            if !step.ends_all() {
                let mut expected = whole.outcomes.clone();
                expected.retain(|nonce, _| {
                    repeated.outcomes.contains_key(nonce) || !whole.passed.contains(nonce)
                });
                assert_eq!(repeated.outcomes, expected, "repeated: {context}");
            }
            assert_eq!(repeated.unused, whole.unused, "repeated: {context}");
            if whole.expected > 0 {
                assert_eq!(repeated.expected, whole.expected, "repeated: {context}");
            }
        }
        unreachable!("a script ends")
    }
}

/// PR-29, PR-39: at whichever call Redis aborts the step that makes a record, by a subscription or by an import, no record is
/// left without an expiry.
#[tokio::test]
async fn a_record_that_is_half_made_expires() {
    let laboratory = Laboratory::open(PRELUDE, OWN).await;
    let record = of_user_agent("push", user_agent(1), RECORD);
    let server = &laboratory.server;
    let imported = Portable {
        user_agent: user_agent(1),
        last: MessageNumber(1),
        retained_until_ms: laboratory.clock.now_us() / 1_000 + TEST_MS,
        unused: false,
        subscriptions: vec![PortableSubscription {
            id: SubscriptionId([1; 8]),
            name: name(1),
            created_at_secs: 1,
            key: None,
        }],
        messages: Vec::new(),
        outbox: Vec::new(),
        expected: Vec::new(),
    };
    for imports in [false, true] {
        for k in 1.. {
            server.command(&["DEL", &record, "aborted"]).await;
            server
                .command(&["SET", "abort-at", &k.to_string()])
                .await
                .expect_ok();
            let is_done = match imports {
                false => laboratory.redis.subscribe(subscribe(1, 1)).await.is_ok(),
                true => laboratory.redis.import(vec![imported.clone()]).await.is_ok(),
            };
            let was_aborted = laboratory.flag("aborted").await;
            assert_eq!(is_done, !was_aborted, "call {k}");
            let left_ms = server.command(&["PTTL", &record]).await.integer();
            assert_ne!(left_ms, -1, "aborted at call {k}, the record stays for ever");
            if is_done {
                assert!(k > 5 && left_ms > 0, "{k} calls");
                break;
            }
        }
    }
    laboratory.redis.close().await.unwrap();
}

/// PR-39, PR-23, PR-25, PR-29: at whichever call Redis aborts a script, no confirmed message is lost, sums match the waiting
/// messages, no seat is told what did not happen, every key has an expiry, and running the step again does what it would have
/// done.
#[tokio::test]
async fn a_script_that_is_aborted_has_lost_nothing() {
    // Seats belong to another node, which the scripts notify.
    let laboratory = Laboratory::open(PRELUDE, OWN + 1).await;
    let clock = Arc::clone(&laboratory.clock);
    let memory = Memory::new(
        Arc::new(Announcements::default()) as Arc<dyn Announce>,
        Arc::clone(&clock) as _,
        RETENTION,
    );
    let (mut dice, seed) = Dice::seeded();
    let (mut known, mut calls) = (Vec::new(), 0);
    for _ in 0..STATES {
        for _ in 0..DRAWS {
            clock.advance(std::time::Duration::from_millis(dice.below(300)));
            let draw = Draw::next(&mut dice, &known);
            draw.clone().take(&memory).await;
            draw.clone().take(&laboratory.redis).await;
            remember(&draw, &memory, &mut known).await;
        }
        laboratory.run(SAVE).await;
        let mut steps = laboratory.aimed(&mut dice).await;
        steps.extend((0..STEPS_EACH).map(|_| Step::next(&mut dice, &known)));
        for step in steps {
            calls += laboratory.try_everywhere(&step, seed).await;
        }
        laboratory.restore().await;
    }
    println!("aborted {calls} calls");
    assert!(calls > 200, "{calls} calls");
    laboratory.redis.close().await.unwrap();
}
