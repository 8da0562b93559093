//! An application server's VAPID key, and the tokens that are signed with it (RFC 8292).

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use push_protocol::vapid::{PublicKey, SigningError, SigningKey};
use ring::rand::SecureRandom;

use crate::defaults::{TOKEN_LASTS_SECS, TOKEN_MARGIN_SECS, TOKENS};

/// An application server's key, and the contact of its operator.
///
/// Tokens are kept and used again, because signing and verifying one costs more than everything else about a message
/// (RFC 8292 §2). `Debug` hides all of it.
pub struct VapidKey {
    key: SigningKey,
    subject: Option<String>,
    tokens: Mutex<HashMap<String, Token>>,
}

struct Token {
    header: String,
    expires_at_secs: u64,
}

/// The subject is no `mailto:` or `https:` URL (RFC 8292 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubjectError;

impl VapidKey {
    /// `subject` is a contact for the operator of the push service: a `mailto:` or `https:` URL. Some services insist
    /// on it.
    ///
    /// # Errors
    ///
    /// [`SubjectError`].
    pub fn new(key: SigningKey, subject: Option<String>) -> Result<Self, SubjectError> {
        if let Some(subject) = &subject {
            let rest = subject
                .strip_prefix("mailto:")
                .or_else(|| subject.strip_prefix("https://"));
            if rest.is_none_or(str::is_empty) || subject.chars().any(|c| c.is_whitespace() || c.is_control())
            {
                return Err(SubjectError);
            }
        }
        Ok(Self {
            key,
            subject,
            tokens: Mutex::default(),
        })
    }

    /// The public key, with which a user agent restricts a subscription to this application server.
    pub fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// The `Authorization` field for the push service with this origin.
    pub(super) fn authorization(
        &self,
        audience: &str,
        now: SystemTime,
        random: &dyn SecureRandom,
    ) -> Result<String, SigningError> {
        let now_secs = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut tokens = self
            .tokens
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = tokens.get(audience);
        if let Some(token) = known.filter(|token| token.lasts(now_secs)) {
            return Ok(token.header.clone());
        }
        let expires_at_secs = now_secs + TOKEN_LASTS_SECS;
        let token = self
            .key
            .sign(audience, expires_at_secs, self.subject.as_deref(), random)?;
        let header = self.key.authorization_header(&token);
        if tokens.len() >= TOKENS {
            tokens.clear();
        }
        let token = Token {
            header: header.clone(),
            expires_at_secs,
        };
        tokens.insert(audience.to_owned(), token);
        Ok(header)
    }
}

impl Token {
    /// Still good for a while, and not from a time that a corrected clock says is to come.
    fn lasts(&self, now_secs: u64) -> bool {
        let left = self.expires_at_secs.saturating_sub(now_secs);
        (TOKEN_MARGIN_SECS..=TOKEN_LASTS_SECS).contains(&left)
    }
}

impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VapidKey(…)")
    }
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the subject must be mailto:ADDRESS or an https:// URL")
    }
}

impl std::error::Error for SubjectError {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ring::rand::SystemRandom;

    use super::*;

    fn key(subject: Option<&str>) -> Result<VapidKey, SubjectError> {
        let random = SystemRandom::new();
        let der = SigningKey::generate_pkcs8(&random).unwrap();
        VapidKey::new(
            SigningKey::from_pkcs8(&der, &random).unwrap(),
            subject.map(str::to_owned),
        )
    }

    /// RFC 8292 §2.1: the subject is a contact, by mail or on the web.
    #[test]
    fn a_subject_is_a_contact() {
        for subject in ["mailto:a@example.com", "https://example.com/contact"] {
            assert!(key(Some(subject)).is_ok(), "{subject}");
        }
        for subject in [
            "",
            "a@example.com",
            "mailto:",
            "https://",
            "http://a.example",
            "mailto:a b",
        ] {
            assert!(key(Some(subject)).is_err(), "{subject}");
        }
    }

    /// A token is used again for its service, not for another, and not when it is about to end or the clock went back.
    #[test]
    fn tokens_are_used_again() {
        let random = SystemRandom::new();
        let key = key(None).unwrap();
        let start = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let token = |audience: &str, at: SystemTime| key.authorization(audience, at, &random).unwrap();
        let first = token("https://a.example", start);
        let hour = Duration::from_secs(3600);
        assert_eq!(token("https://a.example", start + hour), first);
        assert_ne!(token("https://b.example", start), first);
        let second = token("https://a.example", start + 12 * hour - Duration::from_secs(599));
        assert_ne!(second, first);
        assert_ne!(token("https://a.example", start), second);
    }

    /// However many services there are, the tokens that are kept have a bound.
    #[test]
    fn tokens_have_a_bound() {
        let random = SystemRandom::new();
        let key = key(None).unwrap();
        for service in 0..200 {
            let audience = format!("https://{service}.example");
            key.authorization(&audience, SystemTime::now(), &random).unwrap();
        }
        assert!(key.tokens.lock().unwrap().len() <= TOKENS);
    }
}
