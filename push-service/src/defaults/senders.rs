//! What may wait of one sender, and of all.

use std::time::Duration;

/// Bytes that may wait of one application server key, or of one address without a key: bodies, and
/// [`MESSAGE_OVERHEAD_BYTES`](super::MESSAGE_OVERHEAD_BYTES) for each message. Chosen: 4 GiB is a million messages of 4 KiB
/// that no user agent has fetched, more than an honest sender has on a store of ordinary size; a hostile one needs hours
/// for it at the default budgets.
pub const SENDER_BYTES: u64 = 4 << 30;

/// The same of all senders together. 0: no cap. Chosen: the disk's reserve and Redis's `maxmemory` bound a store anyway,
/// and only an operator knows a better number.
pub const STORE_BYTES: u64 = 0;

/// How far messages of each urgency, from very low to high, may fill the store, in percent of its cap. Chosen: in steps of
/// a twentieth, so that a flood of ordinary messages leaves room for urgent ones (RFC 8030 §5.3).
pub const STORE_PERCENT: [u8; 4] = [85, 90, 95, 100];

/// What a sender is told to wait that has too much waiting. Chosen: nothing is made room for it; room comes as user agents
/// fetch and messages expire, which takes minutes rather than seconds.
pub const SENDER_FULL_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// Senders whose sums a node keeps in memory, at some 32 bytes each (Redis: some 150); what further ones send counts for the
/// store alone. Chosen: 2 MiB (10 MiB), and more senders than have something waiting on a store of ordinary size.
pub const SENDERS_COUNTED: usize = if cfg!(test) { 64 } else { 64 * 1024 };

/// How often nodes tell each other through Redis what they counted. By what comes within it, a cap may be exceeded.
/// Chosen: at the default budgets that is a fraction of a percent of the default cap.
pub const REDIS_SENDERS_EVERY: Duration = Duration::from_secs(1);

/// Senders of which a node tells in one round. A call takes Redis 8 to 16 µs (measured, for sums of one to ten parts): less
/// than the push that caused it. Chosen: all that the node counts have had their turn after 16 rounds.
pub const REDIS_SENDERS_ROUND: usize = 4 * 1024;

/// Senders of which a node asks in one round although it has nothing to tell, to notice what others counted. Chosen:
/// at most 1 ms of Redis a second, a thousandth.
pub const REDIS_SENDERS_ASKED: usize = 64;

/// Calls of a round at the same time. Chosen: enough for the longest round to take some tens of milliseconds.
pub const REDIS_SENDERS_AT_ONCE: usize = 64;

/// A message that expires unnoticed goes on counting in Redis for a part of its TTL: one divided by this, or a minute if
/// that is longer. Chosen: an eighth, at which a sender's sum has at most some 16 parts for each TTL that it uses.
pub const REDIS_SENDERS_TTL_PARTS: u64 = 8;
