//! A user agent of the test as RFC 8030 has it: subscribes by POST, monitors its set, acknowledges by DELETE, at whatever
//! node.
//!
//! What it monitors comes over one connection, by server push or as events; what it asks goes over another, mostly to
//! another node. Either may break at any moment, and is opened again.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use futures_util::future::join_all;
use http::{Method, StatusCode};

use super::agent::TICKS_PER_CHANGE;
use super::checker::{Checker, Connection, Deleted, MessageKey, NodeNumber, Remover, Stage};
use super::line::{Brought, Line, Manner, PUSH, SET, Watch};
use super::stays::{Stays, TICK};
use super::{Phase, SUBSCRIPTIONS, World};
use crate::application_server::{Answer, Unanswered};
use crate::chance::Chance;
use crate::connector::Connector;
use crate::{payload, within};

/// What lasts from one connection to the next.
struct Subscriber {
    stays: Stays,
    manner: Manner,
    /// Where it asks.
    line: Option<Line>,
    set: Option<String>,
    /// Subscriptions that were confirmed and not ended: subscription and push resource.
    subscriptions: Vec<(String, String)>,
}

/// What one monitoring request knows.
struct Visit {
    watch: Watch,
    connection: Connection,
    /// What has arrived and is not acknowledged, by the time when it will be; and its URL.
    hesitating: BTreeMap<(Instant, usize), (MessageKey, String)>,
    arrivals: usize,
}

/// Lives until the test is over.
pub(super) async fn live(world: Arc<World>, number: usize, manner: Manner, chance: Chance) {
    let mut subscriber = Subscriber {
        stays: Stays::new(world, number, chance),
        manner,
        line: None,
        set: None,
        subscriptions: Vec::new(),
    };
    while subscriber.stays.phase() != Phase::Leave {
        if subscriber.subscriptions.len() < SUBSCRIPTIONS {
            subscriber.subscribe().await;
            continue;
        }
        let Some((node, connector)) = subscriber.stays.next_connector().await else {
            return;
        };
        subscriber.visit(node, &connector).await;
        subscriber.stays.be_away().await;
    }
}

impl Subscriber {
    /// One monitoring request, to its end.
    async fn visit(&mut self, node: NodeNumber, connector: &Connector) {
        let set = self
            .set
            .clone()
            .expect("a user agent with subscriptions has a set");
        let connection = self.checker().connection(self.stays.number, node, Instant::now());
        let Ok(watch) = Watch::open(connector, &set, self.manner.clone()).await else {
            return tokio::task::yield_now().await;
        };
        let mut visit = Visit {
            watch,
            connection,
            hesitating: BTreeMap::new(),
            arrivals: 0,
        };
        let goes_at = self.stays.goes_at();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                brought = visit.watch.next() => match brought {
                    Brought::Message { url, push_resource, body } => {
                        self.arrived(&mut visit, url, &push_resource, &body);
                    }
                    Brought::Over(status) => return self.over(status),
                    Brought::Receipt { .. } => self.breach("was brought a receipt"),
                },
                _ = tick.tick() => {
                    self.acknowledge(&mut visit).await;
                    self.change().await;
                    if self.stays.goes(visit.connection, goes_at, visit.hesitating.is_empty()) {
                        return;
                    }
                }
            }
        }
    }

    fn arrived(&mut self, visit: &mut Visit, url: String, push_resource: &str, body: &[u8]) {
        let text = payload::text(body);
        let found = self
            .checker()
            .arrived(visit.connection, push_resource, &url, text.as_deref());
        if let Some(key) = found {
            visit.arrivals += 1;
            let due = (self.stays.acknowledges_at(), visit.arrivals);
            visit.hesitating.insert(due, (key, url));
        }
    }

    /// A user agent whose set is not there has lost all its subscriptions.
    fn over(&self, status: Option<StatusCode>) {
        if status == Some(StatusCode::NOT_FOUND) {
            self.breach("was told that its subscription set is not there");
        }
        self.stays.was_closed(&status);
    }

    /// DELETEs what is due, all at once. What is not answered is tried again.
    async fn acknowledge(&mut self, visit: &mut Visit) {
        let later = visit.hesitating.split_off(&(Instant::now(), usize::MAX));
        let due = std::mem::replace(&mut visit.hesitating, later);
        if due.is_empty() {
            return;
        }
        let Some(line) = self.line().await else {
            return visit.hesitating.extend(due);
        };
        let world = &self.stays.world;
        let requests = due.into_iter().map(async |(at, (key, url))| {
            world.checker().acknowledges(key, Instant::now());
            let answer = within("a DELETE is answered or fails", line.delete(&url)).await;
            (at, key, url, answer)
        });
        let answers = join_all(requests).await;
        let mut is_broken = false;
        for (at, key, url, answer) in answers {
            is_broken |= answer.is_err();
            let how = match answer.map(|answer| answer.status) {
                Ok(StatusCode::NO_CONTENT) => Deleted::There,
                Ok(StatusCode::NOT_FOUND) => Deleted::Gone,
                Ok(status) if !status.is_server_error() => {
                    self.breach(&format!("was told {status} when it acknowledged"));
                    continue;
                }
                Ok(_) | Err(_) => {
                    visit.hesitating.insert(at, (key, url));
                    continue;
                }
            };
            self.checker()
                .deleted(key, Remover::UserAgent, how, Instant::now());
        }
        if !is_broken {
            self.line = Some(line);
        }
    }

    /// Now and then one subscription more or one less.
    async fn change(&mut self) {
        if self.stays.phase() != Phase::Storm || !self.stays.chance.one_in(TICKS_PER_CHANGE) {
            return;
        }
        if self.subscriptions.len() > SUBSCRIPTIONS {
            self.unsubscribe().await;
        } else {
            self.subscribe().await;
        }
    }

    async fn subscribe(&mut self) {
        let set = self.set.clone();
        let link = set.as_deref().map(|set| (set, SET));
        let Some(answer) = self.ask(Method::POST, "http://node.test/subscribe", link).await else {
            return;
        };
        if answer.status != StatusCode::CREATED {
            return self.told(&answer);
        }
        if set.is_some_and(|set| set != answer.link(SET)) {
            self.breach("was given another set");
        }
        let push_resource = answer.link(PUSH).to_owned();
        self.set = Some(answer.link(SET).to_owned());
        self.checker()
            .subscribed(self.stays.number, &push_resource, &push_resource);
        let subscription = answer.header("location").to_owned();
        self.subscriptions.push((subscription, push_resource));
    }

    async fn unsubscribe(&mut self) {
        let (subscription, push_resource) = self.subscriptions.swap_remove(SUBSCRIPTIONS);
        self.checker().ends(&push_resource, Stage::Ending(Instant::now()));
        match self.ask(Method::DELETE, &subscription, None).await {
            Some(answer) if answer.status == StatusCode::NO_CONTENT => {
                self.checker().ends(&push_resource, Stage::Ended(Instant::now()));
            }
            Some(answer) => self.told(&answer),
            // It exists or not.
            None => {}
        }
    }

    /// A request and its answer, if it comes.
    async fn ask(&mut self, method: Method, url: &str, link: Option<(&str, &str)>) -> Option<Answer> {
        let line = self.line().await?;
        let answer: Result<_, Unanswered> =
            within("a request is answered or fails", line.request(method, url, link)).await;
        let answer = answer.ok()?;
        self.line = Some(line);
        Some(answer)
    }

    /// The connection for requests, or a new one.
    async fn line(&mut self) -> Option<Line> {
        if let Some(line) = self.line.take() {
            return Some(line);
        }
        let connectors = &self.stays.world.connectors;
        let (_, connector) = connectors.any_but(None, &mut self.stays.chance).await?;
        Line::open(&connector).await.ok()
    }

    /// An answer that a node gives only in trouble.
    fn told(&self, answer: &Answer) {
        if !answer.status.is_server_error() {
            self.breach(&format!("was told {}: {}", answer.status, answer.text()));
        }
    }

    fn breach(&self, what: &str) {
        let breach = format!("user agent {} {what}", self.stays.number);
        self.checker().breach(breach);
    }

    fn checker(&self) -> MutexGuard<'_, Checker> {
        self.stays.world.checker()
    }
}
