//! The messages that the application has, or gets later.
//!
//! ```text
//!  arrived ──► Waiting ──it is time──► Offered ──the application takes it──► Taken ──► done
//!                ▲ ▲                      │                                    │
//!                │ └─a pause begins───────┘                                    │
//!                └────────────────────failed, or unable────────────────────────┘
//! ```
//!
//! Three rules say when it is time. A message that failed waits for a while. A message whose subscription
//! [is paused](super::outages) waits for its turn. Messages that the application had when the process ended (suspects) are handed over
//! one at a time, those with the fewest crashes first. So a message that kills its application is never in hand beside another
//! suspect: it brings at most one crash to each other message.

mod message;
mod outage;
mod room;
mod set_aside;
mod shares;

use std::collections::BTreeMap;

pub(super) use message::{Message, MessageState};
pub(super) use outage::{ChannelSchedule, FailureStreak, Outage};
use shares::Shares;

use super::names::MessageKey;
use crate::identifiers::SubscriptionName;
use crate::session::Moment;

/// Bounded by [`Limits::held_messages`](super::Limits::held_messages) and
/// [`Limits::held_bytes`](super::Limits::held_bytes).
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: BTreeMap<MessageKey, Message>,
    /// Offered or taken.
    in_hand: usize,
    /// Of those, the ones that were in hand when the process ended.
    suspects: usize,
    arrivals: u64,
    pub(super) shares: Shares,
    /// Over all subscriptions.
    pub(super) streak: FailureStreak,
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn contains(&self, key: MessageKey) -> bool {
        self.messages.contains_key(&key)
    }

    pub(super) fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// Whether it is handed over: offered or taken.
    pub(super) fn is_in_hand(&self, key: MessageKey) -> bool {
        self.get(key).is_some_and(Message::is_in_hand)
    }

    pub(super) fn begin_channel(&mut self) {
        self.shares.begin_channel();
    }

    pub(super) fn get_mut(&mut self, key: MessageKey) -> Option<&mut Message> {
        self.messages.get_mut(&key)
    }

    pub(super) fn get(&self, key: MessageKey) -> Option<&Message> {
        self.messages.get(&key)
    }

    /// The number of the next message in the order of arrival.
    pub(super) fn next_order(&mut self) -> u64 {
        let order = self.arrivals;
        self.arrivals += 1;
        order
    }

    pub(super) fn keys(&self) -> Vec<MessageKey> {
        self.messages.keys().copied().collect()
    }

    pub(super) fn keys_of(&self, name: SubscriptionName) -> Vec<MessageKey> {
        self.of(name).map(|(key, _)| key).collect()
    }

    /// The messages of a subscription.
    pub(super) fn of(&self, name: SubscriptionName) -> impl Iterator<Item = (MessageKey, &Message)> {
        let messages = self.messages.iter();
        let of = messages.filter(move |(_, message)| message.name == name);
        of.map(|(key, message)| (*key, message))
    }

    /// When a message is to be handed over.
    pub(super) fn next_due(&self) -> Moment {
        if self.messages.len() == self.in_hand {
            return Moment::NEVER;
        }
        let due = self.messages.values().map(|message| self.due(message));
        due.min().unwrap_or(Moment::NEVER)
    }

    /// When it is time for this message. Never, if something else has to happen first.
    pub(super) fn due(&self, message: &Message) -> Moment {
        let MessageState::Waiting(at) = message.state else {
            return Moment::NEVER;
        };
        if message.is_suspect() && self.suspects > 0 {
            return Moment::NEVER;
        }
        let share = self.shares.get(message.name);
        match share.and_then(|share| share.outage) {
            Some(outage) if outage.is_trying => Moment::NEVER,
            Some(outage) => at.max(outage.until),
            None => at,
        }
    }

    /// Those for which it is time, in the order in which they are offered. Each is checked again then: the one before may change it.
    pub(super) fn due_in_order(&self, now: Moment) -> Vec<MessageKey> {
        let messages = self.messages.iter();
        let due = messages.filter(|(_, message)| self.due(message) <= now);
        let mut due: Vec<_> = due
            .map(|(key, message)| (message.crashes, message.tries, message.order, *key))
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(.., key)| key).collect()
    }

    /// Whether it was offered, and not taken. Then it is not any more.
    pub(super) fn take_back(&mut self, key: MessageKey) -> bool {
        let is_offered = |message: &Message| message.state == MessageState::Offered;
        if !self.messages.get(&key).is_some_and(is_offered) {
            return false;
        }
        self.set_state(key, MessageState::Waiting(Moment::default()));
        true
    }

    pub(super) fn set_state(&mut self, key: MessageKey, state: MessageState) {
        let Some(message) = self.messages.get_mut(&key) else {
            return;
        };
        let (was_in_hand, is_suspect) = (message.is_in_hand(), message.is_suspect());
        message.state = state;
        let is_in_hand = message.is_in_hand();
        self.count(was_in_hand, is_suspect, false);
        self.count(is_in_hand, is_suspect, true);
    }

    fn count(&mut self, is_in_hand: bool, is_suspect: bool, is_more: bool) {
        let (in_hand, suspects) = (usize::from(is_in_hand), usize::from(is_in_hand && is_suspect));
        if is_more {
            self.in_hand += in_hand;
            self.suspects += suspects;
        } else {
            self.in_hand -= in_hand;
            self.suspects -= suspects;
        }
    }

    pub(super) fn insert(&mut self, key: MessageKey, message: Message) {
        self.shares.add(message.name, message.arrived.bytes());
        self.count(message.is_in_hand(), message.is_suspect(), true);
        self.messages.insert(key, message);
    }

    pub(super) fn remove(&mut self, key: MessageKey) -> Option<Message> {
        let message = self.messages.remove(&key)?;
        self.shares.subtract(message.name, message.arrived.bytes());
        self.count(message.is_in_hand(), message.is_suspect(), false);
        if message.is_trial {
            self.end_trial(message.name);
        }
        if self.messages.is_empty() {
            // An empty map keeps room for eleven.
            self.messages = BTreeMap::new();
        }
        Some(message)
    }

    /// The message that was tried in a pause is not with the application any more.
    fn end_trial(&mut self, name: SubscriptionName) {
        self.shares.update(name, |share| {
            if let Some(outage) = &mut share.outage {
                outage.is_trying = false;
            }
        });
    }
}
