//! What was done to the service, and how long an acknowledgement had a node that could take it.

use std::time::{Duration, Instant};

use super::{Connection, NodeNumber, TAKEN_AFTER};

/// When storage is there again, nodes need so long to notice, to connect, and to hand over what they could not: they try
/// again once a second.
const NOTICED_WITHIN: Duration = Duration::from_secs(3);

/// Everything that was done.
#[derive(Debug, Default)]
pub(super) struct Faults {
    kills: Vec<(NodeNumber, Instant)>,
    /// From when to when nodes had no storage at hand.
    absences: Vec<(Instant, Option<Instant>)>,
}

impl Faults {
    pub(super) fn killed(&mut self, node: NodeNumber, now: Instant) {
        self.kills.push((node, now));
    }

    pub(super) fn kills(&self) -> usize {
        self.kills.len()
    }

    pub(super) fn storage_goes(&mut self, now: Instant) {
        self.absences.push((now, None));
    }

    pub(super) fn storage_is_back(&mut self, now: Instant) {
        if let Some((_, until)) = self.absences.last_mut() {
            *until = Some(now + NOTICED_WITHIN);
        }
    }

    pub(super) fn storage_was_away(&self) -> bool {
        !self.absences.is_empty()
    }

    /// Whether nodes were without storage at any moment since `then`, or had not noticed that it's back.
    pub(super) fn storage_was_away_since(&self, then: Instant) -> bool {
        let mut ends = self.absences.iter().map(|(_, until)| until);
        ends.any(|until| until.is_none_or(|until| then < until))
    }

    /// How long, until `then`, the node of a connection lived with an acknowledgement that had `reached` it. `None` if
    /// storage was not at hand: a channel that ends then may leave it to the next one.
    pub(super) fn lived_with(&self, on: Connection, reached: Instant, then: Instant) -> Option<Duration> {
        let mut absences = self.absences.iter();
        let was_away = absences
            .any(|(from, until)| *from < reached + TAKEN_AFTER && until.is_none_or(|until| reached < until));
        let mut kills = self.kills.iter();
        let killed = kills.find(|(node, kill)| *node == on.node && *kill > on.opened);
        let until = killed.map_or(then, |(_, kill)| then.min(*kill));
        (!was_away).then(|| until.saturating_duration_since(reached))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-4: an acknowledgement lives until its own node is killed, and counts for nothing while storage is away.
    #[test]
    fn what_an_acknowledgement_is_worth() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let on = |node| Connection {
            number: 1,
            node,
            opened: at(1),
        };
        let mut faults = Faults::default();
        faults.killed(1, at(12));
        assert_eq!(
            faults.lived_with(on(0), at(10), at(20)),
            Some(Duration::from_secs(10))
        );
        assert_eq!(
            faults.lived_with(on(1), at(10), at(20)),
            Some(Duration::from_secs(2))
        );
        faults.storage_goes(at(14));
        assert_eq!(faults.lived_with(on(0), at(15), at(30)), None);
        faults.storage_is_back(at(16));
        assert_eq!(faults.lived_with(on(0), at(18), at(30)), None);
        for reached in [10, 20] {
            assert!(faults.lived_with(on(0), at(reached), at(30)).is_some());
        }
    }
}
