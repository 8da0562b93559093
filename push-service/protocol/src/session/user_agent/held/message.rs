//! One message of those that the application has, or gets later.

use std::sync::Arc;

use crate::identifiers::SubscriptionName;
use crate::session::Moment;
use crate::session::user_agent::action::Arrived;
use crate::session::user_agent::messages::Tried;

/// A message, and what is known of its attempts.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) arrived: Arc<Arrived>,
    pub(crate) name: SubscriptionName,
    /// In which order it came.
    pub(crate) order: u64,
    pub(crate) state: MessageState,
    /// Attempts that failed since the process began.
    pub(crate) attempts: u32,
    /// Of those, the ones since its subscription's last success.
    pub(crate) in_a_row: u32,
    /// Attempts that failed before that. They count as crashes do: it is not known whether the application failed on this message alone, or on
    /// all, and was ended before that could be seen.
    pub(crate) earlier_attempts: u32,
    /// How often the process ended while the application had it.
    pub(crate) crashes: u32,
    /// How often it was tried since its subscription's last success, whether that counts or not.
    pub(crate) tries: u32,
    /// It failed in the pause of its subscription.
    pub(crate) has_failed_in_outage: bool,
    /// Pauses in which it failed, and another message succeeded.
    pub(crate) outages: u32,
    /// Its subscription is paused, and it is tried to see whether the application works again.
    pub(crate) is_trial: bool,
    /// Its subscription ended while the application had it: there is no other attempt.
    pub(crate) is_last: bool,
}

/// Who has a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MessageState {
    /// With us, until then at least.
    Waiting(Moment),
    /// Handed over; the application has not begun.
    Offered,
    /// With the application.
    Taken,
}

impl Message {
    /// A message that has arrived and may be handed over from `at` on. `tried`: what is known of it from earlier.
    pub(crate) fn new(
        arrived: Arc<Arrived>,
        name: SubscriptionName,
        order: u64,
        tried: Tried,
        at: Moment,
    ) -> Self {
        Self {
            arrived,
            name,
            order,
            state: MessageState::Waiting(at),
            attempts: 0,
            earlier_attempts: tried.attempts,
            in_a_row: 0,
            crashes: tried.unfinished,
            tries: 0,
            has_failed_in_outage: false,
            outages: 0,
            is_trial: false,
            is_last: false,
        }
    }

    pub(super) fn is_in_hand(&self) -> bool {
        match self.state {
            MessageState::Offered | MessageState::Taken => true,
            MessageState::Waiting(_) => false,
        }
    }

    /// Attempts that failed, those of earlier processes included.
    pub(crate) fn all_attempts(&self) -> u32 {
        self.earlier_attempts + self.attempts
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.crashes > 0
    }
}
