//! A message between the session and the application: decrypted, asked for, judged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use push_protocol::Coding;
use push_protocol::session::user_agent::{Arrived, MessageKey, Outcome};
use tokio::time::Instant;

use super::waiting::{Decrypted, Ready};
use super::{Task, log};
use crate::message::{Data, Message, Verdict};

impl Task {
    /// Decrypts; the rest happens when the application asks. Content that was never encrypted is refused (EUA-2).
    pub(super) fn hand_over(&mut self, arrived: &Arc<Arrived>, attempt: u32) {
        let key = arrived.key();
        let decrypted = self.decrypted.remove(&key);
        let decrypted = decrypted.or_else(|| self.decrypt_now(arrived));
        let name = arrived.name();
        let label = name.and_then(|name| self.state.label_of(name));
        match (name, label, decrypted) {
            (Some(name), Some(label), Some(decrypted)) => {
                let ready = Ready {
                    key,
                    label: label.into(),
                    arrived: Arc::clone(arrived),
                    attempt,
                    decrypted,
                };
                self.waiting.push(name, ready);
            }
            _ => {
                let now = self.now();
                self.session
                    .handled(key, Outcome::NotDecrypted, now, &mut self.actions);
            }
        }
    }

    /// If the session still holds the message, it hands it over again later. By then the keys that it was encrypted for may be gone,
    /// so what was decrypted is kept.
    pub(super) fn take_back(&mut self, key: MessageKey) {
        if let Some(ready) = self.waiting.remove(key)
            && self.session.holds(key)
        {
            self.decrypted.insert(key, ready.decrypted);
        }
    }

    /// The application asked for a message, so now it begins with one. A message that only waited when the process was killed was not
    /// tried, however often that happens.
    pub(super) fn give(&mut self) {
        let subscriptions = self.session.durable().registrations.len();
        let may = |name| self.jobs.has_room_for(name, subscriptions);
        let Some((name, ready)) = self.waiting.pop(may) else {
            return;
        };
        if !self.session.taken(ready.key, &mut self.actions) {
            // The session has sent `TakeBack` for it.
            return;
        }
        self.jobs.begin(ready.key, name);
        self.decrypted.insert(ready.key, ready.decrypted.clone());
        self.act();
        let to = self.verdicts_to.clone();
        let Ready {
            label,
            arrived,
            attempt,
            decrypted,
            ..
        } = ready;
        // If the application is gone, the message is dropped here, and that releases it.
        let _ = self.messages.try_send(Message::new(
            label,
            arrived,
            attempt,
            decrypted.data,
            decrypted.received,
            to,
        ));
    }

    /// Whether there is a message that the application may have next.
    pub(super) fn can_give(&self) -> bool {
        let subscriptions = self.session.durable().registrations.len();
        self.waiting
            .has_any(|name| self.jobs.has_room_for(name, subscriptions))
    }

    fn decrypt_now(&mut self, arrived: &Arrived) -> Option<Decrypted> {
        let data = self.data_of(arrived)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let received = since.as_millis() as u64;
        Some(Decrypted { data, received })
    }

    fn data_of(&mut self, arrived: &Arrived) -> Option<Option<Data>> {
        let content = arrived.content.as_ref()?;
        if content.body.is_empty() && content.coding == Coding::Absent {
            return Some(None);
        }
        let keys = self.state.keys(arrived.name()?)?;
        match keys.decrypt(&content.coding, &content.body) {
            Ok(bytes) => Some(Some(Data::new(bytes))),
            Err(error) => {
                if self.undecryptable.allows(Instant::now()) {
                    tracing::warn!(%error, "a message cannot be decrypted and is dropped");
                }
                None
            }
        }
    }

    /// Logs how many more could not be decrypted, if it is time to, or `at_the_end`.
    pub(super) fn tell_undecryptable(&mut self, at_the_end: bool) {
        let count = if at_the_end {
            self.undecryptable.rest()
        } else {
            self.undecryptable.left_out(Instant::now())
        };
        if let Some(count) = count {
            tracing::warn!(count, "more messages cannot be decrypted and are dropped");
        }
    }

    pub(super) fn judged(&mut self, verdict: Verdict) {
        let now = self.now();
        // An application that stops drops its messages: that says nothing about them (PR-45).
        let is_end = self.session.is_stopping() || self.messages.is_closed();
        let mut judged = Some(verdict);
        while let Some(verdict) = judged {
            let (message, outcome) = match verdict.outcome {
                Outcome::Failed if !verdict.is_said && is_end => (verdict.message, Outcome::Released),
                outcome => (verdict.message, outcome),
            };
            log::judged(outcome);
            self.jobs.end(message);
            self.session.handled(message, outcome, now, &mut self.actions);
            if !self.session.holds(message) {
                self.decrypted.remove(&message);
            }
            judged = self.verdicts.try_recv();
        }
        if self.decrypted.is_empty() {
            // An idle user agent owns no buffer.
            self.decrypted = BTreeMap::new();
        }
    }
}
