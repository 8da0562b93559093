//! Every limit of the user agent, with its unit, its reason and its source.
//!
//! A source is a section of an RFC, a rule of `docs` (PR-…, WS-…), a measurement, or "chosen, because".

use std::time::Duration;

// The channel.

/// The longest message that a service may send. In bytes. Chosen: the largest body that a service takes is some 6 KiB,
/// 8 KiB as base64; ten times that leaves room for members that nobody thought of yet.
pub const MESSAGE_BYTES: u32 = 64 * 1024;

/// Read from a socket at once, into a buffer that belongs to the thread. In bytes. Chosen: a dozen messages of the usual
/// size, and the longest record of TLS.
pub const READ_BYTES: usize = 16 * 1024;

/// What may wait to be written before the service counts as dead. In bytes. Chosen: more than a thousand acknowledgements,
/// which no service leaves unread that is alive.
pub const UNWRITTEN_BYTES: usize = 256 * 1024;

/// The answer to an upgrade, interim answers included. In bytes. Chosen: twice what common servers take of a client, so
/// that no proxy's cookies are in the way.
pub const UPGRADE_HEAD_BYTES: usize = 16 * 1024;

/// Header fields of that answer. Chosen: several times what a service and two proxies in front of it add.
pub const UPGRADE_HEADERS: usize = 64;

/// The longest `Retry-After` that is believed. Chosen: a service that wants nobody for longer than a day made a mistake.
pub const RETRY_AFTER_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the next address of a service waits for the one before it. RFC 8305 §5 recommends 250 ms.
pub const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Addresses of a service that are tried. Chosen: a name with more has as many that work among the first.
pub const ADDRESSES: usize = 8;

/// How long a farewell may take, the service's answer included. Chosen: a round trip around the world, with one loss.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Services whose TLS sessions are remembered, so that coming back costs less. Chosen: a user agent has one service, and
/// maybe a few names for it.
pub const TLS_SESSIONS: usize = 8;

// The network.

/// How long the network has to be quiet before its change is reported, because changes come in bursts. Chosen: what
/// happens between an interface that comes up and its addresses and routes takes less.
pub const NETWORK_QUIET: Duration = Duration::from_millis(500);

/// The longest that a network which never becomes quiet holds a report back. Chosen: a user agent should be back within
/// seconds.
pub const NETWORK_QUIET_MOST: Duration = Duration::from_secs(3);

/// How often it is looked whether the machine slept. Chosen: rare enough to cost nothing, and an answer after a sleep may
/// come some seconds late.
pub const SLEEP_LOOK: Duration = Duration::from_secs(10);

/// The shortest sleep that counts as one. Chosen: above what two clocks differ by when they are read one after the other,
/// below what makes a NAT forget a connection.
pub const SLEEP_LEAST: Duration = Duration::from_secs(2);

// What a user agent keeps.

/// Subscriptions of one user agent, those that are ending included. Chosen: far above what one machine's applications
/// need; every change of one rewrites all of them, which takes 50 ms at this number.
pub const SUBSCRIPTIONS: usize = 10_000;

/// Characters of a subscription's label. Chosen: room for any name that people give, and short enough for a file's name.
pub const LABEL_CHARACTERS: usize = 64;

/// Bytes of a service's URL. Chosen: twice what is taken of a push resource, as it may hold a secret of the operator.
pub const SERVER_URL_BYTES: usize = 2_000;

/// Bytes of `state.json` that are read. Chosen: [`SUBSCRIPTIONS`] of the largest kind take 4,800 bytes each, two push
/// resources and a label in which every byte is escaped; so a larger file is none of ours.
pub const STATE_BYTES: u64 = 48 << 20;

/// Records in `messages.log`, of 32 bytes each, before it is written anew with those that still count. Chosen: 2 MiB; eight
/// times what can still count (4,096 messages done and 4,096 tried), so that writing it anew costs a message next to nothing.
pub const MESSAGE_RECORDS: usize = 1 << 16;

/// Bytes of a `PushSubscription` in JSON. Chosen: four times the longest push resource and its keys, as applications add
/// members of their own.
pub const PUSH_SUBSCRIPTION_BYTES: usize = 16 << 10;
