//! What the application may ask for: subscriptions, at any time, connected or not.

use super::{Action, Change, Event, Phase, PushResource, UserAgent};
use crate::identifiers::SubscriptionName;
use crate::p256::PublicKey;
use crate::session::Moment;

impl UserAgent {
    /// Makes a subscription of this name. Nothing happens if there is one already, unless it was ending: then it begins
    /// anew. [`Event::Subscribed`] or [`Event::Refused`] follows when the service has answered.
    pub fn subscribe(
        &mut self,
        name: SubscriptionName,
        application_server: Option<PublicKey>,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        let existing = self.durable.registrations.get(&name);
        if existing.is_none_or(|registration| !registration.is_wanted()) {
            let change = Change::Asked {
                name,
                application_server,
            };
            self.save(change, out);
        }
        self.ask_or_connect(now, out);
    }

    /// Ends a subscription: for the application at once, for the service when it hears of it.
    // WP-SUB-10.
    pub fn unsubscribe(&mut self, name: SubscriptionName, now: Moment, out: &mut Vec<Action>) {
        if !self.durable.registrations.contains_key(&name) {
            return;
        }
        if self.durable.identity.is_none() && !self.requests.is_sent(name) {
            // No service ever heard of it.
            self.save(Change::Ended(name), out);
            out.push(Action::Tell(Event::Unsubscribed(name)));
            return;
        }
        self.save(Change::Ending(name), out);
        self.ask_or_connect(now, out);
        self.let_go(name, now, out);
    }

    /// The application server knows the push resource of [`Event::Renewed`]. If it is not the newest any more, there is
    /// something left to tell.
    pub fn confirm_renewal(
        &mut self,
        name: SubscriptionName,
        push_resource: &PushResource,
        out: &mut Vec<Action>,
    ) {
        let registration = self.durable.registrations.get(&name);
        let is_over = registration.is_some_and(|registration| {
            registration.replaced.is_some() && registration.push_resource() == Some(push_resource)
        });
        if is_over {
            self.save(Change::RenewalConfirmed(name), out);
        }
    }

    /// Says again what the application was not told of before a restart.
    pub fn tell_again(&mut self, out: &mut Vec<Action>) {
        for (name, registration) in &self.durable.registrations {
            if let (Some(previous), Some(push_resource)) =
                (&registration.replaced, registration.push_resource())
            {
                out.push(Action::Tell(Event::Renewed {
                    name: *name,
                    previous: previous.clone(),
                    push_resource: push_resource.clone(),
                }));
            }
        }
    }

    /// The application asks for something: a service that told us to stay away is asked again (WS-CLS-1).
    fn ask_or_connect(&mut self, now: Moment, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Waiting {
                until: Moment::NEVER, ..
            } if self.stopping.is_none() => self.connect(now, out),
            _ => self.ask(now, out),
        }
    }
}
