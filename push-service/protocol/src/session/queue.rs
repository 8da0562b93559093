//! What a session reads of its user agent's queue (pages), and what it is told about it (wake-ups).

use std::sync::Arc;

use crate::identifiers::{MessageId, MessageNumber, SubscriptionId};
use crate::message::PushMessage;
use crate::urgency::Urgency;

/// What a seat is told, from inside the step that caused it. Each is a hint: it may be lost, come twice or out of order.
#[derive(Clone, Debug)]
pub enum WakeUp {
    /// A message was stored.
    Stored {
        /// The message.
        message: Arc<PushMessage>,
        /// The number of the one accepted before it: a session whose cursor is elsewhere has missed something.
        // PR-7.
        previous: MessageNumber,
    },
    /// A message with TTL 0 passes by: offer it now or never. Its number is 0.
    // PR-21.
    Passing(Arc<PushMessage>),
    /// Messages left storage by other means than this seat's acknowledgement; their places in the window are free.
    Removed(Vec<MessageId>),
    /// Something was stored that is not in this wake-up, because it's too large or comes from a newer node.
    ReadAgain,
    /// The last number accepted, as storage has it: a session that has not come so far, or farther, has missed something.
    // PR-14.
    Last(MessageNumber),
    /// A subscription ended, or with `None` all of them, and the record with them.
    Ended(Option<SubscriptionId>),
    /// Another session took the seat.
    Displaced,
}

/// What a session wants to read of its queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageRequest {
    /// Messages with a number above this one.
    pub after: MessageNumber,
    /// Of which subscriptions.
    pub scope: Scope,
    /// Messages below this urgency stay.
    pub minimum: Urgency,
    /// At most so many messages.
    pub messages: usize,
    /// At most so many bytes of bodies, but always one message.
    pub bytes: usize,
}

/// Which subscriptions a page is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All but these.
    AllBut(Vec<SubscriptionId>),
    /// These.
    These(Vec<SubscriptionId>),
}

impl Scope {
    /// Whether a subscription's messages are asked for.
    pub fn covers(&self, subscription: SubscriptionId) -> bool {
        match self {
            Self::AllBut(these) => !these.contains(&subscription),
            Self::These(these) => these.contains(&subscription),
        }
    }
}

/// A piece of a queue, in the order of acceptance.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The messages, with their remaining time to live. Expired ones are never among them.
    // PR-30.
    pub messages: Vec<Arc<PushMessage>>,
    /// Where the next page starts: the number of the last message, or, when there is no more in scope, the last number
    /// of the whole queue at that moment.
    pub upto: MessageNumber,
    /// Whether there is more in scope behind it.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-17: a page is of these subscriptions, or of all but these.
    #[test]
    fn a_scope_covers_these_or_the_others() {
        let [one, other] = [SubscriptionId([1; 8]), SubscriptionId([2; 8])];
        let (these, others) = (Scope::These(vec![one]), Scope::AllBut(vec![one]));
        assert!(these.covers(one) && !these.covers(other));
        assert!(!others.covers(one) && others.covers(other));
    }
}
