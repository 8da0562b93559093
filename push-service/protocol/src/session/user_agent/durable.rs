//! The state that a user agent keeps over restarts: its identity, its subscriptions, and which messages are done.
//!
//! The session reports every change of it as a [`Change`], before it does anything that relies on the change. A driver
//! that keeps the state on disk applies the same changes there, so that after a crash both agree.

use std::collections::BTreeMap;

use super::messages::Messages;
use super::names::{Identity, MessageKey, PushResource, SubscriptionResource};
use crate::identifiers::SubscriptionName;
use crate::p256::PublicKey;

/// The state. The same as the fold of all changes since the beginning.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Durable {
    /// Absent until a service gave one.
    pub identity: Option<Identity>,
    /// By the user agent's own names for them.
    /// Each on the heap: a map keeps room for eleven in one piece, and most user agents have one.
    pub registrations: BTreeMap<SubscriptionName, Box<Registration>>,
    /// The last messages: done, or tried.
    pub messages: Messages,
}

/// One subscription, as far as the session has to know it.
#[derive(Clone, PartialEq, Debug)]
pub struct Registration {
    /// The key of the only application server that may send, if it is restricted (RFC 8292 §4).
    pub application_server: Option<PublicKey>,
    /// How far it is.
    pub stage: Stage,
    /// The subscription resource, at which the user agent ends the subscription. `None`: not confirmed, or the service ends
    /// subscriptions by name (WebSocket). It is kept while the stage is [`Stage::Ending`], because it is needed then.
    pub resource: Option<SubscriptionResource>,
    /// The push resource before the renewal, until [`Change::RenewalConfirmed`]. It is also set if the new push resource is
    /// the same: under another identity the keys are others.
    // WP-RFR-2.
    pub replaced: Option<PushResource>,
}

/// ```text
///  Asked ──the service confirms──► Confirmed ──the service forgot us──► Asked
///    └──────────unsubscribe──────────┴────────► Ending ──the service confirms──► (gone)
/// ```
#[derive(Clone, PartialEq, Debug)]
pub enum Stage {
    /// Wanted; the service has not confirmed it, or has lost it.
    Asked,
    /// The service takes messages for it here.
    Confirmed(PushResource),
    /// Ended for the application; the service has not confirmed it yet.
    // WP-SUB-10.
    Ending,
}

/// A change of the state.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The service gave this identity. Under another one than before no registration is confirmed any more.
    Identified(Identity),
    /// The service doesn't know us any more, and we have no other identity yet. For registrations it is the same as another
    /// one.
    Forgotten,
    /// The application wants a subscription.
    Asked {
        /// Its name.
        name: SubscriptionName,
        /// Who alone may send.
        application_server: Option<PublicKey>,
    },
    /// The service gave the subscription resource: the URL at which the user agent ends the subscription (RFC 8030 §4).
    ResourceGiven {
        /// Which.
        name: SubscriptionName,
        /// Where.
        resource: SubscriptionResource,
    },
    /// The service takes messages here. Encryption keys may be drawn anew in the same step: see
    /// [`Durable::renews_keys`].
    Confirmed {
        /// Of which subscription.
        name: SubscriptionName,
        /// Where.
        push_resource: PushResource,
    },
    /// The application server has the new push resource and keys of a renewed subscription:
    /// [`confirm_renewal`](super::UserAgent::confirm_renewal) was called.
    RenewalConfirmed(SubscriptionName),
    /// The application wants no more messages.
    Ending(SubscriptionName),
    /// The service confirmed that it is gone, or refused to make it.
    Ended(SubscriptionName),
    /// The application begins with a message. Until [`Change::Released`] or [`Change::Done`] it counts as one more time that the
    /// process ended with it in hand.
    Begun(MessageKey),
    /// The application has it no more: it judged the message, or gave it back. The beginning doesn't count as unfinished.
    Released(MessageKey),
    /// The application has failed on a message for so many times now.
    Attempt {
        /// Which.
        message: MessageKey,
        /// Fewer than before takes attempts back: it was not the message on which the application failed.
        count: u32,
    },
    /// An earlier version kept this message by its id alone.
    Recognised {
        /// The message.
        message: MessageKey,
        /// What the earlier version called it: [`MessageKey::of_id`].
        earlier: MessageKey,
    },
    /// A message need not come again.
    Done(MessageKey),
}

impl Change {
    /// Whether it is about one message, and not about identity or subscriptions.
    pub fn is_about_a_message(&self) -> bool {
        match self {
            Self::Begun(_)
            | Self::Released(_)
            | Self::Attempt { .. }
            | Self::Recognised { .. }
            | Self::Done(_) => true,
            Self::Identified(_)
            | Self::Forgotten
            | Self::Asked { .. }
            | Self::ResourceGiven { .. }
            | Self::Confirmed { .. }
            | Self::RenewalConfirmed(_)
            | Self::Ending(_)
            | Self::Ended(_) => false,
        }
    }
}

impl Durable {
    /// The subscription whose messages go to this push resource, compared character by character.
    pub fn subscription_at(&self, push_resource: &str) -> Option<SubscriptionName> {
        let is_there = |registration: &Registration| {
            registration
                .push_resource()
                .is_some_and(|known| known.as_str() == push_resource)
        };
        let mut registrations = self.registrations.iter();
        registrations
            .find(|(_, registration)| is_there(registration))
            .map(|(name, _)| *name)
    }

    /// The subscription for which encryption keys are drawn anew together with this change, which is not applied yet: it was
    /// lost with another identity, and has been made again. Not before: until then a service that was believed too early may
    /// still bring what was encrypted for the keys that it had.
    // WP-RFR-1, PR-47.
    pub fn renews_keys(&self, change: &Change) -> Option<SubscriptionName> {
        let Change::Confirmed { name, .. } = change else {
            return None;
        };
        let registration = self.registrations.get(name)?;
        let is_made_again = registration.stage == Stage::Asked && registration.replaced.is_some();
        is_made_again.then_some(*name)
    }

    /// Takes a change. Changes of what isn't there change nothing.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Identified(identity) => self.identify(identity),
            Change::Forgotten => {
                self.identity = None;
                self.mark_unconfirmed();
            }
            Change::Asked {
                name,
                application_server,
            } => {
                let registration = Registration {
                    application_server: *application_server,
                    stage: Stage::Asked,
                    resource: None,
                    replaced: None,
                };
                self.registrations.insert(*name, Box::new(registration));
            }
            Change::ResourceGiven { name, resource } => {
                if let Some(registration) = self.registrations.get_mut(name) {
                    registration.resource = Some(resource.clone());
                }
            }
            Change::Confirmed { name, push_resource } => {
                if let Some(registration) = self.registrations.get_mut(name) {
                    registration.confirm(push_resource);
                }
            }
            Change::RenewalConfirmed(name) => {
                if let Some(registration) = self.registrations.get_mut(name) {
                    registration.replaced = None;
                }
            }
            Change::Ending(name) => {
                if let Some(registration) = self.registrations.get_mut(name) {
                    registration.stage = Stage::Ending;
                    registration.replaced = None;
                }
            }
            Change::Ended(name) => {
                self.registrations.remove(name);
            }
            Change::Begun(message) => self.messages.begun(*message),
            Change::Released(message) => self.messages.released(*message),
            Change::Attempt { message, count } => self.messages.attempt(*message, *count),
            Change::Recognised { message, earlier } => self.messages.recognised(*message, *earlier),
            Change::Done(message) => self.messages.done(*message),
        }
    }

    fn identify(&mut self, identity: &Identity) {
        if self.identity.as_ref() == Some(identity) {
            return;
        }
        // On the first identity, existing requests stay valid.
        if self.identity.replace(identity.clone()).is_some() {
            self.mark_unconfirmed();
        }
    }

    /// The service doesn't know us: nothing is confirmed, and nothing is left to be ended.
    fn mark_unconfirmed(&mut self) {
        self.registrations
            .retain(|_, registration| registration.stage != Stage::Ending);
        for registration in self.registrations.values_mut() {
            registration.resource = None;
            if let Stage::Confirmed(lost) = std::mem::replace(&mut registration.stage, Stage::Asked) {
                registration.replaced.get_or_insert(lost);
            }
        }
    }
}

impl Registration {
    /// The push resource, while there is one.
    pub fn push_resource(&self) -> Option<&PushResource> {
        match &self.stage {
            Stage::Confirmed(push_resource) => Some(push_resource),
            Stage::Asked | Stage::Ending => None,
        }
    }

    /// Whether the application wants its messages.
    pub fn is_wanted(&self) -> bool {
        self.stage != Stage::Ending
    }

    fn confirm(&mut self, push_resource: &PushResource) {
        if self.stage == Stage::Ending {
            return;
        }
        let before = std::mem::replace(&mut self.stage, Stage::Confirmed(push_resource.clone()));
        if let Stage::Confirmed(before) = before
            && before != *push_resource
        {
            self.replaced.get_or_insert(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> PushResource {
        PushResource::parse(text).unwrap()
    }

    /// WS-HEL-6, WP-RFR-1, WP-RFR-2: under another identity nothing is confirmed, what was ending is gone, and the
    /// application is told of the last push resource that it knew, however often the identity changes.
    #[test]
    fn another_identity_makes_every_registration_unconfirmed() {
        let (one, two) = (SubscriptionName([1; 16]), SubscriptionName([2; 16]));
        let mut durable = Durable::default();
        let asked = |name| Change::Asked {
            name,
            application_server: None,
        };
        let confirmed = |to: &str| Change::Confirmed {
            name: one,
            push_resource: url(to),
        };
        let identified = |text| Change::Identified(Identity::parse(text).unwrap());
        for change in [
            identified("a"),
            asked(one),
            asked(two),
            confirmed("https://h/1"),
            Change::Ending(two),
            identified("a"),
        ] {
            durable.apply(&change);
        }
        assert_eq!(
            durable.registrations.len(),
            2,
            "the same identity changes nothing"
        );
        durable.apply(&identified("b"));
        assert_eq!(durable.registrations.keys().collect::<Vec<_>>(), [&one]);
        durable.apply(&confirmed("https://h/2"));
        durable.apply(&identified("c"));
        assert_eq!(durable.registrations[&one].stage, Stage::Asked);
        durable.apply(&confirmed("https://h/3"));
        let registration = &durable.registrations[&one];
        assert_eq!(registration.replaced, Some(url("https://h/1")));
        assert_eq!(registration.push_resource(), Some(&url("https://h/3")));
        durable.apply(&Change::RenewalConfirmed(one));
        assert_eq!(durable.registrations[&one].replaced, None);
    }

    /// PR-46: equal ids of two subscriptions are two messages.
    #[test]
    fn a_message_is_its_subscription_and_its_id() {
        let (one, two) = (SubscriptionName([1; 16]), SubscriptionName([2; 16]));
        let of = |name: SubscriptionName| MessageKey::of(&name.to_string(), "v");
        assert_ne!(of(one), of(two));
        assert_eq!(of(one), of(one));
        assert_ne!(of(one), MessageKey::of(&one.to_string(), "w"));
        assert_ne!(MessageKey::of("a", "bc"), MessageKey::of("ab", "c"));
        assert_ne!(of(one), MessageKey::of_id("v"));
    }

    /// WP-RFR-1, WP-RFR-2: a service that forgot us and gives the same push resource again has to be told of all the same,
    /// because the keys are others.
    #[test]
    fn the_same_push_resource_under_another_identity_is_to_be_told() {
        let name = SubscriptionName([1; 16]);
        let confirmed = || Change::Confirmed {
            name,
            push_resource: url("https://h/1"),
        };
        let mut durable = Durable::default();
        for change in [
            Change::Identified(Identity::parse("a").unwrap()),
            Change::Asked {
                name,
                application_server: None,
            },
            confirmed(),
            Change::Identified(Identity::parse("b").unwrap()),
            confirmed(),
        ] {
            durable.apply(&change);
        }
        assert_eq!(durable.registrations[&name].replaced, Some(url("https://h/1")));
    }

    /// A driver may keep what is about one message in another way than identity and subscriptions.
    #[test]
    fn changes_are_about_a_message_or_not() {
        let (name, message) = (SubscriptionName([1; 16]), MessageKey([1; 16]));
        let of_messages = [
            Change::Begun(message),
            Change::Released(message),
            Change::Attempt { message, count: 1 },
            Change::Recognised {
                message,
                earlier: message,
            },
            Change::Done(message),
        ];
        assert!(of_messages.iter().all(Change::is_about_a_message));
        let others = [
            Change::Identified(Identity::parse("a").unwrap()),
            Change::Forgotten,
            Change::Asked {
                name,
                application_server: None,
            },
            Change::ResourceGiven {
                name,
                resource: SubscriptionResource::parse("https://h/s").unwrap(),
            },
            Change::Confirmed {
                name,
                push_resource: url("https://h/1"),
            },
            Change::RenewalConfirmed(name),
            Change::Ending(name),
            Change::Ended(name),
        ];
        assert!(!others.iter().any(Change::is_about_a_message));
    }
}
