//! A message between the session and the application: decrypted, asked for, judged.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use push_protocol::Coding;
use push_protocol::session::user_agent::{Arrived, MessageKey, Outcome};

use super::{Task, log};
use crate::message::{Data, Message};

impl Task {
    /// Decrypts; the rest happens when the application asks. Content that was never encrypted is none (EUA-2).
    pub(super) fn hand_over(&mut self, arrived: &Arc<Arrived>, attempt: u32) {
        let read = self.read.remove(&arrived.key());
        let message = read.or_else(|| self.decrypted(arrived)).and_then(|data| {
            let label = self.state.label_of(arrived.name()?)?;
            let to = self.verdicts_to.clone();
            Some(Message::new(label.into(), Arc::clone(arrived), attempt, data, to))
        });
        match message {
            Some(message) => self.waiting.push_back((arrived.key(), message)),
            None => {
                let (key, now) = (arrived.key(), self.now());
                self.session
                    .handled(key, Outcome::NotDecrypted, now, &mut self.actions);
            }
        }
    }

    /// The application asked for a message: only now it is attempted. One that merely waited when the process was killed was
    /// never tried, however often that happens.
    pub(super) fn give(&mut self) {
        let Some((key, message)) = self.waiting.pop_front() else {
            return;
        };
        if self.waiting.is_empty() {
            // A burst was long; its buffer need not outlive it.
            self.waiting = VecDeque::new();
        }
        self.read.insert(key, message.data().cloned());
        self.session.taken(key, &mut self.actions);
        self.act();
        // Without anybody there any more, the message itself says that nobody saw it.
        let _ = self.messages.try_send(message);
    }

    fn decrypted(&self, arrived: &Arrived) -> Option<Option<Data>> {
        let content = arrived.content.as_ref()?;
        if content.body.is_empty() && content.coding == Coding::Absent {
            return Some(None);
        }
        let keys = self.state.keys(arrived.name()?)?;
        match keys.decrypt(&content.coding, &content.body) {
            Ok(bytes) => Some(Some(Data::new(bytes))),
            Err(error) => {
                tracing::warn!(%error, "a message can't be decrypted and is dropped");
                None
            }
        }
    }

    pub(super) fn judged(&mut self, message: MessageKey, outcome: Outcome) {
        let now = self.now();
        let mut judged = Some((message, outcome));
        while let Some((message, outcome)) = judged {
            log::judged(outcome);
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
