//! Hands messages over to the application, and takes its outcomes.

use std::sync::Arc;

use super::UserAgent;
use super::action::{Action, DisconnectReason, Disposition, GiveUpReason, Outcome};
use super::backoff::doubled;
use super::durable::Change;
use super::held::{Message, MessageState};
use super::names::MessageKey;
use crate::session::Moment;

impl UserAgent {
    /// How [`Action::HandOver`] ended. The channel on which the message came may be gone.
    pub fn handled(&mut self, key: MessageKey, outcome: Outcome, now: Moment, out: &mut Vec<Action>) {
        if !self.held.is_in_hand(key) {
            // It ended meanwhile, or waits for its next attempt: what comes so late judges nothing.
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
        let was_taken = message.state == MessageState::Taken;
        match outcome {
            Outcome::Succeeded => {
                self.finish(key, message.arrived, Disposition::Delivered, now, out);
                self.application_works(name, now, out);
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
        message.attempts += 1;
        let count = message.all_attempts();
        self.save(Change::Attempt { message: key, count }, out);
        if message.attempts >= self.limits.attempts {
            return self.give_up(key, name, message.arrived, GiveUpReason::Attempts, now, out);
        }
        // A message that fails in this process only has all of its attempts: a crash is no attempt.
        if message.earlier_attempts > 0 && count + message.crashes >= self.most_tries() {
            return self.give_up(key, name, message.arrived, GiveUpReason::Crashes, now, out);
        }
        message.in_a_row += 1;
        let wait = doubled(self.limits.retry_base, message.attempts - 1).min(self.limits.retry_most);
        self.wait_until(key, message, now.after(wait), out);
    }

    /// How often a message may fail, or have the process end, in all processes together.
    pub(super) fn most_tries(&self) -> u32 {
        self.limits.crashes.max(self.limits.attempts)
    }

    fn wait_for_turn(&mut self, key: MessageKey, message: Message, out: &mut Vec<Action>) {
        self.wait_until(key, message, Moment::default(), out);
    }

    /// The application is done with it for now.
    fn wait_until(&mut self, key: MessageKey, mut message: Message, at: Moment, out: &mut Vec<Action>) {
        if message.state == MessageState::Taken {
            self.save(Change::Released(key), out);
        }
        message.state = MessageState::Waiting(at);
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
    pub(super) fn offer(&mut self, key: MessageKey, now: Moment, out: &mut Vec<Action>) {
        let Some(message) = self.held.get(key) else {
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
        self.held.set_state(key, MessageState::Offered);
        let mut attempt = 1;
        if let Some(held) = self.held.get_mut(key) {
            held.is_trial = is_trial;
            attempt += held.all_attempts() + held.crashes;
        }
        self.counters.handed_over += 1;
        out.push(Action::HandOver { message, attempt });
    }

    /// The application is about to take a message that was handed over. Whether it may; then that is kept before it does, so
    /// that an end of the process in between is known as one. A message that still waits for its application when everything is
    /// killed was never tried, however often that happens.
    pub fn taken(&mut self, key: MessageKey, out: &mut Vec<Action>) -> bool {
        let is_offered = |message: &Message| message.state == MessageState::Offered;
        if !self.held.get(key).is_some_and(is_offered) {
            return false;
        }
        self.held.set_state(key, MessageState::Taken);
        self.save(Change::Begun(key), out);
        true
    }

    /// Once there is room for what was passed over, a new channel brings it; or the next round, if there are rounds.
    pub(super) fn catch_up(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.wishes.are_fetched() {
            return self.say_wishes(now, out);
        }
        let has_room = self.held.shares.can_catch_up(&self.limits, self.is_alone());
        if has_room && self.is_live() && self.stopping.is_none() {
            self.disconnect(DisconnectReason::CatchUp, now, out);
        }
    }
}
