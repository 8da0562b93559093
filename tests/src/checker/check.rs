//! Whether a history keeps the promise.
//!
//! Contract: [`check`] is a pure function of a history and of the [`Rules`] of the row that was played. It reports every
//! violation that it finds, each with the entries that prove it. It never reports what a correct service could have
//! caused: if an outcome is unknown, it assumes the one in the service's favour. Each [`Kind`] of violation has a
//! unit test that plants one and finds it.
//!
//! The rules, in the words of the promise:
//!
//! - [`Kind::Lost`]: a message that was answered 201 or 202 arrives, unless it was replaced, taken back, expired, or its
//!   subscription was ended (PR-1).
//! - [`Kind::Unknown`]: a registered user agent is never told "unknown". One with a subscription gets no new
//!   identity. Each push resource that a subscription ever had gets no 404 or 410 unless its end was requested. No
//!   receipt subscription disappears (PR-3, PR-9, PR-40).
//! - [`Kind::NeverSent`]: no message arrives that was never sent, that was refused with 4xx, or that is for another
//!   user agent.
//! - [`Kind::Order`]: messages of a subscription are first delivered in the order of acceptance (PR-4).
//! - [`Kind::Returned`]: a message does not return after its acknowledgement was committed, no message comes twice on
//!   one channel, and a repeated message has the same id (PR-4, PR-18).
//! - [`Kind::Receipt`]: a message answered 202 has exactly one receipt, and its status is true (PR-25).
//! - [`Kind::Undead`]: after an answer "unregistered" or "deleted" no message arrives or is accepted (PR-1, PR-9).
//! - [`Kind::Status`]: only answers that the docs name; 503 has `Retry-After`.
//! - [`Kind::Closed`]: a user agent that was connected before the failure stays connected while its node lives. One
//!   that connects during the failure may be displaced once more.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::history::{
    AgentNumber, ConnectionNumber, Entry, MessageNumber, NodeNumber, Outcome, SECOND, Time, What,
};

/// How long after it was read an acknowledgement counts as committed: the 100 ms of PR-4, and 150 ms more for a busy
/// machine.
const COMMITTED_AFTER: Time = 250_000;

/// How long nodes need to notice that storage is back, to connect, and to catch up.
const NOTICED_WITHIN: Time = 3 * SECOND;

/// Asynchronous replication may lose what was answered within this time before the fault. Chosen: replicas on a busy
/// machine are behind by milliseconds; a second is more than Redis's documentation calls usual.
const REPLICATION_LAG: Time = SECOND;

/// How long after a failover nodes need to compare their channels with storage: the `cluster.reconcile` of the trials.
const COMPARED_WITHIN: Time = 5 * SECOND;

/// The close code of a channel that was displaced.
const DISPLACED: u16 = 1011;

/// The node that is on the deposed primary's side of a partition.
const CUT_OFF: NodeNumber = 0;

/// What may be lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// No confirmed message or answer.
    Nothing,
    /// What was confirmed shortly before the fault and during it: messages, subscriptions, and answers of any kind.
    Recent,
    /// What was confirmed shortly before the fault, and what the first node confirmed during it: that node is cut off from all
    /// others together with the deposed primary. Not what another node confirmed during the fault: it has the new primary.
    ByTheDeposed,
    /// What was confirmed shortly before the fault: not all replicas had it, and one without it was promoted. Not
    /// what was confirmed during the fault.
    JustBefore,
    /// The history ends while the service is in trouble: it does not show what will be delivered.
    NotAsked,
}

/// Whether acknowledgements that were committed may be forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledgements {
    /// No: they are kept.
    Kept,
    /// The last ones before a failover, and those during it, may be forgotten, because acknowledgements do not wait for
    /// replicas. Their messages (and receipts, which are acknowledged as well) come again, even on the same channel.
    /// Older acknowledgements are kept.
    MayReturn,
}

/// The rules of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// What may be lost.
    pub lost: Lost,
    /// What may come again.
    pub acknowledgements: Acknowledgements,
    /// How far clocks leap without being refused: by so much a message may expire early.
    pub leap: Time,
}

/// The kind of a violation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "the module's header explains each")]
pub enum Kind {
    Lost,
    Unknown,
    NeverSent,
    Order,
    Returned,
    Receipt,
    Undead,
    Status,
    Closed,
}

/// A violation, with its proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Of what kind.
    pub kind: Kind,
    /// The violation in words.
    pub what: String,
    /// The entries that prove it, by their place in the history.
    pub proof: Vec<usize>,
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Requests for messages.
    pub pushes: usize,
    /// Those that were answered 201 or 202.
    pub accepted: usize,
    /// Those that were refused with 503.
    pub refused: usize,
    /// Those that were not answered.
    pub unanswered: usize,
    /// Messages that were accepted and did not arrive, as the row allows.
    pub lost_by_rule: usize,
    /// Messages that were accepted and did not arrive, against the promise.
    pub lost: usize,
    /// Repeated deliveries.
    pub repeats: usize,
    /// Deliveries after the acknowledgement had been committed.
    pub forgotten: usize,
    /// Channels on which hello was answered with an identity.
    pub hellos: usize,
    /// Channels on which hello was refused.
    pub hellos_refused: usize,
    /// Subscriptions that were confirmed, and times that they were renewed.
    pub registers: usize,
    /// Subscriptions that were ended.
    pub unregisters: usize,
    /// Acknowledgements that reached a node.
    pub acknowledgements: usize,
    /// Messages that were taken back.
    pub cancels: usize,
    /// Receipts.
    pub receipts: usize,
    /// Channels that the service closed in trouble.
    pub closed: usize,
    /// Times that nodes went down.
    pub nodes_down: usize,
    /// The longest time until a sender got 503, in microseconds.
    pub longest_refusal: Time,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Verdict {
    /// All violations.
    pub violations: Vec<Violation>,
    /// What was counted.
    pub counts: Counts,
}

/// Checks a history against the promise.
pub fn check(history: &[Entry], rules: Rules) -> Verdict {
    let facts = Facts::read(history);
    let mut judge = Judge {
        history,
        facts: &facts,
        rules,
        verdict: Verdict::default(),
    };
    judge.count();
    judge.answers();
    judge.offers();
    judge.losses();
    judge.order();
    judge.receipts();
    judge.verdict.violations.sort_by_key(|violation| violation.kind);
    judge.verdict
}

/// Messages that were accepted, must arrive, and have not yet.
pub fn missing(history: &[Entry]) -> Vec<MessageNumber> {
    let facts = Facts::read(history);
    let messages = facts.messages.iter();
    messages
        .filter(|(number, message)| {
            message.is_accepted() && message.offers.is_empty() && !facts.may_be_absent(history, **number)
        })
        .map(|(number, _)| *number)
        .collect()
}

/// Whether a message's user agent has been connected on one channel from this time until now.
pub fn is_connected_since(history: &[Entry], message: MessageNumber, since: Time) -> bool {
    let facts = Facts::read(history);
    let subscription = facts.messages[&message].subscription;
    let Some(register) = facts.subscriptions[&subscription].registers.first() else {
        return false;
    };
    let What::Register { agent, .. } = history[*register].what else {
        return false;
    };
    let hellos = facts.hellos.get(&agent).into_iter().flatten();
    let Some((place, connection)) = hellos.last().and_then(|hello| match history[*hello].what {
        What::Hello {
            connection,
            outcome: Outcome::Ok,
            ..
        } => Some((*hello, connection)),
        _ => None,
    }) else {
        return false;
    };
    let is_closed = history[place..]
        .iter()
        .any(|entry| matches!(entry.what, What::Closed { connection: closed, .. } if closed == connection));
    history[place].completed <= since && !is_closed
}

/// Messages that were answered 202, must have a receipt, and have none yet.
pub fn untold(history: &[Entry]) -> usize {
    let facts = Facts::read(history);
    facts.untold(history).len()
}

/// Everything that is known of one message, by places in the history.
#[derive(Default)]
struct Message {
    push: Option<usize>,
    subscription: usize,
    invoked: Time,
    /// When it was answered; the greatest time if it was not.
    answered: Time,
    status: u16,
    topic: Option<usize>,
    ttl: u64,
    receipt: bool,
    location: Option<String>,
    offers: Vec<usize>,
    acknowledgements: Vec<usize>,
    cancels: Vec<usize>,
}

impl Message {
    fn is_accepted(&self) -> bool {
        matches!(self.status, 201 | 202)
    }

    /// Certainly refused.
    fn is_refused(&self) -> bool {
        matches!(self.status, 400..500)
    }
}

#[derive(Default)]
struct Subscription {
    registers: Vec<usize>,
    unregisters: Vec<usize>,
    /// Its messages, in the order in which their requests began.
    messages: Vec<MessageNumber>,
}

/// The history, sorted by what it is about.
#[derive(Default)]
struct Facts {
    messages: BTreeMap<MessageNumber, Message>,
    subscriptions: BTreeMap<usize, Subscription>,
    /// When hello was sent on each channel.
    opened: HashMap<ConnectionNumber, Time>,
    /// Each user agent's hellos.
    hellos: HashMap<AgentNumber, Vec<usize>>,
    down: HashMap<NodeNumber, Vec<(Time, Time)>>,
    /// The times in which storage was not available.
    trouble: Vec<(Time, Time)>,
    receipts: BTreeMap<String, Vec<usize>>,
    nobodys: Vec<usize>,
}

impl Facts {
    fn read(history: &[Entry]) -> Self {
        let mut facts = Self::default();
        for (place, entry) in history.iter().enumerate() {
            facts.enter(place, entry);
        }
        for subscription in facts.subscriptions.values_mut() {
            subscription
                .messages
                .sort_by_key(|number| facts.messages[number].invoked);
        }
        facts
    }

    fn enter(&mut self, place: usize, entry: &Entry) {
        match &entry.what {
            What::Hello {
                agent, connection, ..
            } => {
                self.opened.insert(*connection, entry.invoked);
                self.hellos.entry(*agent).or_default().push(place);
            }
            What::Register {
                subscription: Some(number),
                ..
            } => self
                .subscriptions
                .entry(*number)
                .or_default()
                .registers
                .push(place),
            What::Unregister { subscription, .. } => {
                let subscription = self.subscriptions.entry(*subscription).or_default();
                subscription.unregisters.push(place);
            }
            What::Push {
                message,
                subscription,
                topic,
                ttl,
                receipt,
                status,
                location,
                ..
            } => {
                let known = self.messages.entry(*message).or_default();
                known.push = Some(place);
                known.subscription = *subscription;
                known.invoked = entry.invoked;
                known.answered = match status {
                    0 => Time::MAX,
                    _ => entry.completed,
                };
                (known.status, known.topic, known.ttl, known.receipt) = (*status, *topic, *ttl, *receipt);
                known.location.clone_from(location);
                let subscription = self.subscriptions.entry(*subscription).or_default();
                subscription.messages.push(*message);
            }
            What::Offer { message: None, .. } => self.nobodys.push(place),
            What::Offer {
                message: Some(message),
                ..
            } => self.messages.entry(*message).or_default().offers.push(place),
            What::Acknowledge { message, .. } => {
                let message = self.messages.entry(*message).or_default();
                message.acknowledgements.push(place);
            }
            What::Cancel { message, .. } => {
                self.messages.entry(*message).or_default().cancels.push(place);
            }
            What::Receipt { location, .. } => {
                self.receipts.entry(location.clone()).or_default().push(place);
            }
            What::NodeDown { node } => {
                let down = self.down.entry(*node).or_default();
                down.push((entry.invoked, entry.completed));
            }
            What::StorageDown => self.trouble.push((entry.invoked, Time::MAX)),
            What::WellAgain => {
                for (_, until) in self.trouble.iter_mut().filter(|(_, until)| *until == Time::MAX) {
                    *until = entry.completed + NOTICED_WITHIN;
                }
            }
            What::Register { .. } | What::ReceiptsGone | What::Closed { .. } => {}
        }
    }

    fn is_trouble(&self, from: Time, to: Time) -> bool {
        self.trouble
            .iter()
            .any(|(begin, end)| *begin <= to && from <= *end)
    }

    fn was_down(&self, node: NodeNumber, from: Time, to: Time) -> bool {
        let down = self.down.get(&node).into_iter().flatten();
        down.into_iter().any(|(begin, end)| *begin <= to && from <= *end)
    }

    /// Whether asynchronous replication may have lost what was confirmed at that time.
    fn is_recent(&self, completed: Time) -> bool {
        self.is_trouble(completed, completed.saturating_add(REPLICATION_LAG))
    }

    /// Whether it was confirmed shortly before a fault, or at its very start: before another server can be promoted.
    fn is_just_before(&self, completed: Time) -> bool {
        self.trouble.iter().any(|(begin, _)| {
            completed.saturating_add(REPLICATION_LAG) >= *begin && completed <= begin + REPLICATION_LAG
        })
    }

    /// The node that answered a request, if the history shows it.
    fn node_of(&self, history: &[Entry], place: usize) -> Option<NodeNumber> {
        let entry = &history[place];
        match &entry.what {
            What::Push { node, .. } => Some(*node),
            What::Register { agent, .. } | What::Unregister { agent, .. } => {
                let hellos = self.hellos.get(agent)?.iter();
                let before = hellos.filter(|hello| history[**hello].completed <= entry.completed);
                before.max().and_then(|hello| match &history[*hello].what {
                    What::Hello { node, .. } => Some(*node),
                    _ => None,
                })
            }
            _ => None,
        }
    }

    /// Whether the user agent sent a hello before that time that was not answered with an identity: the service may have
    /// carried it out later.
    fn has_open_hello(&self, history: &[Entry], agent: AgentNumber, before: Time) -> bool {
        let hellos = self.hellos.get(&agent).into_iter().flatten();
        hellos.into_iter().any(|hello| {
            let entry = &history[*hello];
            let is_open = !matches!(
                entry.what,
                What::Hello {
                    outcome: Outcome::Ok,
                    ..
                }
            );
            is_open && entry.invoked < before
        })
    }

    /// When the end of this subscription was first asked for.
    fn ending(&self, history: &[Entry], subscription: usize) -> Option<Time> {
        let unregisters = self.subscriptions.get(&subscription)?.unregisters.iter();
        unregisters.map(|place| history[*place].invoked).min()
    }

    /// When the end of this subscription was confirmed.
    fn ended(&self, history: &[Entry], subscription: usize) -> Option<(Time, usize)> {
        let unregisters = self.subscriptions.get(&subscription)?.unregisters.iter();
        let confirmed = unregisters
            .filter(|place| matches!(history[**place].what, What::Unregister { status: 200, .. }))
            .map(|place| (history[*place].completed, *place));
        confirmed.min()
    }

    /// Whether a newer message with its topic was accepted, or may have been. Newer means stored later; a message
    /// without an answer may have been stored at any time.
    fn may_be_replaced(&self, number: MessageNumber) -> bool {
        let message = &self.messages[&number];
        let Some(topic) = message.topic else { return false };
        self.subscriptions[&message.subscription]
            .messages
            .iter()
            .any(|other| {
                let newer = &self.messages[other];
                *other != number
                    && newer.topic == Some(topic)
                    && !newer.is_refused()
                    && (newer.invoked > message.invoked || !newer.is_accepted())
            })
    }

    /// Whether an accepted message need never arrive.
    fn may_be_absent(&self, history: &[Entry], number: MessageNumber) -> bool {
        let message = &self.messages[&number];
        let last = history.last().map_or(0, |entry| entry.completed);
        message.ttl == 0
            || message.invoked + message.ttl * SECOND <= last
            || !message.cancels.is_empty()
            || self.ending(history, message.subscription).is_some()
            || self.may_be_replaced(number)
    }

    /// Messages that must have a receipt and have none.
    fn untold(&self, history: &[Entry]) -> Vec<MessageNumber> {
        let messages = self.messages.iter();
        messages
            .filter(|(number, message)| {
                let told = |location: &String| self.receipts.contains_key(location);
                message.status == 202
                    && message.ttl > 0
                    && !message.location.as_ref().is_some_and(told)
                    && self.ending(history, message.subscription).is_none()
                    && !self.may_be_replaced(**number)
            })
            .map(|(number, _)| *number)
            .collect()
    }
}

struct Judge<'a> {
    history: &'a [Entry],
    facts: &'a Facts,
    rules: Rules,
    verdict: Verdict,
}

impl Judge<'_> {
    fn violation(&mut self, kind: Kind, what: impl Into<String>, mut proof: Vec<usize>) {
        proof.sort_unstable();
        proof.dedup();
        let what = what.into();
        self.verdict.violations.push(Violation { kind, what, proof });
    }

    /// Whether the row allows that the outcome of this request is lost.
    fn may_be_lost(&self, place: usize) -> bool {
        let completed = self.history[place].completed;
        match self.rules.lost {
            Lost::Nothing => false,
            Lost::JustBefore => self.facts.is_just_before(completed),
            Lost::ByTheDeposed => {
                let node = self.facts.node_of(self.history, place);
                let is_meanwhile = self.facts.is_trouble(completed, completed);
                self.facts.is_just_before(completed)
                    || (is_meanwhile && node.is_none_or(|node| node == CUT_OFF))
            }
            Lost::Recent | Lost::NotAsked => self.facts.is_recent(completed),
        }
    }

    /// Whether the row allows that an acknowledgement is forgotten that was carried out between these times.
    fn may_be_forgotten(&self, from: Time, to: Time) -> bool {
        self.rules.acknowledgements == Acknowledgements::MayReturn
            && self.facts.is_trouble(from, to.saturating_add(REPLICATION_LAG))
    }

    /// The same for an acknowledgement of the history.
    fn is_forgettable(&self, acknowledgement: usize) -> bool {
        let entry = &self.history[acknowledgement];
        self.may_be_forgotten(entry.invoked, entry.completed)
    }

    /// Whether the row allows that the service closes a channel that was opened then.
    ///
    /// A late attach, while storage is in trouble, takes the seat from a newer channel (PR-10). A seat does not wait for
    /// replicas, so after a failover an older channel may have it. Both happen only to channels that were opened during
    /// the fault, and are noticed soon after it.
    fn may_be_closed(&self, agent: AgentNumber, opened: Time, closed: Time, code: u16) -> bool {
        if !self.facts.is_trouble(opened, opened + SECOND) {
            return false;
        }
        match self.rules.lost {
            // The user agent itself may be lost.
            Lost::Recent | Lost::ByTheDeposed | Lost::NotAsked => true,
            Lost::Nothing | Lost::JustBefore => {
                let has_failover = self.rules.acknowledgements == Acknowledgements::MayReturn;
                code == DISPLACED
                    && self
                        .facts
                        .is_trouble(closed.saturating_sub(COMPARED_WITHIN), closed)
                    && (has_failover || self.facts.has_open_hello(self.history, agent, opened))
            }
        }
    }

    fn count(&mut self) {
        let counts = &mut self.verdict.counts;
        for entry in self.history {
            match &entry.what {
                What::Hello { outcome, .. } => match outcome {
                    Outcome::Ok => counts.hellos += 1,
                    _ => counts.hellos_refused += 1,
                },
                What::Register { status: 200, .. } => counts.registers += 1,
                What::Unregister { status: 200, .. } => counts.unregisters += 1,
                What::Push { status, .. } => {
                    counts.pushes += 1;
                    match status {
                        201 | 202 => counts.accepted += 1,
                        503 => {
                            counts.refused += 1;
                            let wait = entry.completed - entry.invoked;
                            counts.longest_refusal = counts.longest_refusal.max(wait);
                        }
                        0 => counts.unanswered += 1,
                        _ => {}
                    }
                }
                What::Acknowledge {
                    outcome: Outcome::Ok, ..
                } => counts.acknowledgements += 1,
                What::Cancel { status: 204, .. } => counts.cancels += 1,
                What::Receipt { .. } => counts.receipts += 1,
                What::NodeDown { .. } => counts.nodes_down += 1,
                _ => {}
            }
        }
    }

    /// Checks the answers to requests.
    fn answers(&mut self) {
        for (place, entry) in self.history.iter().enumerate() {
            match &entry.what {
                What::Hello {
                    agent,
                    is_known: true,
                    is_new_identity: true,
                    outcome: Outcome::Ok,
                    ..
                } => {
                    let old = self.facts.subscriptions.values().any(|subscription| {
                        let mine = subscription.registers.iter().any(|place| {
                            let register = &self.history[*place];
                            matches!(&register.what, What::Register { agent: whose, status: 200, .. } if whose == agent)
                                && register.completed < entry.invoked
                                && !self.may_be_lost(*place)
                        });
                        mine && subscription
                            .unregisters
                            .iter()
                            .all(|end| self.history[*end].invoked > entry.completed)
                    });
                    if old {
                        let what =
                            format!("user agent {agent} has subscriptions and was given a new identity");
                        self.violation(Kind::Unknown, what, vec![place]);
                    }
                }
                What::Register { status, .. } if ![0, 200, 500].contains(status) => {
                    self.violation(
                        Kind::Status,
                        format!("register was answered {status}"),
                        vec![place],
                    );
                }
                What::Unregister { status, .. } if ![0, 200, 500].contains(status) => {
                    self.violation(
                        Kind::Status,
                        format!("unregister was answered {status}"),
                        vec![place],
                    );
                }
                What::Push { .. } => self.pushed(place),
                What::Cancel { status, .. } if ![0, 204, 404, 503].contains(status) => {
                    self.violation(Kind::Status, format!("DELETE was answered {status}"), vec![place]);
                }
                What::ReceiptsGone if self.rules.lost == Lost::Nothing => {
                    let what = "a receipt subscription was answered \"gone\"";
                    self.violation(Kind::Unknown, what, vec![place]);
                }
                What::Closed {
                    agent,
                    connection,
                    node,
                    code,
                } => {
                    let opened = self.facts.opened.get(connection).copied().unwrap_or_default();
                    let is_excused = self.facts.was_down(*node, opened, entry.completed)
                        || self.may_be_closed(*agent, opened, entry.completed, *code);
                    if !is_excused {
                        let what = format!("a channel was closed with {code} while its node lived");
                        self.violation(Kind::Closed, what, vec![place]);
                    } else {
                        self.verdict.counts.closed += 1;
                    }
                }
                _ => {}
            }
        }
    }

    fn pushed(&mut self, place: usize) {
        let entry = &self.history[place];
        let What::Push {
            message,
            subscription,
            status,
            has_retry_after,
            receipt,
            ..
        } = &entry.what
        else {
            return;
        };
        match status {
            404 | 410 => {
                let ending = self.facts.ending(self.history, *subscription);
                if ending.is_some_and(|ending| ending < entry.completed) {
                    return;
                }
                let registers = &self.facts.subscriptions[subscription].registers;
                let is_lost = registers
                    .first()
                    .is_some_and(|register| self.may_be_lost(*register));
                if !is_lost {
                    let what = format!(
                        "a push to subscription {subscription}, which is there, was answered {status}"
                    );
                    let mut proof = registers[..registers.len().min(1)].to_vec();
                    proof.push(place);
                    self.violation(Kind::Unknown, what, proof);
                }
            }
            201 | 202 => {
                let ended = self.facts.ended(self.history, *subscription);
                if let Some((_, end)) = ended.filter(|(ended, _)| *ended < entry.invoked)
                    && !self.may_be_lost(end)
                {
                    let what = format!("message {message} was accepted after its subscription had ended");
                    self.violation(Kind::Undead, what, vec![end, place]);
                }
                if *status != if *receipt { 202 } else { 201 } {
                    let what = format!("message {message} was answered {status}");
                    self.violation(Kind::Status, what, vec![place]);
                }
            }
            503 if !has_retry_after => {
                self.violation(Kind::Status, "503 does not say when to come again", vec![place]);
            }
            0 | 503 => {}
            _ => self.violation(
                Kind::Status,
                format!("message {message} was answered {status}"),
                vec![place],
            ),
        }
    }

    /// Checks the messages that arrived.
    fn offers(&mut self) {
        for place in &self.facts.nobodys {
            self.violation(
                Kind::NeverSent,
                "a message arrived that was not sent there",
                vec![*place],
            );
        }
        for (number, message) in &self.facts.messages {
            let Some(push) = message.push else {
                // Its sender still waits for the answer.
                continue;
            };
            if message.is_refused()
                && let Some(offer) = message.offers.first()
            {
                let what = format!("message {number} was refused with {} and arrived", message.status);
                self.violation(Kind::NeverSent, what, vec![push, *offer]);
            }
            let mut channels: HashMap<ConnectionNumber, usize> = HashMap::new();
            let mut first: Option<(&str, usize)> = None;
            for place in message.offers.iter().copied() {
                let What::Offer {
                    connection, version, ..
                } = &self.history[place].what
                else {
                    continue;
                };
                match first {
                    None => first = Some((version, place)),
                    Some((before, other)) => {
                        self.verdict.counts.repeats += 1;
                        if before != version {
                            let what = format!("message {number} came again with another id");
                            self.violation(Kind::Returned, what, vec![push, other, place]);
                        }
                    }
                }
                if let Some(before) = channels.insert(*connection, place)
                    && !message
                        .acknowledgements
                        .iter()
                        .any(|acknowledgement| self.is_forgettable(*acknowledgement))
                {
                    let what = format!("message {number} came twice on one channel");
                    self.violation(Kind::Returned, what, vec![push, before, place]);
                }
                self.offered(*number, message, *connection, place);
            }
        }
    }

    /// Checks a delivered message against what had been confirmed before its channel was opened.
    fn offered(
        &mut self,
        number: MessageNumber,
        message: &Message,
        connection: ConnectionNumber,
        place: usize,
    ) {
        let Some(opened) = self.facts.opened.get(&connection).copied() else {
            return;
        };
        let committed = message.acknowledgements.iter().copied().find(|acknowledgement| {
            let Entry {
                invoked,
                completed,
                what,
            } = &self.history[*acknowledgement];
            let What::Acknowledge {
                node,
                outcome: Outcome::Ok,
                ..
            } = what
            else {
                return false;
            };
            let committed = completed + COMMITTED_AFTER;
            committed < opened
                && !self.facts.was_down(*node, *invoked, committed)
                && !self.facts.is_trouble(*invoked, committed)
        });
        if let Some(acknowledgement) = committed {
            self.verdict.counts.forgotten += 1;
            if !self.is_forgettable(acknowledgement) {
                let what =
                    format!("message {number} came again though its acknowledgement had been committed");
                self.violation(
                    Kind::Returned,
                    what,
                    message.push.into_iter().chain([acknowledgement, place]).collect(),
                );
            }
        }
        let confirmed = message.cancels.iter().copied().find(|place| {
            let cancel = &self.history[*place];
            matches!(
                cancel.what,
                What::Cancel {
                    status: 204 | 404,
                    ..
                }
            ) && cancel.completed < opened
                && !self.may_be_lost(*place)
        });
        if let Some(cancel) = confirmed {
            let what = format!("message {number} arrived after it had been taken back");
            let proof = message.push.into_iter().chain([cancel, place]).collect();
            self.violation(Kind::Undead, what, proof);
        }
        let ended = self.facts.ended(self.history, message.subscription);
        if let Some((_, end)) = ended.filter(|(ended, end)| *ended < opened && !self.may_be_lost(*end)) {
            let what = format!("message {number} arrived after its subscription had ended");
            let proof = message.push.into_iter().chain([end, place]).collect();
            self.violation(Kind::Undead, what, proof);
        }
    }

    /// Checks for messages that did not arrive.
    fn losses(&mut self) {
        if self.rules.lost == Lost::NotAsked {
            return;
        }
        for (number, message) in &self.facts.messages {
            let stays_away = message.is_accepted() && message.offers.is_empty();
            if !stays_away || self.facts.may_be_absent(self.history, *number) {
                continue;
            }
            let registers = &self.facts.subscriptions[&message.subscription].registers;
            let mut requests = message.push.iter().chain(registers.first());
            if requests.any(|place| self.may_be_lost(*place)) {
                self.verdict.counts.lost_by_rule += 1;
                continue;
            }
            self.verdict.counts.lost += 1;
            let what = format!(
                "message {number} was answered {} and never arrived",
                message.status
            );
            self.violation(Kind::Lost, what, message.push.into_iter().collect());
        }
    }

    /// Checks the order of first deliveries for each subscription.
    fn order(&mut self) {
        for subscription in self.facts.subscriptions.values() {
            // The delivered message with the latest answer so far, and the time of that answer.
            let mut latest: Option<(usize, MessageNumber, Time)> = None;
            for number in &subscription.messages {
                let message = &self.facts.messages[number];
                let Some(offer) = message.offers.first().copied().filter(|_| message.is_accepted()) else {
                    continue;
                };
                match latest {
                    // The messages of two primaries have no common order.
                    Some((before, _, answered))
                        if offer < before
                            && matches!(self.rules.lost, Lost::Recent | Lost::ByTheDeposed)
                            && self.facts.is_trouble(answered, answered) => {}
                    Some((before, other, answered)) if offer < before && answered < message.invoked => {
                        let what = format!(
                            "message {number} came before message {other}, which was accepted earlier"
                        );
                        let pushes = [message.push, self.facts.messages[&other].push];
                        let proof = pushes.into_iter().flatten().chain([offer, before]).collect();
                        self.violation(Kind::Order, what, proof);
                    }
                    Some((before, ..)) if offer < before => {}
                    _ => latest = Some((offer, *number, message.answered)),
                }
            }
        }
    }

    fn receipts(&mut self) {
        let by_location: HashMap<&String, MessageNumber> = self
            .facts
            .messages
            .iter()
            .filter_map(|(number, message)| Some((message.location.as_ref()?, *number)))
            .collect();
        let mut unclaimed = Vec::new();
        for (location, places) in &self.facts.receipts {
            match by_location.get(location) {
                Some(number) => self.told(*number, places),
                None => unclaimed.extend(places.first().copied()),
            }
        }
        // A message whose sender got no answer may have one receipt.
        let messages = self.facts.messages.values();
        let unanswered = messages
            .filter(|message| message.receipt && !message.is_accepted())
            .count();
        if unclaimed.len() > unanswered {
            let what = format!(
                "{} receipts are for no message that was answered 202, and only {unanswered} were not answered",
                unclaimed.len()
            );
            self.violation(Kind::Receipt, what, unclaimed);
        }
        if self.rules.lost == Lost::NotAsked {
            return;
        }
        for number in self.facts.untold(self.history) {
            let message = &self.facts.messages[&number];
            if !message.push.is_some_and(|push| self.may_be_lost(push)) {
                let what = format!("message {number} was answered 202 and has no receipt");
                let mut proof: Vec<usize> = message.push.into_iter().collect();
                proof.extend(&message.offers);
                proof.extend(&message.acknowledgements);
                proof.extend(&message.cancels);
                self.violation(Kind::Receipt, what, proof);
            }
        }
    }

    /// The receipts of one message.
    fn told(&mut self, number: MessageNumber, places: &[usize]) {
        let message = &self.facts.messages[&number];
        let mut all: Vec<usize> = message.push.into_iter().collect();
        all.extend(places);
        let mut channels = HashMap::new();
        let mut first = None;
        for place in places {
            let entry = &self.history[*place];
            let What::Receipt {
                connection, status, ..
            } = &entry.what
            else {
                continue;
            };
            // A receipt is acknowledged as soon as it has arrived.
            if let Some(told) = channels.insert(*connection, entry.completed)
                && !self.may_be_forgotten(told, told)
            {
                let what = format!("message {number} has two receipts on one connection");
                self.violation(Kind::Receipt, what, all.clone());
            }
            let (before, told_first) = *first.get_or_insert((*status, entry.completed));
            // If the DELETE that ended a message is lost, it arrives after all.
            let is_lost = matches!(self.rules.lost, Lost::Recent | Lost::ByTheDeposed)
                && self.facts.is_recent(told_first);
            if before != *status && !is_lost {
                let what = format!("the receipt of message {number} says {status} after {before}");
                self.violation(Kind::Receipt, what, all.clone());
            }
            if let Some(why) = self.contradicts(message, entry.completed, *status) {
                let what = format!("the receipt of message {number} says {status}, and {why}");
                self.violation(Kind::Receipt, what, all.clone());
            }
        }
    }

    /// Why a receipt can't be true.
    fn contradicts(&self, message: &Message, told: Time, status: u16) -> Option<&'static str> {
        let before = |place: &usize| self.history[*place].invoked <= told;
        match status {
            204 => (!message.acknowledgements.iter().any(before)).then_some("it had not been acknowledged"),
            410 => {
                let is_over = message.invoked + message.ttl * SECOND <= told + self.rules.leap
                    || message.cancels.iter().any(before)
                    || self
                        .facts
                        .ending(self.history, message.subscription)
                        .is_some_and(|ending| ending <= told);
                (!is_over).then_some("it had not ended")
            }
            _ => Some("no receipt says that"),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pushes ({} accepted, {} refused, {} unanswered), {} lost, {} lost by rule, {} repeats, {} forgotten \
             acknowledgements; {} hellos, {} refused; {} registers, {} unregisters, {} acknowledgements, {} DELETEs, {} \
             receipts; the slowest 503 after {:.1} s",
            self.pushes,
            self.accepted,
            self.refused,
            self.unanswered,
            self.lost,
            self.lost_by_rule,
            self.repeats,
            self.forgotten,
            self.hellos,
            self.hellos_refused,
            self.registers,
            self.unregisters,
            self.acknowledgements,
            self.cancels,
            self.receipts,
            self.longest_refusal as f64 / SECOND as f64,
        )
    }
}

/// The entries that prove a violation, and the faults around them, one a line.
pub fn excerpt(history: &[Entry], violation: &Violation) -> String {
    let mut places = violation.proof.clone();
    let span = places
        .first()
        .map(|first| (*first, places[places.len() - 1]))
        .unwrap_or_default();
    places.extend(history.iter().enumerate().filter_map(|(place, entry)| {
        let is_fault = matches!(
            entry.what,
            What::NodeDown { .. } | What::StorageDown | What::WellAgain
        );
        (is_fault && (span.0.saturating_sub(2_000)..=span.1 + 2_000).contains(&place)).then_some(place)
    }));
    places.sort_unstable();
    places.dedup();
    let mut text = format!("{:?}: {}", violation.kind, violation.what);
    let hidden = places.len().saturating_sub(12);
    for place in places.into_iter().take(12) {
        let Entry {
            invoked,
            completed,
            what,
        } = &history[place];
        let (from, to) = (*invoked as f64 / SECOND as f64, *completed as f64 / SECOND as f64);
        let mut what = what.clone();
        if let What::Push { location, .. } = &mut what {
            // A URL is long, and proves nothing.
            *location = None;
        }
        text.push_str(&format!("\n    {from:.3} to {to:.3} s: {what:?}"));
    }
    if hidden > 0 {
        text.push_str(&format!("\n    and {hidden} more entries"));
    }
    text
}

#[cfg(test)]
mod tests;
