//! The messages on the wire of one channel: offered, not yet acknowledged.

use std::time::Duration;

use crate::identifiers::{MessageId, MessageNumber, SubscriptionId};
use crate::session::Moment;

/// The messages on the wire. Holds ids, never bodies, and no memory while it is empty.
///
/// **Invariant:** at most `limit` messages, and of one subscription at most half of that, rounded up, so that one that
/// is never acknowledged doesn't stop the others.
// PR-16, PR-17.
#[derive(Debug)]
pub struct Window {
    limit: u16,
    offered: Vec<Offered>,
}

#[derive(Debug)]
struct Offered {
    id: MessageId,
    subscription: SubscriptionId,
    at: Moment,
}

impl Window {
    /// An empty window of `limit` messages, at least one.
    pub fn new(limit: u16) -> Self {
        Self {
            limit: limit.max(1),
            offered: Vec::new(),
        }
    }

    /// How many more messages fit.
    pub fn room(&self) -> usize {
        usize::from(self.limit).saturating_sub(self.offered.len())
    }

    /// How many more messages of one subscription fit.
    pub fn room_for(&self, subscription: SubscriptionId) -> usize {
        let held = self
            .offered
            .iter()
            .filter(|offered| offered.subscription == subscription)
            .count();
        usize::from(self.limit.div_ceil(2))
            .saturating_sub(held)
            .min(self.room())
    }

    /// Whether nothing is on the wire.
    pub fn is_empty(&self) -> bool {
        self.offered.is_empty()
    }

    /// Whether this message is on the wire.
    pub fn contains(&self, id: MessageId) -> bool {
        self.offered.iter().any(|offered| offered.id == id)
    }

    /// A message was offered. The caller made sure that there is room.
    pub fn offer(&mut self, id: MessageId, subscription: SubscriptionId, now: Moment) {
        debug_assert!(self.room_for(subscription) > 0, "offered without room");
        self.offered.push(Offered {
            id,
            subscription,
            at: now,
        });
    }

    /// A message was acknowledged, or left storage otherwise. Says whether it was on the wire.
    pub fn remove(&mut self, id: MessageId) -> bool {
        let Some(at) = self.offered.iter().position(|offered| offered.id == id) else {
            return false;
        };
        self.offered.remove(at);
        self.give_back();
        true
    }

    /// Keeps those of which this is true.
    pub fn retain(&mut self, mut is_kept: impl FnMut(MessageId) -> bool) {
        self.offered.retain(|offered| is_kept(offered.id));
        self.give_back();
    }

    /// The lowest number on the wire above this one.
    pub fn first_above(&self, number: MessageNumber) -> Option<MessageNumber> {
        let numbers = self.offered.iter().map(|offered| offered.id.number);
        numbers.filter(|other| *other > number).min()
    }

    /// Lets go of the messages that waited for their acknowledgement since `within` or longer, and counts them.
    pub fn forget_unacknowledged(&mut self, now: Moment, within: Duration) -> usize {
        let overdue = self
            .offered
            .partition_point(|offered| offered.at.after(within) <= now);
        self.offered.drain(..overdue);
        self.give_back();
        overdue
    }

    /// When the oldest message on the wire will have waited `within`.
    pub fn next_due(&self, within: Duration) -> Moment {
        self.offered
            .first()
            .map_or(Moment::NEVER, |offered| offered.at.after(within))
    }

    fn give_back(&mut self) {
        if self.offered.is_empty() {
            self.offered = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISY: SubscriptionId = SubscriptionId([1; 8]);
    const QUIET: SubscriptionId = SubscriptionId([2; 8]);

    fn id(number: u64) -> MessageId {
        MessageId {
            number: MessageNumber(number),
            nonce: 0,
        }
    }

    /// PR-17: one subscription holds at most half the window.
    #[test]
    fn one_subscription_gets_half() {
        let mut window = Window::new(5);
        for number in 0..3 {
            assert!(window.room_for(NOISY) > 0);
            window.offer(id(number), NOISY, Moment(number));
        }
        assert_eq!(
            (window.room_for(NOISY), window.room_for(QUIET), window.room()),
            (0, 2, 2)
        );
        assert!(window.remove(id(1)));
        assert!(!window.remove(id(1)));
        assert_eq!(window.room_for(NOISY), 1);
    }

    /// PR-17: what is not acknowledged in time leaves the window, the oldest first.
    #[test]
    fn the_unacknowledged_leave() {
        let mut window = Window::new(8);
        for number in 0..4 {
            window.offer(
                id(number),
                if number % 2 == 0 { NOISY } else { QUIET },
                Moment(number * 1000),
            );
        }
        let within = Duration::from_secs(60);
        assert_eq!(window.next_due(within), Moment(60_000));
        assert_eq!(window.forget_unacknowledged(Moment(61_000), within), 2);
        assert!(!window.contains(id(1)) && window.contains(id(2)));
        assert_eq!(window.next_due(within), Moment(62_000));
    }

    /// PR-14, PR-18: what is on the wire is found in the order of its numbers, and what has left is let go.
    #[test]
    fn the_wire_is_searched_by_number() {
        let mut window = Window::new(8);
        for number in [30, 10, 20] {
            window.offer(id(number), NOISY, Moment(0));
        }
        for (above, first) in [
            (0, Some(10)),
            (9, Some(10)),
            (10, Some(20)),
            (29, Some(30)),
            (30, None),
        ] {
            assert_eq!(
                window.first_above(MessageNumber(above)),
                first.map(MessageNumber),
                "{above}"
            );
        }
        window.retain(|kept| kept == id(20));
        assert!(window.contains(id(20)) && !window.contains(id(10)) && window.room() == 7);
        assert!(!window.is_empty());
        window.retain(|_| false);
        assert!(window.is_empty() && window.offered.capacity() == 0);
        assert_eq!(window.next_due(Duration::ZERO), Moment::NEVER);
    }

    /// PR-16: an empty window owns no memory.
    #[test]
    fn an_empty_window_is_free() {
        let mut window = Window::new(100);
        window.offer(id(1), NOISY, Moment(0));
        window.remove(id(1));
        assert_eq!(window.offered.capacity(), 0);
    }
}
