//! The keys of a subscription, as its user agent keeps them to decrypt messages.

use std::fmt;

use ring::rand::SecureRandom;

use super::error::{DecryptError, NoRandomness};
use super::recipient::Recipient;
use crate::p256::PublicKey;
use crate::p256::agreement;

/// How often a private key is drawn. One in 2^32 draws is out of range (SEC 2 §2.4.2), so that the second is hardly ever
/// needed; a source that fails eight times gives always the same.
const MAX_DRAWS: usize = 8;

/// A user agent's half of the encryption of one subscription: a P-256 key pair and an authentication secret (RFC 8291
/// §3.1, §3.2). Never share them between subscriptions.
///
/// `Debug` hides all of it.
#[derive(Clone)]
pub struct SubscriptionKeys {
    /// **Invariant:** from 1 to n - 1.
    private: [u8; 32],
    /// What the application server is told. **Invariant:** its key is the public half of the private one.
    shown: Recipient,
}

impl SubscriptionKeys {
    /// Makes the keys of a new subscription.
    ///
    /// # Errors
    ///
    /// [`NoRandomness`].
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        let mut authentication_secret = [0; 16];
        random
            .fill(&mut authentication_secret)
            .map_err(|_| NoRandomness)?;
        for _ in 0..MAX_DRAWS {
            let mut private = [0; 32];
            random.fill(&mut private).map_err(|_| NoRandomness)?;
            if let Some(keys) = Self::from_parts(private, authentication_secret) {
                return Ok(keys);
            }
        }
        Err(NoRandomness)
    }

    /// Takes what [`SubscriptionKeys::private_key`] and [`SubscriptionKeys::authentication_secret`] gave. `None` if the
    /// former is no private key of P-256: zero, or not below the order of the curve.
    pub fn from_parts(private: [u8; 32], authentication_secret: [u8; 16]) -> Option<Self> {
        let public = agreement::public_half(&agreement::import(&private)?)?;
        Some(Self {
            private,
            shown: Recipient::from_parts(public, authentication_secret),
        })
    }

    /// The private key, big-endian, to be kept where only the user agent reads it. This is the secret itself.
    pub fn private_key(&self) -> &[u8; 32] {
        &self.private
    }

    /// The authentication secret, which the application server knows too.
    pub fn authentication_secret(&self) -> &[u8; 16] {
        self.shown.authentication_secret()
    }

    /// The public key, which the application server knows too.
    pub fn public_key(&self) -> &PublicKey {
        self.shown.public_key()
    }

    /// The public key as the application server gets it: 87 characters of base64url.
    pub fn p256dh(&self) -> String {
        self.shown.p256dh()
    }

    /// The authentication secret as the application server gets it: 22 characters of base64url.
    pub fn auth(&self) -> String {
        self.shown.auth()
    }

    /// All that the application server has to know.
    pub fn recipient(&self) -> &Recipient {
        &self.shown
    }

    /// ECDH with a sender's key.
    pub(super) fn agree(&self, sender: &PublicKey) -> Result<[u8; 32], DecryptError> {
        let private =
            agreement::import(&self.private).expect("it was a private key when these keys were made");
        // Ring has the last word on what is a point.
        agreement::agree(private, sender).ok_or(DecryptError::MalformedSenderKey)
    }
}

impl fmt::Debug for SubscriptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubscriptionKeys(…)")
    }
}
