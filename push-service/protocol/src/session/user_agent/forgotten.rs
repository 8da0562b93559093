//! A service says that it does not know us (PR-47). It is asked again before we believe it, and nothing is replaced before the
//! service has made a new subscription.
//!
//! ```text
//!  known ──"I don't know you"──► suspect ──some seconds, another channel, "I don't know you"──► renewing
//!    ▲                              │                                                          │   │
//!    └───────it knows us, or the channel was of use────────────────────────────────────────────┘   │
//!                                                     (another identity) ◄──a new subscription─────┘
//! ```
//!
//! A proxy in the middle of a deployment says 404 for everything, and a service that restarts may not have read its storage
//! yet. Both pass within seconds, and a replaced subscription is lost for ever: every application server would have
//! to be told of a new push resource and new keys.
//!
//! **Invariant:** while it renews, the identity, the push resources and the keys are those that the service may still know.
//! If the channel ends then, the next one begins with them. They are replaced in the step that keeps the first new
//! subscription.

use super::action::{Action, DisconnectReason};
use super::durable::{Change, Stage};
use super::names::Identity;
use super::{Live, Phase, UserAgent};
use crate::identifiers::SubscriptionName;
use crate::session::Moment;

/// A channel on which all subscriptions are made anew.
#[derive(Debug)]
pub(super) struct Renewing {
    /// The new identity, if the service gave one already.
    pub(super) identity: Option<Identity>,
}

impl UserAgent {
    /// Whether the service is believed if it says now that it does not know us: it said so before, long enough ago.
    pub fn believes_forgotten(&self, now: Moment) -> bool {
        let apart = self.limits.forgotten_apart;
        self.forgotten_since
            .is_some_and(|since| since.after(apart) <= now && !self.is_useful(now))
    }

    /// The service says that it does not know us. Returns whether that is believed. If not, the channel ends, and the next one asks
    /// again.
    pub(super) fn believe_or_ask_again(&mut self, now: Moment, out: &mut Vec<Action>) -> bool {
        if self.believes_forgotten(now) {
            return true;
        }
        if self.is_useful(now) {
            // It knew us since.
            self.forgotten_since = None;
        }
        self.forgotten_since.get_or_insert(now);
        self.disconnect(DisconnectReason::Forgotten, now, out);
        false
    }

    /// The service is believed. All subscriptions are asked for anew, under `identity` if the service gave one.
    pub(super) fn renew(&mut self, identity: Option<Identity>, now: Moment, out: &mut Vec<Action>) {
        let renewing = Renewing { identity };
        if !self.has_confirmed() {
            // There is nothing to lose.
            let change = renewing.identity.map_or(Change::Forgotten, Change::Identified);
            self.replace_identity(change, out);
            return self.be_live(None, now, out);
        }
        self.be_live(Some(renewing), now, out);
    }

    fn be_live(&mut self, renewing: Option<Renewing>, now: Moment, out: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Live(live) => {
                live.renewing = renewing;
                self.cursor.begin_anew();
                self.heard(now);
                self.ask(now, out);
            }
            _ => self.go_live(renewing, now, out),
        }
    }

    /// The service has made a subscription on a channel on which all are made anew: now the identity is replaced.
    pub(super) fn finish_renewing(&mut self, out: &mut Vec<Action>) {
        self.forgotten_since = None;
        let Phase::Live(live) = &mut self.phase else {
            return;
        };
        let Some(renewing) = live.renewing.take() else {
            return;
        };
        if let Some(identity) = renewing.identity {
            self.identify(identity, out);
        }
        self.drop_requests_of_confirmed();
    }

    /// Drops requests for subscriptions that are confirmed after all.
    pub(super) fn drop_requests_of_confirmed(&mut self) {
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

    /// Takes this identity. Requests for subscriptions that ended with the old one are dropped.
    pub(super) fn identify(&mut self, identity: Identity, out: &mut Vec<Action>) {
        if self.durable.identity.as_ref() != Some(&identity) {
            self.replace_identity(Change::Identified(identity), out);
        }
    }

    fn replace_identity(&mut self, change: Change, out: &mut Vec<Action>) {
        self.save(change, out);
        self.forgotten_since = None;
        self.unsent.clear();
        let registrations = &self.durable.registrations;
        self.requests.retain(|name| registrations.contains_key(name));
    }

    /// Whether a confirmed subscription would be lost with the identity.
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

    /// A service that makes no new subscription may still know us: this channel ends, and the next one asks. The wait before it grows,
    /// as this channel was of no use.
    pub(super) fn renew_or_leave(&mut self, now: Moment, out: &mut Vec<Action>) {
        if self.is_renewing() && !self.requests.is_waiting() && self.stopping.is_none() {
            self.disconnect(DisconnectReason::Forgotten, now, out);
        }
    }

    /// Whether the channel is a good one: it brought a message, or lived for long. One on which all subscriptions are made anew is
    /// never good: otherwise a service that forgets us again and again would be asked without end.
    pub(super) fn is_useful(&self, now: Moment) -> bool {
        let Phase::Live(live) = &self.phase else {
            return false;
        };
        let is_steady = live.since.after(self.limits.steady_after) <= now;
        live.renewing.is_none() && (live.has_delivered || is_steady)
    }
}
