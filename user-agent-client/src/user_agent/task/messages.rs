//! A message between the session and the application: decrypted, asked for, judged.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use push_protocol::Coding;
use push_protocol::session::user_agent::{Arrived, MessageKey, Outcome};
use tokio::time::Instant;

use super::waiting::{Read, Ready};
use super::{Task, log};
use crate::message::{Data, Message, Verdict};

impl Task {
    /// Decrypts; the rest happens when the application asks. Content that was never encrypted is none (EUA-2).
    pub(super) fn hand_over(&mut self, arrived: &Arc<Arrived>, attempt: u32) {
        let key = arrived.key();
        let read = self.read.remove(&key);
        let read = read.or_else(|| self.read_now(arrived));
        let name = arrived.name();
        let label = name.and_then(|name| self.state.label_of(name));
        match (name, label, read) {
            (Some(name), Some(label), Some(read)) => {
                let ready = Ready {
                    key,
                    label: label.into(),
                    arrived: Arc::clone(arrived),
                    attempt,
                    read,
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

    /// It is handed over again, when the keys that it was encrypted for may be gone; or never.
    pub(super) fn take_back(&mut self, key: MessageKey) {
        if let Some(ready) = self.waiting.remove(key)
            && self.session.holds(key)
        {
            self.read.insert(key, ready.read);
        }
    }

    /// The application asked for a message: only now it begins. One that merely waited when the process was killed was never
    /// tried, however often that happens.
    pub(super) fn give(&mut self) {
        let subscriptions = self.session.durable().registrations.len();
        let may = |name| self.hands.has_one(name, subscriptions);
        let Some((name, ready)) = self.waiting.pop(may) else {
            return;
        };
        if !self.session.taken(ready.key, &mut self.actions) {
            // The session takes back what it changes its mind about, so there is always another one or none.
            return;
        }
        self.hands.take(ready.key, name);
        self.read.insert(ready.key, ready.read.clone());
        self.act();
        let to = self.verdicts_to.clone();
        let Ready {
            label,
            arrived,
            attempt,
            read,
            ..
        } = ready;
        // Without anybody there any more, the message itself says that nobody saw it.
        let _ = self.messages.try_send(Message::new(
            label,
            arrived,
            attempt,
            read.data,
            read.received,
            to,
        ));
    }

    /// Whether there is a message that the application may have next.
    pub(super) fn can_give(&self) -> bool {
        let subscriptions = self.session.durable().registrations.len();
        self.waiting
            .has_any(|name| self.hands.has_one(name, subscriptions))
    }

    fn read_now(&mut self, arrived: &Arrived) -> Option<Read> {
        let data = self.decrypted(arrived)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let received = since.as_millis() as u64;
        Some(Read { data, received })
    }

    fn decrypted(&mut self, arrived: &Arrived) -> Option<Option<Data>> {
        let content = arrived.content.as_ref()?;
        if content.body.is_empty() && content.coding == Coding::Absent {
            return Some(None);
        }
        let keys = self.state.keys(arrived.name()?)?;
        match keys.decrypt(&content.coding, &content.body) {
            Ok(bytes) => Some(Some(Data::new(bytes))),
            Err(error) => {
                if self.undecryptable.allows(Instant::now()) {
                    tracing::warn!(%error, "a message can't be decrypted and is dropped");
                }
                None
            }
        }
    }

    /// How many more there were, if it is time to say it, or `at_the_end`.
    pub(super) fn tell_undecryptable(&mut self, at_the_end: bool) {
        let count = if at_the_end {
            self.undecryptable.rest()
        } else {
            self.undecryptable.left_out(Instant::now())
        };
        if let Some(count) = count {
            tracing::warn!(count, "more messages can't be decrypted and are dropped");
        }
    }

    pub(super) fn judged(&mut self, verdict: Verdict) {
        let now = self.now();
        // Whoever stops drops what it has: that says nothing of the message (PR-45).
        let is_end = self.session.is_stopping() || self.messages.is_closed();
        let mut judged = Some(verdict);
        while let Some(verdict) = judged {
            let (message, outcome) = match verdict.outcome {
                Outcome::Failed if !verdict.is_said && is_end => (verdict.message, Outcome::Released),
                outcome => (verdict.message, outcome),
            };
            log::judged(outcome);
            self.hands.give_back(message);
            self.session.handled(message, outcome, now, &mut self.actions);
            if !self.session.holds(message) {
                self.read.remove(&message);
            }
            judged = self.verdicts.try_recv();
        }
        if self.read.is_empty() {
            // As for what waits.
            self.read = HashMap::new();
        }
    }
}
