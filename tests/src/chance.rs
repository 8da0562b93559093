//! Random choices that a printed seed brings back.

use std::time::Duration;

/// A small pseudo-random generator (SplitMix64): good enough to choose by, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// All choices that follow from this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator of its own for another task.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True once in `times`, on average.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A duration between these two.
    pub fn between(&mut self, (shortest, longest): (Duration, Duration)) -> Duration {
        let span = (longest - shortest).as_micros() as usize;
        shortest + Duration::from_micros(self.below(span + 1) as u64)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
