//! A public key: it identifies an application server (RFC 8292 §3.2), or belongs to a subscription (RFC 8291 §3.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;

use super::curve;
use crate::base64url;
use crate::identifiers::KeyDigest;

/// An application server's public key: an uncompressed point of P-256.
///
/// **Invariant:** on the curve, and not the point at infinity, however it was made.
///
/// Not a secret, but it tells who talks to whom: `Debug` hides it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; Self::BYTES]);

impl PublicKey {
    /// One byte of form and two coordinates (SEC 1 §2.3.3).
    pub const BYTES: usize = 65;

    /// Takes a point in its uncompressed form. `None` for any other form, and for a point off the curve.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let [form, coordinates @ ..] = &bytes;
        let (x, y) = coordinates.split_first_chunk::<32>()?;
        let y = y.try_into().ok()?;
        (*form == 4 && curve::contains(x, y)).then_some(Self(bytes))
    }

    /// Reads base64url as RFC 8292 §3.2 writes it, and padded or in the standard alphabet as senders and Firefox do.
    pub fn parse(text: &str) -> Option<Self> {
        base64url::decode_key(text).and_then(Self::from_bytes)
    }

    /// The uncompressed point.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// What a subscription that is restricted to this key remembers of it.
    pub fn digest(&self) -> KeyDigest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, &self.0).as_ref());
        KeyDigest(bytes)
    }
}

impl fmt::Display for PublicKey {
    /// The spelling of RFC 8292 §3.2: 87 characters of base64url.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vapid::vectors::RFC_KEY;

    /// V-AUTH-7, WS-REG-3: base64url or standard base64, padded or not, is one key with one digest and one spelling out.
    #[test]
    fn a_key_has_many_spellings_in_and_one_out() {
        let key = PublicKey::parse(RFC_KEY).unwrap();
        let standard = RFC_KEY.replace('-', "+").replace('_', "/");
        for spelling in [format!("{RFC_KEY}="), format!("{standard}="), standard] {
            assert_eq!(PublicKey::parse(&spelling), Some(key), "{spelling}");
        }
        assert_eq!(key.to_string(), RFC_KEY);
        let expected = "55e2a4de94fa76f38efdbf68ab4e212fc64099a7aec4497941faef2e29164cbd";
        let hex: String = key.digest().0.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(format!("{key:?}"), "PublicKey(…)");
    }

    /// V-AUTH-7, V-AUTH-9: compressed, truncated, hybrid and off-curve points are no keys.
    #[test]
    fn only_uncompressed_points_on_the_curve_are_keys() {
        let good = *PublicKey::parse(RFC_KEY).unwrap().as_bytes();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let changed = |at: usize, to: u8| {
            let mut bytes = good;
            bytes[at] = to;
            encode(&bytes)
        };
        let mut compressed = good[..33].to_vec();
        compressed[0] = 3;
        for wrong in [
            String::new(),
            encode(&compressed),
            encode(&good[..64]),
            encode(&[&good[..], &[0]].concat()),
            changed(0, 6),
            changed(0, 0),
            changed(64, good[64] ^ 1),
            changed(1, good[1] ^ 0x80),
            encode(&[&[4], &[0; 64][..]].concat()),
            encode(&[0; 65]),
            encode(&[0xff; 65]),
            "é".repeat(44),
        ] {
            assert_eq!(PublicKey::parse(&wrong), None, "{wrong}");
        }
    }
}
