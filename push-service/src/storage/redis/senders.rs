//! How many bytes of each sender wait in a Redis that several nodes share.
//!
//! ```text
//!   step: a message joined, or left ──► this node counts ──┐ once a second, one call for each sender that it counted
//!                                                          ▼
//!   push: over a cap? ◄── what was heard, and own counts   a sum in Redis for each sender, and one for all
//!                              ▲                           │
//!                              └───────────────────────────┘ the answer is the sum of all nodes
//! ```
//!
//! To count inside the scripts would add two calls for each message. So nodes count what the answers of their steps say
//! anyway, and tell each other once in a round ([`REDIS_SENDERS_EVERY`]). A node knows its own counts at once, and those of
//! others after a round. So a cap may be exceeded by what comes within a round. A round tells of at most
//! [`REDIS_SENDERS_ROUND`] senders: in a flood of senders, one may wait up to 16 rounds for its turn. A node that has just
//! started knows no sum before its first round.
//!
//! **A wrong sum becomes right again.** It has parts, by when messages expire ([`Part`]). A part is dropped when its time is
//! over: then none of its messages waits, whatever was miscounted. This also subtracts messages that Redis lets expire before
//! a sweep finds them, at most an eighth of their TTL late, or a minute if that is longer. Until then, these make a sum wrong:
//!
//! - A node is killed: what it counted in its last round is lost.
//! - A step is stored but its answer is lost, or Redis aborts it: its messages are not counted, or counted until they would
//!   have expired.
//! - A round fails, and it is unknown whether Redis has counted it: what joined is not told again, what left is. So the sum is
//!   too small rather than too large.
//! - A whole user agent ends with more than [`REDIS_ENDING_COUNTED`](crate::defaults::REDIS_ENDING_COUNTED) messages: the
//!   others are counted until they would have expired.
//!
//! It deliberately does not know what a cap is for: that is [`Caps`](crate::storage::Caps).

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream;

use super::answers;
use super::counted::{Counted, Part};
use super::keys::SumOf;
use super::links::Work;
use super::runner::Runner;
use super::scripts::{self, Step};
use crate::defaults::{
    REDIS_SENDERS_ASKED, REDIS_SENDERS_AT_ONCE, REDIS_SENDERS_EVERY, REDIS_SENDERS_LEAVE_WITHIN,
    REDIS_SENDERS_ROUND, SENDERS_COUNTED, SENDERS_LOOKED_AT,
};
use crate::storage::caps::admit;
use crate::storage::spelling::Unreadable;
use crate::storage::{Enqueue, Enqueued, SenderTag, StorageError};

/// What this node knows of all senders, and how it tells the others.
pub(super) struct Senders {
    known: Mutex<Known>,
    /// Held for a round, so that one ends before the next begins.
    round: tokio::sync::Mutex<()>,
    add: Step<SumOf>,
}

#[derive(Default)]
struct Known {
    store: Sum,
    /// **Invariant:** at most [`SENDERS_COUNTED`], each exactly once in `turns`.
    senders: HashMap<SenderTag, Sum>,
    /// The senders of the next rounds, whose counts are told or whose sums are asked for. Each is there once.
    news: VecDeque<SenderTag>,
    /// All senders, in the order in which their sums are asked for although this node has nothing to tell.
    turns: VecDeque<SenderTag>,
}

/// The bytes that wait of one sender, or of all.
#[derive(Default)]
struct Sum {
    /// What Redis answered last.
    heard: i64,
    /// What this node tells in the round under way.
    told: i64,
    /// What it has counted since.
    untold: i64,
    /// The same, by parts.
    parts: Vec<(Part, i64)>,
    /// Whether its sender is in [`Known::news`].
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

    /// What is to be told now; it is under way until [`hear`](Self::hear).
    fn tell(&mut self) -> Vec<(Part, i64)> {
        self.is_news = false;
        self.told = std::mem::take(&mut self.untold);
        let mut parts = std::mem::take(&mut self.parts);
        parts.retain(|(_, bytes)| *bytes != 0);
        parts
    }

    /// These parts were told, and this is the sum that was answered. `None`: it is unknown whether they were counted.
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

    fn is_told(&self) -> bool {
        self.told == 0 && self.parts.is_empty() && !self.is_news
    }

    fn is_nothing(&self) -> bool {
        self.heard <= 0 && self.is_told()
    }
}

impl Known {
    /// The sum of a sender, which is told in the next round. If [`SENDERS_COUNTED`] others are known, the node forgets one that it
    /// has nothing to tell of, because Redis still knows the sum. `None` if it finds no such sender.
    fn news_of(&mut self, sender: SenderTag) -> Option<&mut Sum> {
        let is_new = !self.senders.contains_key(&sender);
        if is_new {
            if self.senders.len() >= SENDERS_COUNTED && !self.make_room() {
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

    fn make_room(&mut self) -> bool {
        for _ in 0..self.turns.len().min(SENDERS_LOOKED_AT) {
            let Some(sender) = self.turns.pop_front() else {
                break;
            };
            if self.senders.get(&sender).is_none_or(Sum::is_told) {
                self.senders.remove(&sender);
                return true;
            }
            self.turns.push_back(sender);
        }
        false
    }

    fn count(&mut self, counted: &Counted, bytes: i64) {
        self.store.count(counted.part, bytes);
        if let Some(sum) = counted.sender.and_then(|sender| self.news_of(sender)) {
            sum.count(counted.part, bytes);
        }
    }

    /// The senders of the next round, with what is told of them: those with news, and some others in turn. Forgets senders
    /// whose sum is zero.
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
        let senders = self.news.drain(..count);
        senders
            .filter_map(|sender| Some((sender, self.senders.get_mut(&sender)?.tell())))
            .collect()
    }
}

impl Senders {
    pub(super) fn new() -> Self {
        Self {
            known: Mutex::default(),
            round: tokio::sync::Mutex::default(),
            add: scripts::senders(),
        }
    }

    /// [`admit`] by what this node knows.
    pub(super) fn admit(&self, enqueue: &mut Enqueue) -> Option<Enqueued> {
        let mut known = self.known();
        let (sender, of_store) = (enqueue.sender, known.store.bytes());
        // Not news if it is known: most pushes are, and one that is stored makes it news.
        let refused = admit(enqueue, of_store, |sender| match known.senders.get(&sender) {
            Some(sum) => Some(sum.bytes()),
            None => known.news_of(sender).map(|sum| sum.bytes()),
        });
        if let (Some(Enqueued::SenderFull), Some(sender)) = (&refused, sender) {
            // Other nodes may have removed some since.
            known.news_of(sender);
        }
        refused
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

    /// How many bytes wait in the whole store.
    pub(super) fn store_bytes(&self) -> u64 {
        self.known().store.bytes()
    }

    /// How many bytes wait of a sender.
    #[cfg(test)]
    pub(super) fn of(&self, sender: SenderTag) -> u64 {
        self.known().senders.get(&sender).map_or(0, Sum::bytes)
    }

    /// Tells and asks, for as long as it is polled.
    pub(super) async fn keep(&self, runner: &Runner) {
        let mut every = tokio::time::interval(REDIS_SENDERS_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut has_warned = false;
        loop {
            every.tick().await;
            let exchanged = self.exchange(runner).await;
            if let Err(error) = &exchanged
                && !has_warned
            {
                tracing::warn!(%error, "cannot exchange with the other nodes how many bytes wait of each sender: \
                     limits.sender_bytes and limits.store_bytes are less exact");
            }
            has_warned = exchanged.is_err();
        }
    }

    /// Tells the other nodes what was counted last, for [`REDIS_SENDERS_LEAVE_WITHIN`] at most. What is not told then makes
    /// sums wrong until its parts are over.
    pub(super) async fn leave(&self, runner: &Runner) {
        let telling = async { while self.exchange(runner).await.is_ok() && self.has_news() {} };
        // A sum that is wrong for a while is no reason to keep a node from stopping.
        let _ = tokio::time::timeout(REDIS_SENDERS_LEAVE_WITHIN, telling).await;
    }

    fn has_news(&self) -> bool {
        !self.known().news.is_empty()
    }

    /// One round: tells what this node counted, and hears the sums of all nodes.
    ///
    /// # Errors
    ///
    /// The sum of the whole store was not exchanged. Trouble with the sum of a single sender is no error.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, what it was telling may or may not have been counted.
    pub(super) async fn exchange(&self, runner: &Runner) -> Result<(), StorageError> {
        let _round = self.round.lock().await;
        let (store_parts, senders) = {
            let mut known = self.known();
            (known.store.tell(), known.next_round())
        };
        let store = self.tell(runner, SumOf::All, &store_parts).await;
        self.known().store.hear(store.as_ref().ok().copied(), store_parts);
        let told =
            stream::iter(senders).for_each_concurrent(REDIS_SENDERS_AT_ONCE, |(sender, parts)| async move {
                let heard = self.tell(runner, SumOf::Sender(sender), &parts).await;
                let mut known = self.known();
                let Some(sum) = known.senders.get_mut(&sender) else {
                    return;
                };
                sum.hear(heard.ok(), parts);
                if !sum.parts.is_empty() {
                    known.news_of(sender);
                }
            });
        told.await;
        store.map(drop)
    }

    /// Adds these parts to one sum in Redis, and returns the whole sum.
    async fn tell(&self, runner: &Runner, of: SumOf, parts: &[(Part, i64)]) -> Result<i64, StorageError> {
        let spelled: Vec<_> = parts
            .iter()
            .map(|(part, bytes)| (part.spelled(), bytes.to_string()))
            .collect();
        let mut args: Vec<&[u8]> = Vec::with_capacity(2 * spelled.len());
        for (part, bytes) in &spelled {
            args.extend([part.as_bytes(), bytes.as_bytes()]);
        }
        let answer = runner.run(Work::Step, &self.add, of, &args).await?;
        let sum = String::from_utf8(answers::text(answer)?).ok();
        let sum = sum.and_then(|sum| sum.parse().ok());
        sum.ok_or(Unreadable).map_err(answers::unreadable)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic under the lock has left one sum wrong, which becomes right again.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use push_protocol::{MessageNumber, Ttl};

    use super::*;
    use crate::storage::Caps;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn sender(n: u64) -> SenderTag {
        SenderTag::from_bytes((2 * n + 1).to_be_bytes()).unwrap()
    }

    fn counted(n: u64, ttl_secs: u64) -> Counted {
        let number = MessageNumber(NOW_MS * 1_000);
        Counted::new(Some(sender(n)), number, 872, NOW_MS + ttl_secs * 1_000)
    }

    /// PR-43: what a node counts shows at once. An answer replaces the sum that was heard before. After a round that failed,
    /// only messages that left are told again.
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

    /// PR-42, PR-43: a node knows a bounded number of senders, asks for the sum of each in turn, and forgets a sender whose sum is
    /// zero.
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

    /// PR-42: a flood of senders keeps no other sender from being counted, neither when it stores nor when its messages leave.
    #[test]
    fn a_full_table_makes_room() {
        let mut known = Known::default();
        for n in 0..SENDERS_COUNTED as u64 {
            known.count(&counted(n, 60), 1_000);
        }
        for (sender, parts) in known.next_round() {
            known.senders.get_mut(&sender).unwrap().hear(Some(1_000), parts);
        }
        let newcomer = counted(SENDERS_COUNTED as u64, 60);
        known.count(&newcomer, -1_000);
        assert_eq!(known.senders.len(), SENDERS_COUNTED);
        assert_eq!(known.turns.len(), SENDERS_COUNTED);
        let round = known.next_round();
        let told = round.iter().find(|(sender, _)| Some(*sender) == newcomer.sender);
        assert_eq!(told.unwrap().1, [(newcomer.part, -1_000)]);
    }

    /// PR-42: pushes that store nothing are no news; of a sender that is refused, others are asked.
    #[test]
    fn only_what_is_stored_or_refused_is_news() {
        let senders = Senders::new();
        let push = |ttl_secs, cap| Enqueue {
            sender: Some(sender(1)),
            ttl: Ttl::from_secs(ttl_secs),
            caps: Caps {
                sender_bytes: cap,
                store_bytes: 0,
            },
            ..crate::storage::contract::enqueue(1, 1, b"")
        };
        let news = || senders.known().news.len();
        assert_eq!(senders.admit(&mut push(0, 1)), None);
        assert_eq!(news(), 0, "it is not stored");
        assert_eq!(senders.admit(&mut push(60, 1 << 20)), None);
        assert_eq!(news(), 1, "it is new");
        senders.known().next_round();
        assert_eq!(senders.admit(&mut push(60, 1 << 20)), None);
        assert_eq!(news(), 0, "it is known");
        assert_eq!(senders.admit(&mut push(60, 1)), Some(Enqueued::SenderFull));
        assert_eq!(news(), 1, "it is refused");
    }
}
