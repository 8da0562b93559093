//! How many bytes may wait of one sender and of all, and how they are counted.

use std::time::Duration;

use push_protocol::Urgency;

/// Bytes that may wait of one application server key, or of one address without a key: bodies, and
/// [`MESSAGE_OVERHEAD_BYTES`](super::MESSAGE_OVERHEAD_BYTES) for each message. 0: no cap. Chosen: 4 GiB is a million messages
/// of 4 KiB that no user agent has fetched. That is more than an honest sender has waiting on a store of ordinary size, and a
/// hostile one needs hours for it at the default budgets.
pub const SENDER_BYTES: u64 = 4 << 30;

/// Bytes that may wait of all senders together, counted in the same way. 0: no cap. Chosen: the disk's reserve and Redis's
/// `maxmemory` bound a store anyway, and only an operator knows a better number.
pub const STORE_BYTES: u64 = 0;

/// How far messages of this urgency may fill the store, in percent of its cap. Chosen: steps of 5 %, so that a flood of ordinary
/// messages leaves room for urgent ones (RFC 8030 §5.3).
pub const fn store_percent(urgency: Urgency) -> u8 {
    match urgency {
        Urgency::VeryLow => 85,
        Urgency::Low => 90,
        Urgency::Normal => 95,
        Urgency::High => 100,
    }
}

/// How long a sender over its cap is told to wait. Chosen: it has room again only when user agents fetch its messages or
/// messages expire, which takes minutes rather than seconds.
pub const SENDER_FULL_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// Senders whose sums a node keeps in memory, at some 32 bytes each (with Redis some 150). What further senders send counts for
/// the store alone; with Redis a further sender takes the place of one that the node has nothing to tell of. Chosen: they take 2 MiB (with Redis 10 MiB), and are more senders than a store of ordinary size has
/// messages of.
pub const SENDERS_COUNTED: usize = if cfg!(test) { 64 } else { 64 * 1024 };

/// Senders that a node looks at, to forget one that was only heard of, when [`SENDERS_COUNTED`] are known and another one comes.
/// Chosen: most have nothing to tell most of the time.
pub const SENDERS_LOOKED_AT: usize = 16;

/// How often nodes tell each other through Redis what they counted. A cap may be exceeded by what comes in between. Chosen: at
/// the default budgets that is a fraction of a percent of the default cap.
pub const REDIS_SENDERS_EVERY: Duration = Duration::from_secs(1);

/// The most senders of which a node tells in one round, with one call each. A call takes Redis 8 to 16 µs (measured, for sums
/// of one to ten parts), which is less than the push that caused it; for 117 parts, which random TTLs make, 285 µs. Chosen: after 16 rounds each of [`SENDERS_COUNTED`] has
/// had its turn.
pub const REDIS_SENDERS_ROUND: usize = 4 * 1024;

/// Senders for whose sums a node asks in one round although it has nothing to tell, to learn what other nodes counted. Chosen:
/// for one node that takes at most 1 ms of Redis a second, a thousandth.
pub const REDIS_SENDERS_ASKED: usize = 64;

/// Calls of one round that are under way at the same time. Chosen: enough for the longest round to take some tens of
/// milliseconds.
pub const REDIS_SENDERS_AT_ONCE: usize = 64;

/// How long a node that stops may go on telling others what it counted. Chosen: less than a supervisor waits for a process to
/// end, and time for 16 rounds.
pub const REDIS_SENDERS_LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// The shortest part of a sum, as a power of two in milliseconds: 65.5 s. Chosen: messages of short TTLs share a few parts, and
/// one that expires unnoticed counts for a minute more.
pub const REDIS_SENDERS_SHORTEST_PART: u32 = 16;

/// A message that expires before a sweep finds it goes on counting in Redis, for at most its TTL divided by this, or a minute if
/// that is longer. Chosen: then a sender's sum has at most some 16 parts for each TTL that it uses.
pub const REDIS_SENDERS_TTL_PARTS: u64 = 8;
