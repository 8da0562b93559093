//! The wait before the next connection: exponential, with full jitter, and never shorter than the service's `Retry-After`.
//!
//! Full jitter, because a service that comes back meets all of its user agents at once, and only chance spreads them.

use std::time::Duration;

/// The wait before the next connection.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    least: Duration,
    base: Duration,
    most: Duration,
    failures: u32,
    chance: Chance,
}

impl Backoff {
    pub(super) fn new(least: Duration, base: Duration, most: Duration, seed: u64) -> Self {
        Self {
            least,
            base,
            most,
            failures: 0,
            chance: Chance(seed),
        }
    }

    /// How long to wait after one more failure. `told` is the service's word, cut to what a service may ask for: never less
    /// than that, and a little more, so that user agents that were told the same time don't come back at once. Nor less than without it: a
    /// service that says "now" each time is not asked again and again.
    pub(super) fn next(&mut self, told: Option<Duration>) -> Duration {
        let ceiling = doubled(self.base, self.failures).min(self.most);
        self.failures = self.failures.saturating_add(1);
        let jittered = ceiling.mul_f64(self.chance.fraction()).max(self.least);
        match told {
            Some(told) => {
                let spread = told.saturating_add(jittered.min(told / 2).max(self.least));
                spread.max(jittered)
            }
            None => jittered,
        }
    }

    /// As if so many had failed already.
    pub(super) fn at_least(&mut self, failures: u32) {
        self.failures = self.failures.max(failures);
    }

    /// Between half of a wait and all of it, by chance, so that user agents that wait for the same event spread.
    pub(super) fn spread(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(0.5 + self.chance.fraction() / 2.0)
    }

    /// All is well.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Twice as long for each failure.
pub(super) fn doubled(wait: Duration, failures: u32) -> Duration {
    wait.saturating_mul(1 << failures.min(20))
}

/// SplitMix64. Not for secrets.
#[derive(Clone, Debug)]
struct Chance(u64);

impl Chance {
    /// Below 1.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn backoff(seed: u64) -> Backoff {
        Backoff::new(SECOND / 10, SECOND, 300 * SECOND, seed)
    }

    /// WS-CLS-1: waits grow to the most, are spread over all of it, and a thousand failures take hours, not a busy loop.
    #[test]
    fn grows_with_full_jitter() {
        let mut total = Duration::ZERO;
        let mut late = Vec::new();
        let mut one = backoff(1);
        for failure in 0..1_000 {
            let wait = one.next(None);
            assert!((SECOND / 10..=300 * SECOND).contains(&wait));
            assert!(failure > 8 || wait <= SECOND * (1 << failure));
            total += wait;
            late.push(wait);
        }
        late.drain(..20);
        assert!(total > 100_000 * SECOND, "{total:?}");
        assert!(late.iter().any(|wait| *wait < 30 * SECOND) && late.iter().any(|wait| *wait > 270 * SECOND));
        assert_ne!(backoff(2).next(None), backoff(3).next(None));
        one.reset();
        assert!(one.next(None) <= SECOND);
    }

    /// R30-SUB-7: never before the service said, also where that is longer than any wait of ours.
    #[test]
    fn honours_the_services_word() {
        for seed in 0..100 {
            let wait = backoff(seed).next(Some(60 * SECOND));
            assert!((60 * SECOND..=90 * SECOND).contains(&wait), "{wait:?}");
            let hour = backoff(seed).next(Some(3_600 * SECOND));
            assert!((3_600 * SECOND..3_602 * SECOND).contains(&hour), "{hour:?}");
        }
    }

    /// PR-47: a service that says "now" or "in a second" each time makes no user agent come faster than a service that says nothing.
    #[test]
    fn the_services_word_shortens_nothing() {
        for told in [Duration::ZERO, SECOND] {
            let (mut one, mut other) = (backoff(7), backoff(7));
            for _ in 0..100 {
                let (wait, without) = (one.next(Some(told)), other.next(None));
                assert!(wait >= without.max(told), "{told:?}: {wait:?} and {without:?}");
            }
        }
    }

    /// SplitMix64 gives the numbers that are published for its seed 1234567.
    #[test]
    fn chance_is_splitmix64() {
        let mut chance = Chance(1_234_567);
        for expected in [
            6_457_827_717_110_365_317_u64,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ] {
            let fraction = (expected >> 11) as f64 / (1_u64 << 53) as f64;
            assert!((chance.fraction() - fraction).abs() < 1e-15);
        }
    }

    /// R30-SUB-7: what is added to the service's word is at most half of it, unless the wait without it would be longer anyway.
    #[test]
    fn the_services_word_is_stretched_by_half_at_most() {
        for seed in 0..100 {
            let (mut one, mut other) = (backoff(seed), backoff(seed));
            for _ in 0..12 {
                let (wait, without) = (one.next(Some(60 * SECOND)), other.next(None));
                assert!(wait <= without.max(90 * SECOND), "{wait:?} and {without:?}");
            }
        }
    }

    /// A wait that is to begin larger begins as after so many failures, and never smaller than it would have been.
    #[test]
    fn waits_can_begin_larger() {
        for (failed, least, ceiling) in [(0, 5, 32), (2, 5, 32), (6, 5, 64)] {
            let waits = (0..50).map(|seed| {
                let mut backoff = backoff(seed);
                for _ in 0..failed {
                    backoff.next(None);
                }
                backoff.at_least(least);
                backoff.next(None)
            });
            let longest = waits.max().unwrap();
            assert!(
                (ceiling * SECOND * 3 / 4..ceiling * SECOND).contains(&longest),
                "{longest:?}"
            );
        }
    }
}
