//! What happened, as seen from outside: every request with the time when it began, the time when its answer came, and the
//! answer.
//!
//! Contract: an entry of a request is recorded once, when its result is known; its two times bracket the moment at which the
//! service carried it out. A request without an answer, or with a 5xx, is *unknown*: it may have been carried out at any time
//! since it began (PR-2). Texts of messages are unique, and are known to the recorder before the request leaves. A
//! history does not judge: [`check`](super::check) does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::chance::Chance;

/// Microseconds since the history began.
pub type Time = u64;

/// A second in a history.
pub const SECOND: Time = 1_000_000;

/// A user agent: it keeps its number whatever identity the service gives it.
pub type AgentNumber = usize;

/// A subscription, by the order in which subscriptions were confirmed.
pub type SubscriptionNumber = usize;

/// A message, by the order in which requests for messages began.
pub type MessageNumber = usize;

/// One channel of a user agent, or one monitoring request of an application server.
pub type ConnectionNumber = usize;

/// A node of the service.
pub type NodeNumber = usize;

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestResult {
    /// It was confirmed.
    Ok,
    /// It was refused, and not carried out.
    Refused,
    /// No answer, or one that does not say whether the request was carried out.
    Unknown,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When it began.
    pub invoked: Time,
    /// When its result was known.
    pub completed: Time,
    /// What it was.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A user agent opened a channel and said hello.
    Hello {
        /// Who.
        agent: AgentNumber,
        /// The channel.
        connection: ConnectionNumber,
        /// Where.
        node: NodeNumber,
        /// Whether hello had an identity with a confirmed subscription.
        is_known: bool,
        /// Whether the answer had another identity than hello.
        is_new_identity: bool,
        /// `Ok`: an identity was given. `Refused`: the channel was closed.
        result: RequestResult,
    },
    /// A user agent made a subscription, or asked for the URL of one that it has.
    Register {
        /// Who.
        agent: AgentNumber,
        /// The name of the subscription.
        name: String,
        /// Which one it is, if it was confirmed before or now.
        subscription: Option<SubscriptionNumber>,
        /// The status of the answer; 0 without one.
        status: u16,
    },
    /// A user agent ended a subscription.
    Unregister {
        /// Who.
        agent: AgentNumber,
        /// Which.
        subscription: SubscriptionNumber,
        /// The status of the answer; 0 without one.
        status: u16,
    },
    /// An application server sent a message.
    Push {
        /// Which.
        message: MessageNumber,
        /// To which subscription.
        subscription: SubscriptionNumber,
        /// Over which node.
        node: NodeNumber,
        /// Which topic it has.
        topic: Option<usize>,
        /// Its time to live in seconds.
        ttl: u64,
        /// Whether a receipt was asked for.
        receipt: bool,
        /// The status of the answer; 0 without one.
        status: u16,
        /// Whether an answer 503 said when to come again.
        has_retry_after: bool,
        /// The URL of the message, which its receipt names.
        location: Option<String>,
    },
    /// A message arrived at a user agent.
    Offer {
        /// Who.
        agent: AgentNumber,
        /// On which channel.
        connection: ConnectionNumber,
        /// Which message; `None`: it was never sent, or to another subscription, or with another content.
        message: Option<MessageNumber>,
        /// Its id.
        version: String,
    },
    /// A user agent acknowledged a message. `completed` is when the answer to a ping sent after it came.
    Acknowledge {
        /// Who.
        agent: AgentNumber,
        /// On which channel.
        connection: ConnectionNumber,
        /// At which node.
        node: NodeNumber,
        /// Which message.
        message: MessageNumber,
        /// `Ok`: it reached the node. `Unknown`: the channel ended before.
        result: RequestResult,
    },
    /// An application server took a message back.
    Cancel {
        /// Which.
        message: MessageNumber,
        /// The status of the answer; 0 without one.
        status: u16,
    },
    /// An application server got a receipt.
    Receipt {
        /// The monitoring request.
        connection: ConnectionNumber,
        /// The URL of the message.
        location: String,
        /// 204, 410, or another status.
        status: u16,
    },
    /// An application server was told that its receipt subscription does not exist.
    ReceiptsGone,
    /// The service ended a channel on which hello was answered.
    Closed {
        /// Who.
        agent: AgentNumber,
        /// Which channel.
        connection: ConnectionNumber,
        /// Where.
        node: NodeNumber,
        /// The close code; 1006 without one.
        code: u16,
    },
    /// A node was killed, or told to leave, and came back.
    NodeDown {
        /// Which.
        node: NodeNumber,
    },
    /// Nodes may have been without storage, or a part of it.
    StorageDown,
    /// The service answered as before: the fault may cost nothing from now on.
    WellAgain,
}

/// A history that is being made.
#[derive(Clone, Debug)]
pub struct Recorder {
    began: Instant,
    seed: u64,
    kept: Arc<Mutex<Kept>>,
}

/// What a recorder keeps.
#[derive(Debug, Default)]
pub struct Kept {
    /// Everything that happened, by the time when its result was known.
    pub entries: Vec<Entry>,
    /// The subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// The texts of messages, by number, with the subscription of each.
    texts: Vec<(String, SubscriptionNumber)>,
    by_text: HashMap<String, MessageNumber>,
    connections: usize,
}

/// A subscription that was confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Whose.
    pub agent: AgentNumber,
    /// Its name.
    pub name: String,
    /// Its push resources: each renewal gives another, and all go on working.
    pub endpoints: Vec<String>,
    /// Whether its end was asked for.
    pub is_ending: bool,
}

impl Recorder {
    /// An empty history that begins now.
    pub fn new(seed: u64) -> Self {
        Self {
            began: Instant::now(),
            seed,
            kept: Arc::default(),
        }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.began.elapsed().as_micros() as Time
    }

    /// Records an event that began at `invoked` and ends now.
    pub fn enter(&self, invoked: Time, what: What) {
        let completed = self.now();
        self.kept().entries.push(Entry {
            invoked,
            completed,
            what,
        });
    }

    /// What was recorded so far.
    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new channel.
    pub fn connection(&self) -> ConnectionNumber {
        let mut kept = self.kept();
        kept.connections += 1;
        kept.connections
    }

    /// Begins a message, and returns its body: a unique text, of one of many lengths.
    pub fn begin_message(&self, subscription: SubscriptionNumber) -> (MessageNumber, String, String) {
        let mut kept = self.kept();
        let number = kept.texts.len();
        let mut chance = Chance::new(self.seed ^ (number as u64) << 20);
        let filler = match chance.below(20) {
            0 => 3_800,
            _ => chance.below(600),
        };
        let text = format!("{}:{number}:{}", self.seed, ".".repeat(filler));
        kept.by_text.insert(text.clone(), number);
        kept.texts.push((text.clone(), subscription));
        let endpoints = &kept.subscriptions[subscription].endpoints;
        let endpoint = endpoints[chance.below(endpoints.len())].clone();
        (number, text, endpoint)
    }

    /// A subscription was confirmed, or renewed: its number.
    pub fn subscribed(&self, agent: AgentNumber, name: &str, endpoint: &str) -> SubscriptionNumber {
        let mut kept = self.kept();
        let mut known = kept.subscriptions.iter();
        if let Some(number) = known.position(|known| known.agent == agent && known.name == name) {
            kept.subscriptions[number].endpoints.push(endpoint.to_owned());
            return number;
        }
        kept.subscriptions.push(Subscription {
            agent,
            name: name.to_owned(),
            endpoints: vec![endpoint.to_owned()],
            is_ending: false,
        });
        kept.subscriptions.len() - 1
    }
}

impl Kept {
    /// The message with this text, if it was sent to the subscription of this name.
    pub fn message_of(&self, agent: AgentNumber, name: &str, text: Option<&str>) -> Option<MessageNumber> {
        let number = *self.by_text.get(text?)?;
        let subscription = &self.subscriptions[self.texts[number].1];
        (subscription.agent == agent && subscription.name == name).then_some(number)
    }
}
