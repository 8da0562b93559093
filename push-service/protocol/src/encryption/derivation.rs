//! Derives the key and the nonces of a message from a secret: HKDF with SHA-256 (RFC 5869), in the two steps and with the
//! labels of RFC 8188 §2.2 and §2.3.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};
use ring::error::Unspecified;
use ring::hmac::{self, HMAC_SHA256};

pub(super) const KEY_BYTES: usize = 16;

/// HKDF's first step: HMAC(salt, secret).
pub(super) fn extract(salt: &[u8], secret: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, salt), secret);
    let mut key = [0; 32];
    key.copy_from_slice(tag.as_ref());
    key
}

/// HKDF's second step, of which one block is enough for everything here: HMAC(key, info || 1), cut.
pub(super) fn expand<const N: usize>(key: &[u8; 32], info: &[&[u8]]) -> [u8; N] {
    const { assert!(N <= 32, "one block of HKDF has 32 bytes") };
    let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, key));
    for part in info {
        context.update(part);
    }
    context.update(&[1]);
    let mut cut = [0; N];
    cut.copy_from_slice(&context.sign().as_ref()[..N]);
    cut
}

/// E88-5: the key of a content coding. `context` is empty but for the draft's coding.
pub(super) fn content_key(key: &[u8; 32], coding: &str, context: &[u8]) -> [u8; KEY_BYTES] {
    expand(key, &[b"Content-Encoding: ", coding.as_bytes(), &[0], context])
}

/// E88-6: the nonce of the first record, from which the others are counted.
pub(super) fn base_nonce(key: &[u8; 32], context: &[u8]) -> [u8; NONCE_LEN] {
    expand(key, &[b"Content-Encoding: nonce\0", context])
}

/// What encrypts the records of one message.
pub(super) struct MessageKey {
    key: LessSafeKey,
    base_nonce: [u8; NONCE_LEN],
}

impl MessageKey {
    /// Derives it from a message's salt and the input keying material, `secret`.
    pub(super) fn derive(salt: &[u8; 16], secret: &[u8], coding: &str, context: &[u8]) -> Self {
        let key = extract(salt, secret);
        let content_key = UnboundKey::new(&AES_128_GCM, &content_key(&key, coding, context));
        Self {
            key: LessSafeKey::new(content_key.expect("16 bytes make a key")),
            base_nonce: base_nonce(&key, context),
        }
    }

    /// Decrypts a record in place; the plaintext is what comes before the tag, and is handed back.
    pub(super) fn open<'a>(&self, number: u64, record: &'a mut [u8]) -> Result<&'a mut [u8], Unspecified> {
        // E88-4: no additional data.
        self.key.open_in_place(self.nonce(number), Aad::empty(), record)
    }

    /// Encrypts a record in place; its tag is handed back.
    pub(super) fn seal(&self, number: u64, record: &mut [u8]) -> Tag {
        self.key
            .seal_in_place_separate_tag(self.nonce(number), Aad::empty(), record)
            .expect("a record is far shorter than the cipher's limit of 64 GiB")
    }

    /// E88-6: the base, with the record's number from 0 laid over its end.
    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.base_nonce;
        for (byte, number) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}
