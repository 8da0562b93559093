//! Why the header fields of a push are refused.

use std::fmt;

/// Why a push is refused before its resource is looked at. `Display` is a sentence that tells the sender what to change.
///
/// Exhaustive: a service has a status and a documented code for each of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    /// There is no `TTL`.
    MissingTtl,
    /// `TTL` is no number of seconds, or there are two that differ.
    MalformedTtl,
    /// `TTL` is a number of seconds below zero.
    NegativeTtl,
    /// `Urgency` has more than one value.
    RepeatedUrgency,
    /// `Urgency` is not one of the four values.
    UnknownUrgency,
    /// `Topic` is no topic, or there are several.
    MalformedTopic,
    /// `Content-Type` is not visible ASCII, too long, or there are several.
    MalformedContentType,
    /// `Link` can't be read, or names two targets of one relation.
    MalformedLink,
    /// There is a body and no `Content-Encoding`, where one is needed.
    MissingContentEncoding,
    /// `Content-Encoding` is unknown to Web Push, unreadable, or there is more than one.
    UnknownContentEncoding,
    /// `aesgcm` without `Encryption`.
    MissingEncryption,
    /// `Encryption` lacks a salt of 16 bytes, has several, or cannot be read.
    MalformedEncryption,
    /// `aesgcm` without `Crypto-Key`, or without `dh` in it.
    MissingDh,
    /// `Crypto-Key` has several `dh`, an `aesgcm` key, or cannot be read.
    MalformedCryptoKey,
    /// `aes128gcm` with a salt in `Encryption`: the body has it already.
    UnexpectedSalt,
    /// `aes128gcm` with `dh` in `Crypto-Key`: the body has it already.
    UnexpectedDh,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MissingTtl => "The TTL header is missing; send how many seconds the message may wait, or 0.",
            Self::MalformedTtl => "The TTL header is not a number of seconds; send digits only, once.",
            Self::NegativeTtl => "The TTL header is negative; send 0 or more seconds.",
            Self::RepeatedUrgency => "There is more than one Urgency; send a single value.",
            Self::UnknownUrgency => "The Urgency is unknown; send very-low, low, normal or high.",
            Self::MalformedTopic => {
                "The Topic is invalid; send one value of 1 to 32 characters from A-Z, a-z, 0-9, - and _."
            }
            Self::MalformedContentType => "The Content-Type header cannot be read; send one short value, or none.",
            Self::MalformedLink => {
                "The Link header cannot be read; send <URL>; rel=\"…\", and one target for each relation."
            }
            Self::MissingContentEncoding => {
                "The Content-Encoding header is missing; encrypt the body as in RFC 8291 and send aes128gcm."
            }
            Self::UnknownContentEncoding => "The Content-Encoding is not supported; send aes128gcm alone.",
            Self::MissingEncryption => "The Encryption header is missing, which aesgcm needs; better, use aes128gcm.",
            Self::MalformedEncryption => {
                "The Encryption header is invalid; send one salt of 16 bytes in base64url, and rs above 1 if at all."
            }
            Self::MissingDh => "There is no dh in the Crypto-Key header, which aesgcm needs; better, use aes128gcm.",
            Self::MalformedCryptoKey => "The Crypto-Key header is invalid; send one dh in base64url and no aesgcm key.",
            Self::UnexpectedSalt => {
                "The Encryption header has a salt, but aes128gcm has it in the body; leave the header out."
            }
            Self::UnexpectedDh => {
                "The Crypto-Key header has dh, but aes128gcm has it in the body; leave dh out of the header."
            }
        })
    }
}

impl std::error::Error for HeaderError {}
