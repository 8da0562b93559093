//! Resource URLs as sealed capabilities (RFC 8030 §8.3): knowing a URL is the permission to do one thing.
//!
//! What a URL is for is sealed into it under a key of the service. So a forged URL is refused without asking
//! storage, two URLs of one user agent have nothing in common but the byte that tells the sealing key (RFC 8030 §8.2), and
//! no URL works as another kind.
//!
//! Keys are a list: the first seals, all open. Dropping a key ends what was sealed with it; [`Opened::key`] lets
//! a metric tell when no request uses an old key any more.
//!
//! This module knows tokens. It does not know paths, nor whether the subscription or message of a token still exists.

// PR-27, PR-28.

mod sealing;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::sealing::{KeyId, SealingKey};
use self::sealing::{Kind, Sealer, open};
pub use crate::dialect::Dialect;
use crate::identifiers::{KeyDigest, MessageId, SubscriptionId, UserAgentId, UserAgentIdentity};

/// The most sealing keys that are held. An unknown token is tried against those that share its key id, so the number
/// bounds what a forged URL costs; rotating once a year, 16 outlive every subscription.
pub const MAX_SEALING_KEYS: usize = 16;

/// Which push resource a token belongs to: it does not open as another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushKind {
    /// RFC 8030's, restricted or not (RFC 8292 §4): one kind, one length.
    Push,
    /// The WebSocket's, open to every application server.
    WpushV1,
    /// The WebSocket's, restricted to one application server.
    WpushV2,
}

impl PushKind {
    /// What stands before the token in its URL's path.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Push => "/push/",
            Self::WpushV1 => "/wpush/v1/",
            Self::WpushV2 => "/wpush/v2/",
        }
    }
}

/// Which of the two URLs of a push message a token belongs to.
// PR-26.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// The sender's `Location`, and its receipt's URL: DELETE cancels.
    Message,
    /// The path that a user agent is promised: DELETE acknowledges.
    Promise,
}

/// To send to one subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PushCapability {
    /// Whose queue it is.
    pub user_agent: UserAgentId,
    /// Which subscription.
    pub subscription: SubscriptionId,
    /// Who alone may send, if the subscription is restricted.
    pub key: Option<KeyDigest>,
}

/// To cancel one message, or to acknowledge it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MessageCapability {
    /// In whose queue it is.
    pub user_agent: UserAgentId,
    /// Which message.
    pub id: MessageId,
    /// How to answer.
    pub dialect: Dialect,
}

/// To monitor and to end one subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscriptionCapability {
    /// Whose it is.
    pub user_agent: UserAgentId,
    /// Which subscription.
    pub subscription: SubscriptionId,
}

/// A push resource's token, and the resource that it is for.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedPush {
    /// Under which resource it opens.
    pub kind: PushKind,
    /// The last segment of its URL.
    pub token: String,
}

/// What a token holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened<T> {
    /// What its holder may do.
    pub capability: T,
    /// Which of the list's keys it was sealed with; 0 is the one that seals now.
    pub key: usize,
}

/// Why a list of sealing keys cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SealingKeysError {
    /// The list is empty.
    Empty,
    /// There are more than [`MAX_SEALING_KEYS`].
    TooMany,
    /// The list has a key twice.
    Repeated,
}

/// Seals and opens the tokens of all resource URLs.
pub struct Capabilities {
    /// **Invariant:** never empty.
    sealers: Vec<Sealer>,
}

impl Capabilities {
    /// Takes the sealing keys, the one that seals first.
    ///
    /// # Errors
    ///
    /// What the operator has to change about the list.
    pub fn new(keys: &[SealingKey]) -> Result<Self, SealingKeysError> {
        if keys.is_empty() {
            return Err(SealingKeysError::Empty);
        }
        if keys.len() > MAX_SEALING_KEYS {
            return Err(SealingKeysError::TooMany);
        }
        let sealers: Vec<_> = keys.iter().map(Sealer::new).collect();
        for (at, sealer) in sealers.iter().enumerate() {
            if sealers[..at]
                .iter()
                .any(|earlier| earlier.fingerprint == sealer.fingerprint)
            {
                return Err(SealingKeysError::Repeated);
            }
        }
        Ok(Self { sealers })
    }

    /// The key that seals. Kept with each message, so that rotation does not change its URL.
    pub fn current(&self) -> KeyId {
        self.sealers[0].id
    }

    /// The fingerprints of all keys, in their order.
    pub fn fingerprints(&self) -> impl Iterator<Item = [u8; 8]> {
        self.sealers.iter().map(|sealer| sealer.fingerprint)
    }

    /// Seals a push resource's token. `random` are 128 bits from a cryptographic random source, drawn for this token.
    pub fn seal_push(&self, dialect: Dialect, capability: &PushCapability, random: [u8; 16]) -> SealedPush {
        let sealer = &self.sealers[0];
        let ids = ids(capability.user_agent, capability.subscription);
        let (kind, token) = match (dialect, capability.key) {
            (Dialect::Rfc8030, _) => {
                let plaintext = push_plaintext(capability);
                (PushKind::Push, sealer.seal(Kind::Push, random, plaintext))
            }
            (Dialect::Webpush, None) => (PushKind::WpushV1, sealer.seal(Kind::WpushV1, random, ids)),
            (Dialect::Webpush, Some(key)) => {
                let plaintext = join::<24, 32, 56>(ids, key.0);
                (PushKind::WpushV2, sealer.seal(Kind::WpushV2, random, plaintext))
            }
        };
        SealedPush { kind, token }
    }

    /// Opens a push resource's token. `None` for whatever was not sealed here as this kind.
    pub fn open_push(&self, kind: PushKind, token: &str) -> Option<Opened<PushCapability>> {
        let (ids, restriction, key) = match kind {
            PushKind::Push => {
                let (plaintext, key) = open::<57>(&self.sealers, Kind::Push, token)?;
                let (ids, restriction) = cut::<24, 33, 57>(plaintext);
                let ([is_restricted], digest) = cut(restriction);
                (ids, (is_restricted != 0).then_some(digest), key)
            }
            PushKind::WpushV1 => {
                let (ids, key) = open::<24>(&self.sealers, Kind::WpushV1, token)?;
                (ids, None, key)
            }
            PushKind::WpushV2 => {
                let (plaintext, key) = open::<56>(&self.sealers, Kind::WpushV2, token)?;
                let (ids, digest) = cut::<24, 32, 56>(plaintext);
                (ids, Some(digest), key)
            }
        };
        let (user_agent, subscription) = cut::<16, 8, 24>(ids);
        let capability = PushCapability {
            user_agent: UserAgentId(user_agent),
            subscription: SubscriptionId(subscription),
            key: restriction.map(KeyDigest),
        };
        Some(Opened { capability, key })
    }

    /// Seals a message's token: always the same one for the same message, kind and key.
    ///
    /// `key` is [`Capabilities::current`] when the message was accepted. If that key is gone, so is the old URL, and the
    /// current key seals a new one.
    pub fn seal_message(&self, kind: MessageKind, key: KeyId, capability: &MessageCapability) -> String {
        let sealer = self.sealer(key);
        let ids = join::<16, 16, 32>(capability.user_agent.0, capability.id.to_bytes());
        let plaintext = join::<32, 1, 33>(ids, [capability.dialect.to_byte()]);
        let kind = kind.sealed_as();
        sealer.seal(kind, sealer.name(kind, &plaintext), plaintext)
    }

    /// Opens a message's token. `None` for whatever was not sealed here as this kind.
    pub fn open_message(&self, kind: MessageKind, token: &str) -> Option<Opened<MessageCapability>> {
        let (plaintext, key) = open::<33>(&self.sealers, kind.sealed_as(), token)?;
        let (ids, [dialect]) = cut::<32, 1, 33>(plaintext);
        let (user_agent, id) = cut::<16, 16, 32>(ids);
        let capability = MessageCapability {
            user_agent: UserAgentId(user_agent),
            id: MessageId::from_bytes(id),
            dialect: Dialect::from_byte(dialect)?,
        };
        Some(Opened { capability, key })
    }

    /// Seals a subscription's token. `random` as for [`Capabilities::seal_push`].
    pub fn seal_subscription(&self, capability: &SubscriptionCapability, random: [u8; 16]) -> String {
        let ids = ids(capability.user_agent, capability.subscription);
        self.sealers[0].seal(Kind::Subscription, random, ids)
    }

    /// Opens a subscription's token. `None` for whatever was not sealed here as one.
    pub fn open_subscription(&self, token: &str) -> Option<Opened<SubscriptionCapability>> {
        let (ids, key) = open::<24>(&self.sealers, Kind::Subscription, token)?;
        let (user_agent, subscription) = cut::<16, 8, 24>(ids);
        let capability = SubscriptionCapability {
            user_agent: UserAgentId(user_agent),
            subscription: SubscriptionId(subscription),
        };
        Some(Opened { capability, key })
    }

    /// Seals a subscription set's token: its holder is the user agent. `random` as for [`Capabilities::seal_push`].
    pub fn seal_subscription_set(&self, identity: &UserAgentIdentity, random: [u8; 16]) -> String {
        self.sealers[0].seal(Kind::SubscriptionSet, random, *identity.as_bytes())
    }

    /// Opens a subscription set's token. `None` for whatever was not sealed here as one.
    pub fn open_subscription_set(&self, token: &str) -> Option<Opened<UserAgentIdentity>> {
        let (identity, key) = open::<16>(&self.sealers, Kind::SubscriptionSet, token)?;
        let capability = UserAgentIdentity::from_random(identity);
        Some(Opened { capability, key })
    }
}

impl Capabilities {
    /// Seals a receipt subscription's token: the same one for as long as the same key seals.
    pub fn seal_receipts(&self, receipts: UserAgentId) -> String {
        let sealer = &self.sealers[0];
        sealer.seal(
            Kind::Receipts,
            sealer.name(Kind::Receipts, &receipts.0),
            receipts.0,
        )
    }

    /// Opens a receipt subscription's token. `None` for whatever was not sealed here as one.
    pub fn open_receipts(&self, token: &str) -> Option<Opened<UserAgentId>> {
        let (id, key) = open::<16>(&self.sealers, Kind::Receipts, token)?;
        let capability = UserAgentId(id);
        Some(Opened { capability, key })
    }

    /// Spells the token of an RFC 8030 push resource as [`Capabilities::seal_push`] did when the subscription was made:
    /// of the same capability, visible bits and key there is one spelling. If the key is gone, so is that URL.
    pub fn spell_push(&self, key: KeyId, capability: &PushCapability, visible: [u8; 16]) -> String {
        self.sealer(key)
            .seal(Kind::Push, visible, push_plaintext(capability))
    }

    /// The key of this id, or the one that seals now.
    fn sealer(&self, key: KeyId) -> &Sealer {
        let known = self.sealers.iter().find(|sealer| sealer.id == key);
        known.unwrap_or(&self.sealers[0])
    }

    /// The id of a key in the list: see [`Opened::key`].
    pub fn id_of(&self, key: usize) -> KeyId {
        self.sealers.get(key).map_or(self.current(), |sealer| sealer.id)
    }
}

/// What an RFC 8030 push resource's token holds.
fn push_plaintext(capability: &PushCapability) -> [u8; 57] {
    let is_restricted = [u8::from(capability.key.is_some())];
    let digest = capability.key.map_or([0; 32], |key| key.0);
    let ids = ids(capability.user_agent, capability.subscription);
    join::<24, 33, 57>(ids, join(is_restricted, digest))
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capabilities({} keys)", self.sealers.len())
    }
}

impl fmt::Debug for SealedPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedPush({:?}, …)", self.kind)
    }
}

impl fmt::Display for SealingKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no sealing key: give at least one"),
            Self::TooMany => write!(
                f,
                "there are more than {MAX_SEALING_KEYS} sealing keys: remove the oldest"
            ),
            Self::Repeated => f.write_str("a sealing key is in the list twice"),
        }
    }
}

impl std::error::Error for SealingKeysError {}

impl MessageKind {
    fn sealed_as(self) -> Kind {
        match self {
            Self::Message => Kind::Message,
            Self::Promise => Kind::Promise,
        }
    }
}

fn ids(user_agent: UserAgentId, subscription: SubscriptionId) -> [u8; 24] {
    join(user_agent.0, subscription.0)
}

/// `first || second`; that the lengths add up is checked when it is compiled.
fn join<const A: usize, const B: usize, const N: usize>(first: [u8; A], second: [u8; B]) -> [u8; N] {
    const { assert!(A + B == N) };
    let mut joined = [0; N];
    joined[..A].copy_from_slice(&first);
    joined[A..].copy_from_slice(&second);
    joined
}

/// The reverse of [`join`].
fn cut<const A: usize, const B: usize, const N: usize>(joined: [u8; N]) -> ([u8; A], [u8; B]) {
    const { assert!(A + B == N) };
    let (mut first, mut second) = ([0; A], [0; B]);
    first.copy_from_slice(&joined[..A]);
    second.copy_from_slice(&joined[A..]);
    (first, second)
}
