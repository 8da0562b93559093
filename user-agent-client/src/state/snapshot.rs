//! All that is kept, as it is at one moment. What the session knows of it is [`Durable`]; labels and keys are ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use push_protocol::encryption::SubscriptionKeys;
use push_protocol::identifiers::SubscriptionName;
use push_protocol::session::user_agent::{Change, Durable};
use ring::rand::SystemRandom;

use super::error::StateError;
use crate::defaults::LABEL_CHARACTERS;
use crate::server_url::ServerUrl;
use crate::subscription::Subscription;

/// What a user agent keeps, as it was at one moment.
///
/// **Invariant:** each registration has an entry, each entry a registration; no two wanted ones have the same label, and
/// these are listed by it.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(super) server: Option<ServerUrl>,
    /// An absolute path that is text.
    pub(super) certificates: Option<Box<Path>>,
    pub(super) durable: Durable,
    /// Apart, because a map has room for eleven of them in one piece.
    pub(super) entries: BTreeMap<SubscriptionName, Arc<Entry>>,
    /// The wanted ones, in the order of their labels.
    pub(super) by_label: Vec<SubscriptionName>,
}

/// What the session needs not know of a subscription.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) label: Box<str>,
    pub(super) keys: SubscriptionKeys,
    /// Milliseconds since 1970.
    pub(super) created: u64,
}

impl Snapshot {
    /// The service that the subscriptions are with.
    pub fn server(&self) -> Option<&ServerUrl> {
        self.server.as_ref()
    }

    /// What the session has to know.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The subscriptions that the application wants, by label.
    pub fn subscriptions(&self) -> impl Iterator<Item = Subscription> {
        self.by_label.iter().filter_map(|name| self.show(*name))
    }

    /// The subscription with this label, unless it is ending.
    pub fn subscription(&self, label: &str) -> Option<Subscription> {
        self.show(self.name_of(label)?)
    }

    /// The name of the subscription with this label, unless it is ending.
    pub fn name_of(&self, label: &str) -> Option<SubscriptionName> {
        let at = self.place_of(label).ok()?;
        self.by_label.get(at).copied()
    }

    /// The subscription of this name, unless it is ending.
    pub fn named(&self, name: SubscriptionName) -> Option<Subscription> {
        let registration = self.durable.registrations.get(&name)?;
        registration.is_wanted().then(|| self.show(name))?
    }

    /// The label of a subscription, also of one that is ending.
    pub fn label_of(&self, name: SubscriptionName) -> Option<&str> {
        self.entries.get(&name).map(|entry| &*entry.label)
    }

    /// The keys of a subscription, also of one that is ending.
    pub fn keys(&self, name: SubscriptionName) -> Option<&SubscriptionKeys> {
        self.entries.get(&name).map(|entry| &entry.keys)
    }

    /// Where a label is listed, or where it would be.
    fn place_of(&self, label: &str) -> Result<usize, usize> {
        let label_of = |name: &SubscriptionName| self.label_of(*name).unwrap_or_default();
        self.by_label.binary_search_by(|name| label_of(name).cmp(label))
    }

    fn list(&mut self, name: SubscriptionName) {
        if let Some(Err(at)) = self.label_of(name).map(|label| self.place_of(label)) {
            self.by_label.insert(at, name);
        }
    }

    /// The label may belong to a newer one while this one is ending.
    fn unlist(&mut self, name: SubscriptionName) {
        if let Some(Ok(at)) = self.label_of(name).map(|label| self.place_of(label))
            && self.by_label.get(at) == Some(&name)
        {
            self.by_label.remove(at);
        }
    }

    /// Lists what was read.
    pub(super) fn list_all(&mut self) {
        let is_wanted = |name: &&SubscriptionName| {
            let registration = self.durable.registrations.get(*name);
            registration.is_some_and(|registration| registration.is_wanted())
        };
        let mut by_label: Vec<_> = self.entries.keys().filter(is_wanted).copied().collect();
        by_label.sort_by(|one, other| self.label_of(*one).cmp(&self.label_of(*other)));
        self.by_label = by_label;
    }

    fn show(&self, name: SubscriptionName) -> Option<Subscription> {
        let registration = self.durable.registrations.get(&name)?;
        let entry = self.entries.get(&name)?;
        Some(Subscription {
            label: entry.label.clone(),
            name,
            push_resource: registration.push_resource().cloned(),
            recipient: entry.keys.recipient().clone(),
            application_server: registration.application_server,
            created: entry.created,
            replaced: registration.replaced.is_some(),
        })
    }

    /// Takes a change of identity or subscriptions, with all that follows for labels and keys. After an error nothing has
    /// changed, unless the random source failed.
    pub(super) fn apply(
        &mut self,
        change: &Change,
        prepared: &BTreeMap<SubscriptionName, Arc<Entry>>,
    ) -> Result<(), StateError> {
        match change {
            Change::Asked { name, .. } => {
                let entry = self.entry_of(*name, prepared)?;
                self.entries.insert(*name, entry);
                self.list(*name);
            }
            Change::Ending(name) => self.unlist(*name),
            Change::Ended(name) => {
                self.unlist(*name);
                self.entries.remove(name);
            }
            _ => {}
        }
        if let Some(name) = self.durable.renews_keys(change) {
            self.draw_new_keys(name)?;
        }
        self.durable.apply(change);
        if let Change::Identified(_) | Change::Forgotten = change {
            // What was ending.
            self.forget_what_is_gone();
        }
        Ok(())
    }

    /// What a subscription of this name begins with: what was prepared, or, if it begins anew, its label and new keys
    ///.
    // E91-1.
    fn entry_of(
        &self,
        name: SubscriptionName,
        prepared: &BTreeMap<SubscriptionName, Arc<Entry>>,
    ) -> Result<Arc<Entry>, StateError> {
        if let Some(entry) = prepared.get(&name) {
            return Ok(Arc::clone(entry));
        }
        let label = self.label_of(name).ok_or(StateError::NotPrepared(name))?;
        if self.name_of(label).is_some_and(|other| other != name) {
            return Err(StateError::LabelInUse(label.into()));
        }
        Entry::new(label).map(Arc::new)
    }

    fn forget_what_is_gone(&mut self) {
        let registrations = &self.durable.registrations;
        self.entries.retain(|name, _| registrations.contains_key(name));
    }

    /// WP-RFR-1. The label stays, and so does the time at which the application made it.
    fn draw_new_keys(&mut self, name: SubscriptionName) -> Result<(), StateError> {
        if let Some(entry) = self.entries.get_mut(&name) {
            Arc::make_mut(entry).keys = draw_keys()?;
        }
        Ok(())
    }
}

impl Entry {
    /// Of a subscription that is made now.
    pub(super) fn new(label: &str) -> Result<Self, StateError> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            label: label.into(),
            keys: draw_keys()?,
            created: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// Whether scripts can put it into file names and environment variables.
pub(super) fn is_label(text: &str) -> bool {
    let length = text.chars().take(LABEL_CHARACTERS + 1).count();
    (1..=LABEL_CHARACTERS).contains(&length)
        && !text.chars().any(|c| c == '/' || c.is_control())
        && text != "."
        && text != ".."
}

fn draw_keys() -> Result<SubscriptionKeys, StateError> {
    SubscriptionKeys::generate(&SystemRandom::new()).map_err(|_| StateError::NoRandomness)
}
