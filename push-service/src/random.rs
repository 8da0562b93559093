//! Random bits from the operating system: identities, nonces, seats.

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

/// 64 random bits.
pub fn u64() -> u64 {
    u64::from_ne_bytes(bytes())
}
