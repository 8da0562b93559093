//! Ends subscriptions: by name, by id, or all of them and the record with them.

use push_protocol::{MessageNumber, ReceiptOutcome, SubscriptionId, SubscriptionName};

use super::{Changes, Now, Step, UserAgent};
use crate::storage::{Ending, RECEIPTS, RemovalReason, WakeUp};

impl UserAgent {
    /// Ends a subscription. Its messages stop waiting now and are freed by later sweeps.
    pub(in crate::storage) fn unsubscribe(
        &mut self,
        name: SubscriptionName,
        now: Now,
    ) -> Step<Option<SubscriptionId>> {
        let mut changes = self.begin(now);
        let known = self.subscriptions.iter().position(|s| s.name == name);
        let ended = known.map(|index| self.end_and_tell(index, &mut changes));
        self.finish(ended, changes, now)
    }

    /// Ends one subscription by id, or all and the record with them, even if a session holds its seat. A user agent that
    /// comes back after that is unknown.
    pub(in crate::storage) fn end(&mut self, ending: Ending, now: Now) -> Step<bool> {
        let mut changes = self.begin(now);
        let has_ended = match ending {
            Ending::One(id) => {
                let known = self.subscriptions.iter().position(|s| s.id == id);
                let ended = known.map(|index| self.end_and_tell(index, &mut changes));
                ended.is_some()
            }
            Ending::All => self.is_known(now) && self.end_all(&mut changes),
        };
        self.finish(has_ended, changes, now)
    }

    fn end_and_tell(&mut self, index: usize, changes: &mut Changes) -> SubscriptionId {
        let id = self.end_subscription(index, changes);
        self.tell_ended(Some(id), changes);
        id
    }

    fn end_all(&mut self, changes: &mut Changes) -> bool {
        self.end_subscriptions(changes);
        self.tell_ended(None, changes);
        self.seat = None;
        self.retained_until_ms = 0;
        changes.record = true;
        true
    }

    pub(super) fn end_subscriptions(&mut self, changes: &mut Changes) {
        while let Some(last) = self.subscriptions.len().checked_sub(1) {
            self.end_subscription(last, changes);
        }
    }

    fn end_subscription(&mut self, index: usize, changes: &mut Changes) -> SubscriptionId {
        let id = self.subscriptions[index].id;
        let mut removed = Vec::new();
        for number in self.messages_of(index) {
            if let Some(waiting) = self.waiting.remove(number) {
                changes.subtract_from_gauges(&waiting);
                self.subtract_from_sums(&waiting);
                changes
                    .left
                    .push(waiting.removed(RemovalReason::SubscriptionEnded));
                self.to_free.push(number);
                removed.push(waiting.id);
            }
        }
        self.subscriptions.remove(index);
        self.tell_removed(removed, changes);
        for passing in self
            .receipt_state
            .take_passing(usize::MAX, |p| p.subscription == id)
        {
            self.end_passing(&passing, ReceiptOutcome::GivenUp, changes);
        }
        if id == RECEIPTS {
            self.receipt_state.orphan_expectations();
        }
        changes.record = true;
        id
    }

    /// The waiting messages of a subscription. If it has none, the messages of others are not searched (PR-43).
    fn messages_of(&mut self, index: usize) -> Vec<MessageNumber> {
        let (id, share) = (self.subscriptions[index].id, self.subscriptions[index].share);
        if share.messages == 0 {
            return Vec::new();
        }
        self.order_if_long();
        match &self.order {
            Some(order) => {
                let mut numbers: Vec<_> = order.of_subscription(id).collect();
                numbers.sort_unstable();
                numbers
            }
            None => self.waiting.of_subscription(id),
        }
    }

    fn tell_ended(&self, which: Option<SubscriptionId>, changes: &mut Changes) {
        if let Some(seat) = self.seat {
            changes.wake_ups.push((seat, WakeUp::Ended(which)));
        }
    }
}
