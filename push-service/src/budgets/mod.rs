//! Budgets of work: requests cost tokens of an address, of an application server key, or of a user agent (PR-42).
//!
//! ```text
//! connection, request, frame ─► cost ─► the cause's bucket ─┬─ has tokens: go on
//!                                                           ├─ earns them soon: go on later
//!                                                           └─ else: refused, 429; or the channel is closed
//! ```
//!
//! Guarantees: tokens are taken before storage is asked, even if the request then turns out to be wrong; the tables
//! are bounded (`table`) and have no timer; taking tokens allocates nothing and costs some 0.2 µs.
//! Each node has its own budgets: a peer that uses n nodes has n budgets.
//!
//! What it deliberately does not know: what a request is. Callers pass a cost (see [`crate::defaults`]) and a cause.

mod table;

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use push_protocol::{KeyDigest, SubscriptionId, UserAgentId};
use ring::hmac;
use tokio::time::{Instant, sleep};

use self::table::Table;
use crate::config::{IpNetwork, Limits};
use crate::defaults::{BUDGET_PATIENCE, CHANNEL_SLOWED_AT_MOST};
pub use crate::metrics::Budget;
use crate::metrics::Metrics;
use crate::storage::Rate;

/// The cause of a cost, one address, key or user agent: a digest under a secret of the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cause(NonZeroU64);

/// Which address pays for a request. Small, because every connection has one.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Payer(u64);

impl Payer {
    /// No address: the request came through a trusted proxy that did not name the peer.
    pub const UNKNOWN: Self = Self(0);

    /// It came from one of `limits.unlimited_networks`: no budget applies to it.
    pub const UNLIMITED: Self = Self(1);

    /// A digest of the address under a secret, if an address pays. Equal for equal addresses, on all nodes whose [`Budgets`]
    /// have the same secret.
    pub(crate) fn address(self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.0).filter(|_| self != Self::UNLIMITED)
    }

    fn cause(self) -> Option<Cause> {
        self.address().map(Cause)
    }
}

/// Hides the address.
impl std::fmt::Debug for Payer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Payer(…)")
    }
}

/// A budget is spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverBudget {
    /// Which budget.
    pub budget: Budget,
    /// When the request may be made again.
    pub retry_after: Duration,
}

/// All budgets of a node.
pub struct Budgets {
    secret: RandomState,
    /// Keys the digests of addresses ([`Payer::address`]), which storage keeps.
    address_secret: hmac::Key,
    start: Instant,
    addresses: Option<Table>,
    senders: Option<Table>,
    user_agents: Option<Table>,
    records: Option<Table>,
    /// The rate of pushes to one subscription that ask for receipts: the same as that of pushes.
    receipts: Option<Table>,
    unlimited: Vec<IpNetwork>,
    metrics: Arc<Metrics>,
}

impl Budgets {
    /// Budgets as configured, with secrets that are made for this process.
    pub fn new(limits: &Limits, metrics: Arc<Metrics>) -> Self {
        let table = |per_second: u32, burst| Table::new(f64::from(per_second), burst);
        Self {
            secret: RandomState::new(),
            address_secret: address_secret(own_secret()),
            start: Instant::now(),
            addresses: table(limits.work_per_address, limits.work_per_address_burst),
            senders: table(limits.work_per_sender, limits.work_per_sender_burst),
            user_agents: table(limits.work_per_user_agent, limits.work_per_user_agent_burst),
            records: Table::new(limits.records_per_address, limits.records_per_address_burst),
            receipts: limits.rate().and_then(receipts),
            unlimited: limits.unlimited_networks.clone(),
            metrics,
        }
    }

    /// No limits.
    pub fn unlimited(metrics: Arc<Metrics>) -> Self {
        Self {
            secret: RandomState::new(),
            address_secret: address_secret(own_secret()),
            start: Instant::now(),
            addresses: None,
            senders: None,
            user_agents: None,
            records: None,
            receipts: None,
            unlimited: Vec::new(),
            metrics,
        }
    }

    /// Digests addresses under this secret, which all nodes share. `None` changes nothing.
    #[must_use]
    pub fn with_address_secret(self, secret: Option<[u8; 32]>) -> Self {
        match secret {
            Some(secret) => Self {
                address_secret: address_secret(secret),
                ..self
            },
            None => self,
        }
    }

    /// The payer of requests from `address`.
    pub fn payer(&self, address: IpAddr) -> Payer {
        if self.unlimited.iter().any(|network| network.contains(address)) {
            return Payer::UNLIMITED;
        }
        let octets = match counted_as(address) {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let digest = hmac::sign(&self.address_secret, &octets);
        let bits = digest.as_ref().first_chunk().expect("a SHA-256 has 32 bytes");
        Payer(u64::from_be_bytes(*bits).max(2))
    }

    fn cause(&self, what: impl Hash) -> Cause {
        Cause(NonZeroU64::new(self.secret.hash_one(what)).unwrap_or(NonZeroU64::MIN))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Requests over HTTP, and connections: without tokens they wait, or are refused.
impl Budgets {
    /// Whether a connection's address has tokens for it. A connection does not wait for tokens.
    pub(crate) fn admits(&self, payer: Payer, tokens: u32) -> bool {
        let (Some(table), Some(cause)) = (&self.addresses, payer.cause()) else {
            return true;
        };
        let spent = table.spend(cause, tokens, self.now(), nanos(BUDGET_PATIENCE));
        spent.is_ok()
    }

    /// Takes tokens of the address, and waits until they are earned, for [`BUDGET_PATIENCE`] at most.
    ///
    /// Cancel safe: tokens that were taken are not given back.
    pub async fn pay(&self, payer: Payer, tokens: u32) -> Result<(), OverBudget> {
        let Some(cause) = payer.cause() else {
            return Ok(());
        };
        self.pay_from(Budget::Address, self.addresses.as_ref(), cause, tokens)
            .await
    }

    /// The same for an application server key.
    pub async fn pay_as_sender(
        &self,
        payer: Payer,
        sender: KeyDigest,
        tokens: u32,
    ) -> Result<(), OverBudget> {
        let Some(table) = self.senders.as_ref().filter(|_| payer != Payer::UNLIMITED) else {
            return Ok(());
        };
        let cause = self.cause(sender.0);
        self.pay_from(Budget::Sender, Some(table), cause, tokens).await
    }

    async fn pay_from(
        &self,
        budget: Budget,
        table: Option<&Table>,
        cause: Cause,
        tokens: u32,
    ) -> Result<(), OverBudget> {
        let Some(table) = table else { return Ok(()) };
        match table.spend(cause, tokens, self.now(), nanos(BUDGET_PATIENCE)) {
            Ok(0) => Ok(()),
            Ok(wait) => {
                self.metrics.throttled(budget);
                sleep(Duration::from_nanos(wait)).await;
                Ok(())
            }
            Err(wait) => {
                // Without this wait a refused peer would ask again at once, and a refusal costs as much as the
                // request.
                sleep(BUDGET_PATIENCE).await;
                let retry_after = Duration::from_nanos(wait).saturating_sub(BUDGET_PATIENCE);
                Err(OverBudget { budget, retry_after })
            }
        }
    }

    /// Gives back tokens that a request did not need.
    pub fn refund(&self, payer: Payer, tokens: u32) {
        if let (Some(table), Some(cause)) = (&self.addresses, payer.cause()) {
            table.refund(cause, tokens, self.now());
        }
    }

    /// Takes a token for a record, which storage keeps for days. Called before it is made.
    pub fn make_record(&self, payer: Payer) -> Result<(), OverBudget> {
        let (Some(table), Some(cause)) = (&self.records, payer.cause()) else {
            return Ok(());
        };
        let spent = table.spend(cause, 1, self.now(), 0);
        spent.map(drop).map_err(|wait| OverBudget {
            budget: Budget::Records,
            retry_after: Duration::from_nanos(wait),
        })
    }

    /// Gives the token back: no record was made.
    pub fn unmake_record(&self, payer: Payer) {
        if let (Some(table), Some(cause)) = (&self.records, payer.cause()) {
            table.refund(cause, 1, self.now());
        }
    }

    /// Takes the rate for a push that asks for a receipt, because the receipt is stored before storage checks the
    /// push's own rate. `Err` says when the next one may come.
    pub fn ask_for_receipt(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
    ) -> Result<(), Duration> {
        let Some(table) = &self.receipts else {
            return Ok(());
        };
        let cause = self.cause((user_agent.0, subscription.0));
        let spent = table.spend(cause, 1, self.now(), 0);
        spent.map(drop).map_err(Duration::from_nanos)
    }
}

/// Channels: without tokens they are read later.
impl Budgets {
    /// Takes tokens of a user agent and of its address, also in advance, and returns how long it has to wait for
    /// them. `None` if too much is owed already: then the request must not be carried out.
    pub(crate) fn charge(
        &self,
        payer: Payer,
        user_agent: Option<UserAgentId>,
        tokens: u32,
    ) -> Option<Duration> {
        if payer == Payer::UNLIMITED {
            return Some(Duration::ZERO);
        }
        let (now, limit) = (self.now(), nanos(CHANNEL_SLOWED_AT_MOST));
        let charge = |table: &Option<Table>, cause| match table {
            Some(table) => table.charge(cause, tokens, now, limit),
            None => Ok(0),
        };
        let own = user_agent.map(|user_agent| self.cause(user_agent.0));
        let own = own.map_or(Ok(0), |cause| charge(&self.user_agents, cause));
        // A user agent that owes too much does not spend its address's tokens.
        let address = match (&own, payer.cause()) {
            (Ok(_), Some(cause)) => charge(&self.addresses, cause),
            _ => Ok(0),
        };
        let wait = |owed: Result<u64, u64>| owed.unwrap_or_else(|owed| owed);
        if wait(own).max(wait(address)) > 0 {
            let is_own = wait(own) >= wait(address);
            self.metrics.throttled(if is_own {
                Budget::UserAgent
            } else {
                Budget::Address
            });
        }
        Some(Duration::from_nanos(own.ok()?.max(address.ok()?)))
    }
}

fn own_secret() -> [u8; 32] {
    crate::random::bytes()
}

fn address_secret(secret: [u8; 32]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &secret)
}

fn receipts(rate: Rate) -> Option<Table> {
    Table::new(rate.per_second, rate.burst as u32)
}

/// What one customer of a provider gets: an IPv4 address, or a /64 of IPv6.
pub(crate) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
