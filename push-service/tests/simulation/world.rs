//! One world: a node and its storage, user agents, application servers, and a network between them, in virtual time.
//!
//! Everything that takes time is an event in one queue. Nothing here knows a real clock, a thread or a socket, so a seed
//! is the same world each time.
//!
//! A world has three parts: the troubles; then calm, in which user agents and service must find together again; then the probe, a
//! message to every subscription, before the checker judges the whole.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use push_protocol::SubscriptionName;
use push_protocol::session::Moment;
use push_protocol::session::user_agent::{MessageKey, PushResource};
use push_service::storage::Storage;
use push_service::storage::clock::{Clock, ManualClock};
use push_service::storage::memory::Memory;

use crate::agent::Agent;
use crate::application::Sender;
use crate::chance::Chance;
use crate::checker::Checker;
use crate::network::{Connection, ConnectionId, End};
use crate::node::{Announced, Node};
use crate::parameters::Parameters;
use crate::plant::Plant;
use crate::steps::{Step, StepAnswer};

/// Something that happens at its time.
#[derive(Debug)]
pub(crate) enum Event {
    // The network.
    /// A connection reaches the node.
    Reached(ConnectionId),
    /// The user agent learns that it is open.
    Opened(ConnectionId),
    /// The user agent learns that it can't be.
    NotOpened(ConnectionId),
    Bytes(ConnectionId, End, Vec<u8>),
    /// The end of what the other end said, or the news that the connection is broken.
    Over(ConnectionId, End),
    Unstall(ConnectionId),
    // The node.
    Turn(ConnectionId),
    ServiceTick(ConnectionId),
    Decide(ConnectionId, Step),
    Answered(ConnectionId, StepAnswer),
    Retake(ConnectionId),
    Enqueue(usize),
    Enqueued {
        message: usize,
        incarnation: u64,
    },
    Sweep,
    NodeReturns,
    Forget(usize),
    // User agents. A life is what a process has one of.
    AgentTick(usize, u64),
    Handled {
        agent: usize,
        life: u64,
        key: MessageKey,
        message: usize,
    },
    Revive(usize),
    // Applications.
    Switch {
        agent: usize,
        life: u64,
        name: SubscriptionName,
        push_resource: PushResource,
        keys: u32,
        renewed: bool,
    },
    Repeat(usize, Vec<u8>),
    Send,
    Trouble,
    // The parts of the world.
    Calm,
    Quiet,
    Probe,
    /// An application fails on one subscription, and goes on with the others.
    Stuck,
    Beside,
    Judge,
    End,
}

struct Entry {
    at: u64,
    order: u64,
    /// Boxed, because the queue moves it about.
    event: Box<Event>,
}

impl Entry {
    fn key(&self) -> (u64, u64) {
        (self.at, self.order)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// User agents and service must have found together again after this; in milliseconds. Chosen: above the longest ping and its answer,
/// and several times the longest back-off.
const CALM: u64 = 600_000;

/// A user agent that is not done by then is stuck. Chosen: messages that fail a hundred times look like an outage where no other one succeeds,
/// and are tried about once a minute: this is enough for seven in one subscription.
const CALM_MOST: u64 = 43_200_000;

/// Then no user agent connects any more.
const QUIET: u64 = 300_000;

/// What the probe may take.
const PROBE: u64 = 60_000;

/// What messages beside a subscription that fails may take. A new channel brings all that waits again, and where lines and storage
/// are slow, one message takes more than a second.
const BESIDE: u64 = 4 * PROBE;

/// Events of a world, at most: more of them are a loop. The busiest worlds have a third.
const EVENTS: u64 = 150_000;

/// A world.
pub(crate) struct World {
    /// Milliseconds since its beginning.
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    pub(crate) chance: Chance,
    pub(crate) parameters: Parameters,
    pub(crate) plant: Option<Plant>,
    clock: Arc<ManualClock>,
    pub(crate) storage: Memory,
    pub(crate) announced: Arc<Announced>,
    pub(crate) node: Node,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) refuse_until: u64,
    pub(crate) agents: Vec<Agent>,
    pub(crate) senders: BTreeMap<(usize, SubscriptionName), Sender>,
    pub(crate) checker: Checker,
    pub(crate) calm: bool,
    /// The messages of the probe begin here.
    pub(crate) probes_from: usize,
    /// Which subscription of which user agent is stuck in the end.
    pub(crate) stuck: Vec<(usize, SubscriptionName)>,
    /// The messages beside it begin here.
    pub(crate) beside_from: usize,
    /// Connections until no user agent should need another one.
    pub(crate) quiet_channels: u64,
    ended: bool,
}

impl World {
    pub(crate) fn new(seed: u64, plant: Option<Plant>) -> Self {
        let mut chance = Chance::new(seed);
        let parameters = Parameters::draw(&mut chance);
        let clock = Arc::new(ManualClock::new(1_700_000_000_000_000));
        let announced = Arc::new(Announced::default());
        let retention = Duration::from_secs(400 * 86_400);
        let storage = Memory::new(
            Arc::clone(&announced) as Arc<_>,
            Arc::clone(&clock) as Arc<dyn Clock>,
            retention,
        );
        Self {
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            plant,
            clock,
            storage,
            announced,
            node: Node::new(chance.bits()),
            connections: BTreeMap::new(),
            refuse_until: 0,
            agents: (0..parameters.agents).map(Agent::new).collect(),
            senders: BTreeMap::new(),
            checker: Checker::default(),
            calm: false,
            probes_from: usize::MAX,
            quiet_channels: 0,
            stuck: Vec::new(),
            beside_from: usize::MAX,
            ended: false,
            chance,
            parameters,
        }
    }

    /// Lets everything happen, to the end or to the first broken promise.
    pub(crate) fn run(mut self) -> Checker {
        self.begin();
        while !self.ended && self.checker.violation.is_none() {
            let Some(Reverse(Entry { at, event, .. })) = self.queue.pop() else {
                break;
            };
            self.clock.advance(Duration::from_millis(at - self.now));
            self.now = at;
            self.checker.counts.events += 1;
            if self.checker.counts.events > EVENTS {
                self.checker.violate(
                    "WS-CLS-1",
                    format!("{EVENTS} events: a user agent runs in circles"),
                );
            }
            self.happen(*event);
        }
        self.checker
    }

    fn begin(&mut self) {
        for agent in 0..self.agents.len() {
            self.revive(agent);
            for name in 0..self.parameters.names {
                self.subscribe(agent, name);
            }
        }
        let lasts = self.parameters.lasts;
        self.after(0, Event::Send);
        self.after(0, Event::Trouble);
        self.after(0, Event::Sweep);
        self.after(lasts, Event::Calm);
        self.after(lasts + CALM, Event::Quiet);
    }

    /// Waits until what was sent has arrived, but not for ever.
    fn quiet_down(&mut self) {
        let is_late = self.now > self.parameters.lasts + CALM_MOST;
        // What expired in storage may still be held, and more come once it is done.
        let is_holding = self
            .agents
            .iter()
            .any(|agent| agent.machine.as_ref().is_some_and(|machine| machine.held() > 0));
        let is_stored = self.storage.usage().map_or(0, |usage| usage.messages) > 0;
        if (is_stored || is_holding) && !is_late {
            return self.after(60_000, Event::Quiet);
        }
        self.quiet_channels = self.checker.counts.channels;
        self.after(QUIET, Event::Probe);
    }

    /// The time, for lines of the trace.
    pub(crate) fn time_ms(&self) -> u64 {
        self.now
    }

    /// The time, as sessions are told it.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.now)
    }

    pub(crate) fn after(&mut self, wait: u64, event: Event) {
        self.at(self.now + wait, event);
    }

    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Entry {
            at,
            order: self.order,
            event: Box::new(event),
        }));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Reached(connection) => self.reached(connection),
            Event::Opened(connection) => self.opened(connection, true),
            Event::NotOpened(connection) => self.opened(connection, false),
            Event::Bytes(connection, to, bytes) => self.bytes(connection, to, &bytes),
            Event::Over(connection, to) => self.over(connection, to),
            Event::Unstall(connection) => self.unstall(connection),
            Event::Turn(connection) => self.turn(connection),
            Event::ServiceTick(connection) => self.service_tick(connection),
            Event::Decide(connection, step) => self.decide(connection, step),
            Event::Answered(connection, answer) => self.answered(connection, answer),
            Event::Retake(connection) => self.retake(connection),
            Event::Enqueue(message) => self.enqueue(message),
            Event::Enqueued { message, incarnation } => self.enqueued(message, incarnation),
            Event::Sweep => self.sweep(),
            Event::NodeReturns => self.node_returns(),
            Event::Forget(agent) => self.forget(agent),
            Event::AgentTick(agent, life) => self.agent_tick(agent, life),
            Event::Handled {
                agent,
                life,
                key,
                message,
            } => self.handled(agent, life, key, message),
            Event::Revive(agent) => self.revive(agent),
            Event::Switch {
                agent,
                life,
                name,
                push_resource,
                keys,
                renewed,
            } => self.switch(agent, life, name, &push_resource, keys, renewed),
            Event::Repeat(agent, said) => self.repeat(agent, &said),
            Event::Send => self.send_on(),
            Event::Trouble => self.trouble_on(),
            Event::Calm => self.calm_down(),
            Event::Quiet => self.quiet_down(),
            Event::Probe => {
                self.probe();
                self.after(
                    PROBE,
                    if self.parameters.stuck {
                        Event::Stuck
                    } else {
                        Event::End
                    },
                );
            }
            Event::Stuck => {
                self.stuck();
                self.after(5_000, Event::Beside);
                self.after(BESIDE, Event::Judge);
            }
            Event::Beside => self.beside(),
            Event::Judge => {
                self.judge();
                self.after(QUIET, Event::End);
            }
            Event::End => {
                self.ended = true;
                self.close_books();
            }
        }
    }
}
