//! How an application server signs (RFC 8292), for senders that do it right and for those that do not.
//!
//! Written from the RFC and not with the service's own code, so that both must be right for a test to pass. Tokens can
//! be made with any header and any claims: the wrong ones are the interesting ones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// Length of life of an ordinary token. Chosen: half of what RFC 8292 §2 allows.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// The key pair of an application server.
pub struct Signer {
    pair: EcdsaKeyPair,
}

impl Signer {
    /// A new key pair.
    pub fn generate() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key pair");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random);
        Self {
            pair: pair.expect("what was generated can be read"),
        }
    }

    /// The public key: 87 characters of base64url.
    pub fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key())
    }

    /// An `Authorization` header for push resources of this origin.
    pub fn authorization(&self, origin: &str) -> String {
        self.authorization_with(&self.token(
            &json!({"typ": "JWT", "alg": "ES256"}),
            &json!({"aud": origin, "exp": seconds_from_now(LIFETIME), "sub": "mailto:tests@example.test"}),
        ))
    }

    /// An `Authorization` header with this token, whatever it says.
    pub fn authorization_with(&self, token: &str) -> String {
        format!("vapid t={token}, k={}", self.public_key())
    }

    /// A signed token with this header and these claims.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.expect("the key signs");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// A time from now, in seconds since 1970.
pub fn seconds_from_now(later: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    (now.expect("the clock is past 1970") + later).as_secs()
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}
