//! Every limit of the user agent that is no part of its session, with its unit, its reason and its source.
//!
//! A source is a section of an RFC, a rule of `docs` (PR-…, WS-…), a measurement, or "chosen, because".

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
