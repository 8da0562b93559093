//! A user agent's process: a small driver of its session, the disk that it keeps, and the hands of its application.
//!
//! The process dies between any two actions, and begins anew from what was on its disk by then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use push_protocol::session::user_agent::{
    Action, Arrived, Change, Durable, Ended, Event as Told, Farewell, MessageKey, Outcome, Say, Stage,
    UserAgent, Why,
};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_close, write_ping, write_pong};
use push_protocol::wire::websocket::{Answer, parse_answer, write_say};
use push_protocol::{SubscriptionName, UserAgentId, UserAgentIdentity};
use push_service::storage::Storage;

use crate::application::parse_push_resource;
use crate::books::Fate;
use crate::network::{ConnectionId, End};
use crate::plant::Plant;
use crate::steps::at_once;
use crate::trace::trace;
use crate::world::{Event, World};

/// A user agent, over all of its lives.
pub(crate) struct Agent {
    pub(crate) life: u64,
    /// `None` while the process is not running.
    pub(crate) machine: Option<UserAgent>,
    pub(crate) disk: Disk,
    connection: Option<ConnectionId>,
    frames: FrameReader,
    unread: Vec<u8>,
    actions: Vec<Action>,
    tick_at: u64,
    /// What the session is about to keep of the message that it is done with.
    fate: Option<Fate>,
    /// What the application wants, and its count of its wishes.
    pub(crate) wanted: BTreeMap<SubscriptionName, u32>,
    /// Whose push resource its application server got once.
    pub(crate) introduced: BTreeSet<SubscriptionName>,
    pub(crate) wishes: u32,
    /// When the application is free to think of the next thing.
    pub(crate) application_at: u64,
}

/// What survives the process.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) durable: Durable,
    /// The encryption keys of each subscription.
    pub(crate) keys: BTreeMap<SubscriptionName, u32>,
    drawn: u32,
}

impl Disk {
    fn apply(&mut self, change: &Change) {
        let before = self.durable.identity.clone();
        self.durable.apply(change);
        match change {
            Change::Asked { name, .. } => self.draw(*name),
            Change::Identified(identity) if before.as_ref() != Some(identity) => {
                let names: Vec<_> = self.durable.registrations.keys().copied().collect();
                names.into_iter().for_each(|name| self.draw(name));
            }
            _ => {}
        }
    }

    /// [`Plant::ForgetDone`].
    fn forget_done(&mut self) {
        let before = std::mem::take(&mut self.durable.messages);
        for (message, count) in before.all_attempts() {
            self.durable.apply(&Change::Attempt { message, count });
        }
    }

    fn draw(&mut self, name: SubscriptionName) {
        self.drawn += 1;
        self.keys.insert(name, self.drawn);
    }
}

impl Agent {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            life: (index as u64) << 32,
            machine: None,
            disk: Disk::default(),
            connection: None,
            frames: FrameReader::new(Reader::UserAgent, 1 << 20),
            unread: Vec::new(),
            actions: Vec::new(),
            tick_at: u64::MAX,
            fate: None,
            wanted: BTreeMap::new(),
            introduced: BTreeSet::new(),
            wishes: 0,
            application_at: 0,
        }
    }

    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    /// Who the service thinks that it is.
    pub(crate) fn user_agent(&self) -> Option<UserAgentId> {
        let identity = self.disk.durable.identity.as_ref()?;
        Some(UserAgentIdentity::parse(identity.as_str())?.id())
    }
}

/// What was read, no longer borrowed.
enum Heard {
    Answer(Answer),
    Ping(Vec<u8>),
    Pong,
    Nonsense,
    Close(Option<u16>),
}

impl World {
    /// The process begins, from its disk.
    pub(crate) fn revive(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        if agent.machine.is_some() {
            return;
        }
        let begun_before = agent.disk.durable.identity.is_some();
        if self.plant == Some(Plant::ForgetDone) {
            agent.disk.forget_done();
        }
        if self.plant == Some(Plant::ForgetIdentity) {
            agent.disk.durable.identity = None;
        }
        let (limits, durable) = (Arc::clone(&self.weather.user_agent), agent.disk.durable.clone());
        agent.machine = Some(UserAgent::new(limits, durable, self.chance.bits()));
        agent.tick_at = u64::MAX;
        trace!(self, "user agent {index} begins, anew: {begun_before}");
        self.tell_machine(index, UserAgent::tell_again);
        self.reconcile(index);
        self.look_ahead(index);
    }

    /// Tells the session something and does what it wants.
    pub(crate) fn tell_machine(&mut self, index: usize, tell: impl FnOnce(&mut UserAgent, &mut Vec<Action>)) {
        let agent = &mut self.agents[index];
        if let Some(machine) = &mut agent.machine {
            tell(machine, &mut agent.actions);
            self.act(index);
        }
    }

    pub(crate) fn agent_tick(&mut self, index: usize, life: u64) {
        let now = self.moment();
        let agent = &mut self.agents[index];
        if agent.life != life {
            return;
        }
        agent.tick_at = u64::MAX;
        let Some(machine) = &mut agent.machine else {
            return;
        };
        machine.tick(now, &mut agent.actions);
        if machine.next_due() <= now {
            let what = format!("a tick of user agent {index}'s session is due again at once");
            self.books.violate("WS-CLS-1", what);
        }
        self.act(index);
    }

    /// Sees to it that the session is told the time when it wants to know it.
    pub(crate) fn look_ahead(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        let Some(machine) = &agent.machine else { return };
        let due = machine.next_due().0;
        if due < agent.tick_at {
            agent.tick_at = due;
            let life = agent.life;
            self.at(due.max(self.now), Event::AgentTick(index, life));
        }
    }

    pub(crate) fn opened(&mut self, id: ConnectionId, open: bool) {
        let Some(index) = self.current(id) else { return };
        let now = self.moment();
        let how = if self.chance.one_in(2) {
            Ended::Unreachable
        } else {
            Ended::Refused {
                status: 503,
                retry_after: Some(Duration::from_secs(5)),
            }
        };
        if !open {
            self.agents[index].connection = None;
            self.finish(id, End::Node);
        }
        self.tell_machine(index, |machine, out| match open {
            true => machine.opened(now, out),
            false => machine.ended(how, now, out),
        });
    }

    pub(crate) fn agent_lost(&mut self, id: ConnectionId) {
        let Some(index) = self.current(id) else { return };
        let now = self.moment();
        self.agents[index].connection = None;
        self.tell_machine(index, |machine, out| machine.ended(Ended::Lost, now, out));
    }

    /// The user agent whose connection it is, if its process still lives and still has it.
    fn current(&self, id: ConnectionId) -> Option<usize> {
        let connection = self.connections.get(&id)?;
        let agent = &self.agents[connection.agent];
        let current = agent.life == connection.life && agent.connection == Some(id);
        current.then_some(connection.agent)
    }

    pub(crate) fn agent_reads(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(index) = self.current(id) else { return };
        self.agents[index].unread.extend_from_slice(bytes);
        while self.current(id).is_some() {
            let agent = &mut self.agents[index];
            let (heard, taken) = match agent.frames.read(&mut agent.unread) {
                Ok(Some((incoming, taken))) => (heard(&incoming), taken),
                Ok(None) => break,
                Err(error) => {
                    let what = format!("user agent {index} can't read: {error}");
                    return self.books.violate("WS-CON-3", what);
                }
            };
            agent.unread.drain(..taken);
            self.agent_hears(id, index, heard);
        }
    }

    fn agent_hears(&mut self, id: ConnectionId, index: usize, heard: Heard) {
        let now = self.moment();
        match heard {
            Heard::Answer(answer) => self.tell_machine(index, |machine, out| answer.tell(machine, now, out)),
            Heard::Pong => self.tell_machine(index, |machine, _| machine.heard(now)),
            Heard::Nonsense => {
                let what = "the user agent understands nothing of what the service says";
                self.books.violate("WS-TYP-1", what.to_owned());
            }
            Heard::Ping(payload) => {
                let mut out = Vec::new();
                write_pong(&mut out, Some([1, 2, 3, 4]), &payload);
                self.send(id, End::Node, &out);
                self.tell_machine(index, |machine, _| machine.heard(now));
            }
            Heard::Close(code) => {
                self.agents[index].connection = None;
                let mut out = Vec::new();
                write_close(&mut out, Some([1, 2, 3, 4]), code.unwrap_or(1000), "");
                self.send(id, End::Node, &out);
                self.finish(id, End::Node);
                self.tell_machine(index, |machine, out| {
                    machine.ended(Ended::Closed(code), now, out);
                });
            }
        }
    }

    /// Does what the session wants, in its order, unless the process dies before the end.
    pub(crate) fn act(&mut self, index: usize) {
        let actions = std::mem::take(&mut self.agents[index].actions);
        for action in actions {
            if self.chance.one_in(self.weather.death_one_in) {
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

    fn perform_one(&mut self, index: usize, action: Action) {
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
            Action::Disconnect(farewell) => self.disconnect(index, farewell),
            Action::Tell(told) => self.told(index, told),
        }
    }

    fn save(&mut self, index: usize, change: &Change) {
        if let Change::Identified(_) = change {
            self.check_identity(index);
        }
        let agent = &mut self.agents[index];
        if self.plant == Some(Plant::ForgetAttempts) && matches!(change, Change::Attempt { .. }) {
            return;
        }
        agent.disk.apply(change);
        if let Change::Done(key) = change {
            let fate = agent.fate.take().unwrap_or(Fate::Dropped);
            if let Some(message) = self.books.by_key(*key) {
                self.books.done(message, fate);
            }
        }
    }

    /// WS-HEL-6: nobody gets another identity while storage knows a subscription that was confirmed under the old one.
    fn check_identity(&mut self, index: usize) {
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
                let what = format!("user agent {index} is somebody else, but storage knows its {name}");
                self.books.violate("WS-HEL-6", what);
                return;
            }
        }
    }

    fn say(&mut self, index: usize, say: &Say) {
        let mut out = Vec::new();
        let mask = (self.chance.bits() as u32).to_be_bytes();
        write_say(&mut out, mask, say);
        if matches!(say, Say::Acknowledge { .. })
            && !self.calm
            && self.chance.one_in(self.weather.acknowledge_again_one_in)
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
            self.books.counts.acknowledged_again += 1;
            self.send_from(index, said);
        }
    }

    fn send_from(&mut self, index: usize, bytes: &[u8]) {
        if let Some(connection) = self.agents[index].connection {
            self.send(connection, End::Node, bytes);
        }
    }

    fn disconnect(&mut self, index: usize, farewell: Farewell) {
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
    fn hand_over(&mut self, index: usize, arrived: &Arc<Arrived>, attempt: u32) {
        let (key, agent) = (arrived.key(), &self.agents[index]);
        let Some(message) = self.books.by_key(key) else {
            let what = format!("user agent {index} was handed a message that nobody sent");
            return self.books.violate("PR-6", what);
        };
        let record = &self.books.records[message];
        let readable = agent.disk.keys.get(&record.name) == Some(&record.keys) && record.agent == index;
        if !agent.wanted.contains_key(&record.name) && readable {
            let what = format!("message {message} was handed over after the end of its subscription");
            self.books.violate("WP-SUB-10", what);
        }
        if self.plant == Some(Plant::AcknowledgeFirst) {
            let say = Say::Acknowledge {
                message: Arc::clone(arrived),
                fate: push_protocol::session::user_agent::Fate::Delivered,
            };
            self.say(index, &say);
        }
        // The application takes everything at once.
        let mut kept = Vec::new();
        if let Some(machine) = &mut self.agents[index].machine {
            machine.taken(key, &mut kept);
        }
        for action in kept {
            self.perform_one(index, action);
        }
        if readable {
            let subscription = self.books.records[message].subscription;
            trace!(self, "message {message} is handed over, attempt {attempt}");
            self.books
                .handed_over(message, subscription, self.weather.user_agent.attempts);
        }
        let slow = !self.calm && self.chance.one_in(self.weather.slow_handler_one_in);
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

    /// The application is done with a message, in its way.
    pub(crate) fn handled(&mut self, index: usize, life: u64, key: MessageKey, message: usize) {
        let now = self.moment();
        if self.agents[index].life != life {
            return;
        }
        let release = !self.calm && self.chance.one_in(self.weather.release_one_in);
        let record = &mut self.books.records[message];
        let readable = self.agents[index].disk.keys.get(&record.name) == Some(&record.keys);
        let outcome = if !readable {
            Outcome::NotDecrypted
        } else if release && record.attempts > 0 {
            record.released += 1;
            Outcome::Released
        } else if record.attempts <= record.released.saturating_add(record.fails) {
            Outcome::Failed
        } else {
            Outcome::Succeeded
        };
        self.agents[index].fate = match outcome {
            Outcome::Succeeded => Some(Fate::Handled),
            Outcome::NotDecrypted => Some(Fate::NotDecrypted),
            Outcome::Failed | Outcome::Released => None,
        };
        trace!(self, "message {message}: {outcome:?}");
        self.tell_machine(index, |machine, out| machine.handled(key, outcome, now, out));
        self.agents[index].fate = None;
    }

    fn told(&mut self, index: usize, told: Told) {
        match told {
            Told::Subscribed { name, push_resource } => self.tell_sender(index, name, push_resource, false),
            Told::Renewed {
                name, push_resource, ..
            } => {
                self.books.counts.renewed += 1;
                self.tell_sender(index, name, push_resource, true);
            }
            Told::GaveUp { message, .. } => {
                let agent = &mut self.agents[index];
                agent.fate = Some(Fate::GivenUp);
                let (tried, attempts) = (
                    agent.disk.durable.messages.attempts(message),
                    self.weather.user_agent.attempts,
                );
                if tried != attempts && self.plant != Some(Plant::ForgetAttempts) {
                    let what = format!("a message was given up after {tried} attempts, not {attempts}");
                    self.books.violate("WP-RCV-6", what);
                }
            }
            Told::Disconnected {
                why: Why::CatchUp, ..
            } => self.books.counts.catch_ups += 1,
            Told::Stopped => {
                self.books.counts.stops += 1;
                self.end_life(index);
                let wait = self.chance.within(0..=30_000);
                self.after(wait, Event::Revive(index));
            }
            Told::Connected
            | Told::Disconnected { .. }
            | Told::Refused { .. }
            | Told::Waiting { .. }
            | Told::Unsubscribed(_) => {}
        }
    }

    /// The process is gone, with all that it had not kept.
    pub(crate) fn kill(&mut self, index: usize, comes_back: bool) {
        if self.agents[index].machine.is_none() {
            return;
        }
        self.books.counts.deaths += 1;
        trace!(self, "user agent {index} dies");
        if let Some(connection) = self.agents[index].connection {
            self.abandon(connection, End::Agent);
        }
        self.end_life(index);
        if comes_back {
            let wait = self.chance.within(0..=40_000);
            self.after(wait, Event::Revive(index));
        }
    }

    fn end_life(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        agent.machine = None;
        agent.connection = None;
        agent.actions = Vec::new();
        agent.fate = None;
        agent.life += 1;
    }

    /// Bounds, and that the disk and the session agree.
    fn check(&mut self, index: usize) {
        let agent = &self.agents[index];
        let Some(machine) = &agent.machine else { return };
        let (held, most) = (machine.held(), self.weather.user_agent.held_messages);
        let agree = !self.books.counts.events.is_multiple_of(16)
            || self.plant.is_some()
            || *machine.durable() == agent.disk.durable;
        if held > most {
            let what = format!("user agent {index} holds {held} messages, of {most}");
            self.books.violate("WP-RCV-6", what);
        }
        if !agree {
            let what = format!("user agent {index} and its disk disagree");
            self.books.violate("WS-ACK-5", what);
        }
    }
}

fn heard(incoming: &Incoming<'_>) -> Heard {
    match incoming {
        Incoming::Text(text) => parse_answer(text).map_or(Heard::Nonsense, Heard::Answer),
        Incoming::Ping(payload) => Heard::Ping(payload.to_vec()),
        Incoming::Pong => Heard::Pong,
        Incoming::Close(code) => Heard::Close(*code),
        Incoming::Fragment | Incoming::Binary => Heard::Nonsense,
    }
}
