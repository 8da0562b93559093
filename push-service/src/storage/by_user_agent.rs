//! Maps by user agent, in which each message is looked up several times.
//!
//! Their hasher does no work: an id is a part of a SHA-256, which peers cannot choose freely.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use push_protocol::UserAgentId;

/// A map by user agent.
pub(crate) type ByUserAgent<V> = HashMap<UserAgentId, V, BuildHasherDefault<DigestHasher>>;

/// A user agent's id is a piece of a SHA-256 already: any eight bytes of it are a hash.
#[derive(Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.as_chunks::<8>().0 {
            self.0 ^= u64::from_ne_bytes(*chunk);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
