//! Requests about subscriptions: those that wait for an answer, and those that are to be repeated.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use super::action::{Action, Event, Registered, Say, Unregistered};
use super::backoff::doubled;
use super::cursor::Cursor;
use super::durable::{Change, Stage};
use super::{Phase, UserAgent};
use crate::identifiers::SubscriptionName;
use crate::session::Moment;

/// One request for each subscription at most.
#[derive(Debug, Default)]
pub(super) struct Requests(BTreeMap<SubscriptionName, Request>);

#[derive(Clone, Copy, Debug)]
struct Request {
    state: RequestState,
    failures: u32,
}

#[derive(Clone, Copy, Debug)]
enum RequestState {
    /// To be answered by then.
    Sent(Moment),
    /// Not before then.
    Again(Moment),
}

impl Requests {
    pub(super) fn is_overdue(&self, now: Moment) -> bool {
        let is_late = |request: &Request| matches!(request.state, RequestState::Sent(until) if until <= now);
        self.0.values().any(is_late)
    }

    /// The channel on which they were sent is gone. Failures are remembered.
    pub(super) fn forget_sent(&mut self) {
        for request in self.0.values_mut() {
            if let RequestState::Sent(_) = request.state {
                request.state = RequestState::Again(Moment::default());
            }
        }
    }

    /// When an answer is overdue, or a request is to be repeated. Of `limit` requests none waits for its time, only for
    /// an answer: otherwise it would be due again and again without being sent.
    pub(super) fn next_due(&self, limit: usize) -> Moment {
        let is_full = self.sent() >= limit;
        let due = |request: &Request| match request.state {
            RequestState::Sent(until) => Some(until),
            RequestState::Again(at) => (!is_full).then_some(at),
        };
        self.0.values().filter_map(due).min().unwrap_or(Moment::NEVER)
    }

    /// Of these subscriptions nothing is to be repeated. Answers that are waited for still are.
    pub(super) fn repeat_none_of(&mut self, is_confirmed: impl Fn(&SubscriptionName) -> bool) {
        self.0
            .retain(|name, request| matches!(request.state, RequestState::Sent(_)) || !is_confirmed(name));
    }

    /// Of these subscriptions only there is something left to ask.
    pub(super) fn retain(&mut self, is_known: impl Fn(&SubscriptionName) -> bool) {
        self.0.retain(|name, _| is_known(name));
    }

    /// Whether an answer is waited for.
    pub(super) fn is_sent(&self, name: SubscriptionName) -> bool {
        let request = self.0.get(&name);
        request.is_some_and(|request| matches!(request.state, RequestState::Sent(_)))
    }

    /// Whether one is to be repeated now.
    fn is_due_again(&self, now: Moment) -> bool {
        let is_due = |request: &Request| matches!(request.state, RequestState::Again(at) if at <= now);
        self.0.values().any(is_due)
    }

    /// Whether an answer to anything is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.sent() > 0
    }

    fn sent(&self) -> usize {
        let is_sent = |request: &&Request| matches!(request.state, RequestState::Sent(_));
        self.0.values().filter(is_sent).count()
    }

    fn may_ask(&self, name: SubscriptionName, now: Moment) -> bool {
        match self.0.get(&name).map(|request| request.state) {
            None => true,
            Some(RequestState::Again(at)) => at <= now,
            Some(RequestState::Sent(_)) => false,
        }
    }

    fn send(&mut self, name: SubscriptionName, until: Moment) {
        let failures = self.0.get(&name).map_or(0, |request| request.failures);
        let state = RequestState::Sent(until);
        self.0.insert(name, Request { state, failures });
    }

    /// The answer of a request came: removes the request. Returns whether an answer was waited for.
    fn take_sent(&mut self, name: SubscriptionName) -> bool {
        match self.0.get(&name).map(|request| request.state) {
            Some(RequestState::Sent(_)) => {
                self.0.remove(&name);
                if self.0.is_empty() {
                    // An empty map keeps room for eleven.
                    self.0 = BTreeMap::new();
                }
                true
            }
            Some(RequestState::Again(_)) | None => false,
        }
    }
}

impl UserAgent {
    /// How many requests about subscriptions the service owes an answer to.
    pub fn requests_under_way(&self) -> usize {
        self.requests.sent()
    }

    /// The service's answer to [`Say::Register`].
    pub fn registered(
        &mut self,
        name: SubscriptionName,
        answer: Registered,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        self.heard(now);
        let failures = self.requests.0.get(&name).map_or(0, |request| request.failures);
        if !self.requests.take_sent(name) {
            return;
        }
        self.cursor.back_to(name);
        let Some(registration) = self.durable.registrations.get(&name) else {
            return;
        };
        let is_confirmed = matches!(registration.stage, Stage::Confirmed(_));
        let was_known = registration.replaced.is_some() || is_confirmed;
        match (&registration.stage, answer) {
            // Not wanted any more: the end of it is asked for next.
            (Stage::Ending, _) => {}
            (Stage::Asked | Stage::Confirmed(_), Registered::At(push_resource)) => {
                self.finish_renewing(out);
                let change = Change::Confirmed { name, push_resource };
                self.save(change, out);
                self.tell_confirmed(name, out);
            }
            // A subscription that was confirmed once is not given up because a service has changed its mind.
            (Stage::Asked | Stage::Confirmed(_), Registered::Refused(status)) if !was_known => {
                self.save(Change::Ended(name), out);
                out.push(Action::Tell(Event::Refused { name, status }));
            }
            (Stage::Asked | Stage::Confirmed(_), Registered::Unknown) if !self.is_renewing() => {
                return self.forgotten(now, out);
            }
            (
                Stage::Asked | Stage::Confirmed(_),
                Registered::Refused(_) | Registered::Trouble | Registered::Unknown,
            ) => {
                self.ask_again(name, failures, Duration::ZERO, now, out);
            }
            (Stage::Asked | Stage::Confirmed(_), Registered::Later(retry_after)) => {
                self.ask_again(name, failures, retry_after, now, out);
            }
        }
        self.ask(now, out);
    }

    /// The service's answer to [`Say::Unregister`].
    // WS-UNR-2.
    pub fn unregistered(
        &mut self,
        name: SubscriptionName,
        answer: Unregistered,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        self.heard(now);
        let failures = self.requests.0.get(&name).map_or(0, |request| request.failures);
        if !self.requests.take_sent(name) {
            return;
        }
        self.cursor.back_to(name);
        let registration = self.durable.registrations.get(&name);
        if registration.is_some_and(|registration| !registration.is_wanted()) {
            match answer {
                Unregistered::Done => {
                    self.save(Change::Ended(name), out);
                    out.push(Action::Tell(Event::Unsubscribed(name)));
                }
                Unregistered::Trouble => self.ask_again(name, failures, Duration::ZERO, now, out),
                Unregistered::Later(retry_after) => self.ask_again(name, failures, retry_after, now, out),
            }
        }
        self.ask(now, out);
    }

    /// Asks for all that the service has not confirmed, a few at a time; and for messages, if it is time to.
    pub(super) fn ask(&mut self, now: Moment, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Live(_)) || self.stopping.is_some() {
            return;
        }
        self.say_wishes(now, out);
        for say in self.due(now) {
            if let Say::Register { name, .. } | Say::Unregister(name) = say {
                self.requests.send(name, now.after(self.limits.answer_within));
            }
            self.say(say, now, out);
        }
        self.renew_or_leave(now, out);
    }

    /// The requests that are to be sent now, as many as there is room for.
    fn due(&mut self, now: Moment) -> Vec<Say> {
        if self.requests.is_due_again(now) {
            self.cursor.begin_anew();
        }
        let is_renewing = self.is_renewing();
        let room = self.limits.requests.saturating_sub(self.requests.sent());
        let Some(from) = self.cursor.next().filter(|_| room > 0) else {
            return Vec::new();
        };
        let unconfirmed = self.durable.registrations.range((from, Bound::Unbounded));
        let due: Vec<_> = unconfirmed
            .filter(|(name, _)| self.requests.may_ask(**name, now))
            .filter_map(|(name, registration)| match registration.stage {
                Stage::Confirmed(_) if !is_renewing => None,
                Stage::Asked | Stage::Confirmed(_) => Some(Say::Register {
                    name: *name,
                    application_server: registration.application_server,
                }),
                Stage::Ending => Some(Say::Unregister(*name)),
            })
            .take(room)
            .collect();
        self.cursor = match due.last() {
            Some(Say::Register { name, .. } | Say::Unregister(name)) if due.len() == room => {
                Cursor::At(*name)
            }
            _ => Cursor::End,
        };
        due
    }

    /// After a while that grows, and not before the service said.
    fn ask_again(
        &mut self,
        name: SubscriptionName,
        failures: u32,
        retry_after: Duration,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        if self.is_confirmed(name) && !self.is_renewing() {
            // It was asked for anew while the service seemed to have forgotten it.
            return;
        }
        let again_in = doubled(self.limits.ask_again_after, failures)
            .min(self.limits.backoff_most)
            .max(retry_after.min(self.limits.retry_after_most));
        let request = Request {
            state: RequestState::Again(now.after(again_in)),
            failures: failures.saturating_add(1),
        };
        self.requests.0.insert(name, request);
        out.push(Action::Tell(Event::Waiting { name, again_in }));
    }

    fn tell_confirmed(&mut self, name: SubscriptionName, out: &mut Vec<Action>) {
        let Some(registration) = self.durable.registrations.get(&name) else {
            return;
        };
        let Some(push_resource) = registration.push_resource().cloned() else {
            return;
        };
        out.push(Action::Tell(match registration.replaced.clone() {
            None => Event::Subscribed { name, push_resource },
            Some(previous) => Event::Renewed {
                name,
                previous,
                push_resource,
            },
        }));
    }
}
