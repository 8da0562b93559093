//! Services that know a user agent by its subscription set (RFC 8030 §4.1): before its first subscription they don't know
//! it. This file has the events that only they cause.
//!
//! The identity of such a user agent is the URL of its set. There is no hello: the channel is live when it is open, and the
//! set is learned from the first answer, and gone when the service says so twice (PR-47).

use std::time::Duration;

use super::action::{Action, Event, NewSubscription, Registered};
use super::durable::Change;
use super::names::Identity;
use super::{Phase, UserAgent};
use crate::identifiers::SubscriptionName;
use crate::session::Moment;

impl UserAgent {
    /// The service is there, and was asked to bring what is in our set: the channel is live. Whether it knows the set is not
    /// said yet: an answer to a ping may overtake that.
    pub fn monitoring(&mut self, set: Identity, now: Moment, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Greeting { .. } => {
                self.identify(set, out);
                self.go_live(None, now, out);
            }
            Phase::Live(_) => self.nonsense(now, out),
            Phase::Connecting { .. } | Phase::Waiting { .. } | Phase::Stopped => {}
        }
    }

    /// The channel is live, with nothing to monitor: the service will know us by our first subscription.
    pub fn opened_without_set(&mut self, now: Moment, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Greeting { .. } => self.go_live(None, now, out),
            Phase::Live(_) => self.nonsense(now, out),
            Phase::Connecting { .. } | Phase::Waiting { .. } | Phase::Stopped => {}
        }
    }

    /// Our set is gone, says the service, and with it all of its subscriptions. When it says so again, they are
    /// made anew, as under another identity.
    // R30-MON-17.
    pub fn forgotten(&mut self, now: Moment, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Greeting { .. } | Phase::Live(_) => {}
            Phase::Connecting { .. } | Phase::Waiting { .. } | Phase::Stopped => return,
        }
        if self.believe_or_ask_again(now, out) {
            self.renew(None, now, out);
        }
    }

    /// The service can't take acknowledgements for so long, it says: they wait for it on the channel.
    pub fn acknowledgements_wait(&mut self, again_in: Duration, now: Moment, out: &mut Vec<Action>) {
        self.heard(now);
        if self.is_live() {
            out.push(Action::Tell(Event::AcknowledgementsWait { again_in }));
        }
    }

    /// The service has made a subscription. If its set is another one than ours, the service does not know us any more.
    pub fn subscription_made(
        &mut self,
        name: SubscriptionName,
        made: NewSubscription,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        if !self.is_live() || !self.requests.is_sent(name) {
            return;
        }
        let is_another = self
            .durable
            .identity
            .as_ref()
            .is_some_and(|ours| *ours != made.set);
        if is_another && !self.is_renewing() && self.has_confirmed() && !self.believe_or_ask_again(now, out) {
            return;
        }
        self.identify(made.set, out);
        self.finish_renewing(out);
        if self.durable.registrations.contains_key(&name) {
            let resource = made.resource;
            self.save(Change::ResourceGiven { name, resource }, out);
        }
        self.registered(name, Registered::At(made.push_resource), now, out);
    }
}
