//! Whether a point lies on P-256, by arithmetic alone.
//!
//! Ring checks a point only while it uses it, with a signature or a secret at hand. Registering a key has neither, yet
//! has to refuse a key under which nothing can ever be verified. Points are public: nothing here needs to hide its
//! timing, and nothing here may touch a secret.

/// Little-endian limbs of a number below [`P`], in Montgomery form: the number times 2^256.
type Element = [u64; 4];

/// The prime of the field (SEC 2 §2.4.2). It is -1 modulo 2^64, which makes Montgomery's factor the lowest limb itself.
const P: Element = [
    0xffff_ffff_ffff_ffff,
    0x0000_0000_ffff_ffff,
    0,
    0xffff_ffff_0000_0001,
];

/// The curve's `b` (SEC 2 §2.4.2), a plain number.
const B: Element = [
    0x3bce_3c3e_27d2_604b,
    0x651d_06b0_cc53_b0f6,
    0xb3eb_bd55_7698_86bc,
    0x5ac6_35d8_aa3a_93e7,
];

/// 2^512 modulo [`P`]: brings a plain number into Montgomery form.
const R_SQUARED: Element = [0x3, 0xffff_fffb_ffff_ffff, 0xffff_ffff_ffff_fffe, 0x4_ffff_fffd];

const B_ELEMENT: Element = multiply(&B, &R_SQUARED);
const THREE_ELEMENT: Element = multiply(&[3, 0, 0, 0], &R_SQUARED);

/// Whether big-endian `x` and `y` are coordinates, below the prime, of a point: y² = x³ - 3x + b (SEC 1 §3.2.2.1).
pub(super) fn contains(x: &[u8; 32], y: &[u8; 32]) -> bool {
    let (Some(x), Some(y)) = (element(x), element(y)) else {
        return false;
    };
    let slope = subtract(&multiply(&x, &x), &THREE_ELEMENT);
    multiply(&y, &y) == add(&multiply(&x, &slope), &B_ELEMENT)
}

fn element(bytes: &[u8; 32]) -> Option<Element> {
    let mut limbs = [0; 4];
    for (limb, chunk) in limbs.iter_mut().rev().zip(bytes.chunks_exact(8)) {
        *limb = chunk.iter().fold(0, |limb, byte| (limb << 8) | u64::from(*byte));
    }
    let (_, is_below_prime) = minus(&limbs, &P);
    is_below_prime.then(|| multiply(&limbs, &R_SQUARED))
}

/// Montgomery's product, `a * b / 2^256`, limb by limb: after each step the lowest limb is made zero and dropped.
const fn multiply(a: &Element, b: &Element) -> Element {
    let mut sum = [0; 5];
    let mut step = 0;
    while step < 4 {
        let overflow = add_product(&mut sum, a, b[step]);
        let factor = sum[0];
        let overflow = overflow + add_product(&mut sum, &P, factor);
        sum = [sum[1], sum[2], sum[3], sum[4], overflow];
        step += 1;
    }
    reduce([sum[0], sum[1], sum[2], sum[3]], sum[4])
}

/// Adds `a * factor` to `sum` and returns what overflows its five limbs.
const fn add_product(sum: &mut [u64; 5], a: &Element, factor: u64) -> u64 {
    let mut carry = 0;
    let mut at = 0;
    while at < 4 {
        let wide = sum[at] as u128 + a[at] as u128 * factor as u128 + carry;
        sum[at] = wide as u64;
        carry = wide >> 64;
        at += 1;
    }
    let wide = sum[4] as u128 + carry;
    sum[4] = wide as u64;
    (wide >> 64) as u64
}

fn add(a: &Element, b: &Element) -> Element {
    let mut sum = [0; 4];
    let mut carry = false;
    for at in 0..4 {
        let (partial, first) = a[at].overflowing_add(b[at]);
        let (limb, second) = partial.overflowing_add(u64::from(carry));
        sum[at] = limb;
        carry = first | second;
    }
    reduce(sum, u64::from(carry))
}

fn subtract(a: &Element, b: &Element) -> Element {
    let (difference, borrow) = minus(a, b);
    if !borrow {
        return difference;
    }
    // 2^256 + a - b, which lacks one P: as P - (b - a).
    let (opposite, _) = minus(b, a);
    minus(&P, &opposite).0
}

/// Takes the prime away once, if `overflow * 2^256 + limbs` reaches it.
const fn reduce(limbs: Element, overflow: u64) -> Element {
    let (reduced, borrow) = minus(&limbs, &P);
    if overflow == 0 && borrow { limbs } else { reduced }
}

/// `a - b` modulo 2^256, and whether `a` was below `b`.
const fn minus(a: &Element, b: &Element) -> (Element, bool) {
    let mut difference = [0; 4];
    let mut borrow = false;
    let mut at = 0;
    while at < 4 {
        let (partial, first) = a[at].overflowing_sub(b[at]);
        let (limb, second) = partial.overflowing_sub(borrow as u64);
        difference[at] = limb;
        borrow = first | second;
        at += 1;
    }
    (difference, borrow)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

    use super::*;

    fn contains_point(point: &[u8]) -> bool {
        contains(point[1..33].try_into().unwrap(), point[33..].try_into().unwrap())
    }

    fn bytes(limbs: &Element) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(limbs.iter().rev()) {
            chunk.copy_from_slice(&limb.to_be_bytes());
        }
        bytes
    }

    /// V-AUTH-9: every point that ring makes is on the curve, and no neighbour of it that differs in one bit is.
    #[test]
    fn keys_of_ring_are_points_and_their_neighbours_are_not() {
        let random = SystemRandom::new();
        for _ in 0..20 {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
            let mut point = pair.public_key().as_ref().to_vec();
            assert!(contains_point(&point));
            for bit in 8..point.len() * 8 {
                point[bit / 8] ^= 1 << (bit % 8);
                assert!(!contains_point(&point), "bit {bit}");
                point[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    /// V-AUTH-9: a coordinate has one spelling: the prime and all above it are none, although they equal a small one.
    #[test]
    fn coordinates_stay_below_the_prime() {
        let prime = bytes(&P);
        let (zero, mut beyond) = ([0; 32], prime);
        beyond[31] = 0xff;
        for (x, y) in [
            (zero, zero),
            (prime, zero),
            (zero, prime),
            ([0xff; 32], [0xff; 32]),
            (beyond, zero),
        ] {
            assert!(!contains(&x, &y));
        }
        // x = 0 is on the curve with the square root of b; p + 0 is the same number and must not be.
        let root = [
            0x66, 0x48, 0x5c, 0x78, 0x0e, 0x2f, 0x83, 0xd7, 0x24, 0x33, 0xbd, 0x5d, 0x84, 0xa0, 0x6b, 0xb6,
            0x54, 0x1c, 0x2a, 0xf3, 0x1d, 0xae, 0x87, 0x17, 0x28, 0xbf, 0x85, 0x6a, 0x17, 0x4f, 0x93, 0xf4,
        ];
        assert!(contains(&zero, &root));
        assert!(!contains(&prime, &root));
    }

    /// V-AUTH-9: the arithmetic keeps the laws of a field at its edges, where carries and borrows are.
    #[test]
    fn arithmetic_at_the_edges() {
        let top = minus(&P, &[1, 0, 0, 0]).0;
        let edges = [
            [0; 4],
            [1, 0, 0, 0],
            [u64::MAX, 0, 0, 0],
            [0, 0, 0, 1 << 63],
            top,
            B_ELEMENT,
        ];
        for a in &edges {
            for b in &edges {
                assert_eq!(multiply(a, b), multiply(b, a));
                assert_eq!(subtract(&add(a, b), b), *a);
                assert_eq!(add(&subtract(a, b), b), *a);
                for c in &edges {
                    let apart = add(&multiply(a, c), &multiply(b, c));
                    assert_eq!(multiply(&add(a, b), c), apart);
                }
            }
        }
    }
}
