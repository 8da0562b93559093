//! Changes of the network, damped: the first one is followed at once, and in a storm of them fewer and fewer.
//!
//! A report is only a hint. An interface that comes and goes reports a change each second; the service must not get a connection
//! for each.

use std::time::Duration;

use crate::session::Moment;

/// When a change was heeded, or is going to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Network {
    heeded_at: Moment,
    apart: Duration,
    /// After this the next change is a first one again.
    calm_at: Moment,
}

/// What to make of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heed {
    /// Not one of a storm: most likely another network.
    pub(super) is_first: bool,
    /// When it is to be heeded: now, or later.
    pub(super) at: Moment,
}

impl Network {
    /// The network changed. Reactions are `apart` from each other at first, then twice as long, up to `calm`, which is also
    /// how long the network has to be quiet before a change is a first one again.
    pub(super) fn changed(&mut self, now: Moment, apart: Duration, calm: Duration) -> Heed {
        let is_first = self.calm_at <= now;
        if is_first {
            (self.heeded_at, self.apart) = (now, apart);
        } else if self.heeded_at <= now {
            self.heeded_at = now.max(self.heeded_at.after(self.apart));
            self.apart = self.apart.saturating_mul(2).min(calm);
        }
        self.calm_at = self.heeded_at.max(now).after(calm);
        let at = self.heeded_at;
        Heed { is_first, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WS-CLS-1: of forty changes in twenty seconds five are heeded, the last one too; after a minute of quiet a change is a
    /// first one.
    #[test]
    fn a_storm_is_damped() {
        let second = Duration::from_secs(1);
        let mut network = Network::default();
        let mut heeded = Vec::new();
        let begin = Moment(1_000_000);
        let mut now = begin;
        for _ in 0..40 {
            let heed = network.changed(now, 2 * second, 60 * second);
            assert_eq!(heed.is_first, now == begin);
            assert!(heed.at >= now);
            heeded.push(heed.at.since(begin).as_secs());
            now = now.after(second / 2);
        }
        heeded.dedup();
        assert_eq!(heeded, [0, 2, 6, 14, 30]);
        let calm = network.changed(now.after(80 * second), 2 * second, 60 * second);
        assert!(calm.is_first && calm.at == now.after(80 * second));
    }
}
