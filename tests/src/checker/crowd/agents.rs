//! User agents of the crowd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::{ANSWERED_WITHIN, Phase, Shared, TICK};
use crate::chance::Chance;
use crate::checker::history::{
    AgentNumber, ConnectionNumber, MessageNumber, NodeNumber, RequestResult, SubscriptionNumber, Time, What,
};
use crate::user_agent::{Event, Notification, UserAgent, new_name};

/// After this number of other identities in a row, a user agent takes the new one: its own is lost.
const GIVES_UP_AFTER: usize = 4;

/// How a user agent lives during the storm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Habit {
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
pub(super) struct Agent {
    pub(super) shared: Arc<Shared>,
    pub(super) number: AgentNumber,
    pub(super) habit: Habit,
    /// Subscriptions that it makes at first.
    pub(super) wants: usize,
    pub(super) chance: Chance,
    pub(super) uaid: Option<String>,
    /// Subscriptions that were confirmed and not ended.
    pub(super) names: Vec<(String, SubscriptionNumber)>,
    /// How often in a row it was given another identity.
    pub(super) disowned: usize,
    pub(super) phase_seen: Phase,
}

/// One channel.
pub(super) struct Visit {
    pub(super) socket: UserAgent,
    pub(super) connection: ConnectionNumber,
    pub(super) node: NodeNumber,
    /// What has arrived and is not acknowledged, by the time when it will be.
    pub(super) hesitating: BTreeMap<(Instant, usize), (MessageNumber, Notification)>,
    pub(super) arrivals: usize,
    /// What was acknowledged before the ping of that number, and when.
    pub(super) sent: BTreeMap<u32, (Time, Vec<MessageNumber>)>,
    pub(super) pings: u32,
    pub(super) asked: Option<(Time, &'static str, String, Option<SubscriptionNumber>)>,
}

impl Agent {
    pub(super) fn new(
        shared: Arc<Shared>,
        number: AgentNumber,
        habit: Habit,
        wants: usize,
        chance: Chance,
    ) -> Self {
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

    pub(super) async fn live(mut self) {
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
            let connector = match self.habit {
                Habit::Stays(node) => self
                    .shared
                    .connector_of(node)
                    .await
                    .map(|connector| (node, connector)),
                _ => self.shared.any_connector(&mut self.chance).await,
            };
            let Some((node, connector)) = connector else {
                return;
            };
            let opened = tokio::time::timeout(ANSWERED_WITHIN, UserAgent::try_connect(&connector, "/")).await;
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

    pub(super) async fn visit(&mut self, node: NodeNumber, mut socket: UserAgent) {
        let (connection, invoked) = (self.shared.recorder.connection(), self.shared.recorder.now());
        let known = self.uaid.clone().unwrap_or_default();
        socket
            .send(&json!({"messageType": "hello", "use_webpush": true, "uaid": known}))
            .await;
        let is_known = !self.names.is_empty();
        let hello = |is_new_identity, result| What::Hello {
            agent: self.number,
            connection,
            node,
            is_known,
            is_new_identity,
            result,
        };
        let recorder = self.shared.recorder.clone();
        let given = match tokio::time::timeout(ANSWERED_WITHIN, socket.event()).await {
            Ok(Event::Reply(reply)) if reply["messageType"] == "hello" && reply["status"] == 200 => {
                reply["uaid"].as_str().unwrap_or_default().to_owned()
            }
            Ok(Event::Closed(_)) => return recorder.enter(invoked, hello(false, RequestResult::Refused)),
            _ => return recorder.enter(invoked, hello(false, RequestResult::Unknown)),
        };
        let is_new = given != known;
        recorder.enter(invoked, hello(is_new, RequestResult::Ok));
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
    pub(super) async fn converse(&mut self, visit: &mut Visit, goes_at: Instant) {
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
    pub(super) fn leave(&mut self, visit: Visit) {
        let recorder = &self.shared.recorder;
        for (invoked, messages) in visit.sent.into_values() {
            self.shared.unsettled.fetch_sub(messages.len(), Ordering::Relaxed);
            for message in messages {
                let what = acknowledged(
                    self.number,
                    visit.connection,
                    visit.node,
                    message,
                    RequestResult::Unknown,
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

    pub(super) fn arrived(&mut self, visit: &mut Visit, notification: Notification) {
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

    pub(super) async fn acknowledge(&mut self, visit: &mut Visit) {
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
    pub(super) fn settled(&mut self, visit: &mut Visit, ping: &[u8]) {
        let Some(number) = ping.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
            return;
        };
        let later = visit.sent.split_off(&(number + 1));
        for (invoked, messages) in std::mem::replace(&mut visit.sent, later).into_values() {
            self.shared.unsettled.fetch_sub(messages.len(), Ordering::Relaxed);
            for message in messages {
                let what = acknowledged(
                    self.number,
                    visit.connection,
                    visit.node,
                    message,
                    RequestResult::Ok,
                );
                self.shared.recorder.enter(invoked, what);
            }
        }
    }

    /// Makes the first subscriptions, and later renews, makes or ends one now and then.
    pub(super) async fn change(&mut self, visit: &mut Visit) {
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

    pub(super) fn replied(&mut self, visit: &mut Visit, reply: &Value) {
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

    pub(super) fn answered(
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

pub(super) fn acknowledged(
    agent: AgentNumber,
    connection: ConnectionNumber,
    node: NodeNumber,
    message: MessageNumber,
    result: RequestResult,
) -> What {
    What::Acknowledge {
        agent,
        connection,
        node,
        message,
        result,
    }
}

/// New user agents subscribe and disconnect; each comes back a few times, to any node.
pub(super) async fn appear(shared: Arc<Shared>, mut chance: Chance) -> JoinSet<()> {
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
