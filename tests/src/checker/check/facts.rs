//! A history, sorted by what it is about.

use std::collections::{BTreeMap, HashMap};

use crate::checker::history::{
    AgentNumber, ConnectionNumber, Entry, MessageNumber, NodeNumber, RequestResult, SECOND, Time, What,
};

/// How long nodes need to notice that storage is back, to connect, and to catch up.
const NOTICED_WITHIN: Time = 3 * SECOND;

/// Asynchronous replication may lose what was answered within this time before the fault. Chosen: replicas on a busy
/// machine are behind by milliseconds; a second is more than Redis's documentation calls usual.
pub(super) const REPLICATION_LAG: Time = SECOND;

/// Everything that is known of one message, by places in the history.
#[derive(Default)]
pub(super) struct Message {
    pub(super) push: Option<usize>,
    pub(super) subscription: usize,
    pub(super) invoked: Time,
    /// When it was answered; the greatest time if it was not.
    pub(super) answered: Time,
    pub(super) status: u16,
    pub(super) topic: Option<usize>,
    pub(super) ttl: u64,
    pub(super) receipt: bool,
    pub(super) location: Option<String>,
    pub(super) offers: Vec<usize>,
    pub(super) acknowledgements: Vec<usize>,
    pub(super) cancels: Vec<usize>,
}

impl Message {
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self.status, 201 | 202)
    }

    /// Certainly refused.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.status, 400..500)
    }
}

#[derive(Default)]
pub(super) struct Subscription {
    pub(super) registers: Vec<usize>,
    pub(super) unregisters: Vec<usize>,
    /// Its messages, in the order in which their requests began.
    pub(super) messages: Vec<MessageNumber>,
}

/// The history, sorted by what it is about.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) messages: BTreeMap<MessageNumber, Message>,
    pub(super) subscriptions: BTreeMap<usize, Subscription>,
    /// When hello was sent on each channel.
    pub(super) opened: HashMap<ConnectionNumber, Time>,
    /// Each user agent's hellos.
    pub(super) hellos: HashMap<AgentNumber, Vec<usize>>,
    pub(super) down: HashMap<NodeNumber, Vec<(Time, Time)>>,
    /// The times in which storage was not available.
    pub(super) trouble: Vec<(Time, Time)>,
    pub(super) receipts: BTreeMap<String, Vec<usize>>,
    pub(super) nobodys: Vec<usize>,
}

impl Facts {
    pub(super) fn read(history: &[Entry]) -> Self {
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

    pub(super) fn enter(&mut self, place: usize, entry: &Entry) {
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

    pub(super) fn is_trouble(&self, from: Time, to: Time) -> bool {
        self.trouble
            .iter()
            .any(|(begin, end)| *begin <= to && from <= *end)
    }

    pub(super) fn was_down(&self, node: NodeNumber, from: Time, to: Time) -> bool {
        let down = self.down.get(&node).into_iter().flatten();
        down.into_iter().any(|(begin, end)| *begin <= to && from <= *end)
    }

    /// Whether asynchronous replication may have lost what was confirmed at that time.
    pub(super) fn is_recent(&self, completed: Time) -> bool {
        self.is_trouble(completed, completed.saturating_add(REPLICATION_LAG))
    }

    /// Whether it was confirmed shortly before a fault, or at its very start: before another server can be promoted.
    pub(super) fn is_just_before(&self, completed: Time) -> bool {
        self.trouble.iter().any(|(begin, _)| {
            completed.saturating_add(REPLICATION_LAG) >= *begin && completed <= begin + REPLICATION_LAG
        })
    }

    /// The node that answered a request, if the history shows it.
    pub(super) fn node_of(&self, history: &[Entry], place: usize) -> Option<NodeNumber> {
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
    pub(super) fn has_open_hello(&self, history: &[Entry], agent: AgentNumber, before: Time) -> bool {
        let hellos = self.hellos.get(&agent).into_iter().flatten();
        hellos.into_iter().any(|hello| {
            let entry = &history[*hello];
            let is_open = !matches!(
                entry.what,
                What::Hello {
                    result: RequestResult::Ok,
                    ..
                }
            );
            is_open && entry.invoked < before
        })
    }

    /// When the end of this subscription was first asked for.
    pub(super) fn ending(&self, history: &[Entry], subscription: usize) -> Option<Time> {
        let unregisters = self.subscriptions.get(&subscription)?.unregisters.iter();
        unregisters.map(|place| history[*place].invoked).min()
    }

    /// When the end of this subscription was confirmed.
    pub(super) fn ended(&self, history: &[Entry], subscription: usize) -> Option<(Time, usize)> {
        let unregisters = self.subscriptions.get(&subscription)?.unregisters.iter();
        let confirmed = unregisters
            .filter(|place| matches!(history[**place].what, What::Unregister { status: 200, .. }))
            .map(|place| (history[*place].completed, *place));
        confirmed.min()
    }

    /// Whether a newer message with its topic was accepted, or may have been. Newer means stored later; a message
    /// without an answer may have been stored at any time.
    pub(super) fn may_be_replaced(&self, number: MessageNumber) -> bool {
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
    pub(super) fn may_be_absent(&self, history: &[Entry], number: MessageNumber) -> bool {
        let message = &self.messages[&number];
        let last = history.last().map_or(0, |entry| entry.completed);
        message.ttl == 0
            || message.invoked + message.ttl * SECOND <= last
            || !message.cancels.is_empty()
            || self.ending(history, message.subscription).is_some()
            || self.may_be_replaced(number)
    }

    /// Messages that must have a receipt and have none.
    pub(super) fn untold(&self, history: &[Entry]) -> Vec<MessageNumber> {
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
