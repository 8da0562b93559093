//! VAPID tokens, signed before anything is measured.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use push_protocol::vapid::{PublicKey, SigningKey};
use ring::rand::SystemRandom;

use crate::failure::{BenchResult, While as _};

/// How long tokens are good for: the usual half of the 24 hours that RFC 8292 §2 allows.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// How application servers say who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Vapid {
    /// A new token with every message, as many libraries do: the service has to verify each signature
    Fresh,
    /// One token with all messages: the service may remember that it verified it
    Reused,
    /// No token, to subscriptions that are open to everyone
    None,
}

/// An application server's key, and the tokens that are left to use.
pub(crate) struct Tokens {
    vapid: Vapid,
    key: SigningKey,
    random: SystemRandom,
    /// Whole `Authorization` fields.
    authorizations: Vec<String>,
}

impl Tokens {
    /// A new application server, without tokens yet.
    pub(crate) fn new(vapid: Vapid) -> BenchResult<Self> {
        let random = SystemRandom::new();
        let pkcs8 = SigningKey::generate_pkcs8(&random).doing("making a key")?;
        let key = SigningKey::from_pkcs8(&pkcs8, &random).doing("making a key")?;
        Ok(Self {
            vapid,
            key,
            random,
            authorizations: Vec::new(),
        })
    }

    /// The key to which subscriptions are to be restricted.
    pub(crate) fn public_key(&self) -> Option<PublicKey> {
        (self.vapid != Vapid::None).then(|| *self.key.public_key())
    }

    /// Signs what `messages` messages to `origin` will need.
    pub(crate) fn sign(&mut self, origin: &str, messages: usize) -> BenchResult<()> {
        let tokens = match self.vapid {
            Vapid::Fresh => messages,
            Vapid::Reused => 1,
            Vapid::None => 0,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = (now + LIFETIME).as_secs();
        let contact = Some("mailto:bench@example.net");
        for _ in 0..tokens {
            // ECDSA takes a random number for each signature: no two tokens are the same.
            let token = self.key.sign(origin, expires, contact, &self.random);
            let token = token.doing("signing a token")?;
            self.authorizations.push(self.key.authorization_header(&token));
        }
        Ok(())
    }

    /// The `Authorization` field of a message.
    pub(crate) fn authorization(&self, number: usize) -> Option<&str> {
        let index = if self.vapid == Vapid::Reused { 0 } else { number };
        self.authorizations.get(index).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A fresh token each means that no two messages carry the same one.
    #[test]
    fn each_way_has_its_tokens() {
        for (vapid, different, restricted) in [
            (Vapid::Fresh, 5, true),
            (Vapid::Reused, 1, true),
            (Vapid::None, 0, false),
        ] {
            let mut tokens = Tokens::new(vapid).unwrap();
            tokens.sign("https://push.example", 5).unwrap();
            let used: HashSet<_> = (0..5).filter_map(|number| tokens.authorization(number)).collect();
            assert_eq!(used.len(), different, "{vapid:?}");
            assert_eq!(tokens.public_key().is_some(), restricted);
        }
    }
}
