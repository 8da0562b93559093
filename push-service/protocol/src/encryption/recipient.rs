//! The keys of a subscription, as an application server knows them to encrypt messages.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::RecipientError;
use crate::base64url;
use crate::p256::PublicKey;

/// A subscription's public key and authentication secret: what its user agent gives to the application server along with
/// the push resource (RFC 8291 §2.1, §3.2). `Debug` hides both.
#[derive(Clone)]
pub struct Recipient {
    public: PublicKey,
    authentication_secret: [u8; 16],
}

impl Recipient {
    /// Takes the parts.
    pub fn from_parts(public: PublicKey, authentication_secret: [u8; 16]) -> Self {
        Self {
            public,
            authentication_secret,
        }
    }

    /// Reads the parts as a `PushSubscription` spells them: base64url or standard base64, padded or not.
    ///
    /// # Errors
    ///
    /// Which of the two is unusable.
    pub fn parse(p256dh: &str, auth: &str) -> Result<Self, RecipientError> {
        let public = PublicKey::parse(p256dh).ok_or(RecipientError::MalformedPublicKey)?;
        let secret = base64url::decode_key(auth).ok_or(RecipientError::MalformedSecret)?;
        Ok(Self::from_parts(public, secret))
    }

    /// The public key of the subscription.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The authentication secret of the subscription.
    pub fn authentication_secret(&self) -> &[u8; 16] {
        &self.authentication_secret
    }

    /// The public key in 87 characters of base64url.
    pub fn p256dh(&self) -> String {
        self.public.to_string()
    }

    /// The authentication secret in 22 characters of base64url.
    pub fn auth(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.authentication_secret)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient(…)")
    }
}
