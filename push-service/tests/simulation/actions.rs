//! What a user agent's session wants done, and what its application makes of messages.

use std::sync::Arc;

use push_protocol::MessageId;
use push_protocol::session::user_agent::{
    Action, Arrived, Change, DisconnectReason, Event as SessionEvent, Farewell, GiveUpReason, MessageKey,
    Outcome, Say, Stage, UserAgent,
};
use push_protocol::wire::frame::{FrameReader, Reader, write_close, write_ping};
use push_protocol::wire::websocket::write_say;
use push_service::storage::Storage;

use crate::agent::Outage;
use crate::application::parse_push_resource;
use crate::checker::Done;
use crate::network::End;
use crate::plant::Plant;
use crate::steps::at_once;
use crate::trace::trace;
use crate::world::{Event, World};

impl World {
    /// Does what the session wants, in its order, unless the process dies before the end.
    pub(crate) fn act(&mut self, index: usize) {
        let actions = std::mem::take(&mut self.agents[index].actions);
        for action in actions {
            if self.chance.one_in(self.parameters.death_one_in) {
                trace!(self, "user agent {index} dies before {action:?}");
                return self.kill(index, true);
            }
            if !matches!(action, Action::Ping) {
                trace!(self, "user agent {index}: {action:?}");
            }
            self.perform_one(index, action);
            if self.agents[index].machine.is_none() {
                return;
            }
        }
        self.check(index);
        self.look_ahead(index);
    }

    pub(crate) fn perform_one(&mut self, index: usize, action: Action) {
        match action {
            Action::Save(change) => self.save(index, &change),
            Action::Connect => {
                let connection = self.connect(index);
                let agent = &mut self.agents[index];
                agent.connection = Some(connection);
                agent.frames = FrameReader::new(Reader::UserAgent, 1 << 20);
                agent.unread = Vec::new();
            }
            Action::Say(say) => self.say(index, &say),
            Action::Ping => {
                let mut out = Vec::new();
                write_ping(&mut out, Some([1, 2, 3, 4]), b"");
                self.send_from(index, &out);
            }
            Action::HandOver { message, attempt } => self.hand_over(index, &message, attempt),
            Action::TakeBack(_) => {
                let what = "a message is taken back, but the application takes everything at once";
                self.checker.violate("PR-45", what.to_owned());
            }
            Action::Disconnect(farewell) => self.disconnect(index, farewell),
            Action::Tell(told) => self.told(index, told),
        }
    }

    pub(crate) fn save(&mut self, index: usize, change: &Change) {
        if let Change::Identified(_) | Change::Forgotten = change {
            self.check_identity(index);
        }
        let agent = &mut self.agents[index];
        if self.plant == Some(Plant::ForgetAttempts)
            && matches!(change, Change::Attempt { .. } | Change::Begun(_))
        {
            return;
        }
        if let Change::Attempt { message, count } = change
            && let Some(record) = self.checker.by_key(*message)
        {
            // Attempts are taken back: it was an outage, as far as the session can tell.
            let before = agent.disk.durable.messages.tried(*message).attempts;
            self.checker.records[record].uncounted += before.saturating_sub(*count);
        }
        agent.disk.apply(change);
        agent.shares_since = match agent.disk.durable.registrations.len() {
            0 | 1 => None,
            _ => agent.shares_since.or(Some(self.now)),
        };
        if self.plant == Some(Plant::CountAtStart)
            && let Change::Begun(message) = change
        {
            let (message, tried) = (*message, agent.disk.durable.messages.tried(*message));
            // As many as make three starts too many.
            let count = tried.attempts + self.parameters.user_agent.crashes.div_ceil(3);
            agent.disk.apply(&Change::Released(message));
            agent.disk.apply(&Change::Attempt { message, count });
        }
        if let Change::Done(key) = change {
            let done = agent.done.take().unwrap_or(Done::Dropped);
            if let Some(message) = self.checker.by_key(*key) {
                agent.holding.remove(&message);
                self.checker.done(message, done);
            }
        }
    }

    /// WS-HEL-6, PR-47: no user agent takes another identity, and with it other keys, while storage knows a subscription that was
    /// confirmed under the old one; not even if the service has lied once.
    pub(crate) fn check_identity(&mut self, index: usize) {
        for (name, registration) in &self.agents[index].disk.durable.registrations {
            let Stage::Confirmed(push_resource) = &registration.stage else {
                continue;
            };
            let Some((user_agent, subscription)) = parse_push_resource(push_resource) else {
                continue;
            };
            let report = at_once(self.storage.inspect(user_agent));
            let text = subscription.to_string();
            if report.is_some_and(|report| report.subscriptions.iter().any(|known| known.id == text)) {
                let what = format!("user agent {index} got another identity, but storage knows its {name}");
                let rule = if self.agents[index].is_lied_to {
                    "PR-47"
                } else {
                    "WS-HEL-6"
                };
                self.checker.violate(rule, what);
                return;
            }
        }
    }

    pub(crate) fn say(&mut self, index: usize, say: &Say) {
        let mut out = Vec::new();
        let mask = (self.chance.bits() as u32).to_be_bytes();
        write_say(&mut out, mask, &self.named_back(say));
        if matches!(say, Say::Acknowledge { .. })
            && !self.calm
            && self.chance.one_in(self.parameters.acknowledge_again_one_in)
        {
            let wait = self.chance.pick(&[0, 1_000, 120_000]);
            self.after(wait, Event::Repeat(index, out.clone()));
        }
        self.send_from(index, &out);
    }

    /// An acknowledgement that was said before, on whatever channel there is now (PR-18).
    pub(crate) fn repeat(&mut self, index: usize, said: &[u8]) {
        if self.agents[index]
            .machine
            .as_ref()
            .is_some_and(UserAgent::is_live)
        {
            self.checker.counts.acknowledged_again += 1;
            self.send_from(index, said);
        }
    }

    pub(crate) fn send_from(&mut self, index: usize, bytes: &[u8]) {
        if let Some(connection) = self.agents[index].connection {
            self.send(connection, End::Node, bytes);
        }
    }

    pub(crate) fn disconnect(&mut self, index: usize, farewell: Farewell) {
        let Some(id) = self.agents[index].connection.take() else {
            return;
        };
        if farewell == Farewell::TimedOut {
            return self.abandon(id, End::Agent);
        }
        let mut out = Vec::new();
        write_close(&mut out, Some([1, 2, 3, 4]), 1000, "");
        self.send(id, End::Node, &out);
        self.finish(id, End::Node);
    }

    /// The message is decrypted, and the application has it for a while.
    pub(crate) fn hand_over(&mut self, index: usize, arrived: &Arc<Arrived>, attempt: u32) {
        let (key, agent) = (arrived.key(), &self.agents[index]);
        let Some(message) = self.checker.by_key(key) else {
            let what = format!("user agent {index} was handed a message that was never sent");
            return self.checker.violate("PR-6", what);
        };
        let record = &self.checker.records[message];
        let readable = agent.disk.keys.get(&record.name) == Some(&record.keys) && record.agent == index;
        if !agent.wanted.contains_key(&record.name) && readable {
            let what = format!("message {message} was handed over after the end of its subscription");
            self.checker.violate("WP-SUB-10", what);
        }
        if self.plant == Some(Plant::AcknowledgeFirst) {
            let say = Say::Acknowledge {
                message: Arc::clone(arrived),
                disposition: push_protocol::session::user_agent::Disposition::Delivered,
            };
            self.say(index, &say);
        }
        // The application takes everything at once.
        let mut kept = Vec::new();
        let machine = &mut self.agents[index].machine;
        if !machine
            .as_mut()
            .is_some_and(|machine| machine.taken(key, &mut kept))
        {
            // The session has changed its mind since: the subscription ended.
            return;
        }
        for action in kept {
            self.perform_one(index, action);
        }
        if readable {
            let subscription = self.checker.records[message].subscription;
            trace!(self, "message {message} is handed over, attempt {attempt}");
            let limits = &self.parameters.user_agent;
            self.checker
                .handed_over(message, subscription, limits.attempts + limits.crashes);
            self.agents[index].in_hand.insert(message);
            self.hold(index, message, key);
        }
        let slow = !self.calm && self.chance.one_in(self.parameters.slow_handler_one_in);
        let most = if slow { 90_000 } else { 300 };
        let wait = self.chance.within(0..=most);
        let life = self.agents[index].life;
        self.after(
            wait,
            Event::Handled {
                agent: index,
                life,
                key,
                message,
            },
        );
    }

    /// PR-46: of what is held, one subscription has half at most. What was sent while it was the only one doesn't count: it may have
    /// come then.
    fn hold(&mut self, index: usize, message: usize, key: MessageKey) {
        let agent = &mut self.agents[index];
        agent.holding.insert(message, key);
        let (Some(machine), Some(shares_since)) = (&agent.machine, agent.shares_since) else {
            return;
        };
        agent.holding.retain(|_, key| machine.holds(*key));
        let (records, name) = (&self.checker.records, self.checker.records[message].name);
        let of = agent.holding.keys().filter(|held| {
            let record = &records[**held];
            record.name == name && record.stored_at() >= Some(shares_since)
        });
        let (held, most) = (of.count(), self.parameters.user_agent.held_messages.div_ceil(2));
        if held > most {
            let what =
                format!("{held} messages of {name} are held, of {most} that one subscription may have");
            self.checker.violate("PR-46", what);
        }
    }

    /// Whether the application can't work with this message now, whatever is in it.
    fn outage_of(&self, index: usize, message: usize) -> Option<Outage> {
        let name = self.checker.records[message].name;
        let outage = self.agents[index].outage?;
        let concerns = outage.until > self.now && outage.name.is_none_or(|of| of == name);
        concerns.then_some(outage)
    }

    /// The user agent is told the id that its service would have given.
    pub(crate) fn rename(&self, arrived: &mut Arrived) {
        let id = MessageId::parse(&arrived.id);
        if let Some(message) = id.and_then(|id| self.checker.by_id(id)) {
            arrived.id = self.checker.records[message].alias.as_str().into();
        }
    }

    /// What the user agent says, with the ids of the service.
    fn named_back(&self, say: &Say) -> Say {
        let Say::Acknowledge { message, disposition } = say else {
            return say.clone();
        };
        let record = self.checker.by_key(message.key());
        let Some(id) = record.and_then(|record| self.checker.records[record].id) else {
            return say.clone();
        };
        let mut message = Arrived::clone(message);
        message.id = id.to_base64url().to_string().into();
        Say::Acknowledge {
            message: Arc::new(message),
            disposition: *disposition,
        }
    }

    /// [`Plant::EqualIds`].
    pub(crate) fn is_done_elsewhere(&self, index: usize, arrived: &Arrived) -> bool {
        let record = self.checker.by_key(arrived.key());
        let record = record.map(|record| &self.checker.records[record]);
        record.is_some_and(|record| record.agent == index && self.checker.is_done_elsewhere(record))
    }

    /// [`Plant::EqualIds`].
    pub(crate) fn acknowledge_at_once(&mut self, index: usize, arrived: &Arc<Arrived>) {
        let say = Say::Acknowledge {
            message: Arc::clone(arrived),
            disposition: push_protocol::session::user_agent::Disposition::Delivered,
        };
        self.say(index, &say);
    }

    /// The application is done with a message, in its way.
    pub(crate) fn handled(&mut self, index: usize, life: u64, key: MessageKey, message: usize) {
        let now = self.moment();
        if self.agents[index].life != life {
            return;
        }
        let release = !self.calm && self.chance.one_in(self.parameters.release_one_in);
        let outage = self.outage_of(index, message);
        let record = &mut self.checker.records[message];
        let readable = self.agents[index].disk.keys.get(&record.name) == Some(&record.keys);
        if readable && record.kills && outage.is_none() {
            trace!(self, "message {message} kills user agent {index}");
            return self.kill(index, true);
        }
        let outcome = if !readable {
            Outcome::NotDecrypted
        } else if release && record.attempts > 0 {
            record.released += 1;
            Outcome::Released
        } else if let Some(outage) = outage {
            self.checker.counts.in_outages += 1;
            if outage.is_known {
                Outcome::Unable
            } else {
                Outcome::Failed
            }
        } else if record.own_failures < record.fails {
            record.own_failures += 1;
            Outcome::Failed
        } else {
            Outcome::Succeeded
        };
        match outcome {
            Outcome::Failed => self.checker.failed(message),
            Outcome::Succeeded => self.checker.succeeded(message),
            Outcome::Released => {
                self.agents[index].holding.remove(&message);
            }
            Outcome::Unable | Outcome::NotDecrypted => {}
        }
        self.agents[index].done = match outcome {
            Outcome::Succeeded => Some(Done::Handled),
            Outcome::NotDecrypted => Some(Done::NotDecrypted),
            Outcome::Failed | Outcome::Unable | Outcome::Released => None,
        };
        trace!(self, "message {message}: {outcome:?}");
        let attempts = |world: &Self| world.agents[index].disk.durable.messages.tried(key).attempts;
        let before = attempts(self);
        let told = match outcome {
            Outcome::Unable if self.plant == Some(Plant::OutageGivesUp) => Outcome::Failed,
            outcome => outcome,
        };
        self.tell_machine(index, |machine, out| machine.handled(key, told, now, out));
        self.agents[index].done = None;
        self.agents[index].in_hand.remove(&message);
        let record = &mut self.checker.records[message];
        let is_failure = matches!(outcome, Outcome::Failed | Outcome::Unable);
        if is_failure && record.done.is_none() && attempts(self) <= before {
            // In an outage, as far as the session can tell, failures don't count (PR-45).
            self.checker.records[message].uncounted += 1;
        }
    }

    pub(crate) fn told(&mut self, index: usize, told: SessionEvent) {
        match told {
            SessionEvent::Subscribed { name, push_resource } => {
                self.tell_sender(index, name, push_resource, false);
            }
            SessionEvent::Renewed {
                name, push_resource, ..
            } => {
                self.checker.counts.renewed += 1;
                self.tell_sender(index, name, push_resource, true);
            }
            SessionEvent::GaveUp { message, reason, .. } => {
                let agent = &mut self.agents[index];
                agent.done = Some(Done::GivenUp);
                let (tried, limits) = (
                    agent.disk.durable.messages.tried(message),
                    &self.parameters.user_agent,
                );
                let is_right = match reason {
                    GiveUpReason::Attempts => tried.attempts >= limits.attempts,
                    GiveUpReason::Crashes => tried.attempts + tried.unfinished >= limits.crashes,
                    GiveUpReason::Outages => true,
                };
                if let Some(record) = self.checker.by_key(message) {
                    self.checker.gave_up(record, reason, &self.parameters.user_agent);
                }
                if !is_right && self.plant.is_none() {
                    let what = format!("a message was given up after too many {reason:?}, but {tried:?}");
                    self.checker.violate("WP-RCV-6", what);
                }
            }
            SessionEvent::Disconnected {
                why: DisconnectReason::CatchUp,
                ..
            } => self.checker.counts.catch_ups += 1,
            SessionEvent::Stopped => {
                self.checker.counts.stops += 1;
                self.end_life(index);
                let wait = self.chance.within(0..=30_000);
                self.after(wait, Event::Revive(index));
            }
            SessionEvent::Connected
            | SessionEvent::Disconnected { .. }
            | SessionEvent::Refused { .. }
            | SessionEvent::Waiting { .. }
            | SessionEvent::Paused { .. }
            | SessionEvent::Resumed { .. }
            | SessionEvent::Unsubscribed(_)
            | SessionEvent::AcknowledgementsWait { .. }
            | SessionEvent::Empty => {}
        }
    }
}
