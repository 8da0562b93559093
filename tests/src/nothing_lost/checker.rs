//! The checker of the test records what was sent, what was answered, what arrived, what was acknowledged, and says what that proves.
//!
//! It knows no socket and no task; it is told events with their times and judges them by the promise:
//!
//! - A message answered 201 arrives (PR-1). One answered 5xx or not at all may arrive or not (PR-2).
//! - An acknowledgement is *taken* when 100 ms have passed since it reached a node that went on living (PR-4). That it
//!   reached the node is known from the answer to a ping sent after it. What was taken never comes again on a
//!   connection opened later; on one and the same connection nothing comes twice.
//! - First offers of one subscription come in the order of acceptance. One sender sends to a subscription, one message
//!   after the other, so that order is known.
//! - DELETE that was answered, with 204 or 404, is an acknowledgement that was taken at once (PR-1). So is whatever else
//!   ends a message for certain: its sender takes it back, its time is over, its subscription ends, another replaces it.
//! - What was answered 202 has one receipt in the end, and a true one: see `receipts`.
//! - A message with a topic may be missing if a newer one with its topic was or may have been accepted. Newer is what was
//!   stored later: of several nodes, one that never answered may have stored its message at any time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::faults::Faults;
use self::receipts::HeardReceipt;
use self::removals::Removals;
pub use self::removals::{Deleted, Remover, Wish};
use crate::chance::Chance;

mod faults;
mod receipts;
mod removals;
mod verdict;

/// When an acknowledgement counts as taken: the 100 ms of PR-4, and as much again and a half for a machine whose
/// cores are busy elsewhere.
pub const TAKEN_AFTER: Duration = Duration::from_millis(250);

/// A node in the checker.
pub type NodeNumber = usize;

/// A subscription in the checker.
pub type SubscriptionNumber = usize;

/// A message in the checker: its subscription, and its place among those sent to it.
pub type MessageKey = (SubscriptionNumber, usize);

/// A connection of a user agent, as far as the checker needs it.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Tells it from all others.
    pub number: usize,
    /// The node that it leads to.
    pub node: NodeNumber,
    /// When its hello was sent.
    pub opened: Instant,
}

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestResult {
    /// Not at all yet, or without an answer, or with 5xx: stored or not.
    Unknown,
    /// 201, or 202.
    Accepted,
    /// A refusal: not stored.
    Refused,
}

/// The life of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Registered, and confirmed.
    Active,
    /// Its end was asked for then and not confirmed: it may exist or not.
    Ending(Instant),
    /// Its end was confirmed.
    Ended(Instant),
}

/// See the module.
#[derive(Debug)]
pub struct Checker {
    seed: u64,
    subscriptions: Vec<Subscription>,
    by_name: HashMap<String, SubscriptionNumber>,
    faults: Faults,
    connections: usize,
    /// The connection that each user agent opened last, and how many it opened in all.
    open: HashMap<usize, (usize, usize)>,
    breaches: Vec<String>,
    offers: usize,
    changes: watch::Sender<()>,
    return_by: usize,
    has_several_nodes: bool,
    /// By the URL of the message.
    receipts: HashMap<String, HeardReceipt>,
    /// When connections of those who are told of receipts ended.
    heard_out: HashMap<usize, Instant>,
}

#[derive(Debug)]
struct Subscription {
    owner: usize,
    push_resource: String,
    stage: Stage,
    /// When its end was first asked for.
    ending: Option<Instant>,
    messages: Vec<Message>,
}

#[derive(Debug)]
struct Message {
    wish: Wish,
    begun: Instant,
    result: RequestResult,
    answered: Option<Instant>,
    /// Its sender's URL of it.
    location: Option<String>,
    version: Option<String>,
    /// Its place among all offers of the test.
    first_offer: Option<usize>,
    last_connection: usize,
    /// Whether it was acknowledged since its last offer.
    is_acknowledged: bool,
    /// The connections on which it was acknowledged, and when that was known to have reached the node.
    acknowledged: Vec<(Connection, Instant)>,
    removals: Removals,
}

impl Checker {
    /// A checker that has seen nothing, of a service of so many nodes.
    pub fn new(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            subscriptions: Vec::new(),
            by_name: HashMap::new(),
            faults: Faults::default(),
            connections: 0,
            open: HashMap::new(),
            breaches: Vec::new(),
            offers: 0,
            changes: watch::Sender::new(()),
            return_by: 0,
            has_several_nodes: nodes > 1,
            receipts: HashMap::new(),
            heard_out: HashMap::new(),
        }
    }

    /// Tells of every change.
    pub fn news(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// This node is killed now.
    pub fn killed(&mut self, node: NodeNumber, now: Instant) {
        self.faults.killed(node, now);
    }

    /// From now on nodes may find no storage.
    pub fn storage_goes(&mut self, now: Instant) {
        self.faults.storage_goes(now);
    }

    /// Storage is there again.
    pub fn storage_is_back(&mut self, now: Instant) {
        self.faults.storage_is_back(now);
    }

    /// Whether nodes have ever been without storage: then they may say that they have trouble.
    pub fn storage_was_away(&self) -> bool {
        self.faults.storage_was_away()
    }

    /// A user agent opens a connection to a node.
    pub fn connection(&mut self, owner: usize, node: NodeNumber, now: Instant) -> Connection {
        self.connections += 1;
        let (last, count) = self.open.entry(owner).or_default();
        (*last, *count) = (self.connections, *count + 1);
        Connection {
            number: self.connections,
            node,
            opened: now,
        }
    }

    /// How many connections a user agent has opened.
    pub fn connections_of(&self, owner: usize) -> usize {
        self.open.get(&owner).map_or(0, |(_, count)| *count)
    }

    /// A registration was confirmed.
    pub fn subscribed(&mut self, owner: usize, name: &str, push_resource: &str) {
        self.by_name.insert(name.to_owned(), self.subscriptions.len());
        self.subscriptions.push(Subscription {
            owner,
            push_resource: push_resource.to_owned(),
            stage: Stage::Active,
            ending: None,
            messages: Vec::new(),
        });
        self.changes.send_replace(());
    }

    /// The end of a subscription was asked for or confirmed.
    pub fn ends(&mut self, name: &str, stage: Stage) {
        if let Some(&number) = self.by_name.get(name) {
            let subscription = &mut self.subscriptions[number];
            subscription.stage = stage;
            if let Stage::Ending(from) = stage {
                subscription.ending.get_or_insert(from);
            }
        }
    }

    /// Subscriptions ever made.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// Subscriptions whose end was not asked for.
    pub fn active(&self) -> Vec<SubscriptionNumber> {
        let all = self.subscriptions.iter().enumerate();
        all.filter(|(_, subscription)| subscription.stage == Stage::Active)
            .map(|(number, _)| number)
            .collect()
    }

    /// The stage of a subscription.
    pub fn stage(&self, number: SubscriptionNumber) -> Stage {
        self.subscriptions[number].stage
    }

    /// Whether it was made on the WebSocket: then DELETE of its messages is answered in that dialect.
    pub fn is_of_websocket(&self, number: SubscriptionNumber) -> bool {
        self.subscriptions[number].push_resource.contains("/wpush/")
    }

    /// Begins a message: where it goes and what it says.
    pub fn begin(
        &mut self,
        number: SubscriptionNumber,
        wish: Wish,
        now: Instant,
    ) -> (MessageKey, String, String) {
        let subscription = &mut self.subscriptions[number];
        let key = (number, subscription.messages.len());
        subscription.messages.push(Message {
            wish,
            begun: now,
            result: RequestResult::Unknown,
            answered: None,
            location: None,
            version: None,
            first_offer: None,
            last_connection: 0,
            is_acknowledged: false,
            acknowledged: Vec::new(),
            removals: Removals::default(),
        });
        let push_resource = subscription.push_resource.clone();
        (key, push_resource, text(self.seed, key))
    }

    /// The answer to a message came, which may name its URL.
    pub fn answered(
        &mut self,
        key: MessageKey,
        result: RequestResult,
        location: Option<String>,
        now: Instant,
    ) {
        let message = &mut self.subscriptions[key.0].messages[key.1];
        (message.result, message.location, message.answered) = (result, location, Some(now));
        self.changes.send_replace(());
    }

    /// Something happened that must never happen.
    pub fn breach(&mut self, what: String) {
        self.breaches.push(what);
        self.changes.send_replace(());
    }

    /// A message arrived at its user agent. Returns its key, if it is one of ours.
    pub fn arrived(
        &mut self,
        on: Connection,
        name: &str,
        version: &str,
        said: Option<&str>,
    ) -> Option<MessageKey> {
        let found = said.and_then(|said| self.find(name, said));
        let Some((number, place)) = found else {
            self.breach(format!(
                "a message that was never sent arrived at {name}: {said:?}"
            ));
            return None;
        };
        let taken = self.taken((number, place), on.opened);
        let gone_by = self.gone_by(&self.subscriptions[number], place);
        self.offers += 1;
        let subscription = &mut self.subscriptions[number];
        let message = &mut subscription.messages[place];
        let mut breaches: Vec<String> = Vec::new();
        if matches!(subscription.stage, Stage::Ended(then) if then < on.opened) {
            breaches.push("arrived after its subscription had ended".into());
        }
        if message.version.as_deref().is_some_and(|before| before != version) {
            breaches.push("came again with another id (PR-4)".into());
        }
        if message.last_connection == on.number {
            breaches.push("came twice on one connection".into());
        }
        if let Some(lived) = taken {
            breaches.push(format!(
                "came again though the node lived for {lived:?} with its acknowledgement (PR-4)"
            ));
        }
        if gone_by.is_some_and(|gone| gone < on.opened) {
            breaches.push(format!(
                "came though it was gone for certain: {:?}",
                message.removals
            ));
        }
        if message.result == RequestResult::Refused {
            breaches.push("arrived though it was refused".into());
        }
        message.version.get_or_insert_with(|| version.to_owned());
        message.first_offer.get_or_insert(self.offers);
        message.last_connection = on.number;
        message.is_acknowledged = false;
        for breach in breaches {
            let history = self.history(number, place);
            self.breach(format!("message {number}/{place} {breach}: {history}"));
        }
        self.changes.send_replace(());
        Some((number, place))
    }

    /// The answer to a ping has told that the acknowledgement of a message reached the node. The answer may be read
    /// when that node is dead already; the connection tells which node it was.
    pub fn acknowledged(&mut self, (subscription, message): MessageKey, on: Connection, now: Instant) {
        let message = &mut self.subscriptions[subscription].messages[message];
        message.acknowledged.push((on, now));
        message.is_acknowledged = true;
        self.changes.send_replace(());
    }

    /// Whether everything that arrived on a connection that is still open is acknowledged.
    pub fn is_settled(&self) -> bool {
        self.unsettled().next().is_none()
    }

    fn unsettled(&self) -> impl Iterator<Item = (&Subscription, usize, &Message)> {
        self.messages().filter(|(subscription, _, message)| {
            let open = self.open.get(&subscription.owner);
            !message.is_acknowledged && open.is_some_and(|(last, _)| *last == message.last_connection)
        })
    }

    /// All user agents are to come back on a new connection.
    pub fn everybody_returns(&mut self) {
        self.return_by = self.connections;
        self.changes.send_replace(());
    }

    /// Whether this connection is one that its user agent must replace.
    pub fn is_superseded(&self, connection: Connection) -> bool {
        connection.number <= self.return_by
    }

    fn messages(&self) -> impl Iterator<Item = (&Subscription, usize, &Message)> {
        self.subscriptions.iter().flat_map(|subscription| {
            let messages = subscription.messages.iter().enumerate();
            messages.map(move |(place, message)| (subscription, place, message))
        })
    }

    /// If an acknowledgement of this message was taken before `then`: how long the node lived with it.
    fn taken(&self, (subscription, message): MessageKey, then: Instant) -> Option<Duration> {
        let acknowledged = &self.subscriptions[subscription].messages[message].acknowledged;
        let lived = acknowledged
            .iter()
            .filter_map(|(on, reached)| self.faults.lived_with(*on, *reached, then));
        lived.max().filter(|lived| *lived >= TAKEN_AFTER)
    }

    fn find(&self, name: &str, said: &str) -> Option<MessageKey> {
        let number = *self.by_name.get(name)?;
        let place = said.split(':').nth(1)?.parse().ok()?;
        let known = place < self.subscriptions[number].messages.len();
        (known && text(self.seed, (number, place)) == said).then_some((number, place))
    }
}

/// What a message says: its key, and as much more as makes bodies of many sizes. A message that was mixed up or
/// changed on its way says something else.
fn text(seed: u64, (subscription, message): MessageKey) -> String {
    let mut chance = Chance::new(seed ^ ((subscription as u64) << 32) ^ message as u64);
    let filler = match chance.below(20) {
        0 => 3_900,
        _ => chance.below(900),
    };
    format!("{subscription}:{message}:{}", ".".repeat(filler))
}

#[cfg(test)]
mod tests;
