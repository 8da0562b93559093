//! Random bits of a channel: the key of its upgrade, and a mask for each frame.
//!
//! RFC 6455 §5.3 wants masks that can't be predicted: otherwise a peer that chooses the payload also chooses the bytes on the
//! wire, which a careless proxy might take for an HTTP request. The output of a simple generator in each channel could be
//! predicted from a few masks. So masks come from the operating system, many at a time, into a pool that belongs to the
//! thread: one system call for 64 frames, and no memory in the channel.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};

/// What a thread draws at a time: what Linux gives without being interrupted.
const POOL_BYTES: usize = 256;

/// A mask that was never used.
pub(super) fn mask() -> [u8; 4] {
    thread_local! {
        static POOL: RefCell<(usize, [u8; POOL_BYTES])> = const { RefCell::new((0, [0; POOL_BYTES])) };
    }
    POOL.with_borrow_mut(|(left, pool)| {
        if *left == 0 {
            *pool = bytes();
            *left = POOL_BYTES / 4;
        }
        *left -= 1;
        pool.as_chunks::<4>().0[*left]
    })
}

/// A `Sec-WebSocket-Key`: 16 random bytes (RFC 6455 §4.1).
pub(super) fn key() -> String {
    STANDARD.encode(bytes::<16>())
}

fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// RFC 6455 §4.1, §5.3: each frame has its own mask, each connection its own key of 16 bytes.
    #[test]
    fn are_never_the_same() {
        let masks: HashSet<_> = (0..1_000).map(|_| mask()).collect();
        assert!(masks.len() > 995, "{}", masks.len());
        assert!(key() != key() && STANDARD.decode(key()).unwrap().len() == 16);
    }
}
