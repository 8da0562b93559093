//! Makes room for a message that arrives while its subscription is paused: messages that were tried more often are set aside.

use super::Held;
use super::message::MessageState;
use crate::identifiers::SubscriptionName;
use crate::session::user_agent::action::Limits;
use crate::session::user_agent::names::MessageKey;

impl Held {
    /// What a message of a paused subscription takes the places of, if it fits then: those tried most often first.
    fn places_for(
        &self,
        name: SubscriptionName,
        key: MessageKey,
        bytes: usize,
        limits: &Limits,
        is_alone: bool,
    ) -> Option<Vec<MessageKey>> {
        let share = self.shares.get(name)?;
        share.outage?;
        let tries = share.set_aside.tries(key);
        let mut others: Vec<_> = self
            .of(name)
            .filter(|(_, other)| matches!(other.state, MessageState::Waiting(_)) && other.tries > tries)
            .map(|(key, other)| (other.tries, other.order, other.arrived.bytes(), key))
            .collect();
        others.sort_unstable();
        let mut less = (0, 0);
        let mut places = Vec::new();
        while let Some((_, _, bytes_of_other, other)) = others.pop() {
            less = (less.0 + 1, less.1 + bytes_of_other);
            places.push(other);
            if self.shares.takes_without(name, bytes, less, limits, is_alone) {
                return Some(places);
            }
        }
        None
    }

    /// Makes room for a message of a paused subscription that doesn't fit. Whether it fits now.
    pub(crate) fn make_room(
        &mut self,
        name: SubscriptionName,
        key: MessageKey,
        bytes: usize,
        limits: &Limits,
        is_alone: bool,
    ) -> bool {
        let Some(places) = self.places_for(name, key, bytes, limits, is_alone) else {
            return false;
        };
        for other in places {
            if let Some(message) = self.remove(other) {
                self.shares
                    .update(name, |share| share.set_aside.add(other, &message));
            }
        }
        true
    }

    /// Whether a message that doesn't fit was tried before in the pause of its subscription. Then it is left with the service, and what
    /// follows it is not passed over.
    pub(crate) fn stays_aside(&mut self, name: SubscriptionName, key: MessageKey) -> bool {
        let share = self.shares.get(name);
        if !share.is_some_and(|share| share.outage.is_some() && share.set_aside.tries(key) > 0) {
            return false;
        }
        self.shares.update(name, |share| {
            share.set_aside.mark_offered(key);
        });
        true
    }
}
