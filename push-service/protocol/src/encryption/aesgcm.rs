//! Push messages in `aesgcm`, as old server libraries still send them: by the drafts before RFC 8188 and RFC 8291
//! (draft-ietf-httpbis-encryption-encoding-03, draft-ietf-webpush-encryption-04). Only read, never written.
//!
//! Salt and key stand in two header fields, padding stands in front, and record sizes are counted without the tag. What
//! is older still, `aesgcm128`, is not read at all (EAG-7).

use super::derivation::{MessageKey, expand, extract};
use super::error::DecryptError;
use super::keys::SubscriptionKeys;
use super::recipient::Recipient;
use super::sizes::TAG_BYTES;
use crate::base64url;
use crate::p256::PublicKey;
use crate::parameters::{parameter, split};

/// The name of the coding, as it goes into the key.
pub(super) const CODING: &str = "aesgcm";

/// How long the padding is stands in front of it (draft-ietf-httpbis-encryption-encoding-03 §2).
const PADDING_LENGTH_BYTES: usize = 2;

/// What `rs` is if it is not said (draft-ietf-httpbis-encryption-encoding-03 §3.1).
const DEFAULT_RECORD_SIZE: u64 = 4_096;

/// Reads a body of one record; the draft allows no more (draft-ietf-webpush-encryption-04 §4).
pub(super) fn decrypt(
    keys: &SubscriptionKeys,
    encryption: &str,
    crypto_key: &str,
    body: &[u8],
) -> Result<Vec<u8>, DecryptError> {
    let parameters = Parameters::read(encryption, crypto_key)?;
    parameters.check_length(body.len())?;
    let shared = keys.agree(&parameters.sender)?;
    let key = message_key(keys.recipient(), &parameters, &shared);
    let mut content = body.to_vec();
    let padded = key
        .open(0, &mut content)
        .map_err(|_| DecryptError::NotAuthentic)?;
    let (start, end) = (content_start(padded)?, padded.len());
    content.truncate(end);
    content.drain(..start);
    Ok(content)
}

/// What the two header fields say.
struct Parameters {
    salt: [u8; 16],
    /// Of all records but the last, with padding and without tag, in bytes.
    record_size: u64,
    sender: PublicKey,
}

impl Parameters {
    fn read(encryption: &str, crypto_key: &str) -> Result<Self, DecryptError> {
        let encryption = Entry::only(encryption, "salt").ok_or(DecryptError::MalformedEncryption)?;
        let salt = base64url::decode_key(encryption.wanted).ok_or(DecryptError::MalformedEncryption)?;
        let record_size = encryption
            .record_size()
            .ok_or(DecryptError::MalformedEncryption)?;

        let crypto_key = Entry::only(crypto_key, "dh").ok_or(DecryptError::MalformedCryptoKey)?;
        if !crypto_key.may_belong_to(&encryption) {
            return Err(DecryptError::MalformedCryptoKey);
        }
        let sender = PublicKey::parse(crypto_key.wanted).ok_or(DecryptError::MalformedSenderKey)?;
        Ok(Self {
            salt,
            record_size,
            sender,
        })
    }

    /// EAG-4, EAG-6: a record of full length would be followed by another.
    fn check_length(&self, body_bytes: usize) -> Result<(), DecryptError> {
        if body_bytes < PADDING_LENGTH_BYTES + TAG_BYTES {
            return Err(DecryptError::ShortRecord);
        }
        let full_bytes = self.record_size.saturating_add(TAG_BYTES as u64);
        match (body_bytes as u64).cmp(&full_bytes) {
            std::cmp::Ordering::Less => Ok(()),
            std::cmp::Ordering::Equal => Err(DecryptError::Truncated),
            std::cmp::Ordering::Greater => Err(DecryptError::SeveralRecords),
        }
    }
}

/// The entry of a header field that counts, out of a list of them.
struct Entry<'a> {
    wanted: &'a str,
    key_id: Option<&'a str>,
    record_size: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// The one entry that has the parameter `name`. `None` if no entry or more than one has it, if anything is malformed or
    /// said twice, or if a key is sent openly (EAG-2).
    fn only(list: &'a str, name: &str) -> Option<Self> {
        let mut only = None;
        for entry in split(list, b',') {
            if let Some(entry) = Self::read(entry, name)?
                && only.replace(entry).is_some()
            {
                return None;
            }
        }
        only
    }

    /// `Some(None)` if the entry lacks the parameter `wanted`.
    fn read(entry: &'a str, wanted: &str) -> Option<Option<Self>> {
        let (mut found, mut key_id, mut record_size) = (None, None, None);
        for part in split(entry, b';') {
            let (name, value) = parameter(part)?;
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if is("aesgcm") {
                return None;
            }
            let place = match () {
                () if is(wanted) => &mut found,
                () if is("keyid") => &mut key_id,
                () if is("rs") => &mut record_size,
                () => continue,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        Some(found.map(|wanted| Self {
            wanted,
            key_id,
            record_size,
        }))
    }

    /// EAG-1: decimal, above 1.
    fn record_size(&self) -> Option<u64> {
        let Some(text) = self.record_size else {
            return Some(DEFAULT_RECORD_SIZE);
        };
        let size = text
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse());
        size?.ok().filter(|size| *size > 1)
    }

    /// EAG-3: entries that name different keys do not belong together. Many senders name theirs in one field only; as there
    /// is only one key, that can but mean it.
    fn may_belong_to(&self, other: &Self) -> bool {
        match (self.key_id, other.key_id) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }
}

/// draft-ietf-webpush-encryption-04 §3.3, §4.2 in the terms of draft-ietf-httpbis-encryption-encoding-03 §4.2.
fn message_key(recipient: &Recipient, parameters: &Parameters, shared: &[u8; 32]) -> MessageKey {
    let secret = secret(recipient.authentication_secret(), shared);
    let context = context(recipient.public_key(), &parameters.sender);
    MessageKey::derive(&parameters.salt, &secret, CODING, &context)
}

pub(super) fn secret(authentication_secret: &[u8; 16], shared: &[u8; 32]) -> [u8; 32] {
    expand(
        &extract(authentication_secret, shared),
        &[b"Content-Encoding: auth\0"],
    )
}

/// Which keys take part: the curve, then both keys behind their lengths, the user agent's first.
pub(super) fn context(user_agent: &PublicKey, sender: &PublicKey) -> Vec<u8> {
    let length = [0, PublicKey::BYTES as u8];
    let parts: [&[u8]; 5] = [
        b"P-256\0",
        &length,
        user_agent.as_bytes(),
        &length,
        sender.as_bytes(),
    ];
    parts.concat()
}

/// EAG-5: where the content begins, behind the length of the padding and that many zeros.
fn content_start(padded: &[u8]) -> Result<usize, DecryptError> {
    let malformed = DecryptError::MalformedPadding;
    let (length, rest) = padded.split_first_chunk().ok_or(malformed)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let padding = rest.get(..length).ok_or(malformed)?;
    let is_zero = padding.iter().all(|byte| *byte == 0);
    is_zero.then_some(PADDING_LENGTH_BYTES + length).ok_or(malformed)
}
