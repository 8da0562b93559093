//! `FromStr` for the types that have a textual form: the same as each type's own `parse`, with an error that says what is expected.

use std::fmt;
use std::str::FromStr;

use crate::capability::SealingKey;
use crate::identifiers::{MessageId, SubscriptionId, SubscriptionName, UserAgentId, UserAgentIdentity};
use crate::origin::{Origin, OriginError};
use crate::session::user_agent::{Identity, PushResource, SubscriptionResource};
use crate::topic::Topic;
use crate::ttl::Ttl;
use crate::urgency::Urgency;
use crate::vapid::PublicKey;

/// A text is not what it should be. `Display` says what is expected; it quotes nothing of the text, which may be a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseError(&'static str);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

impl std::error::Error for ParseError {}

impl FromStr for Urgency {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("very-low, low, normal or high"))
    }
}

impl FromStr for Ttl {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("a number of seconds, in digits only"))
    }
}

impl FromStr for Topic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("1 to 32 characters from A-Z, a-z, 0-9, - and _"))
    }
}

impl FromStr for SubscriptionName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("a UUID in lower case, with its dashes"))
    }
}

impl FromStr for SubscriptionId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("16 hexadecimal digits"))
    }
}

impl FromStr for UserAgentId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("32 hexadecimal digits"))
    }
}

impl FromStr for UserAgentIdentity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("32 hexadecimal digits, or a UUID"))
    }
}

impl FromStr for MessageId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("22 characters of base64url"))
    }
}

impl FromStr for PublicKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError(
            "the 65 bytes of an uncompressed P-256 point, in base64url",
        ))
    }
}

impl FromStr for SealingKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("32 bytes in base64url"))
    }
}

impl FromStr for Identity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("1 to 128 bytes"))
    }
}

impl FromStr for PushResource {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("an absolute https or http URL of at most 1,000 bytes"))
    }
}

impl FromStr for SubscriptionResource {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text).ok_or(ParseError("an absolute https or http URL of at most 1,000 bytes"))
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_read<T: FromStr>(text: &str) -> bool {
        text.parse::<T>().is_ok()
    }

    /// Each type reads its own spelling by `str::parse`, and nothing else.
    #[test]
    fn every_spelling_can_be_read() {
        let key = crate::vapid::vectors::RFC_KEY;
        type Reads = fn(&str) -> bool;
        let rows: [(Reads, &str); 14] = [
            (is_read::<Urgency>, "very-low"),
            (is_read::<Ttl>, "60"),
            (is_read::<Topic>, "news"),
            (
                is_read::<SubscriptionName>,
                "00000000-0000-0000-0000-00000000000a",
            ),
            (is_read::<SubscriptionId>, "000000000000000a"),
            (is_read::<UserAgentId>, "0000000000000000000000000000000a"),
            (is_read::<UserAgentIdentity>, "0000000000000000000000000000000a"),
            (is_read::<MessageId>, "AAAAAAAAAAAAAAAAAAAAAA"),
            (is_read::<PublicKey>, key),
            (
                is_read::<SealingKey>,
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ),
            (is_read::<Identity>, "somebody"),
            (is_read::<PushResource>, "https://push.example.net/push/1"),
            (
                is_read::<SubscriptionResource>,
                "https://push.example.net/subscription/1",
            ),
            (is_read::<Origin>, "https://push.example.net"),
        ];
        for (reads, text) in rows {
            assert!(reads(text) && !reads(""), "{text}");
        }
        let error = "urgent".parse::<Urgency>().unwrap_err();
        assert_eq!(error.to_string(), "expected very-low, low, normal or high");
        assert_eq!(Urgency::High.to_string().parse(), Ok(Urgency::High));
        assert_eq!(Ttl::from_secs(60).to_string().parse(), Ok(Ttl::from_secs(60)));
    }
}
