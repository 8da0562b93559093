//! Messages that come and leave within one batch: the disk would see both at once, so it sees neither.
//!
//! The more a disk falls behind fast user agents, the more of what they take is acknowledged before its turn, and the
//! less there is to write. Nobody is answered any earlier for it (PR-1).
//!
//! A message that a receipt was asked for is never brief: in its place it is written how it ended, which leaves later.
//!
//! **Invariant:** a batch without its brief messages leaves the same in the store as the whole batch.

use std::collections::HashMap;

use push_protocol::{MessageNumber, UserAgentId};

use super::writer::Request;
use crate::storage::queue::Stored;

/// The brief messages of a batch, each with the place of the step by which it leaves for the last time.
///
/// A number never stands for two messages of its user agent, but a message that left may be brought back by an import:
/// so places tell what comes before what.
pub(super) struct Brief(HashMap<(UserAgentId, MessageNumber), usize>);

impl Brief {
    /// Those of these steps, which are in the order of their decision.
    pub(super) fn of(steps: &[Request]) -> Self {
        let mut left = HashMap::new();
        for (at, step) in steps.iter().enumerate() {
            let keys = step.removed.iter().map(|number| (step.user_agent, *number));
            left.extend(keys.map(|key| (key, at)));
        }
        let mut brief = HashMap::new();
        for (at, step) in steps.iter().enumerate() {
            let without_receipt = |stored: &&Stored| stored.receipts.is_none();
            let Some(stored) = step.stored.as_ref().filter(without_receipt) else {
                continue;
            };
            let key = (step.user_agent, stored.message.id.number);
            if let Some(leaves) = left.get(&key).filter(|leaves| **leaves > at) {
                brief.insert(key, *leaves);
            }
        }
        Self(brief)
    }

    /// Whether a message that comes by the step at this place leaves by a later one.
    pub(super) fn leaves_after(&self, at: usize, user_agent: UserAgentId, number: MessageNumber) -> bool {
        self.leaves(user_agent, number).is_some_and(|leaves| leaves > at)
    }

    /// Whether a message that came within the batch leaves for the last time by the step at this place.
    pub(super) fn leaves_by(&self, at: usize, user_agent: UserAgentId, number: MessageNumber) -> bool {
        self.leaves(user_agent, number) == Some(at)
    }

    fn leaves(&self, user_agent: UserAgentId, number: MessageNumber) -> Option<usize> {
        self.0.get(&(user_agent, number)).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use push_protocol::capability::KeyId;
    use push_protocol::{Coding, Content, MessageId, PushMessage, SubscriptionId, SubscriptionName, Urgency};

    use super::*;

    #[derive(Clone, Copy)]
    enum Does {
        Store(u64),
        Remove(u64),
    }
    use Does::{Remove, Store};

    fn step((agent, does): (u8, Does)) -> Request {
        let (stored, removed) = match does {
            Store(number) => (Some(stored(MessageNumber(number))), Vec::new()),
            Remove(number) => (None, vec![MessageNumber(number)]),
        };
        Request {
            user_agent: UserAgentId([agent; 16]),
            record: None,
            stored,
            removed,
            sweep: None,
            usage: Default::default(),
            books: None,
            done: None,
        }
    }

    fn stored(number: MessageNumber) -> Stored {
        let message = PushMessage {
            id: MessageId { number, nonce: 1 },
            subscription: SubscriptionId([1; 8]),
            name: SubscriptionName([1; 16]),
            urgency: Urgency::Normal,
            content: Content {
                coding: Coding::Absent,
                media_type: None,
                body: Default::default(),
            },
            key: None,
            sealed_by: KeyId(0),
            accepted_at_ms: 0,
            remaining_ms: 1,
        };
        Stored {
            message: Arc::new(message),
            topic: None,
            expires_at_ms: 1,
            sealed_by: 0,
            receipts: None,
        }
    }

    /// What is written of these steps, by their places.
    fn written(steps: &[(u8, Does)]) -> Vec<usize> {
        let requests: Vec<_> = steps.iter().map(|does| step(*does)).collect();
        let brief = Brief::of(&requests);
        let is_written = |at: &usize| {
            let (agent, does) = steps[*at];
            let user_agent = UserAgentId([agent; 16]);
            match does {
                Store(number) => !brief.leaves_after(*at, user_agent, MessageNumber(number)),
                Remove(number) => !brief.leaves_by(*at, user_agent, MessageNumber(number)),
            }
        };
        (0..steps.len()).filter(is_written).collect()
    }

    /// Who comes and leaves isn't written; who was there before, comes back, or belongs to another user agent is.
    #[test]
    fn only_what_comes_and_leaves_is_brief() {
        assert!(written(&[(1, Store(1)), (1, Remove(1))]).is_empty());
        assert_eq!(written(&[(1, Remove(1))]), [0]);
        assert_eq!(
            written(&[(1, Store(1)), (2, Remove(1)), (1, Remove(2))]),
            [0, 1, 2]
        );
        assert_eq!(written(&[(1, Store(1)), (1, Remove(1)), (1, Store(1))]), [2]);
        assert_eq!(written(&[(1, Remove(1)), (1, Store(1)), (1, Remove(1))]), [0]);
    }

    /// PR-25: what a receipt was asked for is written whole, and so is its end.
    #[test]
    fn with_a_receipt_nothing_is_brief() {
        let mut steps = [step((1, Store(1))), step((1, Remove(1)))];
        let asked = |stored: &mut Stored| stored.receipts = Some(UserAgentId([9; 16]));
        steps[0].stored.as_mut().map(asked).unwrap();
        let brief = Brief::of(&steps);
        let (user_agent, number) = (UserAgentId([1; 16]), MessageNumber(1));
        assert!(!brief.leaves_after(0, user_agent, number) && !brief.leaves_by(1, user_agent, number));
    }

    /// However steps mix, the store holds the same without them.
    #[test]
    fn the_store_holds_the_same_without_them() {
        const ALL: [Does; 4] = [Store(1), Remove(1), Store(2), Remove(2)];
        for mix in 0..ALL.len().pow(6) {
            let steps: [_; 6] = std::array::from_fn(|at| (1, ALL[mix >> (2 * at) & 3]));
            let some: Vec<_> = written(&steps).into_iter().map(|at| steps[at]).collect();
            for before in [&[][..], &[1], &[1, 2]] {
                if let Some(held) = held_after(before, &steps) {
                    assert_eq!(held_after(before, &some), Some(held), "of mix {mix}");
                }
            }
        }
    }

    /// What the store holds after these steps; `None` if one stores what is there, which no user agent does.
    fn held_after(before: &[u64], steps: &[(u8, Does)]) -> Option<BTreeSet<u64>> {
        let mut held: BTreeSet<u64> = before.iter().copied().collect();
        for (_, does) in steps {
            match does {
                Store(number) => held.insert(*number).then_some(())?,
                Remove(number) => _ = held.remove(number),
            }
        }
        Some(held)
    }
}
