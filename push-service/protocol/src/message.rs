//! A push message, once it was accepted (RFC 8030 §5).

use bytes::Bytes;

use crate::capability::KeyId;
use crate::identifiers::{KeyDigest, MessageId, SubscriptionId, SubscriptionName};
use crate::urgency::Urgency;

/// How the body of a push message is encrypted, with what the user agent needs beside the body to read it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Coding {
    /// The body is empty, or says nothing of its coding: nothing is passed on.
    Absent,
    /// RFC 8291: all parameters stand in the body.
    Aes128gcm,
    /// The legacy draft: parameters stand in two header fields, here without quotes, padding and VAPID key.
    Aesgcm {
        /// The `Encryption` field, with `salt`.
        encryption: Box<str>,
        /// The `Crypto-Key` field, with `dh`.
        crypto_key: Box<str>,
    },
    /// Any other `Content-Encoding`: resources of RFC 8030 pass on what they are given.
    Other(Box<str>),
}

/// The content of a push message: what the application server POSTed, and what the user agent gets, byte for byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// How it is encrypted.
    pub coding: Coding,
    /// The `Content-Type` field, where it says more than `application/octet-stream`.
    pub media_type: Option<Box<str>>,
    /// The body. May be empty.
    pub body: Bytes,
}

/// A push message on its way to its user agent.
///
/// Urgency and topic are never passed on (RFC 8030 §5.3, §5.4); urgency is here because the session filters by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PushMessage {
    /// Its identity.
    pub id: MessageId,
    /// The subscription that it was sent to.
    pub subscription: SubscriptionId,
    /// The user agent's name for that subscription.
    pub name: SubscriptionName,
    /// How urgent its sender said that it is.
    pub urgency: Urgency,
    /// What is in it.
    pub content: Content,
    /// The application server that its subscription is restricted to, if its sender's URL said so: RFC 8030's user agents
    /// are told the exact push resource of each message (§6.1), and the key is a part of that URL.
    pub key: Option<Box<KeyDigest>>,
    /// The sealing key under which its URLs stand, so that each has one spelling for as long as it waits.
    pub sealed_by: KeyId,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_at_ms: u64,
    /// The remaining time to live when storage handed it out, in milliseconds; count it down by a monotonic clock.
    pub remaining_ms: u64,
}
