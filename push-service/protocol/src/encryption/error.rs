//! Why a message cannot be decrypted or encrypted.

use std::fmt;

use super::sizes::MAX_PLAINTEXT_BYTES;

/// Why a message cannot be read. Its recipient drops it and acknowledges it nevertheless: it would be no better
/// the next time.
///
/// `Display` is a sentence for the authors of the sender; it quotes nothing of message or keys.
// E91-15.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DecryptError {
    /// The content coding is missing, unknown to Web Push, or there are several.
    UnknownCoding,

    /// The body ends within the header of `aes128gcm`.
    MalformedHeader,
    /// The record size leaves no room for a byte of content.
    MalformedRecordSize,
    /// The `Encryption` field of `aesgcm` cannot be read, or has not just one salt.
    MalformedEncryption,
    /// The `Crypto-Key` field of `aesgcm` cannot be read, has not just one `dh`, or names another key than `Encryption`.
    MalformedCryptoKey,

    /// The key id is no key of 65 bytes.
    NoSenderKey,
    /// The sender's key is no uncompressed point of P-256.
    MalformedSenderKey,

    /// A record is too short to hold anything, or is missing.
    ShortRecord,
    /// The last record announces another.
    Truncated,
    /// There are several records where only one may be.
    SeveralRecords,

    /// Something was changed on the way, or encrypted for another subscription, or by other rules.
    NotAuthentic,
    /// The content is not followed by the delimiter that its place demands.
    WrongDelimiter,
    /// The padding of `aesgcm` is longer than its record, or not zero.
    MalformedPadding,
}

impl fmt::Display for DecryptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownCoding => {
                "The content coding is not supported; encrypt with aes128gcm and send Content-Encoding: aes128gcm."
            }
            Self::MalformedHeader => {
                "The body is too short; begin it with salt, record size, length of the key id, and the key id (RFC 8188)."
            }
            Self::MalformedRecordSize => "The record size is too small; set it to 4096.",
            Self::MalformedEncryption => {
                "The Encryption header cannot be read; send one salt of 16 bytes in base64url, and rs above 1 if at all."
            }
            Self::MalformedCryptoKey => {
                "The Crypto-Key header cannot be read; send one dh, with the key id of the Encryption header if that has one."
            }
            Self::NoSenderKey => {
                "The key id is not 65 bytes long; put the public key of the message there, as an uncompressed P-256 point."
            }
            Self::MalformedSenderKey => {
                "The public key of the message is invalid; send the 65 bytes of an uncompressed P-256 point."
            }
            Self::ShortRecord => {
                "A record is missing or too short; each must have at least 17 bytes, of which 16 are its \
                 tag."
            }
            Self::Truncated => "The end of the message is missing; set the delimiter of the last record to 2, and send \
                 all records.",
            Self::SeveralRecords => "The message has several records; encrypt it as one.",
            Self::NotAuthentic => {
                "The message does not decrypt; check p256dh and auth of the subscription, and the order of the keys in the key derivation."
            }
            Self::WrongDelimiter => {
                "The content is not followed by its delimiter; append the byte 2 to the last record, before any padding."
            }
            Self::MalformedPadding => {
                "The padding is malformed; begin with its length in two bytes, followed by as many zeros."
            }
        })
    }
}

impl std::error::Error for DecryptError {}

/// Why a message cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncryptError {
    /// Plaintext and padding have more than [`MAX_PLAINTEXT_BYTES`] together.
    TooLong,
    /// The random source failed.
    NoRandomness,
}

impl fmt::Display for EncryptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(
                f,
                "Plaintext and padding have more than {MAX_PLAINTEXT_BYTES} bytes, the most that every push \
                 service accepts; shorten them, or send a URL to the rest."
            ),
            Self::NoRandomness => NoRandomness.fmt(f),
        }
    }
}

impl std::error::Error for EncryptError {}

/// What an application server was given of a subscription is unusable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecipientError {
    /// `p256dh` is no uncompressed point of P-256 in base64url.
    MalformedPublicKey,
    /// `auth` is not 16 bytes in base64url.
    MalformedSecret,
}

impl fmt::Display for RecipientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MalformedPublicKey => {
                "p256dh is invalid; it is a public key of 65 bytes, an uncompressed P-256 point, in 87 characters of base64url."
            }
            Self::MalformedSecret => "auth is invalid; it is a secret of 16 bytes, in 22 characters of base64url.",
        })
    }
}

impl std::error::Error for RecipientError {}

/// The random source failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The random source failed.")
    }
}

impl std::error::Error for NoRandomness {}
