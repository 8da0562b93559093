//! A user agent leaves for another storage, or arrives from one (PR-37).
//!
//! Arriving, nothing gives way: what is there stays as it is, and what would end or replace it is left out and counted.
//! So a repeated import changes nothing.

use std::sync::Arc;

use push_protocol::{MessageNumber, PushMessage, UserAgentId};

use super::enqueue::count;
use super::{Changes, Now, Share, Step, Stored, Subscription, UserAgent, Waiting};
use crate::storage::portable::{Packing, Place, Portable, PortableMessage, PortableSubscription};
use crate::storage::{Imported, Urgency};

impl UserAgent {
    /// Its record as it travels, without messages; `None` if it has nothing that could be used elsewhere.
    pub(in crate::storage) fn portable(&self, user_agent: UserAgentId) -> Option<Portable> {
        let subscriptions: Vec<_> = self.subscriptions.iter().map(Subscription::portable).collect();
        (!subscriptions.is_empty()).then_some(Portable {
            user_agent,
            last: self.last,
            retained_until_ms: self.retained_until_ms,
            subscriptions,
            messages: Vec::new(),
        })
    }

    /// Packs what comes after `upto`, or the record and all, as far as there is room, from a state that has its messages
    /// with it. Says where to go on if that was not all.
    pub(in crate::storage) fn pack(
        &self,
        user_agent: UserAgentId,
        upto: Option<MessageNumber>,
        packing: &mut Packing,
        now: Now,
    ) -> Option<Place> {
        let mut record = Some(self.portable(user_agent)?);
        if upto.is_none() {
            if !self.is_known(now) {
                packing.leave_abandoned();
                return None;
            }
            packing.begin(record.take()?);
        }
        let mut place = Place {
            user_agent,
            upto: upto.unwrap_or(MessageNumber::START),
        };
        for waiting in self.waiting.after(place.upto, Urgency::VeryLow) {
            if packing.is_full() {
                return Some(place);
            }
            place.upto = waiting.id.number;
            if waiting.has_expired(now.ms()) {
                packing.leave_expired();
                continue;
            }
            if let Some(record) = record.take() {
                packing.begin(record);
            }
            if let Some(message) = waiting.portable() {
                packing.add(message);
            }
        }
        None
    }

    /// Takes a record in: the subscriptions that are missing here, and the later of both retentions and numbers.
    pub(in crate::storage) fn import_record(&mut self, part: &Portable, now: Now) -> Step<Imported> {
        let mut changes = self.begin(now);
        let mut imported = Imported::default();
        if part.retained_until_ms <= now.ms() {
            imported.abandoned = part.subscriptions.len() as u64;
            return self.finish(imported, changes, now);
        }
        // What ended here is freed first: a message that comes back must not be among it.
        changes.removed.append(&mut self.ended);
        for arriving in &part.subscriptions {
            let same = |s: &&Subscription| s.id == arriving.id || s.name == arriving.name;
            match self.subscriptions.iter().find(same) {
                Some(known) if known.id == arriving.id && known.name == arriving.name => {
                    imported.present += 1;
                }
                Some(_) => imported.in_the_way += 1,
                None => {
                    self.take_in(arriving);
                    imported.subscriptions += 1;
                }
            }
        }
        let later = (
            self.last.max(part.last),
            self.retained_until_ms.max(part.retained_until_ms),
        );
        let is_new = later != (self.last, self.retained_until_ms) || imported.subscriptions > 0;
        if is_new && !self.subscriptions.is_empty() {
            (self.last, self.retained_until_ms) = later;
            changes.record = true;
        }
        self.finish(imported, changes, now)
    }

    fn take_in(&mut self, arriving: &PortableSubscription) {
        let subscription = Subscription {
            id: arriving.id,
            name: arriving.name,
            created_at_secs: arriving.created_at_secs,
            key: arriving.key.map(Box::new),
            share: Share::default(),
            bucket: None,
        };
        let place = self.subscriptions.partition_point(|s| s.id < subscription.id);
        self.subscriptions.insert(place, subscription);
    }

    /// Takes a message of a part in, under its old id. No budget counts, and no seat is told: it is found with the next page.
    pub(in crate::storage) fn import_message(
        &mut self,
        arriving: &PortableMessage,
        retained_until_ms: u64,
        now: Now,
    ) -> Step<Imported> {
        let mut changes = self.begin(now);
        let mut imported = Imported::default();
        let there = self.waiting.get(arriving.id.number).map(|waiting| waiting.id);
        if retained_until_ms <= now.ms() {
            imported.abandoned = 1;
        } else if arriving.expires_at_ms <= now.ms() {
            imported.expired = 1;
        } else if there == Some(arriving.id) {
            imported.present = 1;
        } else if there.is_some() || !self.has_place_for(arriving, now) {
            imported.in_the_way = 1;
        } else {
            self.put_in_portable(arriving, &mut changes, now);
            imported.messages = 1;
        }
        self.finish(imported, changes, now)
    }

    /// Whether its subscription is there, and no message of its topic.
    fn has_place_for(&self, arriving: &PortableMessage, now: Now) -> bool {
        let topic = arriving.topic;
        let of_topic = topic.and_then(|topic| self.waiting.of_topic(arriving.subscription, topic));
        // Number 0 is no message's: storages keep the record there.
        arriving.id.number != MessageNumber::START
            && !self.ended.contains(&arriving.id.number)
            && self.subscription(arriving.subscription).is_some()
            && of_topic.is_none_or(|waiting| waiting.has_expired(now.ms()))
    }

    fn put_in_portable(&mut self, arriving: &PortableMessage, changes: &mut Changes, now: Now) {
        let Some(name) = self.subscription(arriving.subscription).map(|s| s.name) else {
            return;
        };
        let message = Arc::new(PushMessage {
            id: arriving.id,
            subscription: arriving.subscription,
            name,
            urgency: arriving.urgency,
            content: arriving.content.clone(),
            key: None,
            sealed_by: push_protocol::capability::KeyId(arriving.sealed_by),
            accepted_at_ms: arriving.accepted_at_ms,
            remaining_ms: arriving.expires_at_ms - now.ms(),
        });
        let waiting = Waiting {
            id: arriving.id,
            subscription: arriving.subscription,
            expires_at_ms: arriving.expires_at_ms,
            topic: arriving.topic.map(Box::new),
            message: Some(Arc::clone(&message)),
            body_bytes: count(arriving.content.body.len()),
            urgency: arriving.urgency,
            sealed_by: arriving.sealed_by,
        };
        changes.usage.messages += 1;
        changes.usage.bytes += waiting.counted_bytes().cast_signed();
        self.put_in(waiting);
        changes.stored = Some(Stored {
            message,
            topic: arriving.topic,
            expires_at_ms: arriving.expires_at_ms,
            sealed_by: arriving.sealed_by,
        });
    }
}

impl Subscription {
    fn portable(&self) -> PortableSubscription {
        PortableSubscription {
            id: self.id,
            name: self.name,
            created_at_secs: self.created_at_secs,
            key: self.key.as_deref().copied(),
        }
    }
}

impl Waiting {
    /// As it travels, if its body is here.
    fn portable(&self) -> Option<PortableMessage> {
        let message = self.message.as_deref()?;
        Some(PortableMessage {
            id: self.id,
            subscription: self.subscription,
            urgency: self.urgency,
            topic: self.topic.as_deref().copied(),
            accepted_at_ms: message.accepted_at_ms,
            expires_at_ms: self.expires_at_ms,
            sealed_by: self.sealed_by,
            content: message.content.clone(),
        })
    }
}
