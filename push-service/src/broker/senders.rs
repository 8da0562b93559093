//! Application server keys, as an operator sees them: which send most, and which are refused for a while.
//!
//! Both are per node, bounded, and lost when the process ends. A key is named by [`SenderId`]: metrics and logs have no key.
//!
//! **Invariant:** counting a push takes one short lock and allocates nothing; a push pays for refusals with one relaxed load
//! as long as no key is refused.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use push_protocol::KeyDigest;
use push_protocol::identifiers::parse_16_hex_digits;

use crate::defaults::{SENDERS_RANKED, SENDERS_REFUSED, SENDERS_SHOWN};

/// An application server key: the first 8 bytes of its SHA-256, as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SenderId(pub u64);

impl SenderId {
    /// Reads 16 hexadecimal digits, as printed by `Display`.
    pub fn parse(text: &str) -> Option<Self> {
        parse_16_hex_digits(text).map(Self)
    }
}

impl From<KeyDigest> for SenderId {
    fn from(key: KeyDigest) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = key.0;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl fmt::Display for SenderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How much a key sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ranked {
    /// The key.
    pub sender: SenderId,
    /// Pushes that were signed with it and let in. Never too few, and never falls while the key is shown.
    pub pushes: u64,
    /// By how many that may be too many: those of the keys that were counted in the same place before.
    pub at_most_too_many: u64,
}

/// Parts of the ranking, each with a lock. Chosen: more than a machine has cores at work on pushes.
const SHARDS: usize = 16;

const PLACES: usize = SENDERS_RANKED / SHARDS;

/// The keys that send most: the sketch *space-saving* (Metwally, Agrawal, El Abbadi 2005).
///
/// A key without a place takes that of the key with the fewest pushes of its part, and its count. So a key with a [`PLACES`]th of
/// the pushes of its part is always there, and no count is too small. Keys are spread over the parts evenly, unless senders choose
/// them: then a key with a `PLACES`th of all pushes is still there.
pub(super) struct Ranking([Mutex<[Place; PLACES]>; SHARDS]);

#[derive(Clone, Copy)]
struct Place {
    sender: SenderId,
    pushes: u64,
    too_many: u64,
}

const FREE: Place = Place {
    sender: SenderId(0),
    pushes: 0,
    too_many: 0,
};

impl Default for Ranking {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::new([FREE; PLACES])))
    }
}

impl Ranking {
    /// Counts a push.
    pub(super) fn count(&self, sender: SenderId) {
        let mut places = lock(&self.0[sender.0 as usize % SHARDS]);
        if let Some(known) = places.iter_mut().find(|place| place.sender == sender) {
            known.pushes += 1;
        } else if let Some(least) = places.iter_mut().min_by_key(|place| place.pushes) {
            *least = Place {
                sender,
                pushes: least.pushes + 1,
                too_many: least.pushes,
            };
        }
    }

    /// The keys that send most, at most [`SENDERS_SHOWN`], the first sends most.
    pub(super) fn most(&self) -> Vec<Ranked> {
        let mut all = Vec::with_capacity(SENDERS_RANKED);
        for shard in &self.0 {
            let places = *lock(shard);
            let used = places.iter().filter(|place| place.pushes > 0);
            all.extend(used.map(|place| Ranked {
                sender: place.sender,
                pushes: place.pushes,
                at_most_too_many: place.too_many,
            }));
        }
        all.sort_unstable_by_key(|ranked| (std::cmp::Reverse(ranked.pushes), ranked.sender));
        all.truncate(SENDERS_SHOWN);
        all
    }
}

/// As many keys are refused as may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyRefused;

/// The keys that are refused for a while.
#[derive(Default)]
pub(super) struct RefusedSenders {
    any: AtomicBool,
    until: Mutex<HashMap<SenderId, Instant>>,
}

impl RefusedSenders {
    /// Refuses a key from now on, for so long. A later call replaces an earlier one.
    pub(super) fn refuse(
        &self,
        sender: SenderId,
        wait: Duration,
        now: Instant,
    ) -> Result<(), TooManyRefused> {
        let mut until = lock(&self.until);
        until.retain(|_, until| *until > now);
        if until.len() >= SENDERS_REFUSED && !until.contains_key(&sender) {
            return Err(TooManyRefused);
        }
        until.insert(sender, now + wait);
        self.any.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Lets a key send again; returns whether it was refused.
    pub(super) fn allow(&self, sender: SenderId, now: Instant) -> bool {
        let mut until = lock(&self.until);
        let was_refused = until.remove(&sender).is_some_and(|until| until > now);
        self.any.store(!until.is_empty(), Ordering::Relaxed);
        was_refused
    }

    /// For how long a key is still refused, if it is.
    pub(super) fn refused_for(&self, sender: SenderId, now: impl FnOnce() -> Instant) -> Option<Duration> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut until = lock(&self.until);
        let ends = *until.get(&sender)?;
        let left = ends.checked_duration_since(now()).filter(|left| !left.is_zero());
        if left.is_none() {
            until.remove(&sender);
            self.any.store(!until.is_empty(), Ordering::Relaxed);
        }
        left
    }

    /// All keys that are refused, and for how long.
    pub(super) fn all(&self, now: Instant) -> Vec<(SenderId, Duration)> {
        let until = lock(&self.until);
        let left = |(sender, until): (&SenderId, &Instant)| {
            let left = until.checked_duration_since(now).filter(|left| !left.is_zero());
            Some((*sender, left?))
        };
        let mut all: Vec<_> = until.iter().filter_map(left).collect();
        all.sort_unstable();
        all
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A key is named by 16 hexadecimal digits of its digest, which are read back in any case.
    #[test]
    fn a_key_is_named_by_its_digest() {
        let id = SenderId::from(KeyDigest([0xab; 32]));
        assert_eq!(id.to_string(), "abababababababab");
        assert_eq!(SenderId::parse("ABABABABABABABAB"), Some(id));
        for wrong in [
            "",
            "ab",
            "+babababababababa",
            "+bababababababab",
            "abababababababab0",
        ] {
            assert_eq!(SenderId::parse(wrong), None, "{wrong}");
        }
    }

    /// While there are few keys, each is counted exactly, and the one that sends most comes first.
    #[test]
    fn few_keys_are_counted_exactly() {
        let ranking = Ranking::default();
        for key in 1..=50 {
            for _ in 0..key {
                ranking.count(SenderId(key));
            }
        }
        let most = ranking.most();
        let expected = (1..=50).rev().map(|key| (key, key));
        let seen = most.iter().map(|ranked| (ranked.sender.0, ranked.pushes));
        assert!(seen.eq(expected));
        assert!(most.iter().all(|ranked| ranked.at_most_too_many == 0));
    }

    /// A flood of keys that send once neither takes memory nor hides a key that sends much; no count is too small, and none
    /// is too large by more than it says.
    #[test]
    fn a_flood_of_keys_hides_none_that_sends_much() {
        let ranking = Ranking::default();
        let digest = |n: u64| SenderId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63);
        let much: Vec<_> = (0..20).map(|n| digest(1_000_000 + n)).collect();
        for n in 0..200_000 {
            ranking.count(digest(n));
            if n % 10 == 0 {
                much.iter().for_each(|sender| ranking.count(*sender));
            }
        }
        let most = ranking.most();
        assert_eq!(most.len(), SENDERS_SHOWN);
        for sender in &much {
            let ranked = most.iter().find(|ranked| ranked.sender == *sender);
            let ranked = ranked.expect("it sends much");
            assert!(ranked.pushes >= 20_000, "{ranked:?}");
            assert!(ranked.pushes - ranked.at_most_too_many <= 20_000, "{ranked:?}");
        }
    }

    /// A refusal ends by itself or by a word; a later one replaces it.
    #[test]
    fn a_refusal_ends() {
        let refused = RefusedSenders::default();
        let (one, now) = (SenderId(1), Instant::now());
        let left = |at| refused.refused_for(one, || at);
        assert_eq!(left(now), None);
        refused.refuse(one, MINUTE, now).unwrap();
        assert_eq!(left(now), Some(MINUTE));
        assert_eq!(refused.refused_for(SenderId(2), || now), None);
        assert_eq!(refused.all(now), [(one, MINUTE)]);
        refused.refuse(one, 2 * MINUTE, now).unwrap();
        assert_eq!(left(now + MINUTE), Some(MINUTE));
        assert_eq!(left(now + 2 * MINUTE), None);
        assert_eq!(refused.all(now), []);
        refused.refuse(one, MINUTE, now).unwrap();
        assert!(refused.allow(one, now));
        assert!(!refused.allow(one, now));
        assert_eq!(left(now), None);
    }

    /// The table is bounded: one key too many is not refused, and a refusal that is over makes room.
    #[test]
    fn the_table_of_refusals_is_bounded() {
        let refused = RefusedSenders::default();
        let now = Instant::now();
        for key in 0..SENDERS_REFUSED as u64 {
            refused.refuse(SenderId(key), MINUTE, now).unwrap();
        }
        assert_eq!(
            refused.refuse(SenderId(u64::MAX), MINUTE, now),
            Err(TooManyRefused)
        );
        refused.refuse(SenderId(0), MINUTE, now).unwrap();
        refused.refuse(SenderId(u64::MAX), MINUTE, now + MINUTE).unwrap();
    }
}
