//! Failures in a row, and the pause of a subscription whose application fails.

use crate::session::Moment;
use crate::session::user_agent::names::MessageKey;

/// Tries of a paused subscription between two channels that are opened for its sake. Chosen: they take at least 8 minutes then, in which
/// a service that frees its window after a minute offers the messages of eight windows.
pub(super) const MOST_TRIES_BETWEEN: u32 = 16;

/// Messages that failed since the last success.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum FailureStreak {
    #[default]
    None,
    One(MessageKey),
    Several,
}

impl FailureStreak {
    /// Counts one more. Returns whether several different messages have failed.
    pub(crate) fn add(&mut self, message: MessageKey) -> bool {
        *self = match *self {
            Self::None => Self::One(message),
            Self::One(known) if known == message => Self::One(known),
            Self::One(_) | Self::Several => Self::Several,
        };
        *self == Self::Several
    }
}

/// A subscription is paused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outage {
    /// When a message is tried.
    pub(crate) until: Moment,
    /// Tries that failed.
    pub(crate) failures: u32,
    /// A message is being tried.
    pub(crate) is_trying: bool,
    /// When a new channel may be opened for other messages to try.
    pub(crate) schedule: ChannelSchedule,
}

/// After how many failed tries a new channel may be opened for a paused subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ChannelSchedule {
    channels: u32,
    next: u32,
}

impl ChannelSchedule {
    /// Whether a new channel may be opened after so many failed tries.
    pub(crate) fn is_next(self, failures: u32) -> bool {
        failures >= self.next
    }

    pub(crate) fn advance(&mut self, failures: u32) {
        let tries = (1 << self.channels.min(20)).min(MOST_TRIES_BETWEEN);
        self.next = failures + tries;
        self.channels += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-45: failures on one message say nothing of the application; failures on two different ones do.
    #[test]
    fn several_are_two_different_messages() {
        let (one, other) = (MessageKey([1; 16]), MessageKey([2; 16]));
        let mut streak = FailureStreak::default();
        for (message, are_several) in [
            (one, false),
            (one, false),
            (other, true),
            (one, true),
            (one, true),
        ] {
            assert_eq!(streak.add(message), are_several);
        }
    }

    /// PR-45: a paused subscription gets its first new channel at once, then after 1, 2, 4, 8, and each 16 tries.
    #[test]
    fn channels_for_a_pause_are_few() {
        let mut schedule = ChannelSchedule::default();
        let at: Vec<_> = (0..70)
            .filter(|failures| {
                let is_next = schedule.is_next(*failures);
                if is_next {
                    schedule.advance(*failures);
                }
                is_next
            })
            .collect();
        assert_eq!(at, [0, 1, 3, 7, 15, 31, 47, 63]);
    }
}
