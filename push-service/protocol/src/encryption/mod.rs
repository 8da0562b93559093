//! What only an application server and a user agent can read (RFC 8291 on RFC 8188): encrypting a push message, and
//! decrypting it. The push service between them uses nothing of it.
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
//! `aes128gcm` is written and read, its forerunner `aesgcm` is only read, and what is older is not (EAG-7).
//!
//! Header fields of a message are not protected (RFC 8291 §7): whoever acts on them trusts the push service.
//!
//! **Invariant:** nothing of a message leaves this module before its tag was verified, and neither a key nor a secret nor
//! a part of a message appears in an error or in `Debug`.

mod aes128gcm;
mod aesgcm;
pub(crate) mod agreement;
mod derivation;
mod error;
mod keys;
mod recipient;
mod records;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

pub use aes128gcm::MAX_PLAINTEXT_BYTES;
pub use error::{DecryptError, EncryptError, NoRandomness, RecipientError};
pub use keys::SubscriptionKeys;
pub use recipient::Recipient;
