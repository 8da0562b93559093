//! ECDH on P-256 (SEC 1 §3.3.1) with a private key that is kept.
//!
//! Ring makes key pairs for one agreement and has no way to import a private key, but a user agent keeps its own for as
//! long as a subscription lives. So the key goes in where ring takes its random bits: a source that hands out just these
//! 32 bytes. That source is a hidden part of ring, without a promise of stability. Therefore the workspace pins ring's
//! version, and the vectors of RFC 8291 in the tests notice any change. The crate `p256` would do without that, but would
//! be a second provider of cryptography, with slower arithmetic.
//!
//! **Invariant:** no bytes make this module panic: ring asks for 32 bytes at a time, the source has 32, and a
//! number that is not a private key is refused after ring has asked a hundred times.

use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
#[expect(deprecated, reason = "the only way in")]
use ring::test::rand::FixedSliceRandom;

use crate::p256::PublicKey;

/// Takes a private key, big-endian. `None` unless it is from 1 to n - 1, n being the order of the curve.
pub(crate) fn import(private: &[u8; 32]) -> Option<EphemeralPrivateKey> {
    #[expect(deprecated, reason = "the only way in")]
    let source = FixedSliceRandom { bytes: private };
    EphemeralPrivateKey::generate(&ECDH_P256, &source).ok()
}

/// The other half of a private key. `None` for a key of another curve.
pub(crate) fn public_half(private: &EphemeralPrivateKey) -> Option<PublicKey> {
    let public = private.compute_public_key().ok()?;
    PublicKey::from_bytes(public.as_ref().try_into().ok()?)
}

/// E91-4: the x coordinate of the shared point, 32 bytes, with its leading zeros. `None` for a key of another curve.
pub(crate) fn agree(private: EphemeralPrivateKey, peer: &PublicKey) -> Option<[u8; 32]> {
    // Ring checks once more that the point is on the curve, and so that no secret meets any other.
    let peer = UnparsedPublicKey::new(&ECDH_P256, peer.as_bytes());
    agree_ephemeral(private, &peer, |secret| secret.try_into().ok())
        .ok()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of the curve (SEC 2 §2.4.2).
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];

    fn number(last: u8) -> [u8; 32] {
        let mut number = [0; 32];
        number[31] = last;
        number
    }

    /// E91-1: only numbers from 1 to n - 1 are private keys; all others are refused without a panic and without a hang.
    #[test]
    fn a_private_key_is_from_one_to_the_order() {
        let mut below = N;
        below[31] -= 1;
        let mut above = N;
        above[31] += 1;
        for good in [number(1), number(2), below] {
            assert!(import(&good).is_some(), "{good:02x?}");
        }
        for wrong in [[0; 32], N, above, [0xff; 32]] {
            assert!(import(&wrong).is_none(), "{wrong:02x?}");
        }
    }

    /// E91-4: both sides come to the same secret, and it is the bytes that went in that count: 1 gives the base point, and
    /// n - 1 its mirror image.
    #[test]
    fn the_key_that_is_imported_is_the_key_that_is_used() {
        let mut minus_one = N;
        minus_one[31] -= 1;
        let base = public_half(&import(&number(1)).unwrap()).unwrap();
        let mirrored = public_half(&import(&minus_one).unwrap()).unwrap();
        let base_x = [
            0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
            0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
        ];
        assert_eq!(base.as_bytes()[1..33], base_x);
        assert_eq!(mirrored.as_bytes()[1..33], base_x);
        assert_ne!(mirrored, base);

        let five = public_half(&import(&number(5)).unwrap()).unwrap();
        let seven = public_half(&import(&number(7)).unwrap()).unwrap();
        let secret = agree(import(&number(5)).unwrap(), &seven).unwrap();
        assert_eq!(agree(import(&number(7)).unwrap(), &five), Some(secret));
        assert_eq!(
            agree(import(&number(1)).unwrap(), &seven).unwrap(),
            seven.as_bytes()[1..33]
        );
    }
}
