//! Services that know a user agent by its subscription set (RFC 8030 §4.1), and so know nobody before the first
//! subscription: what they say beside what the WebSocket's services say.
//!
//! The identity of such a user agent is the URL of its set. There is no hello: the channel is live when it is open, and the
//! set is learned from the first answer, and gone when the service says so.

use super::action::{Action, Enrolled, Registered};
use super::durable::Change;
use super::{Phase, UserAgent};
use crate::identifiers::SubscriptionName;
use crate::session::Moment;

impl UserAgent {
    /// The channel is live, with nothing to monitor: the service will know us by our first subscription.
    pub fn nobody_yet(&mut self, now: Moment, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Greeting { .. } => self.go_live(now, out),
            Phase::Live(_) => self.nonsense(now, out),
            Phase::Connecting { .. } | Phase::Waiting { .. } | Phase::Stopped => {}
        }
    }

    /// Our set is gone (R30-MON-17), and with it all of its subscriptions: they are made anew, as under another identity.
    pub fn forgotten(&mut self, now: Moment, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Greeting { .. } | Phase::Live(_) => {}
            Phase::Connecting { .. } | Phase::Waiting { .. } | Phase::Stopped => return,
        }
        self.save(Change::Forgotten, out);
        self.forget_requests();
        if self.is_live() {
            self.heard(now);
            self.ask(now, out);
        } else {
            self.go_live(now, out);
        }
    }

    /// The service has made a subscription. If its set is another one than before, the service has forgotten the others.
    pub fn enrolled(
        &mut self,
        name: SubscriptionName,
        enrolled: Enrolled,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        if !self.is_live() || !self.requests.is_sent(name) {
            return;
        }
        self.identify(enrolled.set, out);
        if self.durable.registrations.contains_key(&name) {
            let resource = enrolled.resource;
            self.save(Change::Located { name, resource }, out);
        }
        self.registered(name, Registered::At(enrolled.push_resource), now, out);
    }
}
