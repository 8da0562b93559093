//! How long an idle channel may be silent before something on the way forgets it.
//!
//! Address translators and proxies forget idle connections after anything between a minute and an hour, and tell nobody.
//! Each ping wakes a radio, so the interval grows while pings are answered, and falls back to the longest one that was
//! when an idle channel turns out to be dead.

use std::time::Duration;

/// The interval between pings, learned.
#[derive(Clone, Debug)]
pub(super) struct Keepalive {
    least: Duration,
    most: Duration,
    /// The longest silence that the network survived.
    proven: Duration,
    /// The shortest that it didn't.
    failed: Option<Duration>,
    interval: Duration,
}

/// Two figures this close are one: chosen, because nothing on a network is more exact.
const CLOSE: Duration = Duration::from_secs(15);

impl Keepalive {
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self {
            least,
            most,
            proven: least,
            failed: None,
            interval: least,
        }
    }

    /// The silence after which a ping is due.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// A ping was answered after so long a silence: try a longer one.
    pub(super) fn survived(&mut self, silence: Duration) {
        self.proven = self.proven.max(silence.min(self.most));
        let next = match self.failed {
            Some(failed) if failed.saturating_sub(self.proven) <= CLOSE => self.proven,
            Some(failed) => (self.proven + failed) / 2,
            None => self.proven * 3 / 2,
        };
        self.interval = next.clamp(self.least, self.most);
    }

    /// The channel was dead after so long a silence. One that was survived before is not held against the network.
    pub(super) fn died(&mut self, silence: Duration) {
        if silence > self.proven {
            self.failed = Some(self.failed.map_or(silence, |failed| failed.min(silence)));
            self.interval = self.proven;
        } else {
            // Something else may have happened, or the way has changed: begin anew.
            *self = Self::new(self.least, self.most);
        }
    }

    /// Another network: nothing is known of it.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.least, self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The interval that is settled on where the network forgets after `limit` seconds, and how many channels that cost.
    fn learn(limit: u64) -> (u64, u32) {
        let limit = Duration::from_secs(limit);
        let mut keepalive = Keepalive::new(Duration::from_secs(45), Duration::from_secs(300));
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
        let mut keepalive = Keepalive::new(45 * second, 300 * second);
        keepalive.survived(200 * second);
        keepalive.died(100 * second);
        assert_eq!(keepalive.interval(), 45 * second);
        keepalive.survived(200 * second);
        keepalive.forget();
        assert_eq!(keepalive.interval(), 45 * second);
    }
}
