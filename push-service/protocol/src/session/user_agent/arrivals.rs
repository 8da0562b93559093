//! A push message arrives: it is held for the application, passed over, or ended at once.

use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, Arrived, Disposition, GiveUpReason};
use super::backoff::doubled;
use super::durable::Change;
use super::held::Message;
use super::messages::Tried;
use super::names::MessageKey;
use super::{Phase, UserAgent};
use crate::identifiers::SubscriptionName;
use crate::session::Moment;

impl UserAgent {
    /// A push message. One for an unknown subscription, done already or given up is acknowledged at once, and so is
    /// one with an invalid id: left alone, it would come again for ever. What the application has is left to it.
    // WP-RCV-1, WS-NOT-2.
    pub fn arrived(&mut self, message: Arrived, now: Moment, out: &mut Vec<Action>) {
        self.heard(now);
        if !self.is_live() || self.stopping.is_some() {
            return;
        }
        if let Phase::Live(live) = &mut self.phase {
            live.last_message_at = now;
        }
        if !message.has_valid_id() {
            self.counters.refused += 1;
            return self.acknowledge(Arc::new(message), Disposition::NotDelivered, now, out);
        }
        let (key, message) = (message.key(), Arc::new(message));
        if self.held.contains(key) {
            return;
        }
        let name = self.wanted_name(&message);
        if name.is_some() {
            self.recognise(key, &message, out);
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
        if let Some(reason) = self.limit_reached(name, key, tried) {
            return self.give_up(key, name, message, reason, now, out);
        }
        if self.makes_room(name, key, message.bytes()) {
            self.hold(key, name, message, tried, now);
            self.offer(key, now, out);
        } else {
            self.pass_over(name, key, message.bytes(), now, out);
        }
    }

    /// The name of its subscription, if the application wants messages of that.
    fn wanted_name(&self, message: &Arrived) -> Option<SubscriptionName> {
        message.name().filter(|name| {
            let registration = self.durable.registrations.get(name);
            registration.is_some_and(|registration| registration.is_wanted())
        })
    }

    /// An earlier version may have kept it by its id alone.
    fn recognise(&mut self, message: MessageKey, arrived: &Arrived, out: &mut Vec<Action>) {
        if let Some(earlier) = self.durable.messages.earlier(&arrived.id) {
            self.save(Change::Recognised { message, earlier }, out);
        }
    }

    /// Whether it was tried too often.
    fn limit_reached(
        &mut self,
        name: SubscriptionName,
        key: MessageKey,
        tried: Tried,
    ) -> Option<GiveUpReason> {
        if tried.attempts + tried.unfinished >= self.most_tries() {
            return Some(match tried.unfinished {
                0 => GiveUpReason::Attempts,
                _ => GiveUpReason::Crashes,
            });
        }
        let enough = self.enough_outages();
        let share = self.held.shares.get(name)?;
        if share.outage.is_some() || share.set_aside.outages(key) < enough {
            return None;
        }
        self.held.shares.update(name, |share| share.set_aside.remove(key));
        Some(GiveUpReason::Outages)
    }

    /// Whether it fits. In a pause, others may be set aside for it.
    fn makes_room(&mut self, name: SubscriptionName, key: MessageKey, bytes: usize) -> bool {
        let is_alone = self.is_alone();
        self.held.shares.takes(name, bytes, &self.limits, is_alone)
            || self.held.make_room(name, key, bytes, &self.limits, is_alone)
    }

    /// It doesn't fit: it stays with the service, with all that follows it in its subscription. One that was set aside stops none
    /// of those that follow.
    fn pass_over(
        &mut self,
        name: SubscriptionName,
        key: MessageKey,
        bytes: usize,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        self.counters.passed_over += 1;
        if !self.held.stays_aside(name, key) {
            self.held.shares.pass_over(name, bytes);
            self.end_round(now, out);
        }
    }

    fn hold(
        &mut self,
        key: MessageKey,
        name: SubscriptionName,
        message: Arc<Arrived>,
        tried: Tried,
        now: Moment,
    ) {
        if let Phase::Live(live) = &mut self.phase {
            live.has_delivered = true;
        }
        let order = self.held.next_order();
        let at = now.after(self.wait_after_crashes(tried.unfinished));
        let mut message = Message::new(message, name, order, tried, at);
        if self.held.shares.get(name).is_some() {
            let shares = &mut self.held.shares;
            shares.update(name, |share| share.set_aside.restore(key, &mut message));
        }
        self.held.insert(key, message);
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
}
