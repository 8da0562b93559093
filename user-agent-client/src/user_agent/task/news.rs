//! News for the application: what happened in the session, with what the service said about it.

use std::sync::Arc;
use std::time::Duration;

use push_protocol::SubscriptionName;
use push_protocol::session::user_agent::{self as session, DisconnectReason};
use tokio::time::Instant;

use super::{Task, takeover, why};
use crate::user_agent::{Event, RequestError, SubscribeError};

impl Task {
    /// Tells the application what happened in the session.
    pub(super) fn tell(&mut self, event: &session::Event) {
        match *event {
            session::Event::Connected => {
                self.delayed_at = None;
                self.takeovers.connected(Instant::now());
                self.news(Event::Connected);
            }
            session::Event::Disconnected { why, again_in } => self.tell_disconnected(why, again_in),
            session::Event::Subscribed { name, .. } => self.tell_subscribed(name),
            session::Event::Renewed { name, .. } => self.tell_renewed(name),
            session::Event::Refused { name, status } => self.tell_refused(name, status),
            session::Event::Waiting { name, again_in } => {
                let label = self.label(name);
                let why = self.refusal_of(name, RequestError::Nonsense);
                self.news(Event::Waiting { label, why, again_in });
            }
            session::Event::Unsubscribed(_) => self.news(Event::Unsubscribed),
            session::Event::GaveUp { name, reason, .. } => {
                let label = self.label(name);
                self.news(Event::GaveUp { label, reason });
            }
            session::Event::Paused { name, again_in } => {
                let label = self.label(name);
                self.news(Event::Paused { label, again_in });
            }
            session::Event::Resumed { name } => {
                let label = self.label(name);
                self.news(Event::Resumed { label });
            }
            session::Event::AcknowledgementsWait { again_in } => {
                self.news(Event::AcknowledgementsWait { again_in });
            }
            session::Event::Empty => self.is_empty_untold = self.news.try_send(Event::Empty).is_err(),
            session::Event::Stopped => {}
        }
    }

    fn tell_disconnected(&mut self, why: DisconnectReason, again_in: Option<Duration>) {
        self.delayed_at = None;
        // The session closes no link that ended by itself.
        let said = self.explanation.take();
        let is_taken = self.takeovers.channel_ended(why, Instant::now());
        let sentence = || why::sentence(why, said.as_deref());
        let mut why = self.not_opened.take().unwrap_or_else(sentence);
        if is_taken {
            why = format!("{}; {}", why.trim_end_matches('.'), takeover::HINT);
        }
        self.news(Event::Disconnected { why, again_in });
    }

    fn tell_subscribed(&mut self, name: SubscriptionName) {
        let Some(subscription) = self.confirmed(name) else {
            return;
        };
        if !self.answer_subscribing(name, || Ok(subscription.clone())) {
            self.news(Event::Subscribed(subscription));
        }
    }

    fn tell_renewed(&mut self, name: SubscriptionName) {
        let Some(subscription) = self.confirmed(name) else {
            return;
        };
        self.answer_subscribing(name, || Ok(subscription.clone()));
        if self.news.try_send(Event::Renewed(subscription)).is_err() {
            self.untold.insert(name);
        }
    }

    fn tell_refused(&mut self, name: SubscriptionName, status: u16) {
        let explanation = None;
        let why = self.refusal_of(name, RequestError::Status { status, explanation });
        if !self.answer_subscribing(name, || Err(SubscribeError::Refused(why.clone()))) {
            let label = self.label(name);
            self.news(Event::Refused { label, why });
        }
    }

    /// Why the service did not do what was asked for this subscription.
    fn refusal_of(&mut self, name: SubscriptionName, otherwise: RequestError) -> RequestError {
        let refusal = self.refusal.take().map(|refusal| *refusal);
        let refusal = refusal.filter(|(refused, _)| *refused == name);
        refusal.map_or(otherwise, |(_, why)| why)
    }

    /// Sends one of the events that did not fit, when there is room.
    pub(super) fn tell_untold(&mut self) {
        let Some(name) = self.untold.pop_first() else {
            self.is_empty_untold = self.is_empty_untold && self.news.try_send(Event::Empty).is_err();
            return;
        };
        // It may have been told, renewed again or ended in the meantime.
        let subscription = self.confirmed(name).filter(|subscription| subscription.replaced);
        subscription
            .into_iter()
            .for_each(|subscription| self.news(Event::Renewed(subscription)));
    }

    /// What doesn't fit is dropped: an application that doesn't read the news doesn't need them.
    pub(super) fn news(&self, event: Event) {
        let _ = self.news.try_send(event);
    }

    pub(super) fn label(&self, name: SubscriptionName) -> Arc<str> {
        self.state.label_of(name).unwrap_or_default().into()
    }
}
