//! Random bits from the operating system: identities, nonces, seats.

use std::cell::RefCell;

use ring::rand::{SecureRandom as _, SystemRandom};

/// So many random bytes.
///
/// # Panics
///
/// If the operating system has no randomness to give, which Linux says once before it is seeded and never after: a
/// service without randomness can't keep any promise.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives random bytes");
    bytes
}

/// 64 random bits, for what tells things apart and opens nothing: nonces of message ids, seats. Drawn many at a time,
/// because a system call for each message is more than its share.
pub fn u64() -> u64 {
    thread_local! {
        static POOL: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    POOL.with_borrow_mut(|pool| {
        if pool.is_empty() {
            let drawn: [u8; POOL_BYTES] = bytes();
            pool.extend(
                drawn
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|bits| u64::from_ne_bytes(*bits)),
            );
        }
        pool.pop().expect("it was filled above")
    })
}

/// What a thread draws at a time. Chosen: what Linux gives without being interrupted.
const POOL_BYTES: usize = 256;
