//! The VAPID tokens that were verified, so that each is verified once (RFC 8292 §5, V-SEC-3).
//!
//! Bounded: two generations, each at most half of the capacity. A token that is used moves to the young one; when that
//! is full it becomes the old one, and what was old and not used since is forgotten. So a stranger's flood of tokens
//! pushes out only what nobody used while it came.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use push_protocol::KeyDigest;
use push_protocol::origin::Origin;
use push_protocol::vapid::{Claims, Credentials, VapidError};

use crate::metrics::{Cache, Metrics};

type CacheKey = [u8; 32];

/// A verified token, and who signed it.
#[derive(Debug)]
struct Verified {
    claims: Claims,
    key: KeyDigest,
}

#[derive(Debug)]
pub(super) struct VerifiedTokens {
    generation_size: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<CacheKey, Arc<Verified>>,
    old: HashMap<CacheKey, Arc<Verified>>,
}

impl VerifiedTokens {
    /// Remembers at most `capacity` tokens.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            generation_size: (capacity / 2).max(1),
            generations: Mutex::default(),
        }
    }

    /// Who sends, if its token holds at `origin` and at this time, which are looked at on every use.
    pub(super) fn sender(
        &self,
        credentials: &Credentials<'_>,
        origin: &Origin,
        now_secs: u64,
        metrics: &Metrics,
    ) -> Result<KeyDigest, VapidError> {
        let cache_key = credentials.cache_key();
        if let Some(known) = self.find(&cache_key) {
            metrics.vapid_cache(Cache::Hit);
            known.claims.check(origin, now_secs)?;
            return Ok(known.key);
        }
        metrics.vapid_cache(Cache::Miss);
        let claims = credentials.verify()?;
        claims.check(origin, now_secs)?;
        let key = credentials.key.digest();
        self.remember(cache_key, Arc::new(Verified { claims, key }));
        Ok(key)
    }

    fn find(&self, cache_key: &CacheKey) -> Option<Arc<Verified>> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = generations.young.get(cache_key) {
            return Some(Arc::clone(known));
        }
        let known = generations.old.remove(cache_key)?;
        generations.insert(*cache_key, Arc::clone(&known), self.generation_size);
        Some(known)
    }

    fn remember(&self, cache_key: CacheKey, verified: Arc<Verified>) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.insert(cache_key, verified, self.generation_size);
    }
}

impl Generations {
    fn insert(&mut self, cache_key: CacheKey, verified: Arc<Verified>, size: usize) {
        if self.young.len() >= size {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(cache_key, verified);
    }
}

#[cfg(test)]
mod tests {
    use push_protocol::vapid::{PublicKey, Scheme, SigningKey};
    use ring::rand::SystemRandom;

    use super::*;

    const ORIGIN: &str = "https://push.example.net";
    const EXPIRES_AT: u64 = 1_800_000_000;

    struct Sender(SigningKey, SystemRandom);

    impl Sender {
        fn new() -> Self {
            let random = SystemRandom::new();
            let pkcs8 = SigningKey::generate_pkcs8(&random).unwrap();
            Self(SigningKey::from_pkcs8(&pkcs8, &random).unwrap(), random)
        }

        fn token(&self, expires_at: u64) -> String {
            self.0.sign(ORIGIN, expires_at, None, &self.1).unwrap()
        }

        fn key(&self) -> PublicKey {
            *self.0.public_key()
        }
    }

    fn shown(token: &str, key: PublicKey) -> Credentials<'_> {
        Credentials {
            scheme: Scheme::Vapid,
            token,
            key,
        }
    }

    /// V-SEC-3: a token that was verified once is still refused elsewhere, and once its time is over.
    #[test]
    fn what_is_remembered_is_checked_again() {
        let (sender, metrics) = (Sender::new(), Metrics::new());
        let tokens = VerifiedTokens::new(8);
        let token = sender.token(EXPIRES_AT);
        let ask = |origin: &str, now| {
            let origin = Origin::parse(origin).unwrap();
            tokens.sender(&shown(&token, sender.key()), &origin, now, &metrics)
        };
        assert_eq!(ask(ORIGIN, EXPIRES_AT - 10), Ok(sender.key().digest()));
        assert_eq!(ask(ORIGIN, EXPIRES_AT - 5), Ok(sender.key().digest()));
        assert_eq!(ask(ORIGIN, EXPIRES_AT + 600), Err(VapidError::Expired));
        assert_eq!(ask(ORIGIN, EXPIRES_AT - 90_000), Err(VapidError::ExpiresTooLate));
        assert_eq!(
            ask("https://other.example", EXPIRES_AT - 10),
            Err(VapidError::OtherAudience)
        );
        assert!(metrics.render().contains("outcome=\"miss\"} 1"));
    }

    /// V-SEC-3, V-AUTH-6: a remembered token does not speak for another key, and one that was refused is not remembered.
    #[test]
    fn token_and_key_are_remembered_together() {
        let (sender, other, metrics) = (Sender::new(), Sender::new(), Metrics::new());
        let tokens = VerifiedTokens::new(8);
        let origin = Origin::parse(ORIGIN).unwrap();
        let token = sender.token(EXPIRES_AT);
        let ask = |key| tokens.sender(&shown(&token, key), &origin, EXPIRES_AT - 10, &metrics);
        assert!(ask(sender.key()).is_ok());
        assert_eq!(ask(other.key()), Err(VapidError::BadSignature));
        assert_eq!(ask(other.key()), Err(VapidError::BadSignature));
    }

    /// A flood of tokens stays within the capacity and pushes out only what nobody uses meanwhile.
    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_used() {
        let (sender, metrics) = (Sender::new(), Metrics::new());
        let tokens = VerifiedTokens::new(8);
        let origin = Origin::parse(ORIGIN).unwrap();
        let ask = |token: &str| {
            let sender = tokens.sender(&shown(token, sender.key()), &origin, EXPIRES_AT - 10, &metrics);
            assert!(sender.is_ok());
        };
        let (used, unused) = (sender.token(EXPIRES_AT), sender.token(EXPIRES_AT));
        ask(&used);
        ask(&unused);
        for _ in 0..20 {
            ask(&sender.token(EXPIRES_AT));
            ask(&used);
        }
        let is_known = |token: &str| tokens.find(&shown(token, sender.key()).cache_key()).is_some();
        assert!(is_known(&used));
        assert!(!is_known(&unused));
        let generations = tokens.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 8);
    }
}
