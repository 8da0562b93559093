//! A user agent's process: a small driver of its session, the disk that it keeps, and the hands of its application.
//!
//! The process dies between any two actions, and begins anew from what was on its disk by then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use push_protocol::session::user_agent::{
    Action, Change, ChannelEnd, Durable, Identity, MessageKey, UserAgent,
};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_close, write_pong};
use push_protocol::wire::websocket::{Reply, parse_reply};
use push_protocol::{SubscriptionName, UserAgentId, UserAgentIdentity};

use crate::checker::Done;
use crate::network::{ConnectionId, End};
use crate::plant::Plant;
use crate::trace::trace;
use crate::world::{Event, World};

/// A user agent, over all of its lives.
pub(crate) struct Agent {
    pub(crate) life: u64,
    /// `None` while the process is not running.
    pub(crate) machine: Option<UserAgent>,
    pub(crate) disk: Disk,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) frames: FrameReader,
    pub(crate) unread: Vec<u8>,
    pub(crate) actions: Vec<Action>,
    pub(crate) tick_at: u64,
    /// What the session is about to keep of the message that it is done with.
    pub(crate) done: Option<Done>,
    /// Messages that the application has begun with.
    pub(crate) in_hand: BTreeSet<usize>,
    /// Messages that were handed over in this life and are not done, and their keys. The session may have set some of them aside
    /// since.
    pub(crate) holding: BTreeMap<usize, MessageKey>,
    /// Since when it has more than one subscription.
    pub(crate) shares_since: Option<u64>,
    /// What the service answers to the next hello in place of the truth.
    pub(crate) lie: Option<Lie>,
    /// The session has heard a lie since it last heard who it is.
    pub(crate) is_lied_to: bool,
    /// The application can't work.
    pub(crate) outage: Option<Outage>,
    /// What the application wants, and its count of its wishes.
    pub(crate) wanted: BTreeMap<SubscriptionName, u32>,
    /// Whose push resource its application server got once.
    pub(crate) introduced: BTreeSet<SubscriptionName>,
    pub(crate) wishes: u32,
    /// When the application is free to think of the next thing.
    pub(crate) application_at: u64,
}

/// What a service says once to a user agent that it knows (PR-47).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lie {
    /// Another identity.
    Renamed,
    /// That it does not know the user agent, as a service over HTTP/2 does.
    Unknown,
}

/// An application can't work for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outage {
    pub(crate) until: u64,
    /// With this subscription; else with none.
    pub(crate) name: Option<SubscriptionName>,
    /// It knows that, and says so; else it seems to fail on each message.
    pub(crate) is_known: bool,
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
    pub(crate) fn apply(&mut self, change: &Change) {
        let renewed = self.durable.renews_keys(change);
        self.durable.apply(change);
        let asked = match change {
            Change::Asked { name, .. } => Some(*name),
            _ => None,
        };
        if let Some(name) = renewed.or(asked) {
            self.draw(name);
        }
    }

    /// [`Plant::ForgetDone`].
    fn forget_done(&mut self) {
        let before = std::mem::take(&mut self.durable.messages);
        for (message, tried) in before.all_tried() {
            self.durable.messages.restore_tried(message, tried);
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
            done: None,
            in_hand: BTreeSet::new(),
            holding: BTreeMap::new(),
            shares_since: None,
            lie: None,
            is_lied_to: false,
            outage: None,
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
    Reply(Reply),
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
        let (mut limits, durable) = (
            Arc::clone(&self.parameters.user_agent),
            agent.disk.durable.clone(),
        );
        if self.plant == Some(Plant::SharesIgnored) {
            Arc::make_mut(&mut limits).held_messages *= 2;
        }
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
        if agent.life != life || agent.tick_at != self.now {
            // Of another process; or another one came earlier, or comes instead.
            return;
        }
        agent.tick_at = u64::MAX;
        let Some(machine) = &mut agent.machine else {
            return;
        };
        machine.tick(now, &mut agent.actions);
        if machine.next_due() <= now {
            let what = format!("a tick of user agent {index}'s session is due again at once");
            self.checker.violate("WS-CLS-1", what);
        }
        self.act(index);
    }

    /// Sees to it that the session is told the time when it wants to know it.
    pub(crate) fn look_ahead(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        let Some(machine) = &agent.machine else { return };
        let due = machine.next_due().0.max(self.now);
        if due < agent.tick_at {
            agent.tick_at = due;
            let life = agent.life;
            self.at(due, Event::AgentTick(index, life));
        }
    }

    pub(crate) fn opened(&mut self, id: ConnectionId, open: bool) {
        let Some(index) = self.current(id) else { return };
        let now = self.moment();
        let how = if self.chance.one_in(2) {
            ChannelEnd::Unreachable
        } else {
            ChannelEnd::Refused {
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
            false => machine.channel_ended(how, now, out),
        });
    }

    pub(crate) fn agent_lost(&mut self, id: ConnectionId) {
        let Some(index) = self.current(id) else { return };
        let now = self.moment();
        self.agents[index].connection = None;
        self.tell_machine(index, |machine, out| {
            machine.channel_ended(ChannelEnd::Lost, now, out);
        });
    }

    /// The user agent whose connection it is, if its process still lives and still has it.
    pub(crate) fn current(&self, id: ConnectionId) -> Option<usize> {
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
                    return self.checker.violate("WS-CON-3", what);
                }
            };
            agent.unread.drain(..taken);
            self.agent_hears(id, index, heard);
        }
    }

    fn agent_hears(&mut self, id: ConnectionId, index: usize, heard: Heard) {
        let now = self.moment();
        match heard {
            Heard::Reply(Reply::Arrived(mut arrived)) => {
                self.rename(&mut arrived);
                if self.plant == Some(Plant::EqualIds) && self.is_done_elsewhere(index, &arrived) {
                    return self.acknowledge_at_once(index, &Arc::new(arrived));
                }
                self.tell_machine(index, |machine, out| machine.arrived(arrived, now, out));
            }
            Heard::Reply(Reply::Hello(Some(identity))) => self.hears_hello(index, identity),
            Heard::Reply(answer) => self.tell_machine(index, |machine, out| answer.tell(machine, now, out)),
            Heard::Pong => self.tell_machine(index, |machine, _| machine.heard(now)),
            Heard::Nonsense => {
                let what = "the user agent understands nothing of what the service says";
                self.checker.violate("WS-NOT-1", what.to_owned());
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
                    machine.channel_ended(ChannelEnd::Closed(code), now, out);
                });
            }
        }
    }

    /// PR-47: the answer to hello, or a lie in its place. A second lie would be believed, so the truth comes in between.
    fn hears_hello(&mut self, index: usize, identity: Identity) {
        let now = self.moment();
        let lies_again = self.plant == Some(Plant::LieAgain);
        let agent = &mut self.agents[index];
        let is_known = agent.disk.durable.identity.as_ref() == Some(&identity);
        let lie = agent
            .lie
            .filter(|_| is_known && (lies_again || !agent.is_lied_to));
        agent.is_lied_to = lie.is_some();
        if lie.is_some() && !lies_again {
            agent.lie = None;
        }
        if lie.is_some() {
            trace!(self, "user agent {index} hears a lie: {lie:?}");
            self.checker.counts.lies += 1;
        }
        let heard = match lie {
            Some(Lie::Renamed) => Identity::parse(&format!("{:032x}", self.chance.bits())),
            Some(Lie::Unknown) | None => Some(identity),
        };
        self.tell_machine(index, |machine, out| match lie {
            Some(Lie::Unknown) => machine.forgotten(now, out),
            Some(Lie::Renamed) | None => machine.welcomed(heard, now, out),
        });
    }

    /// The process is gone, with all that it had not kept.
    pub(crate) fn kill(&mut self, index: usize, comes_back: bool) {
        if self.agents[index].machine.is_none() {
            return;
        }
        self.checker.counts.deaths += 1;
        trace!(self, "user agent {index} dies");
        if let Some(connection) = self.agents[index].connection {
            self.abandon(connection, End::Agent);
        }
        for message in std::mem::take(&mut self.agents[index].in_hand) {
            self.checker.records[message].crashed += 1;
        }
        self.end_life(index);
        if comes_back {
            let wait = self.chance.within(0..=if self.calm { 1_000 } else { 40_000 });
            self.after(wait, Event::Revive(index));
        }
    }

    pub(crate) fn end_life(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        agent.machine = None;
        agent.connection = None;
        agent.actions = Vec::new();
        agent.done = None;
        agent.is_lied_to = false;
        agent.in_hand = BTreeSet::new();
        agent.holding = BTreeMap::new();
        agent.life += 1;
        self.checker.forget_streaks(index, None);
    }

    /// Bounds, and that the disk and the session agree.
    pub(crate) fn check(&mut self, index: usize) {
        let agent = &self.agents[index];
        let Some(machine) = &agent.machine else { return };
        let (held, most) = (machine.held(), self.parameters.user_agent.held_messages);
        let agree = !self.checker.counts.events.is_multiple_of(16)
            || self.plant.is_some()
            || *machine.durable() == agent.disk.durable;
        if held > most && self.plant != Some(Plant::SharesIgnored) {
            let what = format!("user agent {index} holds {held} messages, of {most}");
            self.checker.violate("WP-RCV-6", what);
        }
        if !agree {
            let what = format!("user agent {index} and its disk disagree");
            self.checker.violate("WS-ACK-5", what);
        }
    }
}

fn heard(incoming: &Incoming<'_>) -> Heard {
    match incoming {
        Incoming::Text(text) => parse_reply(text).map_or(Heard::Nonsense, Heard::Reply),
        Incoming::Ping(payload) => Heard::Ping(payload.to_vec()),
        Incoming::Pong => Heard::Pong,
        Incoming::Close(code) => Heard::Close(*code),
        Incoming::Fragment | Incoming::Binary => Heard::Nonsense,
    }
}
