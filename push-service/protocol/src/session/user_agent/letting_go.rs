//! Messages leave the session: their subscription ended, the user agent stops, or they are given up or done.

use std::sync::Arc;

use super::UserAgent;
use super::action::{Action, Arrived, Disposition, Event, GiveUpReason};
use super::durable::Change;
use super::held::MessageState;
use super::names::MessageKey;
use crate::identifiers::SubscriptionName;
use crate::session::Moment;

impl UserAgent {
    /// The subscription ended: nothing of it is handed over any more (WP-SUB-10), and what was handed over but not taken is
    /// taken back. What the application has is left to it, once.
    pub(super) fn let_go(&mut self, name: SubscriptionName, now: Moment, out: &mut Vec<Action>) {
        for key in self.held.keys_of(name) {
            let Some(message) = self.held.get_mut(key) else {
                continue;
            };
            if message.state == MessageState::Taken {
                message.is_last = true;
            } else if let Some(message) = self.held.remove(key) {
                if message.state == MessageState::Offered {
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
        for key in self.held.keys() {
            let message = self.held.get(key);
            if message.is_some_and(|message| message.state == MessageState::Taken) {
                continue;
            }
            if let Some(message) = self.held.remove(key)
                && message.state == MessageState::Offered
            {
                out.push(Action::TakeBack(key));
            }
        }
    }

    /// An orderly end while the application still has messages: it is not counted as a crash of any of them (PR-45).
    pub(super) fn release_all(&mut self, out: &mut Vec<Action>) {
        for key in self.held.keys() {
            if let Some(message) = self.held.remove(key)
                && message.state == MessageState::Taken
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
    pub(super) fn finish(
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
}
