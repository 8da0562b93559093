//! The messages that the application has, or failed on and gets again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::action::{Action, Arrived, Event, Fate, Outcome, Say, Why};
use super::durable::{Change, MessageKey};
use super::requests::doubled;
use super::{Phase, UserAgent};
use crate::identifiers::SubscriptionName;
use crate::session::Moment;

/// Bounded by [`Limits::held_messages`](super::Limits::held_messages) and
/// [`Limits::held_bytes`](super::Limits::held_bytes).
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: BTreeMap<MessageKey, Message>,
    bytes: usize,
    in_hand: usize,
    /// Something was passed over on this channel: all that follows is passed over too, so that the order is kept when it
    /// comes again on the next one.
    overflowed: bool,
}

#[derive(Debug)]
struct Message {
    arrived: Arc<Arrived>,
    name: SubscriptionName,
    attempt: u32,
    /// The application has begun with it.
    is_taken: bool,
    /// Its subscription ended while the application had it: there is no other attempt.
    is_last: bool,
    /// `None` while the application has it.
    retry_at: Option<Moment>,
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

    pub(super) fn begin_channel(&mut self) {
        self.overflowed = false;
    }

    pub(super) fn next_retry(&self) -> Moment {
        if self.messages.len() == self.in_hand {
            return Moment::NEVER;
        }
        let retries = self.messages.values().filter_map(|message| message.retry_at);
        retries.min().unwrap_or(Moment::NEVER)
    }

    fn insert(&mut self, key: MessageKey, message: Message) {
        self.bytes += message.arrived.bytes();
        self.in_hand += usize::from(message.retry_at.is_none());
        self.messages.insert(key, message);
    }

    fn remove(&mut self, key: MessageKey) -> Option<Message> {
        let message = self.messages.remove(&key)?;
        self.bytes -= message.arrived.bytes();
        self.in_hand -= usize::from(message.retry_at.is_none());
        if self.messages.is_empty() {
            // An empty map keeps room for eleven.
            self.messages = BTreeMap::new();
        }
        Some(message)
    }
}

impl UserAgent {
    /// A push message. What is for nobody, done already or given up is acknowledged at once (WP-RCV-1, WS-NOT-2), and so is
    /// one whose id can't be one: left alone, it would come again for ever. What the application has is left to it.
    pub fn arrived(&mut self, message: Arrived, now: Moment, out: &mut Vec<Action>) {
        self.heard(now);
        if !self.is_live() || self.stopping.is_some() {
            return;
        }
        if !message.has_id() {
            self.counters.refused += 1;
            return self.acknowledge(Arc::new(message), Fate::NotDelivered, now, out);
        }
        let (key, message) = (message.key(), Arc::new(message));
        if self.held.messages.contains_key(&key) {
            return;
        }
        if self.durable.messages.is_done(key) {
            self.counters.duplicates += 1;
            return self.acknowledge(message, Fate::Delivered, now, out);
        }
        let wanted = |name: &SubscriptionName| {
            let registration = self.durable.registrations.get(name);
            registration.is_some_and(|registration| registration.is_wanted())
        };
        let Some(name) = message.name().filter(wanted) else {
            self.counters.unknown_subscription += 1;
            return self.acknowledge(message, Fate::NotDelivered, now, out);
        };
        if message.content.is_none() {
            self.counters.not_decrypted += 1;
            return self.finish(key, message, Fate::NotDecrypted, now, out);
        }
        let attempts = self.durable.messages.attempts(key);
        if attempts >= self.limits.attempts {
            return self.give_up(key, name, message, now, out);
        }
        if self.held.overflowed || self.is_full(&message) {
            self.held.overflowed = true;
            self.counters.passed_over += 1;
            self.end_round(now, out);
            return;
        }
        if let Phase::Live(live) = &mut self.phase {
            live.was_of_use = true;
        }
        self.hand_over(key, name, message, attempts + 1, out);
    }

    /// What came of [`Action::HandOver`]. Taken also when the channel on which the message came is gone.
    pub fn handled(&mut self, key: MessageKey, outcome: Outcome, now: Moment, out: &mut Vec<Action>) {
        let Some(Message {
            arrived,
            name,
            attempt,
            is_taken,
            is_last,
            retry_at: None,
        }) = self.held.remove(key)
        else {
            return;
        };
        match outcome {
            Outcome::Succeeded => self.finish(key, arrived, Fate::Delivered, now, out),
            Outcome::NotDecrypted => {
                self.counters.not_decrypted += 1;
                self.finish(key, arrived, Fate::NotDecrypted, now, out);
            }
            Outcome::Failed if is_last => self.finish(key, arrived, Fate::NotDelivered, now, out),
            Outcome::Failed if attempt >= self.limits.attempts => {
                self.give_up(key, name, arrived, now, out);
            }
            Outcome::Failed => {
                let wait = doubled(self.limits.retry_after, attempt - 1);
                let message = Message {
                    arrived,
                    name,
                    attempt,
                    is_taken: false,
                    is_last,
                    retry_at: Some(now.after(wait)),
                };
                self.held.insert(key, message);
            }
            Outcome::Released => {
                if is_taken {
                    let count = attempt - 1;
                    self.save(Change::Attempt { message: key, count }, out);
                }
                // It comes again on the next channel, and what is behind it with it.
                self.held.overflowed = true;
            }
        }
        self.catch_up(now, out);
        self.stop_when_empty(now, out);
    }

    /// Hands over what waited long enough.
    pub(super) fn retry(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.stopping.is_some() || self.held.next_retry() > now {
            return;
        }
        let is_due = |message: &Message| message.retry_at.is_some_and(|at| at <= now);
        let messages = self.held.messages.iter();
        let due: Vec<_> = messages
            .filter(|(_, message)| is_due(message))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            if let Some(message) = self.held.remove(key) {
                self.hand_over(key, message.name, message.arrived, message.attempt + 1, out);
            }
        }
    }

    /// The subscription ended: nothing of it is handed over any more (WP-SUB-10), and what was handed over but not taken is
    /// taken back. What the application has is left to it, once.
    pub(super) fn let_go(&mut self, name: SubscriptionName, now: Moment, out: &mut Vec<Action>) {
        let mut waiting = Vec::new();
        for (key, message) in &mut self.held.messages {
            if message.name == name {
                message.is_last = true;
                let is_in_hand = message.is_taken && message.retry_at.is_none();
                waiting.extend((!is_in_hand).then_some(*key));
            }
        }
        for key in waiting {
            if let Some(message) = self.held.remove(key) {
                self.finish(key, message.arrived, Fate::NotDelivered, now, out);
            }
        }
        self.catch_up(now, out);
    }

    /// The application takes a message that was handed over: an attempt, which is kept before it is made. One that still
    /// waits for its application when everything is killed was never tried, however often that happens.
    pub fn taken(&mut self, key: MessageKey, out: &mut Vec<Action>) {
        let Some(message) = self.held.messages.get_mut(&key) else {
            return;
        };
        message.is_taken = true;
        let count = message.attempt;
        self.save(Change::Attempt { message: key, count }, out);
    }

    fn hand_over(
        &mut self,
        key: MessageKey,
        name: SubscriptionName,
        arrived: Arc<Arrived>,
        attempt: u32,
        out: &mut Vec<Action>,
    ) {
        self.counters.handed_over += 1;
        let message = Message {
            arrived: Arc::clone(&arrived),
            name,
            attempt,
            is_taken: false,
            is_last: false,
            retry_at: None,
        };
        self.held.insert(key, message);
        out.push(Action::HandOver {
            message: arrived,
            attempt,
        });
    }

    fn give_up(
        &mut self,
        key: MessageKey,
        name: SubscriptionName,
        message: Arc<Arrived>,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        self.counters.given_up += 1;
        out.push(Action::Tell(Event::GaveUp { name, message: key }));
        self.finish(key, message, Fate::NotDelivered, now, out);
    }

    /// First kept, then acknowledged. Without a channel it is acknowledged when it comes again.
    fn finish(
        &mut self,
        key: MessageKey,
        message: Arc<Arrived>,
        fate: Fate,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        self.save(Change::Done(key), out);
        self.acknowledge(message, fate, now, out);
    }

    fn acknowledge(&mut self, message: Arc<Arrived>, fate: Fate, now: Moment, out: &mut Vec<Action>) {
        self.say(Say::Acknowledge { message, fate }, now, out);
    }

    /// One message always fits, however large: it would come again for ever, and everything behind it with it.
    fn is_full(&self, message: &Arrived) -> bool {
        let is_heavy = self.held.bytes + message.bytes() > self.limits.held_bytes;
        self.held.len() >= self.limits.held_messages.max(1) || (is_heavy && self.held.len() > 0)
    }

    /// Once there is room for what was passed over, a new channel brings it; or the next round, if there are rounds.
    fn catch_up(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.wishes.are_fetched() {
            return self.say_wishes(now, out);
        }
        let has_room =
            self.held.len() <= self.limits.held_messages / 2 && self.held.bytes <= self.limits.held_bytes / 2;
        if self.held.overflowed && has_room && self.is_live() && self.stopping.is_none() {
            self.disconnect(Why::CatchUp, now, out);
        }
    }
}
