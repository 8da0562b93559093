//! Push messages in `aes128gcm` (RFC 8291): the secret of a body's one record comes from the keys of both sides.

use ring::agreement::EphemeralPrivateKey;

use super::derivation::{expand, extract};
use super::error::{DecryptError, EncryptError};
use super::keys::SubscriptionKeys;
use super::recipient::Recipient;
use super::records::{self, Header};
use super::sizes::MAX_PLAINTEXT_BYTES;
use crate::p256::PublicKey;
use crate::p256::agreement::{agree, public_half};

/// What every push service accepts (RFC 8030 §7.2), and so the record size that senders write: KUnifiedPush takes no
/// other (EUA-3), and no record comes near it (E91-8), because the header is not counted.
const RECORD_SIZE: u32 = 4_096;

/// Reads a body. Several records are read too, although RFC 8291 §4 allows one only: Firefox reads them (EUA-1).
pub(super) fn decrypt(keys: &SubscriptionKeys, body: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let (header, records) = Header::read(body)?;
    let sender = header.key_id.try_into().map_err(|_| DecryptError::NoSenderKey)?;
    let sender = PublicKey::from_bytes(sender).ok_or(DecryptError::MalformedSenderKey)?;
    let shared = keys.agree(&sender)?;
    let secret = secret(keys.recipient(), &sender, &shared);
    records::open(&header, &secret, records)
}

/// Writes a body with keys and salt that were never used before (E91-3, E88-7): that is for the caller to keep.
pub(super) fn encrypt(
    recipient: &Recipient,
    plaintext: &[u8],
    padding: usize,
    sender: EphemeralPrivateKey,
    salt: &[u8; 16],
) -> Result<Vec<u8>, EncryptError> {
    if plaintext.len().saturating_add(padding) > MAX_PLAINTEXT_BYTES {
        return Err(EncryptError::TooLong);
    }
    let public = public_half(&sender).expect("a key of P-256 has a public half");
    let shared = agree(sender, recipient.public_key()).expect("two keys of P-256 agree");
    let header = Header {
        salt,
        record_size: RECORD_SIZE,
        key_id: public.as_bytes(),
    };
    let secret = secret(recipient, &public, &shared);
    Ok(records::seal(&header, &secret, plaintext, padding))
}

/// RFC 8291 §3.3 and §3.4: the input keying material, from the shared secret of ECDH. On both sides the user agent's key
/// comes first.
pub(super) fn secret(recipient: &Recipient, sender: &PublicKey, shared: &[u8; 32]) -> [u8; 32] {
    let key = extract(recipient.authentication_secret(), shared);
    let label = b"WebPush: info\0";
    expand(
        &key,
        &[label, recipient.public_key().as_bytes(), sender.as_bytes()],
    )
}
