//! User agents: minimal ones, with one or two devices that share an identity.
//!
//! A device connects to some node, says hello, keeps its subscriptions, and acknowledges what comes: at once, late, twice,
//! or only after the troubles. Messages that it had not acknowledged when a channel ended it acknowledges on the next
//! one. The other simulation tests the real user agent, with its state on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use push_protocol::capability::PushKind;
use push_protocol::session::user_agent::{Arrived, Disposition, Identity, Registered, Say, Wish};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_close, write_pong};
use push_protocol::wire::websocket::{Reply, parse_reply, write_say};
use push_protocol::{MessageId, SubscriptionId, SubscriptionName, UserAgentId, UserAgentIdentity};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, sleep_until};

use crate::process::{capabilities, origin};
use crate::store::millis;
use crate::trace::trace;
use crate::wire::Wire;
use crate::world::World;

/// A user agent.
pub(crate) struct Agent {
    state: Mutex<AgentState>,
}

/// What its devices share.
pub(crate) struct AgentState {
    identity: Option<Identity>,
    pub(crate) names: Vec<Name>,
    /// Every subscription has existed once.
    is_ready: bool,
    /// Messages that each device has received and not yet acknowledged.
    in_hand: BTreeMap<(usize, Box<str>), Arc<Arrived>>,
    had: BTreeSet<Box<str>>,
    devices: Vec<UnboundedSender<Command>>,
}

/// A subscription, through all of its lives.
pub(crate) struct Name {
    life: u8,
    /// It has to end, and to be made again.
    ends: bool,
    pub(crate) standing: Option<Standing>,
}

/// The push resource.
#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) user_agent: UserAgentId,
    pub(crate) subscription: SubscriptionId,
    pub(crate) token: String,
}

/// A command to a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Cut,
    Move,
    Stall(u64),
    /// A subscription has to end.
    Unsubscribe,
}

impl Agent {
    pub(crate) fn new(names: usize) -> Self {
        let name = |_| Name {
            life: 0,
            ends: false,
            standing: None,
        };
        Self {
            state: Mutex::new(AgentState {
                identity: None,
                names: (0..names).map(name).collect(),
                is_ready: false,
                in_hand: BTreeMap::new(),
                had: BTreeSet::new(),
                devices: Vec::new(),
            }),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, AgentState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether two devices have its identity.
    pub(crate) fn is_double(&self) -> bool {
        self.state().devices.len() > 1
    }

    /// Sends a command to one of its devices.
    pub(crate) fn befall(&self, device: usize, command: Command) {
        let state = self.state();
        if let Some(device) = state.devices.get(device % state.devices.len().max(1)) {
            let _ = device.send(command);
        }
    }
}

impl World {
    pub(crate) fn start_agents(self: &Arc<Self>) {
        for agent in 0..self.agents.len() {
            let devices = 1 + usize::from(self.chance().one_in(self.parameters.double_one_in));
            for number in 0..devices {
                let (commands, told) = unbounded_channel();
                self.agents[agent].state().devices.push(commands);
                let device = Device {
                    world: Arc::clone(self),
                    agent,
                    number,
                    told,
                };
                tokio::spawn(device.live());
            }
        }
    }
}

/// Names of subscriptions differ by user agent, place and life.
fn name_of(agent: usize, name: usize, life: u8) -> SubscriptionName {
    let mut bytes = [0; 16];
    (bytes[0], bytes[1], bytes[15]) = (agent as u8, life, name as u8);
    SubscriptionName(bytes)
}

/// A device.
struct Device {
    world: Arc<World>,
    agent: usize,
    number: usize,
    told: UnboundedReceiver<Command>,
}

/// A device's end of a channel.
struct Channel {
    wire: Arc<Wire>,
    frames: FrameReader,
    unread: Vec<u8>,
    /// Acknowledgements, with the time when each is due.
    due: Vec<(Instant, Arc<Arrived>)>,
    /// A request that waits for its answer.
    asked: bool,
    heard: Instant,
}

enum Heard {
    Reply(Reply),
    Ping(Vec<u8>),
    Nothing,
    Close,
}

impl Device {
    fn agent(&self) -> &Agent {
        &self.world.agents[self.agent]
    }

    async fn live(mut self) {
        loop {
            let may_connect = self.number == 0 || self.agent().state().is_ready;
            if self.number > 0 && self.world.is_calm() {
                return;
            }
            if may_connect && let Some(wire) = self.world.connect() {
                self.channel(wire).await;
            }
            let most = if self.world.is_calm() { 500 } else { 3_000 };
            let wait = self.world.chance().within(50..=most);
            sleep(millis(wait)).await;
        }
    }

    async fn channel(&mut self, wire: Arc<Wire>) {
        let world = Arc::clone(&self.world);
        let mut channel = Channel {
            wire,
            frames: FrameReader::new(Reader::UserAgent, 1 << 20),
            unread: Vec::new(),
            due: Vec::new(),
            asked: false,
            heard: Instant::now(),
        };
        let identity = self.agent().state().identity.clone();
        self.say(&channel, &Say::Hello(identity, Wish::default()));
        let silence = world.parameters.service.ping_every + Duration::from_secs(15);
        let mut welcomed = false;
        let mut was_calm = world.is_calm();
        while self.told.try_recv().is_ok() {}
        loop {
            if welcomed {
                self.ask(&mut channel);
            }
            if welcomed && world.is_calm() && !std::mem::replace(&mut was_calm, true) {
                if self.number > 0 {
                    return self.leave(&channel);
                }
                self.acknowledge_all(&mut channel);
            }
            let due = channel.due.iter().map(|(at, _)| *at).min();
            let patience = if welcomed {
                silence
            } else {
                Duration::from_secs(10)
            };
            let until = due
                .unwrap_or(channel.heard + patience)
                .min(channel.heard + patience);
            let calmed = async {
                match world.is_calm() {
                    true => std::future::pending().await,
                    false => world.calmed.notified().await,
                }
            };
            tokio::select! {
                biased;
                command = self.told.recv() => {
                    if command.is_none_or(|command| self.befall(&channel, command)) {
                        return;
                    }
                }
                () = calmed => {}
                bytes = channel.wire.hear() => {
                    let Some(bytes) = bytes else {
                        channel.wire.finish();
                        return;
                    };
                    channel.heard = Instant::now();
                    channel.unread.extend_from_slice(&bytes);
                    while let Some(heard) = channel.next() {
                        match heard {
                            Heard::Reply(Reply::Hello(identity)) => {
                                let Some(identity) = identity else { return };
                                self.welcomed(identity);
                                welcomed = true;
                                self.acknowledge_all(&mut channel);
                            }
                            Heard::Reply(answer) => self.answered(&mut channel, answer),
                            Heard::Ping(payload) => {
                                let mut out = Vec::new();
                                write_pong(&mut out, Some([1, 2, 3, 4]), &payload);
                                channel.wire.say(&out);
                            }
                            Heard::Nothing => {}
                            Heard::Close => return self.leave(&channel),
                        }
                    }
                }
                () = sleep_until(until) => {
                    if channel.heard + patience <= Instant::now() {
                        channel.wire.abandon();
                        return;
                    }
                }
            }
            self.acknowledge_due(&mut channel);
        }
    }

    /// Returns whether the device leaves the channel.
    fn befall(&self, channel: &Channel, command: Command) -> bool {
        trace!(
            self.world,
            "device {} of user agent {}: {command:?}", self.number, self.agent
        );
        match command {
            Command::Cut => {
                channel.wire.cut();
                false
            }
            Command::Move => {
                if self.world.chance().one_in(2) {
                    self.leave(channel);
                } else {
                    channel.wire.abandon();
                }
                true
            }
            Command::Stall(long) => {
                channel.wire.stall(true);
                let wire = Arc::clone(&channel.wire);
                tokio::spawn(async move {
                    sleep(millis(long)).await;
                    wire.stall(false);
                });
                false
            }
            Command::Unsubscribe => {
                self.unsubscribe();
                false
            }
        }
    }

    fn leave(&self, channel: &Channel) {
        let mut out = Vec::new();
        write_close(&mut out, Some([1, 2, 3, 4]), 1000, "");
        channel.wire.say(&out);
        channel.wire.finish();
    }

    fn welcomed(&self, identity: Identity) {
        let mut state = self.agent().state();
        if state.identity.as_ref() != Some(&identity) {
            trace!(self.world, "user agent {} has a new identity", self.agent);
            for name in &mut state.names {
                name.standing = None;
            }
            state.identity = Some(identity);
        }
    }

    /// Requests the next change of a subscription, one at a time.
    fn ask(&self, channel: &mut Channel) {
        if channel.asked || self.number > 0 {
            return;
        }
        let mut state = self.agent().state();
        let next = state
            .names
            .iter()
            .enumerate()
            .find(|(_, name)| name.ends || name.standing.is_none())
            .map(|(at, name)| (name_of(self.agent, at, name.life), name.ends));
        let Some((name, ends)) = next else {
            state.is_ready = true;
            return;
        };
        drop(state);
        channel.asked = true;
        let say = match ends {
            true => Say::Unregister(name),
            false => Say::Register {
                name,
                application_server: None,
            },
        };
        self.say(channel, &say);
    }

    /// The first subscription never ends, so that storage always knows the user agent.
    fn unsubscribe(&self) {
        let mut state = self.agent().state();
        if state.names.len() < 2 || !state.is_ready {
            return;
        }
        let at = 1 + self.world.chance().index(state.names.len() - 1);
        let Some(standing) = state.names[at].standing.take() else {
            return;
        };
        state.names[at].ends = true;
        drop(state);
        let now = self.world.time_ms();
        trace!(
            self.world,
            "user agent {} wants {:?} no more", self.agent, standing.subscription
        );
        self.world.checker().excuse_all(now, "unsubscribed", |record| {
            record.subscription == standing.subscription
        });
    }

    fn answered(&self, channel: &mut Channel, answer: Reply) {
        match answer {
            Reply::Registered(Some(name), registered, _) => {
                channel.asked = false;
                let Registered::At(resource) = registered else {
                    return;
                };
                self.stands(name, resource.as_str());
            }
            Reply::Unregistered(Some(name), done) => {
                channel.asked = false;
                let mut state = self.agent().state();
                let place = usize::from(name.0[15]);
                if done && state.names[place].life == name.0[1] {
                    state.names[place].ends = false;
                    state.names[place].life += 1;
                }
            }
            Reply::Arrived(arrived) => self.arrived(channel, Arc::new(arrived)),
            Reply::Registered(None, ..) | Reply::Unregistered(None, _) => channel.asked = false,
            Reply::Hello(_) | Reply::SignOfLife => {}
        }
    }

    fn stands(&self, name: SubscriptionName, url: &str) {
        let prefix = format!("{}{}", origin(), PushKind::WpushV1.path());
        let token = url.strip_prefix(&prefix);
        let opened = token.and_then(|token| capabilities().open_push(PushKind::WpushV1, token));
        let (Some(token), Some(opened)) = (token, opened) else {
            let what = format!("user agent {} got a push resource that opens nothing", self.agent);
            return self.world.checker().violate("WS-REG-5", what);
        };
        let mut state = self.agent().state();
        let place = &mut state.names[usize::from(name.0[15])];
        if place.life != name.0[1] {
            return;
        }
        let standing = Standing {
            user_agent: opened.capability.user_agent,
            subscription: opened.capability.subscription,
            token: token.to_owned(),
        };
        trace!(
            self.world,
            "user agent {} is {}: {name} is {:?}", self.agent, standing.user_agent, standing.subscription
        );
        let identity = state
            .identity
            .as_ref()
            .and_then(|identity| UserAgentIdentity::parse(identity.as_str()));
        if identity.is_some_and(|identity| identity.id() == standing.user_agent) {
            if name.0[15] == 0 {
                let now = self.world.time_ms();
                self.world.checker().confirmed(standing.user_agent, now);
            }
            state.names[usize::from(name.0[15])].standing = Some(standing);
        }
    }

    fn arrived(&self, channel: &mut Channel, arrived: Arc<Arrived>) {
        let world = &self.world;
        let is_new = self.agent().state().had.insert(arrived.id.clone());
        let forgets = is_new && !world.is_calm() && world.chance().one_in(world.parameters.forget_one_in);
        self.agent()
            .state()
            .in_hand
            .insert((self.number, arrived.id.clone()), Arc::clone(&arrived));
        if forgets {
            return;
        }
        let most = if world.is_calm() || !is_new {
            0
        } else {
            world.parameters.acknowledge_within
        };
        let wait = world.chance().within(0..=most);
        channel.due.push((Instant::now() + millis(wait), arrived));
    }

    fn acknowledge_due(&self, channel: &mut Channel) {
        let now = Instant::now();
        let (due, rest) = std::mem::take(&mut channel.due)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        channel.due = rest;
        for (_, message) in due {
            self.acknowledge(channel, &message);
            let (twice, wait) = {
                let mut chance = self.world.chance();
                (
                    chance.one_in(self.world.parameters.acknowledge_twice_one_in),
                    chance.within(1..=15_000),
                )
            };
            if twice && !self.world.is_calm() {
                channel.due.push((now + millis(wait), message));
            }
        }
    }

    /// Unacknowledged messages, from any channel (PR-18).
    fn acknowledge_all(&self, channel: &mut Channel) {
        let mut in_hand = self.agent().state().in_hand.clone();
        if self.world.is_calm() {
            // Also those that the other device left behind.
            self.agent().state().in_hand.clear();
        } else {
            in_hand.retain(|(device, _), _| *device == self.number);
        }
        for message in in_hand.into_values() {
            let is_waited_for = channel.due.iter().any(|(_, due)| due.id == message.id);
            if !is_waited_for {
                self.acknowledge(channel, &message);
            }
        }
    }

    fn acknowledge(&self, channel: &Channel, message: &Arc<Arrived>) {
        let in_hand = (self.number, message.id.clone());
        self.agent().state().in_hand.remove(&in_hand);
        trace!(
            self.world,
            "device {} of user agent {} acknowledges {:?}",
            self.number,
            self.agent,
            MessageId::parse(&message.id)
        );
        let say = Say::Acknowledge {
            message: Arc::clone(message),
            disposition: Disposition::Delivered,
        };
        self.say(channel, &say);
    }

    fn say(&self, channel: &Channel, say: &Say) {
        let mut out = Vec::new();
        write_say(&mut out, [1, 2, 3, 4], say);
        channel.wire.say(&out);
    }
}

impl Channel {
    fn next(&mut self) -> Option<Heard> {
        let (heard, taken) = match self.frames.read(&mut self.unread) {
            Ok(Some((incoming, taken))) => (heard(&incoming), taken),
            Ok(None) => return None,
            Err(_) => (Heard::Close, self.unread.len()),
        };
        self.unread.drain(..taken);
        Some(heard)
    }
}

fn heard(incoming: &Incoming<'_>) -> Heard {
    match incoming {
        Incoming::Text(text) => parse_reply(text).map_or(Heard::Nothing, Heard::Reply),
        Incoming::Ping(payload) => Heard::Ping(payload.to_vec()),
        Incoming::Close(_) => Heard::Close,
        Incoming::Pong | Incoming::Fragment | Incoming::Binary => Heard::Nothing,
    }
}
