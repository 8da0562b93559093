//! What the steps of receipts are asked, and what they answer (PR-25).

use std::time::Duration;

use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{
    MessageId, MessageNumber, ReceiptOutcome, SubscriptionId, SubscriptionName, UserAgentId,
};

use crate::defaults::{RECEIPT_KEPT, RECEIPT_SUBSCRIPTION_KEPT};

/// The number of a message with TTL 0 that a receipt was asked for. It is not stored and has no place in the queue; but
/// for a while storage knows its id, so that an acknowledgement counts (PR-21). No stored message has so small a number.
pub const PASSING_WITH_RECEIPT: MessageNumber = MessageNumber(1);

/// The one subscription of a receipt subscription, which is a user agent to storage: its messages are receipts (PR-25).
pub const RECEIPTS: SubscriptionId = SubscriptionId([0; 8]);

/// The name of [`RECEIPTS`].
pub const RECEIPTS_NAME: SubscriptionName = SubscriptionName([0; 16]);

/// A receipt that is owed to an application server, written down before its message is stored (PR-25).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// In whose queue the message will be.
    pub user_agent: UserAgentId,
    /// The random half of its id: the number is not given yet.
    pub nonce: u64,
    /// How the message's URL answers, which is also the receipt's.
    pub dialect: Dialect,
    /// Under which sealing key that URL stands.
    pub sealed_by: KeyId,
    /// After so long the message's user agent is asked what became of it: not before the message has expired.
    pub within: Duration,
    /// How many receipts may be owed and wait in all.
    pub limit: u32,
}

impl Expected {
    /// How long the receipt subscription is kept for its sake: until the receipt has come and waited.
    pub(super) fn kept(&self) -> Duration {
        RECEIPT_SUBSCRIPTION_KEPT.max(self.within.saturating_add(RECEIPT_KEPT))
    }
}

/// What came of [`Storage::expect_receipt`](super::Storage::expect_receipt).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expecting {
    /// It is written down, durably.
    Expected,
    /// A healthy store knows no such receipt subscription.
    NoReceiptSubscription,
    /// As many as may be are owed or wait for whoever monitors.
    TooMany,
}

/// What became of a message that a receipt was asked for: waits in its user agent's outbox until it is carried over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageEnd {
    /// To which receipt subscription.
    pub receipts: UserAgentId,
    /// In whose queue the message was.
    pub user_agent: UserAgentId,
    /// The message.
    pub id: MessageId,
    /// How it ended.
    pub how: ReceiptOutcome,
}

/// What a user agent's side knows of a message that a receipt is owed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traced {
    /// Nothing: it was never stored, or its outcome was carried over and cleared.
    Nothing,
    /// It waits and has not expired.
    Waiting,
    /// It ended so. One that waits and has expired is given up.
    Ended(MessageEnd),
}

/// A receipt that is owed for too long.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Overdue {
    /// To which receipt subscription.
    pub receipts: UserAgentId,
    /// In whose queue the message was to be.
    pub user_agent: UserAgentId,
    /// The random half of its id.
    pub nonce: u64,
}
