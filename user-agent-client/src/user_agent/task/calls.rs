//! What a handle asks of the task, and when that is answered.

use std::collections::BTreeMap;

use push_protocol::session::user_agent::{Counters, PushResource, Stage};
use push_protocol::vapid::PublicKey;
use push_protocol::{SubscriptionName, Urgency};
use tokio::sync::oneshot;

use super::Task;
use crate::subscription::Subscription;
use crate::user_agent::SubscribeError;

/// What a handle asks for.
#[derive(Debug)]
pub(in crate::user_agent) enum Call {
    Subscribe {
        label: Box<str>,
        application_server: Option<PublicKey>,
        reply: oneshot::Sender<Result<Subscription, SubscribeError>>,
    },
    Unsubscribe {
        label: Box<str>,
        reply: oneshot::Sender<Result<bool, SubscribeError>>,
    },
    WaitUntilUnsubscribed {
        reply: oneshot::Sender<()>,
    },
    Subscriptions {
        reply: oneshot::Sender<Vec<Subscription>>,
    },
    ConfirmRenewal {
        name: SubscriptionName,
        push_resource: PushResource,
        p256dh: String,
    },
    SetLowestUrgency(Urgency),
    NetworkChanged,
    Counters {
        reply: oneshot::Sender<Counters>,
    },
    Stop,
}

impl Task {
    pub(super) fn called(&mut self, call: Call) {
        if self.writing.has_unwritten() && self.shows_what_is_not_kept(&call) {
            return self.writing.hold_call(call);
        }
        match call {
            Call::Subscribe {
                label,
                application_server,
                reply,
            } => self.subscribe(&label, application_server, reply),
            Call::Unsubscribe { label, reply } => match self.unsubscribe(&label) {
                Ok(true) => self.writing.unsubscribed(reply),
                answer => drop(reply.send(answer)),
            },
            Call::WaitUntilUnsubscribed { reply } => self.unsubscribing.push(reply),
            Call::Subscriptions { reply } => {
                let _ = reply.send(self.state.subscriptions().collect());
            }
            Call::ConfirmRenewal {
                name,
                push_resource,
                p256dh,
            } => {
                // A service may give the same push resource again; the keys tell which of the two was passed on.
                if self.state.keys(name).is_some_and(|keys| keys.p256dh() == p256dh) {
                    self.session
                        .confirm_renewal(name, &push_resource, &mut self.actions);
                }
            }
            Call::SetLowestUrgency(lowest) => {
                let now = self.now();
                self.session.set_lowest_urgency(lowest, now, &mut self.actions);
            }
            Call::NetworkChanged => self.session.network_changed(self.now(), &mut self.actions),
            Call::Counters { reply } => {
                let _ = reply.send(self.session.counters());
            }
            Call::Stop => self.stop(),
        }
    }

    /// Whether its answer may rest on a change that is not written yet.
    fn shows_what_is_not_kept(&self, call: &Call) -> bool {
        match call {
            Call::Subscriptions { .. } => true,
            Call::Subscribe { label, .. } => self.state.name_of(label).is_some(),
            Call::Unsubscribe { label, .. } => self.state.name_of(label).is_none(),
            // It waits itself.
            Call::WaitUntilUnsubscribed { .. } => false,
            Call::ConfirmRenewal { .. } | Call::SetLowestUrgency(_) | Call::NetworkChanged => false,
            Call::Counters { .. } | Call::Stop => false,
        }
    }

    fn subscribe(
        &mut self,
        label: &str,
        application_server: Option<PublicKey>,
        reply: oneshot::Sender<Result<Subscription, SubscribeError>>,
    ) {
        match self.asked(label, application_server) {
            Ok(name) => match self.confirmed(name) {
                Some(subscription) => drop(reply.send(Ok(subscription))),
                None => self.subscribing.entry(name).or_default().push(reply),
            },
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn asked(
        &mut self,
        label: &str,
        application_server: Option<PublicKey>,
    ) -> Result<SubscriptionName, SubscribeError> {
        let name = match self.state.name_of(label) {
            Some(name) => {
                let known = self.session.durable().registrations.get(&name);
                if known.is_some_and(|known| known.application_server != application_server) {
                    return Err(SubscribeError::OtherKey);
                }
                name
            }
            None => self.state.prepare(label).map_err(SubscribeError::State)?,
        };
        let now = self.now();
        self.session
            .subscribe(name, application_server, now, &mut self.actions);
        self.act();
        if self.failed {
            return Err(SubscribeError::Stopped);
        }
        Ok(name)
    }

    fn unsubscribe(&mut self, label: &str) -> Result<bool, SubscribeError> {
        let Some(name) = self.state.name_of(label) else {
            return Ok(false);
        };
        self.session.unsubscribe(name, self.now(), &mut self.actions);
        self.act();
        let session = &self.session;
        self.decrypted.retain(|message, _| session.holds(*message));
        if self.failed {
            return Err(SubscribeError::Stopped);
        }
        Ok(true)
    }

    pub(super) fn confirmed(&self, name: SubscriptionName) -> Option<Subscription> {
        let subscription = self.state.named(name)?;
        subscription.push_resource.is_some().then_some(subscription)
    }

    /// Returns whether a caller waited.
    pub(super) fn answer_subscribing(
        &mut self,
        name: SubscriptionName,
        answer: impl Fn() -> Result<Subscription, SubscribeError>,
    ) -> bool {
        let waiting = self.subscribing.remove(&name).unwrap_or_default();
        if self.subscribing.is_empty() {
            // An empty map keeps its room.
            self.subscribing = BTreeMap::new();
        }
        let mut is_heard = false;
        for reply in waiting {
            is_heard |= reply.send(answer()).is_ok();
        }
        // A caller that no longer waits learns of it by an event.
        is_heard
    }

    /// Answers the calls that wait until no subscription is ending.
    pub(super) fn answer_unsubscribed(&mut self) {
        if self.unsubscribing.is_empty() || self.writing.has_unwritten() {
            return;
        }
        let mut registrations = self.session.durable().registrations.values();
        if !registrations.any(|registration| registration.stage == Stage::Ending) {
            for reply in self.unsubscribing.drain(..) {
                let _ = reply.send(());
            }
        }
    }
}
