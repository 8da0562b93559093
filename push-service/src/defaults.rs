//! Every limit of the service, with its unit, its reason and its source.

use std::time::Duration;

/// What a waiting message counts beside its body, so that empty bodies are not free: about what its index entry, its
/// key and its header fields take in memory and on disk. In bytes.
pub const MESSAGE_OVERHEAD_BYTES: u64 = 128;

/// Victims of the eviction rule in one step; a message that would need more is refused. Source: PR-23, which bounds
/// the time for which one step holds its queue.
pub const EVICTIONS_PER_STEP: usize = 16;

/// How long a user agent's record outlives its last hello, registration or refresh. Source: PR-29; more than a year, so
/// that a device that is used once a year keeps its subscriptions.
pub const RETENTION: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// A record's retention is renewed in steps of this part of it, a day by default, so that a user agent that comes back
/// every minute costs one write a day. Chosen: the record lasts for at most 0.25 % longer than promised.
pub const RETENTION_GRAINS: u64 = 400;

/// The longest that a rate-limited sender is told to wait. Chosen: a rate so low that a token takes longer is looked at
/// again after an hour.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);
