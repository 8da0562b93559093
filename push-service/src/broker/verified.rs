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
