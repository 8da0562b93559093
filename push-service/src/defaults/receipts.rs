//! Limits of receipts, and of how they are relayed.

use std::time::Duration;

/// Receipts that one receipt subscription may be owed or keep waiting; beyond them a push that asks for another gets 429.
/// Chosen: 35 bytes each, so that they take less than one queue of messages.
pub const RECEIPTS_PER_SUBSCRIPTION: u32 = 10_000;

/// How long a receipt waits until its receipt subscription is monitored. Chosen: as long as an application server
/// may be down over a holiday.
pub const RECEIPT_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a receipt subscription is kept that is not monitored, and for which no receipts are asked, if nothing is owed to
/// it for longer. Chosen: many times [`RECEIPT_KEPT`], and not PR-29's retention, because every sender makes as many as it
/// likes, and one that comes back later makes another.
pub const RECEIPT_SUBSCRIPTION_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Messages with TTL 0 that asked for a receipt and are remembered for one user agent until their acknowledgement would
/// come too late; beyond them a message counts as given up at once. Chosen: as many as may be on the wire, [`IN_FLIGHT`](super::IN_FLIGHT).
pub const PASSING_RECEIPTS: usize = 32;

/// Receipts that one step of storage settles or clears: bounds a script's time, as pages are bounded. Chosen: PR-31.
pub const RECEIPT_STEP: usize = 100;

/// How much later than its message's expiry a receipt is asked after: the clocks of two primaries may differ by that
/// much before a node is not ready (PR-30).
pub const RECEIPT_GRACE: Duration = Duration::from_secs(30);

/// How long an overdue receipt is one node's to work on before another is given it too. Chosen: longer than two steps of a
/// slow storage, shorter than anybody's patience.
pub const RECEIPT_LEASE: Duration = Duration::from_secs(10);

/// Overdue receipts that are one node's to work on at a time; further ones wait. Chosen: a second's work, in a megabyte.
pub const RECEIPT_LEASES: usize = 10_000;

/// User agents whose outboxes are hinted at and not looked into yet. Chosen: 16 bytes each; what doesn't fit is found by the
/// next look at storage.
pub const OUTBOXES_HINTED: usize = 16 * 1024;

/// Outboxes that are relayed at a time: each is three steps of storage, one after the other. Chosen.
pub const RECEIPT_RELAYS: usize = 32;

/// How many steps one look for overdue receipts takes at most, while each step is full. Chosen: a thousand receipts
/// in a look, a second's work, so that hints don't wait for long.
pub const RECEIPT_ROUNDS: usize = 10;

/// How long nothing is hinted at before storage is asked what is owed. Chosen: how late a receipt may be whose node died.
pub const RECEIPT_POLL: Duration = Duration::from_secs(10);
