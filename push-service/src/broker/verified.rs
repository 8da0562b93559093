//! The VAPID tokens that were verified, so that each is verified once (RFC 8292 §5, V-SEC-3).
//!
//! Only a token's digest, signer and expiry are kept, in entries of one size, so a long token takes no more memory.
//! Only tokens for our origin are remembered, so a remembered token needs no check of its audience.
//!
//! **Invariant:** at most `capacity` entries. A token has eight possible slots, of which one address or one key holds at
//! most two while others need them. So a sender with a new token for each message, or a flood, evicts its own tokens
//! (PR-42). Otherwise an expired token is evicted first, then the one that was used longest ago.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};

use push_protocol::KeyDigest;
use push_protocol::origin::Origin;
use push_protocol::vapid::{Credentials, LEEWAY_SECS, VapidError, check_lifetime};

use crate::budgets::Payer;

type CacheKey = [u8; 32];

/// Slots in which a token may be kept.
const WAYS: usize = 8;

/// How many of the slots one address or one key may have while others need them.
const SHARE: usize = 2;

/// Each shard has its own lock, and no memory before it is used.
const SHARDS: usize = 256;

/// A verified token, and who signed it. An unused entry counts as expired.
#[derive(Clone, Copy, Debug)]
struct Verified {
    cache_key: CacheKey,
    key: KeyDigest,
    /// The address that it came from.
    address: Option<NonZeroU64>,
    expires_at_secs: u64,
    /// When it was last used, counted in uses of its shard.
    used: u64,
}

#[derive(Debug)]
pub(super) struct VerifiedTokens {
    origin: Origin,
    sets: usize,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Default, Debug)]
struct Shard {
    uses: u64,
    tokens: Vec<Verified>,
}

impl VerifiedTokens {
    /// Remembers at most `capacity` tokens, for `origin`.
    pub(super) fn new(capacity: usize, origin: Origin) -> Self {
        let all_sets = (capacity / WAYS).max(1);
        let shards = all_sets.min(SHARDS);
        Self {
            origin,
            sets: all_sets / shards,
            shards: (0..shards).map(|_| Mutex::default()).collect(),
        }
    }

    /// The signer of a token that was verified before and is still valid. `None`: it has to be verified.
    pub(super) fn find(&self, cache_key: &CacheKey, now_secs: u64) -> Option<Result<KeyDigest, VapidError>> {
        self.in_set(cache_key, |tokens, uses| {
            let known = tokens.iter_mut().find(|known| known.cache_key == *cache_key)?;
            known.used = uses;
            Some(check_lifetime(known.expires_at_secs, now_secs).map(|()| known.key))
        })
    }

    /// Verifies a token, and remembers it if it is valid.
    pub(super) fn verify(
        &self,
        credentials: &Credentials<'_>,
        cache_key: CacheKey,
        payer: Payer,
        now_secs: u64,
    ) -> Result<KeyDigest, VapidError> {
        let claims = credentials.verify()?;
        claims.check(&self.origin, now_secs)?;
        let key = credentials.key.digest();
        self.in_set(&cache_key, |tokens, uses| {
            *victim(tokens, key, payer.address(), now_secs) = Verified {
                cache_key,
                key,
                address: payer.address(),
                expires_at_secs: claims.expires_at_secs(),
                used: uses,
            };
        });
        Ok(key)
    }

    fn in_set<T>(&self, cache_key: &CacheKey, look: impl FnOnce(&mut [Verified], u64) -> T) -> T {
        let bits = cache_key
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mut shard = self.shards[bits as usize % self.shards.len()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if shard.tokens.is_empty() {
            shard.tokens = vec![Verified::NONE; self.sets * WAYS];
        }
        shard.uses += 1;
        let uses = shard.uses;
        let set = (bits >> 32) as usize % self.sets;
        look(&mut shard.tokens[set * WAYS..(set + 1) * WAYS], uses)
    }
}

impl Verified {
    const NONE: Self = Self {
        cache_key: [0; 32],
        key: KeyDigest([0; 32]),
        address: None,
        expires_at_secs: 0,
        used: 0,
    };

    fn is_over(&self, now_secs: u64) -> bool {
        now_secs >= self.expires_at_secs.saturating_add(LEEWAY_SECS)
    }
}

/// Which of these is evicted for a token with this key from this address.
fn victim(
    tokens: &mut [Verified],
    key: KeyDigest,
    address: Option<NonZeroU64>,
    now_secs: u64,
) -> &mut Verified {
    let is_own = |known: &Verified| known.key == key || (address.is_some() && known.address == address);
    let is_over_share = tokens.iter().filter(|known| is_own(known)).count() >= SHARE;
    let rank = |known: &Verified| {
        (
            !known.is_over(now_secs),
            is_over_share && !is_own(known),
            known.used,
        )
    };
    let ranks = tokens.iter().map(rank).enumerate();
    let (at, _) = ranks.min_by_key(|(_, rank)| *rank).unwrap_or_default();
    &mut tokens[at]
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use push_protocol::vapid::{PublicKey, Scheme, SigningKey};
    use ring::rand::SystemRandom;

    use super::*;
    use crate::budgets::Budgets;

    const ORIGIN: &str = "https://push.example.net";
    const EXPIRES_AT: u64 = 1_800_000_000;
    const NOW: u64 = EXPIRES_AT - 10;

    struct Sender(SigningKey, SystemRandom);

    impl Sender {
        fn new() -> Self {
            let random = SystemRandom::new();
            let pkcs8 = SigningKey::generate_pkcs8(&random).unwrap();
            Self(SigningKey::from_pkcs8(&pkcs8, &random).unwrap(), random)
        }

        fn token(&self, origin: &str) -> String {
            self.0.sign(origin, EXPIRES_AT, None, &self.1).unwrap()
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

    fn remembering(capacity: usize) -> VerifiedTokens {
        VerifiedTokens::new(capacity, Origin::parse(ORIGIN).unwrap())
    }

    /// As the broker asks.
    fn ask(
        tokens: &VerifiedTokens,
        credentials: &Credentials<'_>,
        payer: Payer,
        now: u64,
    ) -> Result<KeyDigest, VapidError> {
        let cache_key = credentials.cache_key();
        tokens
            .find(&cache_key, now)
            .unwrap_or_else(|| tokens.verify(credentials, cache_key, payer, now))
    }

    fn is_known(tokens: &VerifiedTokens, credentials: &Credentials<'_>) -> bool {
        tokens.find(&credentials.cache_key(), NOW).is_some()
    }

    /// V-SEC-3: a remembered token is refused after its expiry and before its start.
    #[test]
    fn what_is_remembered_is_checked_again() {
        let (sender, tokens) = (Sender::new(), remembering(8));
        let token = sender.token(ORIGIN);
        let ask = |now| ask(&tokens, &shown(&token, sender.key()), Payer::UNKNOWN, now);
        assert_eq!(ask(NOW), Ok(sender.key().digest()));
        assert!(is_known(&tokens, &shown(&token, sender.key())));
        assert_eq!(ask(EXPIRES_AT - 5), Ok(sender.key().digest()));
        assert_eq!(ask(EXPIRES_AT + 600), Err(VapidError::Expired));
        assert_eq!(ask(EXPIRES_AT - 90_000), Err(VapidError::ExpiresTooLate));
    }

    /// V-SEC-3, V-AUTH-6: a remembered token does not speak for another key, and one that was refused is not remembered.
    #[test]
    fn token_and_key_are_remembered_together() {
        let (sender, other, tokens) = (Sender::new(), Sender::new(), remembering(8));
        let token = sender.token(ORIGIN);
        let ask = |key| ask(&tokens, &shown(&token, key), Payer::UNKNOWN, NOW);
        assert!(ask(sender.key()).is_ok());
        assert_eq!(ask(other.key()), Err(VapidError::BadSignature));
        assert_eq!(ask(other.key()), Err(VapidError::BadSignature));
        let elsewhere = sender.token("https://other.example");
        let elsewhere = shown(&elsewhere, sender.key());
        for _ in 0..2 {
            let asked = super::tests::ask(&tokens, &elsewhere, Payer::UNKNOWN, NOW);
            assert_eq!(asked, Err(VapidError::OtherAudience));
        }
        assert!(!is_known(&tokens, &elsewhere));
    }

    /// PR-42: one address with many keys, or one key from many addresses, evicts its own tokens and not those of
    /// others, even if these are not used meanwhile. A long token takes no more memory.
    #[test]
    fn a_flood_evicts_its_own() {
        let budgets = Budgets::unlimited(Arc::default());
        let payer = |text: &str| budgets.payer(text.parse::<IpAddr>().unwrap());
        let honest: Vec<Sender> = (0..4).map(|_| Sender::new()).collect();
        let (hostile, tokens) = (Sender::new(), remembering(8));
        let signed: Vec<String> = honest.iter().map(|sender| sender.token(ORIGIN)).collect();
        let remembered = || {
            let pairs = honest.iter().zip(&signed);
            pairs
                .filter(|(sender, token)| is_known(&tokens, &shown(token, sender.key())))
                .count()
        };
        for (n, (sender, token)) in honest.iter().zip(&signed).enumerate() {
            let payer = payer(&format!("192.0.2.{n}"));
            assert!(ask(&tokens, &shown(token, sender.key()), payer, NOW).is_ok());
        }
        for _ in 0..20 {
            let sender = Sender::new();
            let token = sender.token(ORIGIN);
            let payer = payer("198.51.100.1");
            assert!(ask(&tokens, &shown(&token, sender.key()), payer, NOW).is_ok());
        }
        assert_eq!(remembered(), 4);
        for n in 0..20 {
            let token = hostile.token(ORIGIN);
            let payer = payer(&format!("203.0.113.{n}"));
            assert!(ask(&tokens, &shown(&token, hostile.key()), payer, NOW).is_ok());
        }
        assert_eq!(remembered(), 4);
        assert!(size_of::<Verified>() <= 88, "{}", size_of::<Verified>());
    }

    /// There are never more entries than the capacity, and of one sender's tokens the used ones stay.
    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_used() {
        let (sender, tokens) = (Sender::new(), remembering(8));
        let ask =
            |token: &str| assert!(ask(&tokens, &shown(token, sender.key()), Payer::UNKNOWN, NOW).is_ok());
        let (used, unused) = (sender.token(ORIGIN), sender.token(ORIGIN));
        ask(&unused);
        ask(&used);
        for _ in 0..20 {
            ask(&used);
            ask(&sender.token(ORIGIN));
        }
        assert!(is_known(&tokens, &shown(&used, sender.key())));
        let held: usize = tokens
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().tokens.len())
            .sum();
        assert_eq!(held, 8);
    }
}
