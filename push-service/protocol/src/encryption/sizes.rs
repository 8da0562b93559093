//! How many bytes the parts of an encrypted body take.

use crate::p256::PublicKey;

pub(super) const SALT_BYTES: usize = 16;
pub(super) const TAG_BYTES: usize = 16;

/// The header of a body before its key id: salt, record size, length of the key id (RFC 8188 §2.1).
pub(super) const FIXED_HEADER_BYTES: usize = SALT_BYTES + 4 + 1;

/// The byte between content and padding (RFC 8188 §2).
pub(super) const DELIMITER_BYTES: usize = 1;

/// What every push service accepts (RFC 8030 §7.2).
const MAX_BODY_BYTES: usize = 4_096;

/// The longest plaintext, in bytes: with header, delimiter and tag it makes a body of 4,096, which every push service
/// accepts (RFC 8291 §4).
pub const MAX_PLAINTEXT_BYTES: usize =
    MAX_BODY_BYTES - FIXED_HEADER_BYTES - PublicKey::BYTES - DELIMITER_BYTES - TAG_BYTES;
