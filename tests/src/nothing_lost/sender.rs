//! An application server of the test: sends over one connection to each node, and opens the next when it breaks. Some of its
//! messages it takes back, of some it wants to be told what becomes of them: all receipts go to one receipt subscription.
//!
//! It tells the checker the truth: a request that has begun is known to the checker before its first byte leaves, and an answer is
//! entered before the next request begins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::checker::{Deleted, MessageKey, NodeNumber, Remover, RequestResult, Stage, Wish};
use super::line::{RECEIPT, link_to};
use super::{Phase, SENDERS, World};
use crate::application_server::{Answer, Http, Push, Unanswered};
use crate::chance::Chance;
use crate::connector::Connector;
use crate::within;

/// Topics in use per subscription: few, so that messages are replaced.
const TOPICS: usize = 3;
/// Subscriptions that have ended are tried less often, by so much.
const ENDED_ONCE_IN: usize = 20;
/// One message in so many has a time to live that ends while the test runs: at most so many seconds.
const SHORT_ONCE_IN: usize = 20;
const SHORT: usize = 5;
/// One message in so many is taken back at once, if it's still there.
const CANCELLED_ONCE_IN: usize = 20;

struct Sender {
    world: Arc<World>,
    number: usize,
    chance: Chance,
}

/// Sends to every sixteenth subscription while the storm lasts, each message at a node chosen by chance.
pub(super) async fn send(world: Arc<World>, number: usize, chance: Chance) {
    let mut sender = Sender {
        world: Arc::clone(&world),
        number,
        chance,
    };
    let mut connections: BTreeMap<NodeNumber, Http> = BTreeMap::new();
    while *world.phase.borrow() == Phase::Storm {
        let mine: Vec<usize> = (number..world.checker().subscriptions())
            .step_by(SENDERS)
            .collect();
        let subscription = mine[sender.chance.below(mine.len())];
        let stage = world.checker().stage(subscription);
        if stage != Stage::Active && !sender.chance.one_in(ENDED_ONCE_IN) {
            tokio::task::yield_now().await;
            continue;
        }
        let Some((node, connector)) = world.connectors.any_but(None, &mut sender.chance).await else {
            return;
        };
        let mut http = match connections.remove(&node) {
            Some(http) => http,
            None => match connect(&connector, number).await {
                Ok(http) => http,
                Err(_) => {
                    tokio::task::yield_now().await;
                    continue;
                }
            },
        };
        let wish = sender.wish();
        if sender.push(&mut http, subscription, wish).await.is_ok() {
            connections.insert(node, http);
            tokio::time::sleep(sender.chance.between((Duration::ZERO, world.pause))).await;
        }
    }
}

/// Sends one last message to every subscription that is there, each of which must be accepted.
pub(super) async fn closing_words(world: &Arc<World>) {
    let connector = world.connectors.of(0).await.expect("the service is up");
    let mut http = connect(&connector, 0)
        .await
        .expect("the service takes connections");
    let mut sender = Sender {
        world: Arc::clone(world),
        number: 0,
        chance: Chance::new(0),
    };
    let active = world.checker().active();
    for subscription in active {
        let accepted = sender.send_one(&mut http, subscription, Wish::plain(None)).await;
        accepted.expect("the last messages are answered");
    }
}

/// Every fourth sender speaks HTTP/2.
async fn connect(connector: &Connector, number: usize) -> Result<Http, Unanswered> {
    match number % 4 {
        3 => Http::connect_http2(connector).await,
        _ => Http::connect(connector).await,
    }
}

impl Sender {
    /// What the next message is to be like.
    fn wish(&mut self) -> Wish {
        let topic = self.chance.one_in(10).then(|| self.chance.below(TOPICS));
        let mut wish = Wish::plain(topic);
        if self.chance.one_in(SHORT_ONCE_IN) {
            wish.ttl = self.chance.below(SHORT + 1) as u64;
        }
        wish.receipt = self.chance.one_in(2);
        wish
    }

    /// Sends a message, and takes it back now and then.
    async fn push(&mut self, http: &mut Http, subscription: usize, wish: Wish) -> Result<(), Unanswered> {
        let sent = self.send_one(http, subscription, wish).await?;
        if let Some((key, location)) = sent
            && self.chance.one_in(CANCELLED_ONCE_IN)
        {
            self.cancel(http, key, &location).await?;
        }
        Ok(())
    }

    /// Sends a message; its key and its URL if it was accepted.
    async fn send_one(
        &mut self,
        http: &mut Http,
        subscription: usize,
        wish: Wish,
    ) -> Result<Option<(MessageKey, String)>, Unanswered> {
        let stage = self.world.checker().stage(subscription);
        let (key, push_resource, text) = self.world.checker().begin(subscription, wish, Instant::now());
        let mut message = Push::new(&push_resource, &text).ttl(wish.ttl);
        if let Some(topic) = wish.topic {
            message = message.header("topic", &format!("topic-{topic}"));
        }
        if wish.receipt {
            message = message.header("prefer", "respond-async");
            if let Some(receipts) = &*self.world.receipts[self.number].borrow() {
                message = message.header("link", &link_to(receipts, RECEIPT));
            }
        }
        let answer = within("a push is answered or fails", http.try_push(&message)).await?;
        let result = self.result(key, stage, wish, &answer);
        let location = answer.header("location").to_owned();
        let is_accepted = result == RequestResult::Accepted;
        let named = is_accepted.then(|| location.clone());
        self.world.checker().answered(key, result, named, Instant::now());
        Ok(is_accepted.then_some((key, location)))
    }

    fn result(&self, key: MessageKey, stage_before: Stage, wish: Wish, answer: &Answer) -> RequestResult {
        let accepted = match wish.receipt {
            true => StatusCode::ACCEPTED,
            false => StatusCode::CREATED,
        };
        let status = answer.status;
        let mut checker = self.world.checker();
        match status {
            _ if status == accepted && matches!(stage_before, Stage::Ended(_)) => {
                checker.breach(format!(
                    "message {key:?} was accepted after its subscription had ended"
                ));
                RequestResult::Unknown
            }
            _ if status == accepted => {
                if wish.receipt && !self.keeps(answer.link(RECEIPT)) {
                    checker.breach(format!("sender {} was given other receipts", self.number));
                }
                RequestResult::Accepted
            }
            StatusCode::GONE | StatusCode::NOT_FOUND if checker.stage(key.0) != Stage::Active => {
                RequestResult::Refused
            }
            StatusCode::TOO_MANY_REQUESTS => RequestResult::Refused,
            _ if status.is_server_error() => RequestResult::Unknown,
            _ => {
                checker.breach(format!(
                    "message {key:?} to a subscription that is there was answered {status}"
                ));
                RequestResult::Refused
            }
        }
    }

    /// Whether this is its receipt subscription; the first becomes it.
    fn keeps(&self, receipts: &str) -> bool {
        let known = &self.world.receipts[self.number];
        known.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert_with(|| receipts.to_owned());
            is_first
        });
        known.borrow().as_deref() == Some(receipts)
    }

    /// Takes a message back. A `/wpush` message is answered 204 whether it was there or not (WP-11).
    async fn cancel(&self, http: &mut Http, key: MessageKey, location: &str) -> Result<(), Unanswered> {
        self.world.checker().cancels(key, Instant::now());
        let answer = within("a DELETE is answered or fails", http.delete(location)).await?;
        let mut checker = self.world.checker();
        let how = match answer.status {
            StatusCode::NO_CONTENT if checker.is_of_websocket(key.0) => Deleted::ThereOrGone,
            StatusCode::NO_CONTENT => Deleted::There,
            StatusCode::NOT_FOUND => Deleted::Gone,
            status if status.is_server_error() => return Ok(()),
            status => {
                checker.breach(format!(
                    "message {key:?} was to be taken back, and that was answered {status}"
                ));
                return Ok(());
            }
        };
        checker.deleted(key, Remover::ApplicationServer, how, Instant::now());
        Ok(())
    }
}
