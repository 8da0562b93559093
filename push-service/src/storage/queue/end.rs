//! Subscriptions end: by name, by id, or all of them and the record with them.

use push_protocol::{MessageNumber, ReceiptOutcome, SubscriptionId, SubscriptionName};

use super::{Changes, Now, Step, UserAgent};
use crate::storage::{Ending, RECEIPTS, WakeUp};

impl UserAgent {
    /// Ends a subscription. Its messages stop waiting now and are freed by later sweeps.
    pub(in crate::storage) fn unsubscribe(
        &mut self,
        name: SubscriptionName,
        now: Now,
    ) -> Step<Option<SubscriptionId>> {
        let mut changes = self.begin(now);
        let known = self.subscriptions.iter().position(|s| s.name == name);
        let ended = known.map(|place| self.end_and_tell(place, &mut changes));
        self.finish(ended, changes, now)
    }

    /// The same by id. To end all ends the record with them, whoever holds its seat: who comes back to it is a stranger.
    pub(in crate::storage) fn end(&mut self, ending: Ending, now: Now) -> Step<bool> {
        let mut changes = self.begin(now);
        let has_ended = match ending {
            Ending::One(id) => {
                let known = self.subscriptions.iter().position(|s| s.id == id);
                let ended = known.map(|place| self.end_and_tell(place, &mut changes));
                ended.is_some()
            }
            Ending::All => self.is_known(now) && self.end_all(&mut changes),
        };
        self.finish(has_ended, changes, now)
    }

    fn end_and_tell(&mut self, place: usize, changes: &mut Changes) -> SubscriptionId {
        let id = self.end_subscription(place, changes);
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

    fn end_subscription(&mut self, place: usize, changes: &mut Changes) -> SubscriptionId {
        let id = self.subscriptions[place].id;
        let mut told = Vec::new();
        for number in self.messages_of(place) {
            if let Some(waiting) = self.waiting.remove(number) {
                changes.counts_out(&waiting);
                self.count_out(&waiting);
                self.ended.push(number);
                told.push(waiting.id);
            }
        }
        self.subscriptions.remove(place);
        self.tell_removed(told, changes);
        for passing in self.ledger.passed(usize::MAX, |p| p.subscription == id) {
            self.put_out(&passing, ReceiptOutcome::GivenUp, changes);
        }
        if id == RECEIPTS {
            self.ledger.forsake();
        }
        changes.record = true;
        id
    }

    /// The waiting messages of a subscription. If it has none, the messages of others are not searched (PR-43).
    fn messages_of(&mut self, place: usize) -> Vec<MessageNumber> {
        let (id, share) = (self.subscriptions[place].id, self.subscriptions[place].share);
        if share.messages == 0 {
            return Vec::new();
        }
        self.be_ordered();
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
