//! The identifiers of user agents, subscriptions and push messages.
//!
//! Each is a type of its own, so the compiler notices when one is passed for another. Secret ones print as `…`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;

/// What a user agent shows to prove who it is: 128 secret random bits, its *uaid* on the WebSocket, its subscription
/// set in RFC 8030's words.
///
/// **Invariant:** leaves the process only on the channel of its owner. Storage, tokens, logs and the admin API know
/// [`UserAgentId`], its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct UserAgentIdentity([u8; 16]);

impl UserAgentIdentity {
    /// Takes 128 bits that were drawn from a cryptographic random source.
    pub fn from_random(bits: [u8; 16]) -> Self {
        Self(bits)
    }

    /// Reads the spelling of the WebSocket: 32 hexadecimal digits in any case, with or without the dashes of a UUID.
    pub fn parse(text: &str) -> Option<Self> {
        match text.len() {
            32 => hex_16(text.bytes()).map(Self),
            36 if has_uuid_dashes(text) => hex_16(text.bytes().filter(|b| *b != b'-')).map(Self),
            _ => None,
        }
    }

    /// The one spelling that is sent: 32 lower-case hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// The secret bits themselves.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The identifier under which everything but the channel knows this user agent.
    pub fn id(&self) -> UserAgentId {
        let digest = digest::digest(&digest::SHA256, &self.0);
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_ref()[..16]);
        UserAgentId(id)
    }
}

impl fmt::Debug for UserAgentIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserAgentIdentity(…)")
    }
}

/// A user agent, as storage and operators know it: SHA-256 of its identity, cut to 16 bytes. Not a secret: it opens
/// nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserAgentId(pub [u8; 16]);

impl UserAgentId {
    /// Reads 32 hexadecimal digits, as printed by `Display`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        hex_16(text.bytes()).map(Self)
    }
}

impl fmt::Display for UserAgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for UserAgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserAgentId({self})")
    }
}

/// The name that a user agent gave to one of its subscriptions: a UUID, the *channelID* on the WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionName(pub [u8; 16]);

impl SubscriptionName {
    /// Reads a UUID in its canonical spelling, lower-case and dashed; every other spelling is refused, because the
    /// user agent compares what comes back, character by character.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.bytes().all(|b| !b.is_ascii_uppercase());
        if text.len() != 36 || !lower || !has_uuid_dashes(text) {
            return None;
        }
        hex_16(text.bytes().filter(|b| *b != b'-')).map(Self)
    }
}

impl fmt::Display for SubscriptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (place, byte) in self.0.iter().enumerate() {
            at += usize::from(matches!(place, 4 | 6 | 8 | 10));
            text[at..at + 2].copy_from_slice(&hex_digits(*byte));
            at += 2;
        }
        f.write_str(std::str::from_utf8(&text).expect("digits and dashes are ASCII"))
    }
}

impl fmt::Debug for SubscriptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubscriptionName({self})")
    }
}

/// A subscription, as storage knows it: 64 random bits, unique within its user agent and new at each registration that
/// creates it, so that a push URL of an ended subscription never reaches its successor of the same name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub [u8; 8]);

impl SubscriptionId {
    /// Reads 16 hexadecimal digits, as printed by `Display`.
    pub fn parse(text: &str) -> Option<Self> {
        parse_16_hex_digits(text).map(|bits| Self(bits.to_be_bytes()))
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubscriptionId({self})")
    }
}

/// SHA-256 of an application server's 65-byte public key (RFC 8292 §3.2): who a restricted subscription listens to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct KeyDigest(pub [u8; 32]);

/// A push message's place in the queue of its user agent.
///
/// Orders the queue and shows gaps, nothing else: after a crash or a failover a number may come again, so only a whole
/// [`MessageId`] names a message. In microseconds since 1970, unless two messages met in one microsecond.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct MessageNumber(pub u64);

impl MessageNumber {
    /// Before every message.
    pub const START: Self = Self(0);
}

/// The identity of a push message: its number, and 64 random bits drawn by the node that accepted it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    /// Its place in the queue.
    pub number: MessageNumber,
    /// What tells it from another message that was given the same number.
    pub nonce: u64,
}

impl MessageId {
    /// Characters of [`MessageId::to_base64url`].
    pub const TEXT_BYTES: usize = 22;

    /// Number and nonce, big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.number.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.nonce.to_be_bytes());
        bytes
    }

    /// The reverse of [`MessageId::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let whole = u128::from_be_bytes(bytes);
        Self {
            number: MessageNumber((whole >> 64) as u64),
            nonce: whole as u64,
        }
    }

    /// Its spelling on the wire, the *version* of a WebSocket notification: 22 characters of base64url.
    pub fn to_base64url(self) -> String {
        URL_SAFE_NO_PAD.encode(self.to_bytes())
    }

    /// Reads what [`MessageId::to_base64url`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != Self::TEXT_BYTES {
            return None;
        }
        let mut bytes = [0; 16];
        let written = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (written == 16).then(|| Self::from_bytes(bytes))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({}-{:016x})", self.number.0, self.nonce)
    }
}

/// Reads a number of 64 bits in 16 hexadecimal digits, in any case.
pub fn parse_16_hex_digits(text: &str) -> Option<u64> {
    let is_hexadecimal = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bits = u64::from_str_radix(text, 16).ok()?;
    is_hexadecimal.then_some(bits)
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| hex_digits(*byte));
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(digits.map(char::from));
    text
}

fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

fn hex_16(digits: impl Iterator<Item = u8>) -> Option<[u8; 16]> {
    let mut value: u128 = 0;
    let mut count = 0;
    for digit in digits {
        value = (value << 4) | u128::from(char::from(digit).to_digit(16)?);
        count += 1;
    }
    (count == 32).then(|| value.to_be_bytes())
}

fn has_uuid_dashes(text: &str) -> bool {
    text.bytes()
        .enumerate()
        .all(|(at, byte)| (byte == b'-') == matches!(at, 8 | 13 | 18 | 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WS-HEL-2: an identity is recognised with or without dashes and in any case, and always sent in one spelling.
    #[test]
    fn an_identity_has_many_spellings_in_and_one_out() {
        let plain = UserAgentIdentity::parse("0123456789abcdef0123456789abcdef").unwrap();
        for spelling in [
            "0123456789ABCDEF0123456789ABCDEF",
            "01234567-89ab-cdef-0123-456789abcdef",
            "01234567-89AB-cdef-0123-456789abcdef",
        ] {
            assert_eq!(UserAgentIdentity::parse(spelling).unwrap(), plain);
        }
        assert_eq!(plain.to_hex(), "0123456789abcdef0123456789abcdef");
    }

    /// WS-HEL-1: what is not an identity is unknown, never a panic.
    #[test]
    fn what_is_not_an_identity_is_unknown() {
        for text in [
            "",
            "0123",
            "zz23456789abcdef0123456789abcdef",
            "0123456-789ab-cdef-0123-456789abcdef",
            "é".repeat(16).as_str(),
        ] {
            assert_eq!(UserAgentIdentity::parse(text), None, "{text}");
        }
    }

    /// PR-8: what storage and logs know of a user agent cannot be turned back into what it shows on the wire.
    #[test]
    fn the_identity_hides_itself() {
        let identity = UserAgentIdentity::from_random([7; 16]);
        assert_eq!(format!("{identity:?}"), "UserAgentIdentity(…)");
        assert_ne!(identity.id().0, *identity.as_bytes());
        assert_eq!(
            UserAgentId::parse(&identity.id().to_string()),
            Some(identity.id())
        );
    }

    /// WS-REG-1: a subscription's name is a lower-case, dashed UUID and comes back unchanged.
    #[test]
    fn a_name_is_a_canonical_uuid() {
        let text = "deadbeef-0000-4000-8000-0123456789ab";
        assert_eq!(SubscriptionName::parse(text).unwrap().to_string(), text);
        for wrong in [
            "DEADBEEF-0000-4000-8000-0123456789ab",
            "deadbeef00004000800000123456789ab",
            "deadbeef-0000-4000-80000-123456789ab",
            "",
        ] {
            assert_eq!(SubscriptionName::parse(wrong), None, "{wrong}");
        }
    }

    /// PR-27: the WebSocket's version is the id in base64url, and reads back as the same id.
    #[test]
    fn a_message_id_survives_its_spelling() {
        let id = MessageId {
            number: MessageNumber(u64::MAX - 3),
            nonce: 0x0123_4567_89ab_cdef,
        };
        let text = id.to_base64url();
        assert_eq!(text.len(), MessageId::TEXT_BYTES);
        assert_eq!(MessageId::parse(&text), Some(id));
        for wrong in [
            "",
            "AAAA",
            &text[1..],
            &format!("{text}="),
            "!!!!!!!!!!!!!!!!!!!!!!",
        ] {
            assert_eq!(MessageId::parse(wrong), None, "{wrong}");
        }
    }
}
