//! The life of a push message: subscribe, admit, accept, deliver, acknowledge, cancel, expire; and its receipt.
//!
//! Decides who may send what to whom, and what a refusal means. Guarantees that what [`Broker::accept`] returns for a TTL
//! above 0 is stored as the promise says.
//!
//! What it deliberately does not know: HTTP, its status codes and paths, and what is sent over a connection. Header fields
//! arrive as types; refusals leave as [`Refusal`], and names of resources as tokens.

mod accept;
mod acknowledge;
mod admit;
mod cancel;
mod deliver;
mod expire;
mod monitor;
mod named;
mod operator;
mod outboxes;
mod receipts;
mod refusal;
mod senders;
mod subscribe;
mod verified;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use push_protocol::capability::Capabilities;
use push_protocol::origin::Origin;
use push_protocol::{KeyDigest, Ttl};
use tokio::time::timeout;

pub use self::accept::{Accepted, Submission};
pub use self::admit::PushResource;
pub(crate) use self::deliver::waited;
pub use self::monitor::{Monitored, QueueKind};
pub use self::named::Named;
pub use self::outboxes::Outboxes;
pub use self::receipts::{OpenedReceipt, ReceiptWish};
pub use self::refusal::Refusal;
pub use self::senders::{Ranked, SenderId, TooManyRefused};
use self::senders::{Ranking, RefusedSenders};
pub use self::subscribe::{SubscribeRefusal, SubscriptionTokens};
use self::verified::VerifiedTokens;
use crate::budgets::Budgets;
use crate::defaults::{ANSWER_WITHIN, VERIFIED_TOKENS};
use crate::history::History;
use crate::metrics::{Metrics, Step};
use crate::storage::{Caps, QueueLimits, Rate, Storage, StorageError};

/// Who may send, and how much.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether every sender must sign its requests (VAPID).
    pub require_vapid: bool,
    /// The only application servers that may send; empty: any may.
    pub application_servers: HashSet<KeyDigest>,
    /// The longest time to live.
    pub ttl: Ttl,
    /// What may wait for one user agent.
    pub queue_limits: QueueLimits,
    /// How many bytes may wait of one sender, and of all.
    pub caps: Caps,
    /// How fast one subscription may be pushed to.
    pub rate: Option<Rate>,
    /// Subscriptions of one user agent.
    pub subscriptions_per_user_agent: usize,
}

/// What requests and channels do to messages. One for the process; shared by all of them.
pub struct Broker {
    storage: Arc<dyn Storage>,
    capabilities: Arc<Capabilities>,
    origin: Origin,
    policy: Policy,
    verified: VerifiedTokens,
    ranking: Ranking,
    refused_senders: RefusedSenders,
    budgets: Arc<Budgets>,
    metrics: Arc<Metrics>,
    history: Arc<History>,
}

impl Broker {
    /// `origin` is the public one: what VAPID tokens must name as their audience. Without budgets.
    pub fn new(
        storage: Arc<dyn Storage>,
        capabilities: Arc<Capabilities>,
        origin: Origin,
        policy: Policy,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            storage,
            capabilities,
            verified: VerifiedTokens::new(VERIFIED_TOKENS, origin.clone()),
            ranking: Ranking::default(),
            refused_senders: RefusedSenders::default(),
            origin,
            policy,
            budgets: Arc::new(Budgets::unlimited(Arc::clone(&metrics))),
            metrics,
            history: History::new(),
        }
    }

    /// Sets the history in which steps are recorded.
    #[must_use]
    pub fn recording(self, history: Arc<History>) -> Self {
        Self { history, ..self }
    }

    /// What happened to messages.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Sets the budgets that requests pay from.
    #[must_use]
    pub fn with_budgets(self, budgets: Arc<Budgets>) -> Self {
        Self { budgets, ..self }
    }

    /// The budgets that requests pay from.
    pub(crate) fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// A step of storage, timed and counted.
    async fn step<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let started = Instant::now();
        let outcome = work.await;
        self.metrics.storage_step(step, started.elapsed());
        outcome.inspect_err(|error| self.metrics.storage_error(error))
    }

    /// A step of storage with a deadline, for channels and background tasks: storage that does not answer in time is
    /// unavailable. The step may still happen; all of these steps can be repeated.
    async fn step_within<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let in_time = async {
            let silent = |_| Err(StorageError::Unavailable("no answer in time".to_owned()));
            timeout(ANSWER_WITHIN, work).await.unwrap_or_else(silent)
        };
        self.step(step, in_time).await
    }

    /// The metrics of the process.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The public origin of every resource URL.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}
