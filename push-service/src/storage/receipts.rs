//! Requests and answers of the steps of receipts (PR-25).

use std::time::Duration;

use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{
    MessageId, MessageNumber, ReceiptOutcome, SubscriptionId, SubscriptionName, UserAgentId,
};

use crate::defaults::{RECEIPT_KEPT, RECEIPT_SUBSCRIPTION_KEPT};

/// The number of a message with TTL 0 for which a receipt was requested. It is not stored and is not in the queue. But for a
/// while storage remembers its id, so that an acknowledgement counts (PR-21). No stored message has so small a number.
pub const PASSING_WITH_RECEIPT: MessageNumber = MessageNumber(1);

/// The one subscription of a receipt subscription, which to storage is a user agent whose messages are receipts (PR-25).
pub const RECEIPTS: SubscriptionId = SubscriptionId([0; 8]);

/// The name of [`RECEIPTS`].
pub const RECEIPTS_NAME: SubscriptionName = SubscriptionName([0; 16]);

/// A request to record that an application server expects a receipt, made before its message is stored (PR-25).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExpectReceipt {
    /// The owner of the queue that the message will join.
    pub user_agent: UserAgentId,
    /// The random half of the message's id: it has no number yet.
    pub nonce: u64,
    /// The dialect of the message's URL.
    pub dialect: Dialect,
    /// The sealing key of that URL.
    pub sealed_by: KeyId,
    /// After this time the receipt is overdue. Not before the message has expired.
    pub within: Duration,
    /// How many receipts may be expected and wait in all.
    pub limit: u32,
}

impl ExpectReceipt {
    /// How long the receipt subscription is kept for this receipt: until it has come and waited.
    pub(super) fn kept(&self) -> Duration {
        RECEIPT_SUBSCRIPTION_KEPT.max(self.within.saturating_add(RECEIPT_KEPT))
    }
}

/// The answer of [`Storage::expect_receipt`](super::Storage::expect_receipt).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiptExpected {
    /// It is recorded, durably.
    Recorded,
    /// A healthy store has no such receipt subscription.
    NoReceiptSubscription,
    /// As many receipts as allowed are expected or wait.
    TooMany,
}

/// How a message ended for which a receipt was requested: waits in its user agent's outbox until it is relayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageEnd {
    /// The receipt subscription that gets the receipt.
    pub receipts: UserAgentId,
    /// The owner of the queue in which the message was.
    pub user_agent: UserAgentId,
    /// The message.
    pub id: MessageId,
    /// How it ended.
    pub how: ReceiptOutcome,
}

/// What the receipt state of a user agent says of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traced {
    /// Nothing: it was never stored, or how it ended was relayed and cleared.
    Nothing,
    /// It waits and has not expired.
    Waiting,
    /// It ended. A message that waits and has expired counts as given up.
    Ended(MessageEnd),
}

/// An expected receipt whose deadline is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Overdue {
    /// The receipt subscription that expects it.
    pub receipts: UserAgentId,
    /// The owner of the queue that the message was for.
    pub user_agent: UserAgentId,
    /// The random half of its id.
    pub nonce: u64,
}
