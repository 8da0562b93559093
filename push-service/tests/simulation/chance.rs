//! Chance, all of it from one seed: the same seed is the same world, on every machine.

use std::ops::RangeInclusive;

/// SplitMix64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0xd1b5_4a32_d192_ed03) ^ 0x6a09_e667_f3bc_c909);
        chance.bits();
        chance
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (least, most) = range.into_inner();
        least + self.bits() % (most - least + 1)
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.within(0..=length.max(1) as u64 - 1) as usize
    }

    /// Never for 0.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        n != 0 && self.bits().is_multiple_of(n)
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// Some of the rows, each as often as its weight says. May be empty.
    pub(crate) fn some_of<T: Copy>(&mut self, weighted: &[(T, u64)]) -> Vec<T> {
        let few = self.pick(&[1, 2, 4]);
        let mut some = Vec::new();
        for (row, weight) in weighted {
            if self.one_in(few) {
                some.extend((0..*weight).map(|_| *row));
            }
        }
        some
    }
}
