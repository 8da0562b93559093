//! All peers of the service during a trial: user agents, application servers, and receivers of receipts.
//!
//! Contract: each peer makes random choices from the seed, and records everything that it does in the history,
//! without judging it. A request has a deadline, and one that misses it was not answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::history::{
    AgentNumber, ConnectionNumber, MessageNumber, NodeNumber, Outcome, Recorder, SubscriptionNumber, Time,
    What,
};
use super::nemesis::LEAP_SECONDS;
use crate::application_server::{Http, Push};
use crate::chance::Chance;
use crate::door::Door;
use crate::nothing_lost::line::{Brought, Manner, RECEIPT, Watch, link_to};
use crate::user_agent::{Event, Notification, UserAgent, new_name};

/// The number of application servers. Each serves its part of the subscriptions, one request after the other, so that
/// the order of acceptance is known.
pub const SENDERS: usize = 6;
/// Longer than any answer takes: the service gives a step three seconds, and a hello ten.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// The time between two decisions of a user agent.
const TICK: Duration = Duration::from_millis(20);
/// Topics in use per subscription: few, so that messages are replaced.
const TOPICS: usize = 2;
/// The time to live of most messages, in seconds: as far as clocks leap. By docs/redis.md a message is lost only if the
/// clock of Redis leaps two minutes further.
const TTL: u64 = LEAP_SECONDS;
/// The newest subscriptions of a sender get half of its messages.
const NEWEST: usize = 4;
/// After this number of other identities in a row, a user agent takes the new one: its own is lost.
const GIVES_UP_AFTER: usize = 4;

/// Who takes part, and how busy they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy {
    /// User agents that stay connected, spread over the nodes.
    pub residents: usize,
    /// User agents that come and go, to any node.
    pub visitors: usize,
    /// User agents that are away until the end.
    pub absent: usize,
    /// The time between two new user agents, which subscribe and come back now and then.
    pub newcomer_every: Duration,
    /// The longest pause between two messages of one sender.
    pub pause: Duration,
}

/// The phases of a trial.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Subscriptions are made.
    Gather,
    /// Senders send, user agents come and go.
    Storm,
    /// All user agents connect and stay.
    Drain,
    /// The same on new channels.
    Return,
    /// All peers leave.
    Over,
}

/// State that all peers share.
#[derive(Debug)]
pub struct Shared {
    /// The history.
    pub recorder: Recorder,
    doors: watch::Receiver<Vec<Option<Door>>>,
    phase: watch::Receiver<Phase>,
    receipts: Vec<watch::Sender<Option<String>>>,
    /// How many messages have arrived whose acknowledgement has not reached a node.
    pub unsettled: AtomicUsize,
    /// How many user agents are connected that have seen this phase.
    pub returned: AtomicUsize,
    /// User agents that have their first subscriptions.
    pub settled_in: AtomicUsize,
    /// New user agents; their numbers follow those of the others.
    pub newcomers: AtomicUsize,
    /// When a push was accepted last, for each node.
    accepted: watch::Sender<Vec<Option<(Time, Instant)>>>,
    busy: Busy,
}

/// All peers, running.
#[derive(Debug)]
pub struct Crowd {
    /// Their shared state.
    pub shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    agents: JoinSet<()>,
    senders: JoinSet<()>,
    others: JoinSet<()>,
    newcomers: Option<tokio::task::JoinHandle<JoinSet<()>>>,
}

impl Crowd {
    /// User agents arrive and subscribe.
    pub fn gather(
        recorder: Recorder,
        doors: watch::Receiver<Vec<Option<Door>>>,
        busy: Busy,
        chance: &mut Chance,
    ) -> Self {
        let (phase, seen) = watch::channel(Phase::Gather);
        let nodes = doors.borrow().len();
        let shared = Arc::new(Shared {
            recorder,
            doors,
            phase: seen,
            receipts: (0..SENDERS).map(|_| watch::Sender::default()).collect(),
            unsettled: AtomicUsize::new(0),
            returned: AtomicUsize::new(0),
            settled_in: AtomicUsize::new(0),
            newcomers: AtomicUsize::new(0),
            accepted: watch::Sender::new(vec![None; nodes]),
            busy,
        });
        let mut agents = JoinSet::new();
        let all = busy.residents + busy.visitors + busy.absent;
        for number in 0..all {
            let habit = match number {
                resident if resident < busy.residents => Habit::Stays(resident % nodes),
                visitor if visitor < busy.residents + busy.visitors => Habit::Roams,
                _ => Habit::Away,
            };
            agents.spawn(Agent::new(Arc::clone(&shared), number, habit, 2, chance.fork()).live());
        }
        Self {
            shared,
            phase,
            agents,
            senders: JoinSet::new(),
            others: JoinSet::new(),
            newcomers: None,
        }
    }

    /// Waits until every user agent has its first subscriptions; `false` if that takes too long.
    pub async fn is_gathered(&self) -> bool {
        let busy = self.shared.busy;
        let all = busy.residents + busy.visitors + busy.absent;
        eventually(Duration::from_secs(40), || {
            self.shared.settled_in.load(Ordering::Relaxed) >= all
        })
        .await
    }

    /// Messages are sent from now on.
    pub fn storm(&mut self, chance: &mut Chance) {
        self.phase.send_replace(Phase::Storm);
        for number in 0..SENDERS {
            self.others
                .spawn(hear_receipts(Arc::clone(&self.shared), number, chance.fork()));
            self.senders
                .spawn(Sender::new(Arc::clone(&self.shared), number, chance.fork()).send());
        }
        self.newcomers = Some(tokio::spawn(appear(Arc::clone(&self.shared), chance.fork())));
    }

    /// Application servers stop, and all user agents connect.
    pub async fn drain(&mut self) {
        self.phase.send_replace(Phase::Drain);
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("a sender ends well");
        }
        if let Some(newcomers) = self.newcomers.take() {
            let mut newcomers = newcomers.await.expect("newcomers come");
            while let Some(ended) = newcomers.try_join_next() {
                ended.expect("a user agent ends well");
            }
            self.agents
                .spawn(async move { while newcomers.join_next().await.is_some() {} });
        }
    }

    /// All user agents connect again.
    pub fn come_back(&self) {
        self.shared.returned.store(0, Ordering::Relaxed);
        self.phase.send_replace(Phase::Return);
    }

    /// Waits until all user agents are connected and all deliveries are acknowledged.
    pub async fn is_back(&self, within: Duration) -> bool {
        let busy = self.shared.busy;
        let all =
            busy.residents + busy.visitors + busy.absent + self.shared.newcomers.load(Ordering::Relaxed);
        eventually(within, || {
            self.shared.returned.load(Ordering::Relaxed) >= all
                && self.shared.unsettled.load(Ordering::Relaxed) == 0
        })
        .await
    }

    /// All peers leave, and are awaited.
    pub async fn disperse(mut self) {
        self.phase.send_replace(Phase::Over);
        self.others.shutdown().await;
        let leave = async { while self.agents.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(ANSWERED_WITHIN, leave).await;
        self.agents.shutdown().await;
    }
}

/// Polls until a condition holds for which there is no event.
pub async fn eventually(within: Duration, is_so: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > within {
            return false;
        }
        tokio::time::sleep(TICK).await;
    }
    true
}

impl Shared {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until this node may be connected to.
    async fn door_of(&self, node: NodeNumber) -> Option<Door> {
        let mut doors = self.doors.clone();
        let found = doors.wait_for(|doors| doors[node].is_some()).await.ok()?;
        found[node].clone()
    }

    /// Any node that may be connected to.
    async fn any_door(&self, chance: &mut Chance) -> Option<(NodeNumber, Door)> {
        let mut doors = self.doors.clone();
        let found = doors
            .wait_for(|doors| doors.iter().any(Option::is_some))
            .await
            .ok()?;
        let mut up: Vec<(NodeNumber, Door)> = found
            .iter()
            .cloned()
            .enumerate()
            .filter_map(|(node, door)| Some((node, door?)))
            .collect();
        Some(up.swap_remove(chance.below(up.len())))
    }

    /// Waits until each of these nodes has accepted a push that began after now; returns how long that took. `None`:
    /// not in time.
    pub async fn all_accept(&self, within: Duration) -> Option<Duration> {
        let (now, began) = (self.recorder.now(), Instant::now());
        let mut accepted = self.accepted.subscribe();
        let all = |accepted: &Vec<Option<(Time, Instant)>>| {
            accepted
                .iter()
                .all(|last| last.is_some_and(|(asked, _)| asked > now))
        };
        let waited = tokio::time::timeout(within, accepted.wait_for(all)).await;
        matches!(waited, Ok(Ok(_))).then(|| began.elapsed())
    }
}

/// How a user agent lives during the storm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Habit {
    /// On one channel at this node, unless it is closed.
    Stays(NodeNumber),
    /// Comes and goes, to any node.
    Roams,
    /// Connects this number of times, and is away then.
    Visits(usize),
    /// Is away as soon as it has its subscriptions.
    Away,
}

/// A user agent.
struct Agent {
    shared: Arc<Shared>,
    number: AgentNumber,
    habit: Habit,
    /// Subscriptions that it makes at first.
    wants: usize,
    chance: Chance,
    uaid: Option<String>,
    /// Subscriptions that were confirmed and not ended.
    names: Vec<(String, SubscriptionNumber)>,
    /// How often in a row it was given another identity.
    disowned: usize,
    phase_seen: Phase,
}

/// One channel.
struct Visit {
    socket: UserAgent,
    connection: ConnectionNumber,
    node: NodeNumber,
    /// What has arrived and is not acknowledged, by the time when it will be.
    hesitating: BTreeMap<(Instant, usize), (MessageNumber, Notification)>,
    arrivals: usize,
    /// What was acknowledged before the ping of that number, and when.
    sent: BTreeMap<u32, (Time, Vec<MessageNumber>)>,
    pings: u32,
    asked: Option<(Time, &'static str, String, Option<SubscriptionNumber>)>,
}

impl Agent {
    fn new(shared: Arc<Shared>, number: AgentNumber, habit: Habit, wants: usize, chance: Chance) -> Self {
        Self {
            shared,
            number,
            habit,
            wants,
            chance,
            uaid: None,
            names: Vec::new(),
            disowned: 0,
            phase_seen: Phase::Gather,
        }
    }

    async fn live(mut self) {
        let mut visits = 0;
        while self.shared.phase() != Phase::Over {
            let phase = self.shared.phase();
            if phase < Phase::Drain && self.names.len() >= self.wants {
                let is_away = match self.habit {
                    Habit::Away => true,
                    Habit::Visits(times) => visits >= times,
                    _ => false,
                };
                if is_away {
                    let mut seen = self.shared.phase.clone();
                    let _ = seen.wait_for(|phase| *phase >= Phase::Drain).await;
                }
            }
            let door = match self.habit {
                Habit::Stays(node) => self.shared.door_of(node).await.map(|door| (node, door)),
                _ => self.shared.any_door(&mut self.chance).await,
            };
            let Some((node, door)) = door else { return };
            let opened = tokio::time::timeout(ANSWERED_WITHIN, UserAgent::try_connect(&door, "/")).await;
            if let Ok(Ok(socket)) = opened {
                visits += 1;
                self.visit(node, socket).await;
            }
            let pause = match (self.habit, self.shared.phase()) {
                (Habit::Roams | Habit::Visits(_), Phase::Storm) => {
                    (Duration::from_millis(20), Duration::from_millis(500))
                }
                _ => (Duration::from_millis(20), Duration::from_millis(60)),
            };
            tokio::time::sleep(self.chance.between(pause)).await;
        }
    }

    async fn visit(&mut self, node: NodeNumber, mut socket: UserAgent) {
        let (connection, invoked) = (self.shared.recorder.connection(), self.shared.recorder.now());
        let known = self.uaid.clone().unwrap_or_default();
        socket
            .send(&json!({"messageType": "hello", "use_webpush": true, "uaid": known}))
            .await;
        let is_known = !self.names.is_empty();
        let hello = |is_new_identity, outcome| What::Hello {
            agent: self.number,
            connection,
            node,
            is_known,
            is_new_identity,
            outcome,
        };
        let recorder = self.shared.recorder.clone();
        let given = match tokio::time::timeout(ANSWERED_WITHIN, socket.event()).await {
            Ok(Event::Reply(reply)) if reply["messageType"] == "hello" && reply["status"] == 200 => {
                reply["uaid"].as_str().unwrap_or_default().to_owned()
            }
            Ok(Event::Closed(_)) => return recorder.enter(invoked, hello(false, Outcome::Refused)),
            _ => return recorder.enter(invoked, hello(false, Outcome::Unknown)),
        };
        let is_new = given != known;
        recorder.enter(invoked, hello(is_new, Outcome::Ok));
        if is_new && is_known {
            self.disowned += 1;
            if self.disowned < GIVES_UP_AFTER {
                // It keeps its identity, to find out whether that was lost.
                return;
            }
            self.names.clear();
        }
        self.disowned = 0;
        self.uaid = Some(given);
        let mut visit = Visit {
            socket,
            connection,
            node,
            hesitating: BTreeMap::new(),
            arrivals: 0,
            sent: BTreeMap::new(),
            pings: 0,
            asked: None,
        };
        let began = Instant::now();
        let stays = self
            .chance
            .between((Duration::from_millis(60), Duration::from_millis(900)));
        self.converse(&mut visit, began + stays).await;
        self.leave(visit);
    }

    /// Until the channel ends, or the user agent goes.
    async fn converse(&mut self, visit: &mut Visit, goes_at: Instant) {
        let mut tick = tokio::time::interval(TICK);
        let arrived_in = self.shared.phase();
        let mut counted = false;
        loop {
            tokio::select! {
                event = visit.socket.event() => match event {
                    Event::Closed(closed) => {
                        if self.shared.phase() != Phase::Over {
                            let closed = What::Closed {
                                agent: self.number, connection: visit.connection, node: visit.node, code: closed.code,
                            };
                            self.shared.recorder.enter(self.shared.recorder.now(), closed);
                        }
                        if counted {
                            self.shared.returned.fetch_sub(1, Ordering::Relaxed);
                        }
                        return;
                    }
                    Event::Notification(notification) => self.arrived(visit, notification),
                    Event::Pong(ping) => self.settled(visit, &ping),
                    Event::Reply(reply) => self.replied(visit, &reply),
                },
                _ = tick.tick() => {
                    self.acknowledge(visit).await;
                    self.change(visit).await;
                    let phase = self.shared.phase();
                    self.phase_seen = phase;
                    let is_idle = visit.hesitating.is_empty() && visit.sent.is_empty() && visit.asked.is_none();
                    if phase == Phase::Return && arrived_in == Phase::Return && !counted && self.names.len() >= self.wants.min(1) {
                        counted = true;
                        self.shared.returned.fetch_add(1, Ordering::Relaxed);
                    }
                    let goes = match phase {
                        Phase::Over => true,
                        Phase::Return => arrived_in != Phase::Return && is_idle,
                        Phase::Drain => false,
                        Phase::Gather | Phase::Storm => match self.habit {
                            Habit::Stays(_) => false,
                            Habit::Away => self.names.len() >= self.wants && visit.asked.is_none(),
                            // Usually there is nothing to wait for.
                            Habit::Roams | Habit::Visits(_) => Instant::now() > goes_at
                                && (visit.asked.is_none() || Instant::now() > goes_at + ANSWERED_WITHIN),
                        },
                    };
                    if goes {
                        return;
                    }
                }
            }
        }
    }

    /// What was not answered on this channel.
    fn leave(&mut self, visit: Visit) {
        let recorder = &self.shared.recorder;
        for (invoked, messages) in visit.sent.into_values() {
            self.shared.unsettled.fetch_sub(messages.len(), Ordering::Relaxed);
            for message in messages {
                let what = acknowledged(
                    self.number,
                    visit.connection,
                    visit.node,
                    message,
                    Outcome::Unknown,
                );
                recorder.enter(invoked, what);
            }
        }
        self.shared
            .unsettled
            .fetch_sub(visit.hesitating.len(), Ordering::Relaxed);
        if let Some((invoked, kind, name, subscription)) = visit.asked {
            self.answered(invoked, kind, name, subscription, None, 0);
        }
    }

    fn arrived(&mut self, visit: &mut Visit, notification: Notification) {
        let recorder = &self.shared.recorder;
        let message =
            recorder
                .kept()
                .message_of(self.number, &notification.name, notification.text().as_deref());
        let what = What::Offer {
            agent: self.number,
            connection: visit.connection,
            message,
            version: notification.version.clone(),
        };
        recorder.enter(recorder.now(), what);
        let Some(message) = message else { return };
        let longest = if self.chance.one_in(8) { 800 } else { 120 };
        let hesitation = Duration::from_millis(self.chance.below(longest) as u64);
        visit.arrivals += 1;
        self.shared.unsettled.fetch_add(1, Ordering::Relaxed);
        visit.hesitating.insert(
            (Instant::now() + hesitation, visit.arrivals),
            (message, notification),
        );
    }

    async fn acknowledge(&mut self, visit: &mut Visit) {
        let later = visit.hesitating.split_off(&(Instant::now(), usize::MAX));
        let due = std::mem::replace(&mut visit.hesitating, later);
        if due.is_empty() {
            return;
        }
        let invoked = self.shared.recorder.now();
        let updates: Vec<Value> = due
            .values()
            .map(|(_, message)| json!({"channelID": message.name, "version": message.version, "code": 100}))
            .collect();
        // Recorded before it is sent: a receipt may arrive before the ping is answered.
        visit.pings += 1;
        visit.sent.insert(
            visit.pings,
            (invoked, due.into_values().map(|(message, _)| message).collect()),
        );
        for updates in updates.chunks(20) {
            visit
                .socket
                .send(&json!({"messageType": "ack", "updates": updates}))
                .await;
        }
        let ping = visit.pings.to_be_bytes().to_vec();
        visit.socket.send_frame(Message::Ping(ping.into())).await;
    }

    /// The answer to a ping: what was sent before has reached the node.
    fn settled(&mut self, visit: &mut Visit, ping: &[u8]) {
        let Some(number) = ping.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
            return;
        };
        let later = visit.sent.split_off(&(number + 1));
        for (invoked, messages) in std::mem::replace(&mut visit.sent, later).into_values() {
            self.shared.unsettled.fetch_sub(messages.len(), Ordering::Relaxed);
            for message in messages {
                let what = acknowledged(self.number, visit.connection, visit.node, message, Outcome::Ok);
                self.shared.recorder.enter(invoked, what);
            }
        }
    }

    /// Makes the first subscriptions, and later renews, makes or ends one now and then.
    async fn change(&mut self, visit: &mut Visit) {
        if visit.asked.is_some() {
            return;
        }
        let phase = self.shared.phase();
        let (kind, name, subscription) = if self.names.len() < self.wants {
            ("register", new_name(), None)
        } else if phase == Phase::Storm && self.chance.one_in(80) {
            match self.chance.below(3) {
                0 if self.names.len() > self.wants => {
                    let (name, subscription) = self.names.swap_remove(self.wants);
                    self.shared.recorder.kept().subscriptions[subscription].is_ending = true;
                    ("unregister", name, Some(subscription))
                }
                1 if self.names.len() < self.wants + 3 => ("register", new_name(), None),
                _ => {
                    let (name, subscription) = self.names[self.chance.below(self.names.len())].clone();
                    ("register", name, Some(subscription))
                }
            }
        } else {
            return;
        };
        visit.asked = Some((self.shared.recorder.now(), kind, name.clone(), subscription));
        visit
            .socket
            .send(&json!({"messageType": kind, "channelID": name}))
            .await;
    }

    fn replied(&mut self, visit: &mut Visit, reply: &Value) {
        let Some((invoked, kind, name, subscription)) = visit.asked.take() else {
            return;
        };
        let is_answer = reply["messageType"] == kind && reply["channelID"] == name;
        let status = if is_answer {
            reply["status"].as_u64().unwrap_or_default() as u16
        } else {
            999
        };
        let endpoint = reply["pushEndpoint"].as_str();
        self.answered(invoked, kind, name, subscription, endpoint, status);
    }

    fn answered(
        &mut self,
        invoked: Time,
        kind: &'static str,
        name: String,
        subscription: Option<SubscriptionNumber>,
        endpoint: Option<&str>,
        status: u16,
    ) {
        let recorder = self.shared.recorder.clone();
        if kind == "unregister" {
            let subscription = subscription.expect("one that it has");
            return recorder.enter(
                invoked,
                What::Unregister {
                    agent: self.number,
                    subscription,
                    status,
                },
            );
        }
        let known = match (endpoint, subscription, status) {
            (Some(endpoint), None, 200) => {
                let number = recorder.subscribed(self.number, &name, endpoint);
                self.names.push((name.clone(), number));
                if self.names.len() == self.wants {
                    self.shared.settled_in.fetch_add(1, Ordering::Relaxed);
                }
                Some(number)
            }
            (Some(endpoint), Some(number), 200) => {
                recorder.subscribed(self.number, &name, endpoint);
                Some(number)
            }
            _ => subscription,
        };
        let what = What::Register {
            agent: self.number,
            name,
            subscription: known,
            status,
        };
        recorder.enter(invoked, what);
    }
}

fn acknowledged(
    agent: AgentNumber,
    connection: ConnectionNumber,
    node: NodeNumber,
    message: MessageNumber,
    outcome: Outcome,
) -> What {
    What::Acknowledge {
        agent,
        connection,
        node,
        message,
        outcome,
    }
}

/// New user agents subscribe and disconnect; each comes back a few times, to any node.
async fn appear(shared: Arc<Shared>, mut chance: Chance) -> JoinSet<()> {
    let busy = shared.busy;
    let first = busy.residents + busy.visitors + busy.absent;
    let mut newcomers = JoinSet::new();
    while shared.phase() == Phase::Storm {
        tokio::time::sleep(busy.newcomer_every).await;
        let number = first + shared.newcomers.fetch_add(1, Ordering::Relaxed);
        let visits = Habit::Visits(2 + chance.below(4));
        newcomers.spawn(Agent::new(Arc::clone(&shared), number, visits, 1, chance.fork()).live());
    }
    newcomers
}

/// An application server.
struct Sender {
    shared: Arc<Shared>,
    number: usize,
    chance: Chance,
    connections: BTreeMap<NodeNumber, Http>,
}

impl Sender {
    fn new(shared: Arc<Shared>, number: usize, chance: Chance) -> Self {
        Self {
            shared,
            number,
            chance,
            connections: BTreeMap::new(),
        }
    }

    /// Sends while the storm lasts, each message over a node chosen by chance.
    async fn send(mut self) {
        while self.shared.phase() == Phase::Storm {
            let Some(subscription) = self.subscription() else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            let Some((node, door)) = self.shared.any_door(&mut self.chance).await else {
                return;
            };
            let connection = match self.connections.remove(&node) {
                Some(http) => Some(http),
                None => {
                    let connect = async {
                        match self.number % 4 {
                            3 => Http::connect_http2(&door).await,
                            _ => Http::connect(&door).await,
                        }
                    };
                    tokio::time::timeout(ANSWERED_WITHIN, connect)
                        .await
                        .ok()
                        .and_then(Result::ok)
                }
            };
            let Some(mut http) = connection else {
                tokio::time::sleep(TICK).await;
                continue;
            };
            if self.push(&mut http, node, subscription).await.is_some() {
                self.connections.insert(node, http);
            }
            let pause = self.chance.between((Duration::ZERO, self.shared.busy.pause));
            tokio::time::sleep(pause).await;
        }
    }

    /// One of its subscriptions: half of the time one of the newest, and now and then one that has ended.
    fn subscription(&mut self) -> Option<SubscriptionNumber> {
        let kept = self.shared.recorder.kept();
        let mine: Vec<SubscriptionNumber> =
            (self.number..kept.subscriptions.len()).step_by(SENDERS).collect();
        let among = match self.chance.one_in(2) {
            true => &mine[mine.len().saturating_sub(NEWEST)..],
            false => &mine[..],
        };
        let chosen = *among.get(self.chance.below(among.len()))?;
        (!kept.subscriptions[chosen].is_ending || self.chance.one_in(10)).then_some(chosen)
    }

    /// Sends a message, and sometimes deletes it; `None` if the connection can't be used any more.
    async fn push(
        &mut self,
        http: &mut Http,
        node: NodeNumber,
        subscription: SubscriptionNumber,
    ) -> Option<()> {
        let recorder = self.shared.recorder.clone();
        let topic = self.chance.one_in(8).then(|| self.chance.below(TOPICS));
        let ttl = if self.chance.one_in(30) {
            1 + self.chance.below(3) as u64
        } else {
            TTL
        };
        let receipt = self.chance.one_in(4);
        let (message, text, endpoint) = recorder.begin_message(subscription);
        let mut push = Push::new(&endpoint, &text).ttl(ttl);
        if let Some(topic) = topic {
            push = push.header("topic", &format!("topic-{topic}"));
        }
        if receipt {
            push = push.header("prefer", "respond-async");
            if let Some(receipts) = &*self.shared.receipts[self.number].borrow() {
                push = push.header("link", &link_to(receipts, RECEIPT));
            }
        }
        let invoked = recorder.now();
        let answer = tokio::time::timeout(ANSWERED_WITHIN, http.try_push(&push)).await;
        let answer = answer.ok().and_then(Result::ok);
        let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
        let is_accepted = matches!(status, 201 | 202);
        let location = answer
            .as_ref()
            .filter(|_| is_accepted)
            .map(|answer| answer.header("location").to_owned());
        if let Some(answer) = answer.as_ref().filter(|_| status == 202) {
            let receipts = answer.link(RECEIPT).to_owned();
            self.shared.receipts[self.number].send_if_modified(|known| {
                let is_first = known.is_none();
                known.get_or_insert(receipts);
                is_first
            });
        }
        let what = What::Push {
            message,
            subscription,
            node,
            topic,
            ttl,
            receipt,
            status,
            has_retry_after: answer
                .as_ref()
                .is_some_and(|answer| answer.header("retry-after").parse::<u64>().is_ok()),
            location: location.clone(),
        };
        recorder.enter(invoked, what);
        if is_accepted {
            self.shared
                .accepted
                .send_modify(|accepted| accepted[node] = Some((invoked, Instant::now())));
        }
        answer?;
        if let Some(location) = location.filter(|_| self.chance.one_in(20)) {
            let invoked = recorder.now();
            let answer = tokio::time::timeout(ANSWERED_WITHIN, http.delete(&location)).await;
            let answer = answer.ok().and_then(Result::ok);
            let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
            recorder.enter(invoked, What::Cancel { message, status });
            answer?;
        }
        Some(())
    }
}

/// An application server that receives receipts.
async fn hear_receipts(shared: Arc<Shared>, sender: usize, mut chance: Chance) {
    let mut known = shared.receipts[sender].subscribe();
    let Ok(receipts) = known.wait_for(Option::is_some).await.map(|known| known.clone()) else {
        return;
    };
    let receipts = receipts.unwrap_or_default();
    while let Some((_, door)) = shared.any_door(&mut chance).await {
        let connection = shared.recorder.connection();
        let open = Watch::open(&door, &receipts, Manner::Push(100));
        if let Ok(Ok(mut watch)) = tokio::time::timeout(ANSWERED_WITHIN, open).await {
            loop {
                let now = shared.recorder.now();
                match watch.next().await {
                    Brought::Receipt { message, status, .. } => {
                        let what = What::Receipt {
                            connection,
                            location: message,
                            status,
                        };
                        shared.recorder.enter(now, what);
                    }
                    Brought::Over(status) => {
                        if status == Some(StatusCode::NOT_FOUND) {
                            shared.recorder.enter(now, What::ReceiptsGone);
                        }
                        break;
                    }
                    Brought::Message { .. } => {}
                }
            }
        }
        tokio::time::sleep(TICK).await;
    }
}
