//! What the node asks of storage, how long that takes, and how it fails.
//!
//! A step is decided at one moment and answered at a later one, and what others do comes between: that is where the
//! races are.

use futures_util::FutureExt;
use push_protocol::session::{AttachOutcome, PageOutcome, PageRequest};
use push_protocol::wire::websocket::{Registered, write_registered, write_unregistered};
use push_protocol::{MessageId, SubscriptionId, SubscriptionName, UserAgentId};
use push_service::storage::{
    Attached, Confirm, Manner, Paged, Removal, Seat, Storage, StorageError, Subscribe, Subscribed,
};

use crate::network::ConnectionId;
use crate::plant::Plant;
use crate::trace::trace;
use crate::world::{Event, World};

/// A step of a channel.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Attach(UserAgentId, PageRequest),
    Register(UserAgentId, SubscriptionName),
    Unregister(UserAgentId, SubscriptionName),
    Page(UserAgentId, PageRequest),
    Acknowledge(UserAgentId, Vec<MessageId>),
    Leave(UserAgentId, Vec<MessageId>),
}

/// The result of a step.
#[derive(Debug)]
pub(crate) enum StepAnswer {
    Attached(AttachOutcome),
    Registered(SubscriptionName, Option<String>),
    Unregistered(SubscriptionName, bool),
    Paged(PageOutcome),
    /// These were not taken.
    Acknowledged(Vec<MessageId>),
    Left,
}

/// A step of [`Memory`](push_service::storage::memory::Memory) is done at its first poll.
pub(crate) fn at_once<T>(step: impl Future<Output = Result<T, StorageError>>) -> T {
    match step.now_or_never() {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => unreachable!("storage in memory has no trouble of its own: {error}"),
        None => unreachable!("storage in memory waits for nothing"),
    }
}

impl World {
    /// A channel asks storage.
    pub(crate) fn ask(&mut self, channel: ConnectionId, step: Step) {
        let wait = self.chance.within(0..=self.parameters.storage);
        self.after(wait, Event::Decide(channel, step));
    }

    pub(crate) fn decide(&mut self, channel: ConnectionId, step: Step) {
        let Some(seat) = self.node.seat(channel) else {
            return;
        };
        let trouble = !self.calm && self.chance.one_in(self.parameters.storage_trouble_one_in);
        let answer = if trouble {
            self.checker.counts.storage_troubles += 1;
            trace!(self, "storage has trouble with {step:?} of channel {channel}");
            // What could not be answered may have happened.
            if self.chance.one_in(2) {
                self.execute(channel, &step, seat);
            }
            trouble_with(step)
        } else {
            self.execute(channel, &step, seat)
        };
        self.tell_announced();
        let wait = self.chance.within(0..=self.parameters.storage);
        self.after(wait, Event::Answered(channel, answer));
    }

    fn execute(&mut self, channel: ConnectionId, step: &Step, seat: Seat) -> StepAnswer {
        match step {
            Step::Attach(user_agent, head) => {
                if self.node.newest(*user_agent) != Some(channel) {
                    return StepAnswer::Attached(AttachOutcome::Trouble);
                }
                let (head, manner) = (head.clone(), Manner::Insisting);
                let attached = at_once(self.storage.attach(*user_agent, seat, head, manner));
                StepAnswer::Attached(match attached {
                    Attached::Known { page, .. } => AttachOutcome::Known(self.planted(page)),
                    Attached::Unknown => AttachOutcome::Unknown,
                    Attached::TooOften { .. } => AttachOutcome::Trouble,
                })
            }
            Step::Register(user_agent, name) => self.execute_register(*user_agent, *name, seat),
            Step::Unregister(user_agent, name) => {
                at_once(self.storage.unsubscribe(*user_agent, *name));
                StepAnswer::Unregistered(*name, true)
            }
            Step::Page(user_agent, request) => {
                let paged = at_once(self.storage.page(*user_agent, seat, request.clone()));
                StepAnswer::Paged(match paged {
                    Paged::Page(page) => PageOutcome::Page(self.planted(page)),
                    Paged::Unknown => PageOutcome::Page(Default::default()),
                    Paged::Displaced => PageOutcome::Displaced,
                })
            }
            Step::Acknowledge(user_agent, messages) => {
                self.execute_acknowledge(*user_agent, messages, seat);
                StepAnswer::Acknowledged(Vec::new())
            }
            Step::Leave(user_agent, messages) => {
                self.execute_acknowledge(*user_agent, messages, seat);
                at_once(self.storage.release(*user_agent, seat));
                if let Some(newest) = self.node.newest(*user_agent)
                    && newest != channel
                {
                    self.read_again(newest);
                }
                StepAnswer::Left
            }
        }
    }

    fn execute_register(
        &mut self,
        user_agent: UserAgentId,
        name: SubscriptionName,
        seat: Seat,
    ) -> StepAnswer {
        let subscribe = Subscribe {
            user_agent,
            name,
            fresh_id: SubscriptionId(self.chance.bits().to_be_bytes()),
            key: None,
            seat: Some(seat),
            limit: 100,
            only_known: false,
        };
        let push_resource = match at_once(self.storage.subscribe(subscribe)) {
            Subscribed::Created(id) | Subscribed::Kept(id) => {
                Some(format!("https://push.example.net/{user_agent}/{id}"))
            }
            Subscribed::TooMany | Subscribed::UnknownUserAgent => None,
        };
        StepAnswer::Registered(name, push_resource)
    }

    /// WP-RCV-5, WS-ACK-5: what storage lets go must be done, for good.
    fn execute_acknowledge(&mut self, user_agent: UserAgentId, messages: &[MessageId], seat: Seat) {
        if messages.is_empty() {
            return;
        }
        let (how, confirm) = (Removal::Acknowledged, Confirm::Soon);
        let step = self
            .storage
            .acknowledge(user_agent, messages, how, confirm, Some(seat));
        at_once(step);
        for id in messages {
            let record = self
                .checker
                .by_id(*id)
                .map(|message| &self.checker.records[message]);
            let kept = record.is_some_and(|record| record.done.is_some() || record.excused.is_some());
            if !kept {
                let what = format!("{id:?} was acknowledged before its user agent was done with it");
                let is_double = record
                    .is_some_and(|record| record.attempts == 0 && self.checker.is_done_elsewhere(record));
                self.checker
                    .violate(if is_double { "PR-46" } else { "WP-RCV-5" }, what);
            }
            self.checker.acknowledged(*id, self.now);
        }
    }

    fn planted(&self, mut page: push_protocol::session::Page) -> push_protocol::session::Page {
        if self.plant == Some(Plant::ReorderedPage) {
            page.messages.reverse();
        }
        page
    }

    pub(crate) fn answered(&mut self, id: ConnectionId, answer: StepAnswer) {
        let now = self.moment();
        let Some(channel) = self.node.channels.get_mut(&id) else {
            return;
        };
        let out = &mut channel.actions;
        match answer {
            StepAnswer::Attached(outcome) => {
                channel.request = false;
                channel.session.attached(outcome, now, out);
            }
            StepAnswer::Registered(name, push_resource) => {
                channel.request = false;
                let registered = push_resource
                    .as_deref()
                    .map_or(Registered::Trouble, Registered::Endpoint);
                write_registered(&mut channel.out, &name.to_string(), registered);
            }
            StepAnswer::Unregistered(name, done) => {
                channel.request = false;
                write_unregistered(&mut channel.out, &name.to_string(), done);
            }
            StepAnswer::Paged(outcome) => channel.session.paged(outcome, now, out),
            StepAnswer::Acknowledged(not_taken) if not_taken.is_empty() => channel.acknowledging = false,
            // Handed over again after a while, with the next ones.
            StepAnswer::Acknowledged(not_taken) => {
                channel.acknowledged.extend(not_taken);
                return self.after(1_000, Event::Retake(id));
            }
            StepAnswer::Left => return self.gone(id),
        }
        self.turn(id);
    }

    /// Storage may have recovered from its trouble with acknowledgements.
    pub(crate) fn retake(&mut self, id: ConnectionId) {
        if let Some(channel) = self.node.channels.get_mut(&id) {
            channel.acknowledging = false;
            self.turn(id);
        }
    }

    pub(crate) fn sweep(&mut self) {
        at_once(self.storage.expire(500));
        self.tell_announced();
        self.after(if self.calm { 60_000 } else { 3_000 }, Event::Sweep);
    }
}

fn trouble_with(step: Step) -> StepAnswer {
    match step {
        Step::Attach(..) => StepAnswer::Attached(AttachOutcome::Trouble),
        Step::Register(_, name) => StepAnswer::Registered(name, None),
        Step::Unregister(_, name) => StepAnswer::Unregistered(name, false),
        Step::Page(..) => StepAnswer::Paged(PageOutcome::Trouble),
        Step::Acknowledge(_, messages) => StepAnswer::Acknowledged(messages),
        Step::Leave(..) => StepAnswer::Left,
    }
}
