//! The content coding `aes128gcm` by itself (RFC 8188): a header, and records under one secret. It knows
//! neither where the secret comes from nor whose key the key id is.
//!
//! ```text
//! body   = salt, 16 bytes || record size, 4 bytes || length of the key id, 1 byte || key id || records
//! record = AES-128-GCM( content || delimiter || zeros ) || tag, 16 bytes
//! ```
//!
//! The record size is the one thing in a body that no tag protects. Changing it changes nothing, or makes the message
//! unreadable: with another record size, the tags are looked for in the wrong places.

use super::derivation::MessageKey;
use super::error::DecryptError;
use super::sizes::{DELIMITER_BYTES, FIXED_HEADER_BYTES, SALT_BYTES, TAG_BYTES};

/// The name of the coding, as it goes into the key (RFC 8188 §2.2).
pub(super) const CODING: &str = "aes128gcm";

/// E88-1: the smallest record that can hold content: one byte of it, delimiter and tag (RFC 8188 §2).
const MIN_RECORD_SIZE: u32 = 18;

/// What a body begins with.
pub(super) struct Header<'a> {
    pub(super) salt: &'a [u8; SALT_BYTES],
    /// Of all records but the last, with their tags, in bytes.
    pub(super) record_size: u32,
    /// At most 255 bytes.
    pub(super) key_id: &'a [u8],
}

impl<'a> Header<'a> {
    /// Reads a header; hands back the records too.
    pub(super) fn read(body: &'a [u8]) -> Result<(Self, &'a [u8]), DecryptError> {
        let malformed = DecryptError::MalformedHeader;
        let (salt, rest) = body.split_first_chunk().ok_or(malformed)?;
        let (record_size, rest) = rest.split_first_chunk().ok_or(malformed)?;
        let (key_id_bytes, rest) = rest.split_first().ok_or(malformed)?;
        let (key_id, records) = rest.split_at_checked((*key_id_bytes).into()).ok_or(malformed)?;
        let record_size = u32::from_be_bytes(*record_size);
        if record_size < MIN_RECORD_SIZE {
            return Err(DecryptError::MalformedRecordSize);
        }
        let header = Self {
            salt,
            record_size,
            key_id,
        };
        Ok((header, records))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let key_id_bytes = u8::try_from(self.key_id.len()).expect("a key id is short");
        out.extend_from_slice(self.salt);
        out.extend_from_slice(&self.record_size.to_be_bytes());
        out.push(key_id_bytes);
        out.extend_from_slice(self.key_id);
    }

    fn message_key(&self, secret: &[u8]) -> MessageKey {
        MessageKey::derive(self.salt, secret, CODING, b"")
    }
}

/// Decrypts all records of a message, however many there are. Takes no more memory than they do: a caller that has them has
/// bounded it.
pub(super) fn open(header: &Header<'_>, secret: &[u8], records: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let key = header.message_key(secret);
    let record_size = usize::try_from(header.record_size).unwrap_or(usize::MAX);
    // Every record shrinks while it is decrypted: what comes after it finds room, and nothing is moved.
    let mut content = Vec::with_capacity(records.len());
    let mut records = records.chunks(record_size);
    let last = records.next_back().ok_or(DecryptError::ShortRecord)?;
    let mut number = 0;
    for record in records {
        open_record(&key, number, record, RecordPosition::Before, &mut content)?;
        number += 1;
    }
    open_record(&key, number, last, RecordPosition::Last, &mut content)?;
    Ok(content)
}

/// Encrypts a message as its only record, behind its header, with `padding` zeros. Whether they fit into the record size
/// is for the caller to see.
pub(super) fn seal(header: &Header<'_>, secret: &[u8], content: &[u8], padding: usize) -> Vec<u8> {
    let header_bytes = FIXED_HEADER_BYTES + header.key_id.len();
    let record_bytes = content.len() + DELIMITER_BYTES + padding + TAG_BYTES;
    let mut body = Vec::with_capacity(header_bytes + record_bytes);
    header.write(&mut body);
    body.extend_from_slice(content);
    body.push(RecordPosition::Last.delimiter());
    body.resize(body.len() + padding, 0);
    let tag = header.message_key(secret).seal(0, &mut body[header_bytes..]);
    body.extend_from_slice(tag.as_ref());
    body
}

/// Where in its message a record stands, which its delimiter has to say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RecordPosition {
    Before,
    Last,
}

impl RecordPosition {
    /// RFC 8188 §2.
    fn delimiter(self) -> u8 {
        match self {
            Self::Before => 1,
            Self::Last => 2,
        }
    }
}

/// Appends the content of a record.
fn open_record(
    key: &MessageKey,
    number: u64,
    record: &[u8],
    position: RecordPosition,
    out: &mut Vec<u8>,
) -> Result<(), DecryptError> {
    if record.len() < DELIMITER_BYTES + TAG_BYTES {
        return Err(DecryptError::ShortRecord);
    }
    let start = out.len();
    out.extend_from_slice(record);
    let padded = key.open(number, &mut out[start..]);
    let padded = padded.map_err(|_| DecryptError::NotAuthentic)?;
    // Only now that the tag is verified: what the padding is like tells a forger nothing.
    let content_bytes = content_bytes(padded, position)?;
    out.truncate(start + content_bytes);
    Ok(())
}

/// E88-2: the last octet that is not zero is the delimiter.
fn content_bytes(padded: &[u8], position: RecordPosition) -> Result<usize, DecryptError> {
    let delimiter_at = padded.iter().rposition(|byte| *byte != 0);
    let delimiter_at = delimiter_at.ok_or(DecryptError::WrongDelimiter)?;
    match padded[delimiter_at] {
        delimiter if delimiter == position.delimiter() => Ok(delimiter_at),
        // E88-8: what ends here is not all of it.
        delimiter if delimiter == RecordPosition::Before.delimiter() => Err(DecryptError::Truncated),
        _ => Err(DecryptError::WrongDelimiter),
    }
}
