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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, Arrived, Disposition, Event, GiveUpReason, Outcome, Why};
use super::backoff::doubled;
use super::durable::Change;
use super::names::MessageKey;
use super::outages::FailureStreak;
use super::shares::Shares;
use super::{Phase, UserAgent};
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

#[derive(Debug)]
pub(super) struct Message {
    pub(super) arrived: Arc<Arrived>,
    name: SubscriptionName,
    /// In which order it came.
    pub(super) order: u64,
    pub(super) place: Place,
    /// Attempts that failed.
    pub(super) attempts: u32,
    /// Of those, the ones since its subscription's last success.
    pub(super) in_a_row: u32,
    /// How often the process ended while the application had it.
    crashes: u32,
    /// How often it was tried since its subscription's last success, whether that counts or not.
    pub(super) tries: u32,
    /// It failed in the pause of its subscription.
    pub(super) has_failed_in_outage: bool,
    /// Pauses in which it failed, and another message succeeded.
    pub(super) outages: u32,
    /// Its subscription is paused, and it is tried to see whether the application works again.
    pub(super) is_trial: bool,
    /// Its subscription ended while the application had it: there is no other attempt.
    is_last: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// With us, until then at least.
    Waiting(Moment),
    /// Handed over; the application has not begun.
    Offered,
    /// With the application.
    Taken,
}

impl Message {
    fn is_in_hand(&self) -> bool {
        match self.place {
            Place::Offered | Place::Taken => true,
            Place::Waiting(_) => false,
        }
    }

    fn is_suspect(&self) -> bool {
        self.crashes > 0
    }
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
        self.shares.begin_channel();
    }

    pub(super) fn get_mut(&mut self, key: MessageKey) -> Option<&mut Message> {
        self.messages.get_mut(&key)
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
    fn due(&self, message: &Message) -> Moment {
        let Place::Waiting(at) = message.place else {
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
    fn due_in_order(&self, now: Moment) -> Vec<MessageKey> {
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
        let is_offered = |message: &Message| message.place == Place::Offered;
        if !self.messages.get(&key).is_some_and(is_offered) {
            return false;
        }
        self.put(key, Place::Waiting(Moment::default()));
        true
    }

    fn put(&mut self, key: MessageKey, place: Place) {
        let Some(message) = self.messages.get_mut(&key) else {
            return;
        };
        let (was_in_hand, is_suspect) = (message.is_in_hand(), message.is_suspect());
        message.place = place;
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

impl UserAgent {
    /// A push message. What is for nobody, done already or given up is acknowledged at once (WP-RCV-1, WS-NOT-2), and so is
    /// one with an invalid id: left alone, it would come again for ever. What the application has is left to it.
    pub fn arrived(&mut self, message: Arrived, now: Moment, out: &mut Vec<Action>) {
        self.heard(now);
        if !self.is_live() || self.stopping.is_some() {
            return;
        }
        if let Phase::Live(live) = &mut self.phase {
            live.brought = now;
        }
        if !message.has_valid_id() {
            self.counters.refused += 1;
            return self.acknowledge(Arc::new(message), Disposition::NotDelivered, now, out);
        }
        let (key, message) = (message.key(), Arc::new(message));
        if self.held.contains(key) {
            return;
        }
        let wanted = |name: &SubscriptionName| {
            let registration = self.durable.registrations.get(name);
            registration.is_some_and(|registration| registration.is_wanted())
        };
        let name = message.name().filter(wanted);
        if name.is_some()
            && let Some(earlier) = self.durable.messages.earlier(&message.id)
        {
            let message = key;
            self.save(Change::Recognised { message, earlier }, out);
        }
        if self.durable.messages.is_done(key) {
            self.counters.duplicates += 1;
            return self.acknowledge(message, Disposition::Delivered, now, out);
        }
        let Some(name) = name else {
            self.counters.unknown_subscription += 1;
            return self.acknowledge(message, Disposition::NotDelivered, now, out);
        };
        if message.content.is_none() {
            self.counters.not_decrypted += 1;
            return self.finish(key, message, Disposition::NotDecrypted, now, out);
        }
        let tried = self.durable.messages.tried(key);
        if tried.attempts >= self.limits.attempts {
            return self.give_up(key, name, message, GiveUpReason::Attempts, now, out);
        }
        if tried.unfinished >= self.limits.crashes {
            return self.give_up(key, name, message, GiveUpReason::Crashes, now, out);
        }
        let share = self.held.shares.get(name);
        if share.is_some_and(|share| {
            share.outage.is_none() && share.set_aside.outages(key) >= self.enough_outages()
        }) {
            self.held.shares.update(name, |share| share.set_aside.remove(key));
            return self.give_up(key, name, message, GiveUpReason::Outages, now, out);
        }
        let (bytes, is_alone) = (message.bytes(), self.is_alone());
        let fits = self.held.shares.takes(name, bytes, &self.limits, is_alone)
            || self.held.make_room(name, key, bytes, &self.limits, is_alone);
        if !fits && self.held.stays_aside(name, key) {
            self.counters.passed_over += 1;
            return;
        }
        if !fits {
            self.held.shares.pass_over(name, bytes);
            self.counters.passed_over += 1;
            self.end_round(now, out);
            return;
        }
        if let Phase::Live(live) = &mut self.phase {
            live.was_of_use = true;
        }
        let order = self.held.arrivals;
        self.held.arrivals += 1;
        let mut message = Message {
            arrived: message,
            name,
            order,
            place: Place::Waiting(now.after(self.wait_after_crashes(tried.unfinished))),
            attempts: tried.attempts,
            in_a_row: 0,
            crashes: tried.unfinished,
            tries: 0,
            has_failed_in_outage: false,
            outages: 0,
            is_trial: false,
            is_last: false,
        };
        if self.held.shares.get(name).is_some() {
            self.held
                .shares
                .update(name, |share| share.set_aside.restore(key, &mut message));
        }
        self.held.insert(key, message);
        self.offer(key, now, out);
    }

    /// How [`Action::HandOver`] ended. The channel on which the message came may be gone.
    pub fn handled(&mut self, key: MessageKey, outcome: Outcome, now: Moment, out: &mut Vec<Action>) {
        let is_in_hand = self.held.messages.get(&key).is_some_and(Message::is_in_hand);
        if !is_in_hand {
            return;
        }
        let Some(message) = self.held.remove(key) else {
            return;
        };
        let Message {
            name,
            is_trial,
            is_last,
            ..
        } = message;
        let was_taken = message.place == Place::Taken;
        match outcome {
            Outcome::Succeeded => {
                self.finish(key, message.arrived, Disposition::Delivered, now, out);
                self.works(name, now, out);
            }
            Outcome::NotDecrypted => {
                self.counters.not_decrypted += 1;
                self.finish(key, message.arrived, Disposition::NotDecrypted, now, out);
            }
            Outcome::Failed | Outcome::Unable if is_last => {
                self.finish(key, message.arrived, Disposition::NotDelivered, now, out);
            }
            Outcome::Failed => self.failed(key, message, now, out),
            Outcome::Unable => {
                self.wait_for_turn(key, message, out);
                self.pause(name, is_trial, now, out);
            }
            Outcome::Released => {
                if was_taken {
                    self.save(Change::Released(key), out);
                }
                // It comes again on the next channel, and what is behind it with it.
                self.held.shares.pass_over(name, message.arrived.bytes());
            }
        }
        self.offer_due(now, out);
        self.catch_up(now, out);
        self.stop_when_empty(now, out);
    }

    /// The application failed on it: an attempt, if it is not an outage.
    fn failed(&mut self, key: MessageKey, mut message: Message, now: Moment, out: &mut Vec<Action>) {
        let (name, is_trial) = (message.name, message.is_trial);
        if self.is_outage(name, key) {
            message.has_failed_in_outage = true;
            self.wait_for_turn(key, message, out);
            return self.pause(name, is_trial, now, out);
        }
        let count = message.attempts + 1;
        self.save(Change::Attempt { message: key, count }, out);
        if count >= self.limits.attempts {
            return self.give_up(key, name, message.arrived, GiveUpReason::Attempts, now, out);
        }
        message.attempts = count;
        message.in_a_row += 1;
        let wait = doubled(self.limits.retry_base, count - 1).min(self.limits.retry_most);
        self.wait_until(key, message, now.after(wait), out);
    }

    fn wait_for_turn(&mut self, key: MessageKey, message: Message, out: &mut Vec<Action>) {
        self.wait_until(key, message, Moment::default(), out);
    }

    /// The application is done with it for now.
    fn wait_until(&mut self, key: MessageKey, mut message: Message, at: Moment, out: &mut Vec<Action>) {
        if message.place == Place::Taken {
            self.save(Change::Released(key), out);
        }
        message.place = Place::Waiting(at);
        message.tries += 1;
        message.is_trial = false;
        self.held.insert(key, message);
    }

    /// Hands over what waited long enough.
    pub(super) fn offer_due(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.stopping.is_some() || self.held.next_due() > now {
            return;
        }
        for key in self.held.due_in_order(now) {
            self.offer(key, now, out);
        }
    }

    /// Hands it over, if it is time.
    fn offer(&mut self, key: MessageKey, now: Moment, out: &mut Vec<Action>) {
        let Some(message) = self.held.messages.get(&key) else {
            return;
        };
        if self.held.due(message) > now {
            return;
        }
        let (message, name) = (Arc::clone(&message.arrived), message.name);
        let mut is_trial = false;
        self.held.shares.update(name, |share| {
            if let Some(outage) = &mut share.outage {
                outage.is_trying = true;
                is_trial = true;
            }
        });
        self.held.put(key, Place::Offered);
        let mut attempt = 1;
        if let Some(held) = self.held.get_mut(key) {
            held.is_trial = is_trial;
            attempt += held.attempts + held.crashes;
        }
        self.counters.handed_over += 1;
        out.push(Action::HandOver { message, attempt });
    }

    /// The application is about to take a message that was handed over. Whether it may; then that is kept before it does, so
    /// that an end of the process in between is known as one. A message that still waits for its application when everything is
    /// killed was never tried, however often that happens.
    pub fn taken(&mut self, key: MessageKey, out: &mut Vec<Action>) -> bool {
        let is_offered = |message: &Message| message.place == Place::Offered;
        if !self.held.messages.get(&key).is_some_and(is_offered) {
            return false;
        }
        self.held.put(key, Place::Taken);
        self.save(Change::Begun(key), out);
        true
    }

    /// The subscription ended: nothing of it is handed over any more (WP-SUB-10), and what was handed over but not taken is
    /// taken back. What the application has is left to it, once.
    pub(super) fn let_go(&mut self, name: SubscriptionName, now: Moment, out: &mut Vec<Action>) {
        for key in self.held.keys_of(name) {
            let Some(message) = self.held.get_mut(key) else {
                continue;
            };
            if message.place == Place::Taken {
                message.is_last = true;
            } else if let Some(message) = self.held.remove(key) {
                if message.place == Place::Offered {
                    out.push(Action::TakeBack(key));
                }
                self.finish(key, message.arrived, Disposition::NotDelivered, now, out);
            }
        }
        self.forget_outage(name);
        self.offer_due(now, out);
        self.catch_up(now, out);
    }

    /// The application wants an end: it takes nothing more. All that it has not taken comes again.
    pub(super) fn let_go_of_what_waits(&mut self, out: &mut Vec<Action>) {
        let messages = self.held.messages.iter();
        let waiting = messages.filter(|(_, message)| message.place != Place::Taken);
        for key in waiting.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Some(message) = self.held.remove(key)
                && message.place == Place::Offered
            {
                out.push(Action::TakeBack(key));
            }
        }
    }

    /// An orderly end while the application still has messages: it counts for none of them (PR-45).
    pub(super) fn release_all(&mut self, out: &mut Vec<Action>) {
        for key in self.held.messages.keys().copied().collect::<Vec<_>>() {
            if let Some(message) = self.held.remove(key)
                && message.place == Place::Taken
            {
                self.save(Change::Released(key), out);
            }
        }
    }

    pub(super) fn give_up(
        &mut self,
        key: MessageKey,
        name: SubscriptionName,
        message: Arc<Arrived>,
        reason: GiveUpReason,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        self.counters.given_up += 1;
        out.push(Action::Tell(Event::GaveUp {
            name,
            message: key,
            reason,
        }));
        self.finish(key, message, Disposition::NotDelivered, now, out);
    }

    /// First kept, then acknowledged; without a channel, on the next one.
    fn finish(
        &mut self,
        key: MessageKey,
        message: Arc<Arrived>,
        disposition: Disposition,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        self.save(Change::Done(key), out);
        self.acknowledge(message, disposition, now, out);
    }

    /// No wait after the first crash, which may have had any cause; then it doubles. So after each start other messages are tried
    /// first.
    fn wait_after_crashes(&self, crashes: u32) -> Duration {
        match crashes {
            0 | 1 => Duration::ZERO,
            more => doubled(self.limits.retry_base, more - 2).min(self.limits.retry_most),
        }
    }

    /// Whether there is one subscription at most, so that nothing has to be shared.
    pub(super) fn is_alone(&self) -> bool {
        self.durable.registrations.len() <= 1
    }

    /// Once there is room for what was passed over, a new channel brings it; or the next round, if there are rounds.
    fn catch_up(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.wishes.are_fetched() {
            return self.say_wishes(now, out);
        }
        let has_room = self.held.shares.can_catch_up(&self.limits, self.is_alone());
        if has_room && self.is_live() && self.stopping.is_none() {
            self.disconnect(Why::CatchUp, now, out);
        }
    }
}
