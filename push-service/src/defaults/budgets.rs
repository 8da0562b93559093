//! What a peer's requests cost, and how much a peer may spend (PR-42).
//!
//! One **token** is about a microsecond of work, of the service or of Redis, whichever is more. Some requests cost
//! more than their work: those that an honest peer makes rarely and a hostile one would repeat. Their comments say
//! so.

use std::time::Duration;

/// Work that requests from one address may cause, in tokens a second: a tenth of a core. Chosen: with a few hostile
/// addresses an honest push still takes less than twice its quiet time. An application server that pushes 100
/// messages a second, each with a new VAPID token, spends 11,000, so up to 900 messages a second fit.
pub const WORK_PER_ADDRESS: u32 = 100_000;

/// What an address may spend at once, in tokens. Chosen: half a second of work. A thousand user agents behind one address
/// that come back at once over TLS spend 370,000.
pub const WORK_PER_ADDRESS_BURST: u32 = 500_000;

/// Work that one application server key may cause, from all addresses together, in tokens a second. Chosen: a quarter
/// of a core, 5,000 messages a second. That is more than one address may spend, so it limits only senders with many
/// addresses.
pub const WORK_PER_SENDER: u32 = 250_000;

/// What an application server key may spend at once, in tokens. Chosen: as much as two addresses.
pub const WORK_PER_SENDER_BURST: u32 = 1_000_000;

/// Work that one user agent may cause by requests on its channel, in tokens a second: half a percent of a core.
/// Acknowledging messages that were sent on the channel is free, so this is for everything else. Chosen: 50 registers
/// a second.
pub const WORK_PER_USER_AGENT: u32 = 5_000;

/// What a user agent may spend at once, in tokens. Chosen: it registers [`super::SUBSCRIPTIONS_PER_USER_AGENT`]
/// again, or acknowledges 2,000 messages that were sent on earlier channels.
pub const WORK_PER_USER_AGENT_BURST: u32 = 100_000;

/// Records that requests from one address may make over time, a second: subscriptions, and queues for receipts. They
/// are kept for a day to 400 days, so this limits storage, not work. Chosen: 172,800 a day, which take 57 MB.
pub const RECORDS_PER_ADDRESS: f64 = 2.0;

/// Records that an address may make at once. Chosen: a thousand user agents behind it make ten subscriptions each. They
/// take 3.3 MB.
pub const RECORDS_PER_ADDRESS_BURST: u32 = 10_000;

/// Any request over HTTP, also one to an unknown path or with a method that the resource does not allow. Source:
/// measured, 5 to 13 µs.
pub const COST_REQUEST: u32 = 10;

/// A push message: the request and one step of storage. Source: measured, 24 to 38 µs of the service, 30 of Redis.
pub const COST_PUSH: u32 = 50;

/// Any other request that asks storage once: DELETE of a message, HEAD. Source: as [`COST_PUSH`].
pub const COST_STEP: u32 = 50;

/// A VAPID token that was not seen before and is good. Source: measured, 57 to 89 µs of verification.
pub const COST_VERIFICATION: u32 = 60;

/// A VAPID token whose signature is wrong. Five times its work: honest senders have good ones. It is taken before the
/// signature is verified, and all but [`COST_VERIFICATION`] is given back if it is good.
pub const COST_FORGERY: u32 = 400;

/// A requested receipt: stored, relayed and delivered. Source: three steps of storage.
pub const COST_RECEIPT: u32 = 150;

/// A request that makes a subscription, over HTTP or on a channel. Source: one step of storage, and sealing two
/// capability URLs.
pub const COST_SUBSCRIBE: u32 = 100;

/// A request that ends a subscription, which frees its messages. Source: up to 100 messages a step.
pub const COST_UNSUBSCRIBE: u32 = 200;

/// A request to monitor: it takes the seat and reads a page. Source: two steps of storage.
pub const COST_MONITOR: u32 = 150;

/// A WebSocket that is opened, with the hello that follows. Source: measured, 52 to 68 µs, and a step of Redis.
pub const COST_CHANNEL: u32 = 150;

/// A TCP connection. Source: measured, in the kernel and the listener.
pub const COST_CONNECTION: u32 = 20;

/// A TLS handshake. Source: measured, 180 µs.
pub const COST_HANDSHAKE: u32 = 200;

/// The acknowledgement of one message that was not sent on this channel. Seven times its work: it reaches storage
/// (PR-18), and honest user agents send only a few after they reconnect. Source: 7 µs of Redis.
pub const COST_UNKNOWN_ACKNOWLEDGEMENT: u32 = 50;

/// A frame that gets no answer: a pong, a nack, a fragment of a message, an acknowledgement without ids. Source:
/// measured, below 1 µs.
pub const COST_FRAME: u32 = 1;

/// The longest time that a request over HTTP waits for its tokens; one that would wait longer is refused, after this
/// time. Chosen: a burst is spread without an error, and a sender that is refused at once would only ask again at
/// once.
pub const BUDGET_PATIENCE: Duration = Duration::from_secs(1);

/// The longest time that a channel is not read while it lacks tokens. A channel that would have to wait longer is
/// closed, and so is one that sends more while that much is owed. The frame is not carried out then, so that an
/// address never waits for much longer than this. Chosen: the largest frame costs 20,000 tokens, which a user agent
/// earns in 4 s.
pub const CHANNEL_SLOWED_AT_MOST: Duration = Duration::from_secs(10);

/// A channel that was slowed down repeatedly for this time is closed. Chosen: by then a burst of an honest user agent
/// has long been paid for.
pub const CHANNEL_SLOWED_FOR: Duration = Duration::from_secs(60);

/// A channel that did not have to wait for tokens for this time counts as never slowed down. Chosen: a few times the
/// longest wait.
pub const CHANNEL_SLOWED_REST: Duration = Duration::from_secs(5);

/// Causes that one budget remembers at a time: addresses, keys or user agents. One with a full bucket is not
/// remembered. At 16 bytes each they take 1 MiB, in pieces of 4 KiB that are allocated when needed; four budgets take
/// 4 MiB at most. Chosen: many times the peers that spend faster than they earn at one moment.
pub const BUDGET_ENTRIES: usize = 64 * 1024;
