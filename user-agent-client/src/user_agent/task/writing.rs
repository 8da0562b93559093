//! What waits for the disk: changes that come together are one write.
//!
//! The whole state is written each time, so that one write for each answer would cost the square of the subscriptions. A change
//! is applied at once; what rests on it is held back until it is written (PR-1): news of a subscription, the answer to a call, a
//! request for a subscription that is not kept yet. All else goes on. A write is made
//!
//! - at once, when the service said who we are to it;
//! - at once, when something is held back and the service owes no answer that could be part of the write: so a caller that
//!   wants one subscription waits for nothing else;
//! - else when the last one was long enough ago: [`STATE_WRITE_RATE`] bounds what is written in a second, and no more than
//!   half of the time is spent on it.
//!
//! **Invariant:** something is held back only while there are changes that are not written.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use push_protocol::SubscriptionName;
use push_protocol::session::user_agent::{Action, Change, Disposition, Event, Say};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Call, Task};
use crate::defaults::{STATE_WRITE_APART_MOST, STATE_WRITE_RATE};
use crate::user_agent::{RequestError, SubscribeError};

/// What waits for the next write, and when that may be.
#[derive(Debug)]
pub(super) struct Writing {
    not_before: Instant,
    /// Only while there are changes that are not written.
    unwritten: Option<Box<Unwritten>>,
}

/// Which changes are not written, and what is held back until they are.
#[derive(Debug, Default)]
struct Unwritten {
    /// The identity changed: the service gave one, or said that it does not know us.
    identity: bool,
    /// Subscriptions that were asked for or are to be ended, and are not kept yet.
    names: BTreeSet<SubscriptionName>,
    /// Requests for the channel that is open. When that channel ends they are dropped, and the session makes them again on
    /// the next one.
    says: Vec<Say>,
    news: VecDeque<WaitingNews>,
}

/// What the service said about what it did.
#[derive(Debug)]
struct ServiceWords {
    explanation: Option<Box<str>>,
    refusal: Option<Box<(SubscriptionName, RequestError)>>,
}

/// What the application learns.
#[derive(Debug)]
enum WaitingNews {
    /// With what the service said about it.
    Event(Event, ServiceWords),
    /// It is answered as soon as nothing is told that is not kept.
    Call(Call),
    Unsubscribed(oneshot::Sender<Result<bool, SubscribeError>>),
}

impl Writing {
    pub(super) fn new() -> Self {
        Self {
            not_before: Instant::now(),
            unwritten: None,
        }
    }

    fn changed(&mut self, change: &Change) {
        let unwritten = self.unwritten.get_or_insert_default();
        match change {
            Change::Identified(_) | Change::Forgotten => unwritten.identity = true,
            Change::Asked { name, .. } | Change::Ending(name) => {
                unwritten.names.insert(*name);
            }
            // Only news rest on them.
            _ => {}
        }
    }

    /// Holds an action back if it rests on a change that is not written. Returns the action if it may be done now.
    fn hold(&mut self, action: Action, words: impl FnOnce() -> ServiceWords) -> Option<Action> {
        let Some(unwritten) = &mut self.unwritten else {
            return Some(action);
        };
        match action {
            Action::Say(say) if unwritten.holds(&say) => unwritten.says.push(say),
            Action::Tell(event) if unwritten.identity || is_about_a_subscription(&event) => {
                unwritten.news.push_back(WaitingNews::Event(event, words()));
            }
            action => return Some(action),
        }
        None
    }

    /// The channel has ended: drops the requests for it.
    pub(super) fn forget_says(&mut self) {
        if let Some(unwritten) = &mut self.unwritten {
            unwritten.says.clear();
        }
    }

    pub(super) fn has_unwritten(&self) -> bool {
        self.unwritten.is_some()
    }

    pub(super) fn hold_call(&mut self, call: Call) {
        self.unwritten
            .get_or_insert_default()
            .news
            .push_back(WaitingNews::Call(call));
    }

    /// Answers a call when all that it changed is kept.
    pub(super) fn unsubscribed(&mut self, reply: oneshot::Sender<Result<bool, SubscribeError>>) {
        match &mut self.unwritten {
            Some(unwritten) => unwritten.news.push_back(WaitingNews::Unsubscribed(reply)),
            None => drop(reply.send(Ok(true))),
        }
    }
}

impl Unwritten {
    fn holds(&self, say: &Say) -> bool {
        match say {
            Say::Register { name, .. } | Say::Unregister(name) => self.identity || self.names.contains(name),
            // It may be one of a subscription that is to be ended.
            Say::Acknowledge { disposition, .. } => {
                self.identity || *disposition == Disposition::NotDelivered
            }
            Say::Hello(..) | Say::Bring(_) => self.identity,
        }
    }

    fn requests(&self) -> usize {
        let is_request = |say: &&Say| matches!(say, Say::Register { .. } | Say::Unregister(_));
        self.says.iter().filter(is_request).count()
    }
}

impl Task {
    /// Does it, or holds it back until it may be done.
    pub(super) fn act_or_hold(&mut self, action: Action) {
        let words = || ServiceWords {
            explanation: self.explanation.take(),
            refusal: self.refusal.take(),
        };
        if let Some(action) = self.writing.hold(action, words) {
            self.perform(action);
        }
    }

    /// A change was applied: it waits for the next write.
    pub(super) fn note_change(&mut self, change: &Change) {
        if self.state.is_written() {
            return;
        }
        if let Change::Confirmed { name, .. } = change {
            // The news of this one follow.
            self.untold.remove(name);
        }
        self.writing.changed(change);
    }

    /// When the next write is due; `None` if there is nothing to write.
    pub(super) fn write_due(&self) -> Option<Instant> {
        let unwritten = self.writing.unwritten.as_ref()?;
        let is_waited_for =
            !unwritten.news.is_empty() || !unwritten.says.is_empty() || !self.unsubscribing.is_empty();
        let is_answered = self.session.requests_under_way() <= unwritten.requests();
        if unwritten.identity || (is_waited_for && is_answered) {
            return Some(self.begin);
        }
        Some(self.writing.not_before)
    }

    /// Writes if it is time to. Whether it was.
    pub(super) fn write_when_due(&mut self) -> bool {
        let is_due = self.write_due().is_some_and(|due| due <= Instant::now());
        if is_due {
            self.write();
        }
        is_due
    }

    /// Writes what has changed, and does what waited for it.
    pub(super) fn write(&mut self) {
        let Some(unwritten) = self.writing.unwritten.take() else {
            return;
        };
        let begin = Instant::now();
        if let Err(error) = self.state.write() {
            // Callers that wait get `SubscribeError::Stopped`.
            return self.fail(error);
        }
        let took = begin.elapsed();
        self.writing.not_before = Instant::now() + apart(self.state.written_bytes(), took);
        for say in unwritten.says {
            self.perform(Action::Say(say));
        }
        for news in unwritten.news {
            match news {
                WaitingNews::Event(event, words) => {
                    self.explanation = words.explanation;
                    self.refusal = words.refusal;
                    self.perform(Action::Tell(event));
                }
                WaitingNews::Call(call) => self.called(call),
                WaitingNews::Unsubscribed(reply) => drop(reply.send(Ok(true))),
            }
        }
        self.answer_unsubscribed();
    }
}

fn is_about_a_subscription(event: &Event) -> bool {
    matches!(
        event,
        Event::Subscribed { .. } | Event::Renewed { .. } | Event::Refused { .. } | Event::Unsubscribed(_)
    )
}

/// How long after a write the next one may wait for more changes.
fn apart(bytes: usize, took: Duration) -> Duration {
    let micros = bytes as u64 * 1_000_000 / STATE_WRITE_RATE;
    Duration::from_micros(micros)
        .min(STATE_WRITE_APART_MOST)
        .max(took)
}
