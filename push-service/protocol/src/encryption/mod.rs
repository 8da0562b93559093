//! End-to-end encryption of push messages between application server and user agent (RFC 8291 on RFC 8188). The push service
//! between them does not use it.
//!
//! A user agent makes [`SubscriptionKeys`] for each subscription and shows two parts of them to the application server,
//! to which they are a [`Recipient`]. That one encrypts, under a key pair of its own for each message; the shared secret
//! of both key pairs, the authentication secret and a salt make the key:
//!
//! ```text
//! application server: Recipient::encrypt(plaintext) -> body, Content-Encoding: aes128gcm
//! user agent:         SubscriptionKeys::decrypt(coding, body) -> plaintext
//! ```
//!
//! `aes128gcm` is written and read. The older `aesgcm` is only read. Still older codings are not supported.
//!
//! Header fields of a message are not protected (RFC 8291 §7): to act on them is to trust the push service.
//!
//! **Invariant:** nothing of a message leaves this module before its tag was verified, and neither a key nor a secret nor
//! a part of a message appears in an error or in `Debug`.

// EAG-7.

mod aes128gcm;
mod aesgcm;
mod derivation;
mod error;
mod keys;
mod recipient;
mod records;
mod sizes;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

pub use error::{DecryptError, EncryptError, NoRandomness, RecipientError};
pub use keys::SubscriptionKeys;
pub use recipient::Recipient;
use ring::agreement::{ECDH_P256, EphemeralPrivateKey};
use ring::rand::SecureRandom;
pub use sizes::MAX_PLAINTEXT_BYTES;

use crate::message::Coding;

impl Recipient {
    /// Encrypts a message as `aes128gcm`, which its `Content-Encoding` field has to say (RFC 8291): the body of a push, of
    /// 103 to 4,096 bytes. `padding` is how many zeros hide how long `plaintext` is. Key pair and salt are new each time.
    ///
    /// # Errors
    ///
    /// Plaintext and padding have more than [`MAX_PLAINTEXT_BYTES`] together, or the random source failed.
    pub fn encrypt(
        &self,
        plaintext: &[u8],
        padding: usize,
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, EncryptError> {
        let sender = EphemeralPrivateKey::generate(&ECDH_P256, random);
        let sender = sender.map_err(|_| EncryptError::NoRandomness)?;
        let mut salt = [0; 16];
        random.fill(&mut salt).map_err(|_| EncryptError::NoRandomness)?;
        aes128gcm::encrypt(self, plaintext, padding, sender, &salt)
    }
}

impl SubscriptionKeys {
    /// Reads a message. Takes as much memory as `body` has bytes, which the caller has bounded by accepting it.
    ///
    /// A push message without body and coding was never encrypted, and is nothing to decrypt: it means "no data".
    ///
    /// # Errors
    ///
    /// Why the message has to be dropped.
    pub fn decrypt(&self, coding: &Coding, body: &[u8]) -> Result<Vec<u8>, DecryptError> {
        match coding {
            Coding::Aes128gcm => aes128gcm::decrypt(self, body),
            Coding::Aesgcm {
                encryption,
                crypto_key,
            } => aesgcm::decrypt(self, encryption, crypto_key, body),
            Coding::Absent | Coding::Other(_) => Err(DecryptError::UnknownCoding),
        }
    }
}
