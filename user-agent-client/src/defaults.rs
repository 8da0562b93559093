//! Every limit of the user agent, with its unit, its reason and its source.
//!
//! A source is a section of an RFC, a rule of `docs/coverage.md` (PR-…, WS-…), a measurement, or "chosen, because".

use std::time::Duration;

use push_protocol::session::user_agent::Limits;

const SECOND: Duration = Duration::from_secs(1);

/// From the first packet to an open channel. Chosen: a satellite link with lost packets gets through in half of it.
pub const CONNECT_WITHIN: Duration = SECOND.saturating_mul(30);

/// For an answer to hello, a request or a ping. Source: Firefox (WS-CLS-2), which services are tuned to.
pub const ANSWER_WITHIN: Duration = SECOND.saturating_mul(10);

/// The shortest silence before a ping. Source: the deployed peer closes whoever asks more often (WS-PNG-3).
pub const KEEPALIVE_LEAST: Duration = SECOND.saturating_mul(45);

/// The longest. Source: the deployed peer and ours ask after as long by themselves (WS-CON-8).
pub const KEEPALIVE_MOST: Duration = SECOND.saturating_mul(300);

/// The shortest wait before the next connection. Chosen: ten connections a second burden nobody.
pub const BACKOFF_LEAST: Duration = Duration::from_millis(100);

/// The longest wait after the first failure. Chosen: a restarted service is back within a second or two.
pub const BACKOFF_BASE: Duration = SECOND;

/// The longest wait of all. Chosen: a person who mends something looks for as long.
pub const BACKOFF_MOST: Duration = SECOND.saturating_mul(300);

/// A channel that lived for so long was a good one. Chosen: longer than it takes to say hello and be closed.
pub const STEADY_AFTER: Duration = SECOND.saturating_mul(10);

/// Messages with the application or waiting to be tried again. Chosen: several windows of any known service (32, 150).
pub const HELD_MESSAGES: usize = 256;

/// Bytes of their bodies. Chosen: all of them at the size that services must take (RFC 8030 §7.2), twice over.
pub const HELD_BYTES: usize = 2 * HELD_MESSAGES * 4_096;

/// How often an application that fails is tried. Source: the W3C Push API recommends at least three (WP-RCV-6).
pub const ATTEMPTS: u32 = 3;

/// The wait before the second attempt. Chosen: what a busy disk or a restarting neighbour needs.
pub const RETRY_AFTER: Duration = SECOND.saturating_mul(2);

/// Requests under way. Chosen: enough to set up hundreds of subscriptions in a second.
pub const REQUESTS: usize = 16;

/// The wait before a request is repeated that the service could not serve. Chosen: as for the service's own storage.
pub const ASK_AGAIN_AFTER: Duration = SECOND.saturating_mul(5);

/// Texts on one channel that mean nothing. Chosen: a service that is newer than we are says a few.
pub const NONSENSE: u32 = 100;

/// How long the application may take over what is in its hands when the user agent stops. Chosen: below the 30 s that
/// service managers grant before they kill.
pub const STOP_WITHIN: Duration = SECOND.saturating_mul(20);

/// How long a farewell may take. Chosen: the service needs it for nothing.
pub const CLOSE_WITHIN: Duration = SECOND;

/// Calls from the application that wait for the user agent's task.
pub const CALLS: usize = 32;

/// News that the application has not read. Chosen: one that never reads any loses nothing that it can't ask for.
pub const NEWS: usize = 64;

/// All limits of the session.
pub fn limits() -> Limits {
    Limits {
        connect_within: CONNECT_WITHIN,
        answer_within: ANSWER_WITHIN,
        keepalive_least: KEEPALIVE_LEAST,
        keepalive_most: KEEPALIVE_MOST,
        backoff_least: BACKOFF_LEAST,
        backoff_base: BACKOFF_BASE,
        backoff_most: BACKOFF_MOST,
        steady_after: STEADY_AFTER,
        held_messages: HELD_MESSAGES,
        held_bytes: HELD_BYTES,
        attempts: ATTEMPTS,
        retry_after: RETRY_AFTER,
        requests: REQUESTS,
        ask_again_after: ASK_AGAIN_AFTER,
        nonsense: NONSENSE,
        stop_within: STOP_WITHIN,
    }
}

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
