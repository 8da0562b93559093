//! How much waits of each sender in a Redis that several nodes share.
//!
//! ```text
//!   step: a message joined, or left ──► this node counts ──┐ once a second, one call for each sender that it counted
//!                                                          ▼
//!   push: over a cap? ◄── what was heard, and own counts   a sum in Redis for each sender, and one for all
//!                              ▲                           │
//!                              └───────────────────────────┘ the answer is the sum of all nodes
//! ```
//!
//! A call inside the steps would cost every message twice; so nodes count what the answers of their steps tell them anyway,
//! and tell each other once a second. A node sees its own counts at once and those of others after a round, so a cap may be
//! exceeded by what comes within a round ([`REDIS_SENDERS_EVERY`]; when a flood brings more than [`REDIS_SENDERS_ROUND`]
//! senders a round, by what comes until it is a sender's turn, at most 16 rounds). A node that has just started knows of
//! no sum until its first round.
//!
//! **A sum heals.** It has parts, by when messages expire ([`Part`]), and a part is dropped when its time is over: then
//! nothing of it waits any more, whatever was miscounted. That also counts out what Redis lets expire without a word, at
//! the latest an eighth of its TTL late. Until then these make a sum wrong:
//!
//! - a node is killed: what it counted in its last second is not told, up or down;
//! - a step is stored but not answered, or aborted by Redis: not counted, or counted until it would have expired;
//! - a round fails, and nobody knows whether it was counted: what joined is taken as not told, what left is told again. So
//!   the sum is too small rather than too large;
//! - a whole user agent ends with more than [`REDIS_STEP_MESSAGES`](crate::defaults::REDIS_STEP_MESSAGES) messages: the
//!   others are counted until they would have expired.
//!
//! It deliberately does not know what a cap is for: that is [`Caps`](crate::storage::Caps).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream;
use push_protocol::MessageNumber;

use super::answers;
use super::layout::{of_bucket, own_bucket};
use super::links::{Bucket, Primaries, Script, Work};
use super::scripts;
use crate::defaults::{
    MESSAGE_OVERHEAD_BYTES, REDIS_SENDERS_ASKED, REDIS_SENDERS_AT_ONCE, REDIS_SENDERS_EVERY,
    REDIS_SENDERS_ROUND, REDIS_SENDERS_TTL_PARTS, SENDERS_COUNTED,
};
use crate::storage::clock::Clock;
use crate::storage::spelling::Unreadable;
use crate::storage::{Enqueue, Enqueued, SenderTag, StorageError};

/// The shortest part of a sum, as a power of two in milliseconds: about a minute.
const SHORTEST_PART: u32 = 16;

/// The part of a sum in which a message counts: all that expire within the same stretch of time. A stretch is at most an
/// eighth as long as their TTL, or a minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// Its length, as a power of two in milliseconds.
    length: u32,
    /// Which of the stretches of that length, since 1970.
    index: u64,
}

impl Part {
    /// The same when a message joins and when it leaves: its number says when it came.
    fn of(number: MessageNumber, expires_at_ms: u64) -> Self {
        let ttl_ms = expires_at_ms.saturating_sub(number.0 / 1_000);
        let length = (ttl_ms / REDIS_SENDERS_TTL_PARTS).max(1 << SHORTEST_PART).ilog2();
        Self {
            length,
            index: expires_at_ms >> length,
        }
    }

    fn spelled(self) -> String {
        format!("{:x}:{:x}", self.length, self.index)
    }
}

/// A message, as far as it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counted {
    sender: Option<SenderTag>,
    bytes: i64,
    part: Part,
}

impl Counted {
    pub(super) fn new(
        sender: Option<SenderTag>,
        number: MessageNumber,
        body_bytes: u64,
        expires_at_ms: u64,
    ) -> Self {
        Self {
            sender,
            bytes: (body_bytes + MESSAGE_OVERHEAD_BYTES).cast_signed(),
            part: Part::of(number, expires_at_ms),
        }
    }
}

/// What this node knows of all senders.
pub(super) struct Senders {
    known: Mutex<Known>,
    /// Held for a round, so that one ends before the next begins.
    round: tokio::sync::Mutex<()>,
    script: Script,
    prefix: String,
    clock: Option<Arc<dyn Clock>>,
}

#[derive(Default)]
struct Known {
    store: Sum,
    /// **Invariant:** at most [`SENDERS_COUNTED`], each exactly once in `turns`.
    senders: HashMap<SenderTag, Sum>,
    /// Those to be told of or asked after in the next rounds, each once.
    news: VecDeque<SenderTag>,
    /// All, in the order in which they are looked at although there is no news of them.
    turns: VecDeque<SenderTag>,
}

/// The bytes that wait of one sender, or of all.
#[derive(Default)]
struct Sum {
    /// What Redis answered last.
    heard: i64,
    /// What this node tells in the round under way.
    told: i64,
    /// What it has counted since, and its parts.
    untold: i64,
    parts: Vec<(Part, i64)>,
    is_news: bool,
}

impl Sum {
    fn bytes(&self) -> u64 {
        u64::try_from(self.heard + self.told + self.untold).unwrap_or(0)
    }

    fn count(&mut self, part: Part, bytes: i64) {
        self.untold += bytes;
        match self.parts.iter_mut().find(|(known, _)| *known == part) {
            Some((_, sum)) => *sum += bytes,
            None => self.parts.push((part, bytes)),
        }
    }

    /// What is to be told now.
    fn tell(&mut self) -> Vec<(Part, i64)> {
        self.is_news = false;
        self.told = std::mem::take(&mut self.untold);
        let mut parts = std::mem::take(&mut self.parts);
        parts.retain(|(_, bytes)| *bytes != 0);
        parts
    }

    /// It was told, and this is the answer; or nobody knows whether it was.
    fn hear(&mut self, answer: Option<i64>, parts: Vec<(Part, i64)>) {
        self.told = 0;
        match answer {
            Some(heard) => self.heard = heard,
            None => {
                for (part, bytes) in parts.into_iter().filter(|(_, bytes)| *bytes < 0) {
                    self.count(part, bytes);
                }
            }
        }
    }

    fn is_nothing(&self) -> bool {
        self.heard <= 0 && self.told == 0 && self.parts.is_empty() && !self.is_news
    }
}

impl Known {
    /// The sum of a sender, which is news now. `None` if it is one too many.
    fn news_of(&mut self, sender: SenderTag) -> Option<&mut Sum> {
        let is_new = !self.senders.contains_key(&sender);
        if is_new {
            if self.senders.len() >= SENDERS_COUNTED {
                return None;
            }
            self.turns.push_back(sender);
        }
        let sum = self.senders.entry(sender).or_default();
        if !std::mem::replace(&mut sum.is_news, true) {
            self.news.push_back(sender);
        }
        Some(sum)
    }

    fn count(&mut self, counted: &Counted, bytes: i64) {
        self.store.count(counted.part, bytes);
        if let Some(sum) = counted.sender.and_then(|sender| self.news_of(sender)) {
            sum.count(counted.part, bytes);
        }
    }

    /// Whom the next round is about: those with news, and some others in turn. Forgets those of whom nothing waits.
    fn next_round(&mut self) -> Vec<(SenderTag, Vec<(Part, i64)>)> {
        let mut asked = 0;
        for _ in 0..self.turns.len().min(REDIS_SENDERS_ROUND) {
            if asked == REDIS_SENDERS_ASKED {
                break;
            }
            let Some(sender) = self.turns.pop_front() else {
                break;
            };
            if self.senders.get(&sender).is_none_or(Sum::is_nothing) {
                self.senders.remove(&sender);
                continue;
            }
            self.turns.push_back(sender);
            asked += 1;
            self.news_of(sender);
        }
        let count = self.news.len().min(REDIS_SENDERS_ROUND);
        let whom = self.news.drain(..count);
        whom.filter_map(|sender| Some((sender, self.senders.get_mut(&sender)?.tell())))
            .collect()
    }
}

impl Senders {
    pub(super) fn new(prefix: &str, clock: Option<Arc<dyn Clock>>) -> Self {
        Self {
            known: Mutex::default(),
            round: tokio::sync::Mutex::default(),
            script: scripts::senders(),
            prefix: prefix.to_owned(),
            clock,
        }
    }

    /// Looks at a message before its step: takes the tag off if its sender is one too many to be counted, and says why the
    /// message is refused, if it is.
    pub(super) fn admit(&self, enqueue: &mut Enqueue) -> Option<Enqueued> {
        let mut known = self.known();
        let sum = enqueue.sender.and_then(|sender| known.news_of(sender));
        let of_sender = sum.map(|sum| sum.bytes());
        if of_sender.is_none() {
            enqueue.sender = None;
        }
        enqueue.caps.refuse(enqueue, of_sender, known.store.bytes())
    }

    /// A message joined a queue.
    pub(super) fn joined(&self, counted: &Counted) {
        self.known().count(counted, counted.bytes);
    }

    /// Messages left a queue.
    pub(super) fn left(&self, counted: &[Counted]) {
        if counted.is_empty() {
            return;
        }
        let mut known = self.known();
        for counted in counted {
            known.count(counted, -counted.bytes);
        }
    }

    /// What waits in the whole store.
    pub(super) fn store_bytes(&self) -> u64 {
        self.known().store.bytes()
    }

    /// What waits of a sender.
    #[cfg(test)]
    pub(super) fn of(&self, sender: SenderTag) -> u64 {
        self.known().senders.get(&sender).map_or(0, Sum::bytes)
    }

    /// Tells and asks, for as long as it is polled.
    pub(super) async fn keep(&self, primaries: &Primaries) {
        let mut every = tokio::time::interval(REDIS_SENDERS_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_told = false;
        loop {
            every.tick().await;
            let told = self.exchange(primaries).await;
            if let Err(error) = &told
                && !is_told
            {
                tracing::warn!(%error, "could not tell the other nodes how much waits of each sender: caps are less exact");
            }
            is_told = told.is_err();
        }
    }

    /// One round: tells what this node counted, and hears the sums of all nodes. An error stands for the whole round.
    ///
    /// # Cancel safety
    ///
    /// Dropped, what it was telling may or may not have been counted.
    pub(super) async fn exchange(&self, primaries: &Primaries) -> Result<(), StorageError> {
        let _round = self.round.lock().await;
        let (all, whom) = {
            let mut known = self.known();
            (known.store.tell(), known.next_round())
        };
        let store = self.tell(primaries, own_bucket(), "all", &all).await;
        self.known().store.hear(store.as_ref().ok().copied(), all);
        let told =
            stream::iter(whom).for_each_concurrent(REDIS_SENDERS_AT_ONCE, |(sender, parts)| async move {
                let bits = u64::from_be_bytes(sender.to_bytes());
                let bucket = Bucket::new((bits >> 48) as u16);
                let sum = self
                    .tell(primaries, bucket, &format!("{bits:016x}"), &parts)
                    .await;
                let mut known = self.known();
                let Some(told) = known.senders.get_mut(&sender) else {
                    return;
                };
                told.hear(sum.ok(), parts);
                if !told.parts.is_empty() {
                    known.news_of(sender);
                }
            });
        told.await;
        store.map(drop)
    }

    async fn tell(
        &self,
        primaries: &Primaries,
        bucket: Bucket,
        name: &str,
        parts: &[(Part, i64)],
    ) -> Result<i64, StorageError> {
        let key = of_bucket(&self.prefix, bucket, &format!("sent:{name}"));
        let time = match &self.clock {
            Some(clock) => format!("t{}", clock.now_us()),
            None => "0".to_owned(),
        };
        let spelled: Vec<_> = parts
            .iter()
            .map(|(part, bytes)| (part.spelled(), bytes.to_string()))
            .collect();
        let mut args = vec![time.as_bytes()];
        for (part, bytes) in &spelled {
            args.extend([part.as_bytes(), bytes.as_bytes()]);
        }
        let answer = primaries
            .run(Work::Step, bucket, &self.script, &[key.as_bytes()], &args)
            .await?;
        let sum = String::from_utf8(answers::text(answer)?).ok();
        let sum = sum.and_then(|sum| sum.parse().ok());
        sum.ok_or(Unreadable).map_err(answers::unreadable)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Whoever panicked in it has left one sum half counted, which heals.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn sender(n: u64) -> SenderTag {
        SenderTag::from_bytes((2 * n + 1).to_be_bytes()).unwrap()
    }

    fn counted(n: u64, ttl_secs: u64) -> Counted {
        let number = MessageNumber(NOW_MS * 1_000);
        Counted::new(Some(sender(n)), number, 872, NOW_MS + ttl_secs * 1_000)
    }

    /// PR-43: a message counts in a part that is over soon after the message has expired, and the parts of one TTL are few.
    #[test]
    fn a_part_is_over_soon_after_its_messages() {
        for ttl_secs in [1, 60, 600, 3_600, 86_400, 30 * 86_400] {
            let part = counted(1, ttl_secs).part;
            let over_ms = (part.index + 1) << part.length;
            let late_ms = over_ms - (NOW_MS + ttl_secs * 1_000);
            assert!(
                late_ms <= (ttl_secs * 1_000 / REDIS_SENDERS_TTL_PARTS).max(1 << SHORTEST_PART),
                "{ttl_secs} s: {late_ms} ms late"
            );
            let parts = (ttl_secs * 1_000) >> part.length;
            assert!(
                parts <= 2 * REDIS_SENDERS_TTL_PARTS,
                "{ttl_secs} s: {parts} parts"
            );
        }
    }

    /// PR-43: what a node counts shows at once; an answer replaces what was heard, and a round that failed leaves what left
    /// to be told again.
    #[test]
    fn a_failed_round_counts_too_little_rather_than_too_much() {
        let mut sum = Sum::default();
        let (one, other) = (counted(1, 60).part, counted(1, 600).part);
        sum.count(one, 3_000);
        sum.count(other, -1_000);
        assert_eq!(sum.bytes(), 2_000);
        let parts = sum.tell();
        sum.count(one, 500);
        assert_eq!(sum.bytes(), 2_500, "what is under way counts");
        sum.hear(None, parts);
        assert_eq!((sum.bytes(), sum.untold), (0, -500));
        let parts = sum.tell();
        assert_eq!(parts, [(one, 500), (other, -1_000)]);
        sum.hear(Some(7_000), parts);
        assert_eq!(sum.bytes(), 7_000);
    }

    /// PR-42, PR-43: a node knows a bounded number of senders, forgets those of whom nothing waits, and has each of the
    /// others in its turn.
    #[test]
    fn a_flood_of_senders_is_bounded_and_forgotten() {
        let mut known = Known::default();
        for n in 0..2 * SENDERS_COUNTED as u64 {
            known.count(&counted(n, 60), 1_000);
        }
        assert_eq!(known.senders.len(), SENDERS_COUNTED);
        assert_eq!(known.store.bytes(), 2 * SENDERS_COUNTED as u64 * 1_000);
        for _ in 0..3 {
            let mut round = known.next_round();
            round.sort_unstable_by_key(|(sender, _)| *sender);
            round.dedup_by_key(|(sender, _)| *sender);
            assert_eq!(round.len(), SENDERS_COUNTED, "each is asked after, once");
            for (sender, parts) in round {
                known.senders.get_mut(&sender).unwrap().hear(Some(1_000), parts);
            }
        }
        for sum in known.senders.values_mut() {
            sum.heard = 0;
        }
        known.next_round();
        assert_eq!((known.senders.len(), known.turns.len()), (0, 0));
    }
}
