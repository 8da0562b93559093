//! Random bits from the operating system: identities, nonces, seats.
//!
//! With the feature `simulation`, which only tests enable, a thread may draw its bits from a seed instead.

use std::cell::RefCell;

use ring::rand::{SecureRandom as _, SystemRandom};

/// So many random bytes.
///
/// # Panics
///
/// If the operating system has no randomness to give, which Linux says once before it is seeded and never after: a
/// service without randomness can't keep any promise.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[cfg(feature = "simulation")]
    if seeded::fill(&mut bytes) {
        return bytes;
    }
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes
}

/// 64 random bits, for what tells things apart and opens nothing: nonces of message ids, seats. Drawn many at a time,
/// because a system call for each message is more than its share.
pub fn u64() -> u64 {
    #[cfg(feature = "simulation")]
    if let Some(bits) = seeded::bits() {
        return bits;
    }
    thread_local! {
        static POOL: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    POOL.with_borrow_mut(|pool| {
        if pool.is_empty() {
            let drawn: [u8; POOL_BYTES] = bytes();
            pool.extend(
                drawn
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|bits| u64::from_ne_bytes(*bits)),
            );
        }
        pool.pop().expect("it was filled above")
    })
}

/// What a thread draws at a time. Chosen: what Linux gives without being interrupted.
const POOL_BYTES: usize = 256;

/// Bits from a seed, for repeatable simulations.
#[cfg(feature = "simulation")]
pub mod seeded {
    use std::cell::Cell;

    thread_local! {
        static STATE: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// From now on this thread draws from a seed; with `None`, from the operating system again.
    pub fn seed_this_thread(seed: Option<u64>) {
        STATE.set(seed);
    }

    /// SplitMix64.
    pub(super) fn bits() -> Option<u64> {
        let state = STATE.get()?.wrapping_add(0x9e37_79b9_7f4a_7c15);
        STATE.set(Some(state));
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(mixed ^ (mixed >> 31))
    }

    /// Fills `bytes` from this thread's seed; returns whether it has one.
    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        for chunk in bytes.chunks_mut(8) {
            let Some(bits) = bits() else { return false };
            chunk.copy_from_slice(&bits.to_be_bytes()[..chunk.len()]);
        }
        STATE.get().is_some()
    }
}

#[cfg(all(test, feature = "simulation"))]
mod tests {
    use super::*;

    /// A thread with a seed draws the same each time, and without one never.
    #[test]
    fn a_seed_gives_the_same_bits() {
        let draw = |seed| {
            seeded::seed_this_thread(seed);
            let drawn = (u64(), bytes::<16>(), u64());
            seeded::seed_this_thread(None);
            drawn
        };
        assert_eq!(draw(Some(7)), draw(Some(7)));
        assert_ne!(draw(Some(7)), draw(Some(8)));
        assert_ne!(draw(None), draw(None));
    }
}
