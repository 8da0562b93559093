//! Requests and answers of the steps that make and end subscriptions.

use push_protocol::{KeyDigest, SubscriptionId, SubscriptionName, UserAgentId};

use super::Seat;

/// A subscription to be made, or to be found again by its name.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Its user agent.
    pub user_agent: UserAgentId,
    /// The user agent's name for it.
    pub name: SubscriptionName,
    /// The id that it gets if the name is new: fresh random bits.
    pub fresh_id: SubscriptionId,
    /// The digest of the only key that may send, if the subscription is restricted. It is kept for operators: the token of the
    /// push URL has it too, and enforces it.
    pub key: Option<KeyDigest>,
    /// Taken in the same step when it creates the user agent's record (PR-12).
    pub seat: Option<Seat>,
    /// How many subscriptions the user agent may have.
    pub limit: usize,
    /// Only if the user agent is known: nothing is made for a subscription set that has ended (RFC 8030 §4.1).
    pub only_known: bool,
}

/// The answer of [`Storage::subscribe`](super::Storage::subscribe).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subscribed {
    /// The name was new.
    Created(SubscriptionId),
    /// The name was known; its subscription goes on, with its id, and its old push URLs go on working (PR-9).
    Kept(SubscriptionId),
    /// The user agent has as many subscriptions as it may.
    TooMany,
    /// [`Subscribe::only_known`] was asked of a user agent that a healthy store doesn't know.
    UnknownUserAgent,
}

/// Which subscriptions [`Storage::end`](super::Storage::end) ends. A WebSocket ends one by its name instead:
/// [`Storage::unsubscribe`](super::Storage::unsubscribe).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// This one.
    One(SubscriptionId),
    /// All of the user agent's: its subscription set ends with them (RFC 8030 §7.3.1).
    All,
}
