//! When a service says that it does not know us (PR-47): it is asked again before that is believed, and nothing is replaced
//! before the service has made something new.
//!
//! ```text
//!  known ──"I don't know you"──► doubted ──some seconds, another channel, "I don't know you"──► renewing
//!    ▲                              │                                                          │   │
//!    └───────it knows us, or the channel was of use────────────────────────────────────────────┘   │
//!                                                     (another identity) ◄──a new subscription─────┘
//! ```
//!
//! A proxy in the middle of a deployment says 404 for everything, and a service that restarts may not have read its storage
//! yet. Both pass within seconds, and what is replaced is lost for ever: every application server would have to hear of new
//! push resources and keys.
//!
//! **Invariant:** while it renews, the identity, the push resources and the keys are those that the service may still know.
//! If the channel ends then, the next one begins with them. They are replaced in the step that keeps the first new
//! subscription.

use super::action::{Action, Why};
use super::durable::{Change, Stage};
use super::names::Identity;
use super::{Live, Phase, UserAgent};
use crate::identifiers::SubscriptionName;
use crate::session::Moment;

/// What is known of a channel on which everything is made anew.
#[derive(Debug)]
pub(super) struct Renewing {
    /// The identity that the service gave instead, if it gave one already.
    pub(super) as_whom: Option<Identity>,
}

impl UserAgent {
    /// Whether the service said before, and long enough ago, that it does not know us: if it says so again it is believed.
    pub fn is_doubted(&self, now: Moment) -> bool {
        let apart = self.limits.forgotten_apart;
        self.doubted_since
            .is_some_and(|since| since.after(apart) <= now && !self.is_useful(now))
    }

    /// The service says that it does not know us. If that is not believed yet, the channel ends, and the next one asks again.
    pub(super) fn is_believed(&mut self, now: Moment, out: &mut Vec<Action>) -> bool {
        if self.is_doubted(now) {
            return true;
        }
        if self.is_useful(now) {
            // It knew us since.
            self.doubted_since = None;
        }
        self.doubted_since.get_or_insert(now);
        self.disconnect(Why::Forgotten, now, out);
        false
    }

    /// The service is believed. Everything is asked for anew, as `as_whom` if the service said who we are now.
    pub(super) fn renew(&mut self, as_whom: Option<Identity>, now: Moment, out: &mut Vec<Action>) {
        let renewing = Renewing { as_whom };
        if !self.has_confirmed() {
            // There is nothing to lose.
            let change = renewing.as_whom.map_or(Change::Forgotten, Change::Identified);
            self.replace_identity(change, out);
            return self.be_live(None, now, out);
        }
        self.be_live(Some(renewing), now, out);
    }

    fn be_live(&mut self, renewing: Option<Renewing>, now: Moment, out: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Live(live) => {
                live.renewing = renewing;
                self.looked.begin_anew();
                self.heard(now);
                self.ask(now, out);
            }
            _ => self.go_live(renewing, now, out),
        }
    }

    /// The service has made a subscription on a channel on which everything is made anew: now it is replaced.
    pub(super) fn adopt(&mut self, out: &mut Vec<Action>) {
        self.doubted_since = None;
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        let Some(renewing) = live.renewing.take() else {
            return;
        };
        if let Some(identity) = renewing.as_whom {
            self.identify(identity, out);
        }
        self.settle_requests();
    }

    /// What was asked for anew, and is confirmed still, is not asked for again.
    pub(super) fn settle_requests(&mut self) {
        let registrations = &self.durable.registrations;
        self.requests.repeat_none_of(|name| {
            let registration = registrations.get(name);
            registration.is_some_and(|registration| matches!(registration.stage, Stage::Confirmed(_)))
        });
    }

    pub(super) fn is_confirmed(&self, name: SubscriptionName) -> bool {
        let registration = self.durable.registrations.get(&name);
        registration.is_some_and(|registration| matches!(registration.stage, Stage::Confirmed(_)))
    }

    /// What was asked about a subscription that went with another identity is not asked any more.
    pub(super) fn identify(&mut self, identity: Identity, out: &mut Vec<Action>) {
        if self.durable.identity.as_ref() != Some(&identity) {
            self.replace_identity(Change::Identified(identity), out);
        }
    }

    fn replace_identity(&mut self, change: Change, out: &mut Vec<Action>) {
        self.save(change, out);
        self.doubted_since = None;
        self.unsaid.clear();
        let registrations = &self.durable.registrations;
        self.requests.retain(|name| registrations.contains_key(name));
    }

    /// Whether something would be lost with the identity.
    pub(super) fn has_confirmed(&self) -> bool {
        let mut registrations = self.durable.registrations.values();
        registrations.any(|registration| matches!(registration.stage, Stage::Confirmed(_)))
    }

    pub(super) fn is_renewing(&self) -> bool {
        matches!(
            &self.phase,
            Phase::Live(Live {
                renewing: Some(_),
                ..
            })
        )
    }

    /// A service that makes nothing new may know us still: the next channel asks. Its wait grows, as this one was of no use.
    pub(super) fn renew_or_leave(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.is_renewing() && !self.requests.is_waiting() && self.stopping.is_none() {
            self.disconnect(Why::Forgotten, now, out);
        }
    }

    /// Whether the channel is a good one: it brought a message, or lived for long. One on which everything is made anew is
    /// not: or a service that forgets us again and again would be asked without end.
    pub(super) fn is_useful(&self, now: Moment) -> bool {
        let Phase::Live(live) = &self.phase else {
            return false;
        };
        let is_steady = live.since.after(self.limits.steady_after) <= now;
        live.renewing.is_none() && (live.was_of_use || is_steady)
    }
}
