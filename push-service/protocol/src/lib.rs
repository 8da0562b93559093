//! The Web Push protocols, without I/O.
//!
//! Everything here is told what happened, what time it is and which random bits to use, and answers with values.
//! No socket, no clock, no randomness, no runtime: the service, the user agent and the tests drive the same code.
//!
//! Begin with the examples: `message` is an application server that encrypts and signs a message, `session` a user agent that
//! subscribes and reads it.
//!
//! In the order in which a push message meets them:
//!
//! - [`encryption`]: its content, readable by application server and user agent only (RFC 8291): encrypt and decrypt.
//! - [`headers`]: the header fields of a push (`TTL`, `Urgency`, `Topic`, content codings) become types, once.
//! - [`vapid`]: who sends (RFC 8292): sign, parse, verify. [`origin`]: the audience that its tokens must name.
//! - [`capability`]: resource URLs as sealed, unforgeable tokens.
//! - [`message`], [`identifiers`], [`ttl`], [`urgency`], [`topic`]: the words of RFC 8030 as types.
//! - [`receipt`]: how a message ended, for its application server.
//! - [`session`]: the state machines of both ends of a channel.
//! - [`wire`]: WebSocket frames and messages, and Server-Sent Events.
//! - [`escape`]: shows what others wrote, without what a terminal obeys.
//!
//! Enums of what a driver has to handle ([`session::Action`], [`session::user_agent::Action`],
//! [`session::user_agent::Event`], …) are exhaustive on purpose: the compiler then proves that a driver handles every one. A new
//! one is a new major version. Errors that are only shown to people are `non_exhaustive`.

mod base64url;
mod dialect;
mod p256;
mod parameters;
mod parse;
#[cfg(test)]
mod robustness;

/// The examples in the README are compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub mod capability;
pub mod encryption;
pub mod escape;
pub mod headers;
pub mod identifiers;
pub mod message;
pub mod origin;
pub mod receipt;
pub mod session;
pub mod topic;
pub mod ttl;
pub mod urgency;
pub mod vapid;
pub mod wire;

pub use dialect::Dialect;
pub use identifiers::{
    KeyDigest, MessageId, MessageNumber, SubscriptionId, SubscriptionName, UserAgentId, UserAgentIdentity,
};
pub use message::{Coding, Content, PushMessage};
pub use parse::ParseError;
pub use receipt::{Receipt, ReceiptOutcome};
pub use topic::Topic;
pub use ttl::Ttl;
pub use urgency::Urgency;
