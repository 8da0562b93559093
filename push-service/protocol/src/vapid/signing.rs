//! The other side: an application server signs a token.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::Serialize;

use crate::p256::PublicKey;
use crate::p256::agreement;

/// `{"typ":"JWT","alg":"ES256"}` in base64url (RFC 8292 §2.4).
const JOSE_HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9";

/// Why a key cannot be used, or not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SigningError {
    /// The bytes are no P-256 key pair, or its halves do not belong together.
    NotAKeyPair,
    /// The random source failed.
    NoRandomness,
}

/// An application server's key pair.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// Makes a key pair, as PKCS#8 to keep; read it with [`SigningKey::from_pkcs8`].
    ///
    /// # Errors
    ///
    /// [`SigningError::NoRandomness`].
    pub fn generate_pkcs8(random: &dyn SecureRandom) -> Result<Vec<u8>, SigningError> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random)
            .map(|document| document.as_ref().to_vec())
            .map_err(|_| SigningError::NoRandomness)
    }

    /// Reads PKCS#8 (RFC 5958, DER) that holds both halves.
    ///
    /// # Errors
    ///
    /// [`SigningError::NotAKeyPair`].
    pub fn from_pkcs8(der: &[u8], random: &dyn SecureRandom) -> Result<Self, SigningError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, random)
            .map_err(|_| SigningError::NotAKeyPair)
            .and_then(Self::from_pair)
    }

    /// Takes the private half as Web Push libraries print it, 32 bytes, and derives the public one.
    ///
    /// # Errors
    ///
    /// [`SigningError::NotAKeyPair`] for zero, and for what is not below the order of the curve.
    pub fn from_private(private: &[u8; 32], random: &dyn SecureRandom) -> Result<Self, SigningError> {
        let public = agreement::import(private).and_then(|private| agreement::public_half(&private));
        let public = public.ok_or(SigningError::NotAKeyPair)?;
        Self::from_raw(private, &public, random)
    }

    /// Takes the two halves as Web Push libraries print them: 32 bytes and an uncompressed point. Where both are kept, a
    /// key that was mixed up with another is noticed; [`SigningKey::from_private`] needs one.
    ///
    /// # Errors
    ///
    /// [`SigningError::NotAKeyPair`].
    pub fn from_raw(
        private: &[u8; 32],
        public: &PublicKey,
        random: &dyn SecureRandom,
    ) -> Result<Self, SigningError> {
        EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            private,
            public.as_bytes(),
            random,
        )
        .map_err(|_| SigningError::NotAKeyPair)
        .and_then(Self::from_pair)
    }

    /// The half to show.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a token for the origin `audience`, good until `expires_at_secs` after 1970 (24 hours ahead at most), with a
    /// `mailto:` or `https:` contact if there is one (RFC 8292 §2). Reuse it: verifiers remember it.
    ///
    /// # Errors
    ///
    /// [`SigningError::NoRandomness`].
    pub fn sign(
        &self,
        audience: &str,
        expires_at_secs: u64,
        contact: Option<&str>,
        random: &dyn SecureRandom,
    ) -> Result<String, SigningError> {
        #[derive(Serialize)]
        struct Claims<'a> {
            aud: &'a str,
            exp: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            sub: Option<&'a str>,
        }
        let claims = Claims {
            aud: audience,
            exp: expires_at_secs,
            sub: contact,
        };
        let claims = serde_json::to_vec(&claims).expect("strings and a number are always JSON");
        self.sign_parts(JOSE_HEADER, &claims, random)
    }

    /// The `Authorization` field that shows `token` (RFC 8292 §3).
    pub fn authorization_header(&self, token: &str) -> String {
        format!("vapid t={token}, k={}", self.public)
    }

    /// Any claims under any header: tests sign what must be refused for other reasons than its signature.
    pub(super) fn sign_parts(
        &self,
        header: &str,
        claims: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<String, SigningError> {
        let mut token = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self
            .pair
            .sign(random, token.as_bytes())
            .map_err(|_| SigningError::NoRandomness)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    fn from_pair(pair: EcdsaKeyPair) -> Result<Self, SigningError> {
        let public = pair.public_key().as_ref().try_into().ok();
        let public = public
            .and_then(PublicKey::from_bytes)
            .ok_or(SigningError::NotAKeyPair)?;
        Ok(Self { pair, public })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl fmt::Display for SigningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAKeyPair => "not a P-256 key pair",
            Self::NoRandomness => "the random source failed",
        })
    }
}

impl std::error::Error for SigningError {}
