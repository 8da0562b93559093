//! A user agent of the test on the WebSocket: acknowledges late, makes and ends subscriptions.
//!
//! Written on the events of [`UserAgent`] and not on its expectations: here the service may vanish between any two
//! words, and that is no failure.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::checker::{Checker, Connection, MessageKey, NodeNumber, Stage};
use super::stays::{Stays, TICK};
use super::{Phase, SUBSCRIPTIONS, World};
use crate::chance::Chance;
use crate::user_agent::{Event, Notification, UserAgent, new_name};

/// Once in so many ticks a subscription is made, or one ended.
pub(super) const TICKS_PER_CHANGE: usize = 60;

/// What lasts from one connection to the next.
struct Agent {
    stays: Stays,
    uaid: Option<String>,
    /// Subscriptions that were confirmed and not ended.
    names: Vec<String>,
}

/// What one connection knows.
struct Visit {
    socket: UserAgent,
    connection: Connection,
    /// What has arrived and is not acknowledged, by the time when it will be.
    hesitating: BTreeMap<(Instant, usize), (MessageKey, Notification)>,
    /// What was acknowledged before the ping of that number.
    sent: BTreeMap<u32, Vec<MessageKey>>,
    pings: u32,
    /// The request that waits for its reply, `register` or `unregister`, and the name in it.
    asked: Option<(&'static str, String)>,
}

/// Lives until the test is over.
pub(super) async fn live(world: Arc<World>, number: usize, chance: Chance) {
    let mut agent = Agent {
        stays: Stays::new(world, number, chance),
        uaid: None,
        names: Vec::new(),
    };
    while agent.stays.phase() != Phase::Leave {
        let Some((node, connector)) = agent.stays.next_connector().await else {
            return;
        };
        match UserAgent::try_connect(&connector, "/").await {
            Ok(socket) => agent.visit(node, socket).await,
            Err(_) => tokio::task::yield_now().await,
        }
        agent.stays.be_away().await;
    }
}

impl Agent {
    /// One connection, from hello to its end.
    async fn visit(&mut self, node: NodeNumber, mut socket: UserAgent) {
        let connection = self.checker().connection(self.stays.number, node, Instant::now());
        let uaid = self.uaid.clone().unwrap_or_default();
        socket
            .send(&json!({"messageType": "hello", "use_webpush": true, "uaid": uaid}))
            .await;
        match socket.event().await {
            Event::Reply(reply) if reply["messageType"] == "hello" => self.greeted(&reply),
            Event::Closed(_) => return,
            other => {
                self.checker()
                    .breach(format!("hello was answered with {other:?}"));
                return;
            }
        }
        let mut visit = Visit {
            socket,
            connection,
            hesitating: BTreeMap::new(),
            sent: BTreeMap::new(),
            pings: 0,
            asked: None,
        };
        let goes_at = self.stays.goes_at();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = visit.socket.event() => match event {
                    Event::Closed(closed) => return self.stays.was_closed(&closed),
                    Event::Notification(notification) => self.arrived(&mut visit, notification),
                    Event::Pong(ping) => self.settled(&mut visit, &ping),
                    Event::Reply(reply) => self.replied(&mut visit, &reply),
                },
                _ = tick.tick() => {
                    self.acknowledge(&mut visit).await;
                    self.change(&mut visit).await;
                    let is_settled = visit.hesitating.is_empty() && visit.sent.is_empty();
                    if self.stays.goes(visit.connection, goes_at, is_settled) {
                        return;
                    }
                }
            }
        }
    }

    fn greeted(&mut self, reply: &Value) {
        let given = reply["uaid"].as_str().unwrap_or_default().to_owned();
        // An identity without a subscription is not kept, and a new one is no loss (WS-HEL-7).
        let known = self.uaid.as_ref().filter(|_| !self.names.is_empty());
        if known.is_some_and(|uaid| *uaid != given) {
            let breach = format!("user agent {} was given another identity", self.stays.number);
            self.checker().breach(breach);
        }
        self.uaid = Some(given);
    }

    fn arrived(&mut self, visit: &mut Visit, notification: Notification) {
        let text = notification.text();
        let found = self.checker().arrived(
            visit.connection,
            &notification.name,
            &notification.version,
            text.as_deref(),
        );
        if let Some(key) = found {
            let due = self.stays.acknowledges_at();
            let order = visit.hesitating.len();
            visit.hesitating.insert((due, order), (key, notification));
        }
    }

    async fn acknowledge(&mut self, visit: &mut Visit) {
        let later = visit.hesitating.split_off(&(Instant::now(), usize::MAX));
        let due = std::mem::replace(&mut visit.hesitating, later);
        if due.is_empty() {
            return;
        }
        for (key, _) in due.values() {
            self.checker().acknowledges(*key, Instant::now());
        }
        let updates: Vec<Value> = due
            .values()
            .map(|(_, message)| json!({"channelID": message.name, "version": message.version, "code": 100}))
            .collect();
        for updates in updates.chunks(20) {
            visit
                .socket
                .send(&json!({"messageType": "ack", "updates": updates}))
                .await;
        }
        visit.pings += 1;
        visit
            .sent
            .insert(visit.pings, due.into_values().map(|(key, _)| key).collect());
        let ping = visit.pings.to_be_bytes().to_vec();
        visit.socket.send_frame(Message::Ping(ping.into())).await;
    }

    /// The service has answered a ping: all that was sent before has reached it.
    fn settled(&mut self, visit: &mut Visit, ping: &[u8]) {
        let Some(number) = ping.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
            return;
        };
        let now = Instant::now();
        let later = visit.sent.split_off(&(number + 1));
        for key in std::mem::replace(&mut visit.sent, later).into_values().flatten() {
            self.checker().acknowledged(key, visit.connection, now);
        }
    }

    /// Makes the first subscriptions, and later now and then one more or one less.
    async fn change(&mut self, visit: &mut Visit) {
        let phase = self.stays.phase();
        if visit.asked.is_some() || phase > Phase::Storm {
            return;
        }
        let kind = if self.names.len() < SUBSCRIPTIONS {
            "register"
        } else if phase == Phase::Storm && self.stays.chance.one_in(TICKS_PER_CHANGE) {
            if self.names.len() > SUBSCRIPTIONS {
                "unregister"
            } else {
                "register"
            }
        } else {
            return;
        };
        let name = if kind == "register" {
            new_name()
        } else {
            self.names.swap_remove(SUBSCRIPTIONS)
        };
        if kind == "unregister" {
            self.checker().ends(&name, Stage::Ending(Instant::now()));
        }
        visit
            .socket
            .send(&json!({"messageType": kind, "channelID": name}))
            .await;
        visit.asked = Some((kind, name));
    }

    fn replied(&mut self, visit: &mut Visit, reply: &Value) {
        let expected = visit.asked.take().filter(|(kind, name)| {
            reply["messageType"] == *kind && reply["channelID"] == *name && reply["status"] == 200
        });
        let mut checker = self.stays.world.checker();
        match (expected, reply["pushEndpoint"].as_str()) {
            (Some(("register", name)), Some(push_resource)) => {
                checker.subscribed(self.stays.number, &name, push_resource);
                self.names.push(name);
            }
            (Some(("unregister", name)), _) => checker.ends(&name, Stage::Ended(Instant::now())),
            // It exists or not: its push resource is not known.
            _ if reply["status"] == 500 && checker.storage_was_away() => {}
            _ => checker.breach(format!("user agent {} was told {reply}", self.stays.number)),
        }
    }

    fn checker(&self) -> MutexGuard<'_, Checker> {
        self.stays.world.checker()
    }
}
