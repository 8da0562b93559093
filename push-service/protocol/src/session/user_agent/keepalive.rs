//! How long an idle channel may be silent before something on the way forgets it.
//!
//! Address translators and proxies forget idle connections without a word, after anything between a minute and an hour.
//! Each ping wakes a radio, so the interval grows while pings are answered, and falls back to the longest one that was
//! when an idle channel turns out to be dead, or is closed without a word by a proxy.
//!
//! A network that forgets even sooner than the shortest interval is believed when it did so twice, one channel after the
//! other: then the interval falls below, as far as to its floor. Below that nothing is learned: each channel is lost after
//! that silence, and the next one begins after the usual wait.

use std::time::Duration;

/// The interval between pings, learned.
#[derive(Clone, Debug)]
pub(super) struct Keepalive {
    floor: Duration,
    least: Duration,
    most: Duration,
    /// The longest silence that the network survived.
    proven: Duration,
    /// The shortest that it didn't.
    failed: Option<Duration>,
    /// The last channel ended after a silence shorter than the least that is assumed: this one.
    short: Option<Duration>,
    interval: Duration,
}

/// Two figures this close are one: chosen, because nothing on a network is more exact.
const CLOSE: Duration = Duration::from_secs(15);

/// Two channels that end after silences this close ended for the same reason: chosen, above what a network adds to a timer.
const ALIKE: Duration = Duration::from_secs(2);

impl Keepalive {
    pub(super) fn new(floor: Duration, least: Duration, most: Duration) -> Self {
        Self {
            floor: floor.min(least),
            least,
            most,
            proven: least,
            failed: None,
            short: None,
            interval: least,
        }
    }

    /// The silence after which a ping is due.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// A ping was answered after so long a silence: try a longer one.
    pub(super) fn survived(&mut self, silence: Duration) {
        if silence >= self.interval {
            self.short = None;
        }
        self.proven = self.proven.max(silence.min(self.most));
        let next = match self.failed {
            Some(failed) if failed.saturating_sub(self.proven) <= CLOSE => self.proven,
            Some(failed) => (self.proven + failed) / 2,
            None => self.proven * 3 / 2,
        };
        self.interval = next.min(self.most);
    }

    /// The channel was dead after so long a silence. One that was survived before is not held against the network.
    pub(super) fn died(&mut self, silence: Duration) {
        if silence > self.proven {
            self.failed = Some(self.failed.map_or(silence, |failed| failed.min(silence)));
            self.interval = self.proven;
        } else {
            // Something else may have happened, or the way has changed: begin anew.
            self.forget();
        }
    }

    /// The channel ended without a word after so long a silence. That may have many reasons; only a silence longer than any
    /// that was survived is held against the network, or a short one that is seen twice.
    pub(super) fn channel_ended(&mut self, silence: Duration) {
        if silence > self.proven {
            return self.died(silence);
        }
        if silence < self.floor || silence >= self.least {
            return;
        }
        let is_alike = |before: Duration| before.abs_diff(silence) <= ALIKE;
        if self.short.replace(silence).is_some_and(is_alike) {
            self.proven = (silence * 2 / 3).max(self.floor);
            self.failed = Some(silence);
            self.interval = self.proven;
        }
    }

    /// Another network: nothing is known of it.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.floor, self.least, self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn keepalive() -> Keepalive {
        Keepalive::new(20 * SECOND, 45 * SECOND, 300 * SECOND)
    }

    /// As `learn`, where something closes the channel after exactly so long a silence, whether or not a ping is due later.
    fn learn_from_closes(limit: u64) -> (u64, u32) {
        let limit = Duration::from_secs(limit);
        let mut keepalive = keepalive();
        let mut closed = 0;
        for _ in 0..50 {
            let silence = keepalive.interval();
            if silence < limit {
                keepalive.survived(silence);
            } else {
                keepalive.channel_ended(limit);
                closed += 1;
            }
        }
        (keepalive.interval().as_secs(), closed)
    }

    /// PR-48, WS-PNG-3: a proxy that closes idle channels (nginx 60 s, HAProxy 50 s and 60 s, others 90 s to 240 s) is learned
    /// from one channel; one that closes even before the shortest interval from two. What is below the floor is never learned.
    #[test]
    fn learns_from_a_proxy_that_closes() {
        for limit in [50, 60, 75, 90, 120, 180, 240] {
            let (settled, closed) = learn_from_closes(limit);
            assert!((limit * 3 / 5..limit).contains(&settled), "{limit}: {settled}");
            assert_eq!(closed, 1, "{limit}");
        }
        for (limit, expected) in [(30, 20), (40, 26)] {
            assert_eq!(learn_from_closes(limit), (expected, 2), "{limit}");
        }
        assert_eq!(learn_from_closes(10), (45, 50));
        assert_eq!(learn_from_closes(3_600), (300, 0));
    }

    /// One short life, or two of different length, may have any reason; so may an end after a silence that was survived.
    #[test]
    fn one_end_is_no_evidence() {
        let mut keepalive = keepalive();
        for silence in [30, 40, 25, 2, 44] {
            keepalive.channel_ended(silence * SECOND);
            assert_eq!(keepalive.interval(), 45 * SECOND);
        }
        keepalive.survived(100 * SECOND);
        let before = keepalive.interval();
        keepalive.channel_ended(90 * SECOND);
        assert_eq!(keepalive.interval(), before);
    }

    /// The interval that is settled on where the network forgets after `limit` seconds, and how many channels that cost.
    fn learn(limit: u64) -> (u64, u32) {
        let limit = Duration::from_secs(limit);
        let mut keepalive = keepalive();
        let mut deaths = 0;
        for _ in 0..50 {
            let silence = keepalive.interval();
            if silence < limit {
                keepalive.survived(silence);
            } else {
                keepalive.died(silence);
                deaths += 1;
            }
        }
        (keepalive.interval().as_secs(), deaths)
    }

    /// WS-PNG-3: from 45 s up to 300 s, as far as the network allows; finding its limit costs a handful of channels.
    #[test]
    fn learns_what_the_network_allows() {
        assert_eq!(learn(3_600), (300, 0));
        for limit in [60, 90, 120, 180, 250] {
            let (settled, deaths) = learn(limit);
            assert!(
                (limit * 3 / 4 - 15..limit).contains(&settled),
                "{limit}: {settled}"
            );
            assert!(deaths <= 5, "{limit}: {deaths}");
        }
    }

    /// Death after a silence that was survived before begins the search anew; so does another network.
    #[test]
    fn a_changed_network_is_learned_anew() {
        let second = Duration::from_secs(1);
        let mut keepalive = keepalive();
        keepalive.survived(200 * second);
        keepalive.died(100 * second);
        assert_eq!(keepalive.interval(), 45 * second);
        keepalive.survived(200 * second);
        keepalive.forget();
        assert_eq!(keepalive.interval(), 45 * second);
    }

    /// PR-48, WS-PNG-3: while nothing failed the interval grows by half; then it is half-way between what was survived and what failed,
    /// until both are close.
    #[test]
    fn the_search_halves_what_is_left() {
        let mut keepalive = keepalive();
        let ms = |keepalive: &Keepalive| keepalive.interval().as_millis();
        for expected in [67_500, 101_250] {
            keepalive.survived(keepalive.interval());
            assert_eq!(ms(&keepalive), expected);
        }
        keepalive.died(keepalive.interval());
        assert_eq!(ms(&keepalive), 67_500);
        for expected in [84_375, 92_812, 92_812] {
            keepalive.survived(keepalive.interval());
            assert_eq!(ms(&keepalive), expected);
        }
    }

    /// PR-48: a silence as long as one that was survived says nothing of the network if the channel only ended; if no answer came, the
    /// search begins anew.
    #[test]
    fn what_was_survived_is_no_evidence() {
        for (silence, interval, after_death) in [(100, 150, 45), (101, 100, 100)] {
            let mut ended = keepalive();
            ended.survived(100 * SECOND);
            let mut dead = ended.clone();
            ended.channel_ended(silence * SECOND);
            assert_eq!(ended.interval(), interval * SECOND, "{silence}");
            dead.died(silence * SECOND);
            assert_eq!(dead.interval(), after_death * SECOND, "{silence}");
        }
    }

    /// PR-48: two short lives that are alike are evidence from the floor up to below the least, unless a silence of the whole interval was
    /// survived in between.
    #[test]
    fn two_short_lives_are_evidence() {
        for (silence, interval) in [(19, 45), (20, 20), (30, 20), (44, 29), (45, 45)] {
            let mut keepalive = keepalive();
            for _ in 0..2 {
                keepalive.channel_ended(silence * SECOND);
            }
            assert_eq!(keepalive.interval().as_secs(), interval, "{silence}");
        }
        for (between, interval) in [(10, 20), (44, 20), (45, 67)] {
            let mut keepalive = keepalive();
            keepalive.channel_ended(30 * SECOND);
            keepalive.survived(between * SECOND);
            if between < 45 {
                assert_eq!(keepalive.interval().as_secs(), 67);
            }
            keepalive.channel_ended(30 * SECOND);
            assert_eq!(keepalive.interval().as_secs(), interval, "{between}");
        }
    }
}
