//! Why the broker refuses a request, sorted by who must act.

use std::time::Duration;

use push_protocol::vapid::VapidError;

use crate::budgets::OverBudget;
use crate::storage::StorageError;

/// Why the broker refuses. `resources/answer.rs` has the status and the text of each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    // The application server must send something else.
    /// The token opens nothing: forged, cut off, of another kind, or sealed with a key that is no longer there.
    UnknownResource,
    /// Requests to this push resource must be signed (VAPID).
    CredentialsMissing,
    /// The signature or its claims are wrong.
    CredentialsInvalid(VapidError),
    /// The subscription is restricted to another application server.
    OtherApplicationServer,
    /// The operator's list of application servers does not contain this one.
    ApplicationServerNotListed,

    /// It names a receipt subscription that is invalid or has ended (R30-RCP-6).
    UnknownReceipts,

    // The user agent must ask for something else.
    /// It names a subscription set that is invalid or has ended (R30-SET-4).
    UnknownSet,
    /// Its set has as many subscriptions as it may.
    TooManySubscriptions,

    // The application server must forget the resource.
    /// There is no such subscription, and there will be none again.
    SubscriptionGone,
    /// There is no such message any more.
    MessageGone,

    // The application server must wait.
    /// It sends faster than the subscription may be pushed to.
    TooFast {
        /// When the next message will be let in.
        retry_after: Duration,
    },
    /// The budget of its address or its key is spent (PR-42).
    OverBudget(OverBudget),
    /// The queue of the user agent is full, and by the eviction rule this message would be the next to go (PR-23).
    QueueFull,
    /// With it, more bytes of its key or its address would wait than may (`limits.sender_bytes`).
    SenderFull,

    /// The operator refuses its key for a while.
    SenderRefused {
        /// When that ends.
        retry_after: Duration,
    },

    /// As many receipts as allowed are expected by its receipt subscription, or wait in it.
    TooManyReceipts,

    // The operator must act.
    /// Storage is in trouble or does not answer. It may have done what it was asked (PR-2).
    StorageUnavailable,
    /// Storage is full up to its reserve.
    StorageFull,
    /// With it, more bytes would wait in the store than a message of its urgency may fill (`limits.store_bytes`).
    StoreFull,
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        tracing::debug!(%error, "storage refused or failed a request");
        match error {
            StorageError::Full => Self::StorageFull,
            StorageError::Unavailable(_) | StorageError::Failed(_) => Self::StorageUnavailable,
        }
    }
}

impl From<OverBudget> for Refusal {
    fn from(over: OverBudget) -> Self {
        Self::OverBudget(over)
    }
}

impl From<VapidError> for Refusal {
    fn from(error: VapidError) -> Self {
        Self::CredentialsInvalid(error)
    }
}
