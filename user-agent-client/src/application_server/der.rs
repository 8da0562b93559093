//! The part of DER that a file with a P-256 private key needs: SEC 1 (RFC 5915) and PKCS#8 (RFC 5958) around it.
//!
//! Ring reads PKCS#8 only, and only with the public half in it, which not every tool writes.

/// The parts of a key file.
pub(super) struct Parts<'a> {
    pub(super) private: &'a [u8; 32],
    /// The uncompressed point, if the file has it.
    pub(super) public: Option<&'a [u8; 65]>,
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const PARAMETERS: u8 = 0xa0;
const PUBLIC_KEY: u8 = 0xa1;

/// 1.2.840.10045.2.1, `id-ecPublicKey`.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7, `prime256v1`.
const P_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Reads a private key in either wrapping. `None` for anything else, and for another curve.
pub(super) fn private_key(der: &[u8]) -> Option<Parts<'_>> {
    pkcs8(der).or_else(|| sec1(der))
}

/// `PrivateKeyInfo` (RFC 5958 §2): a version, the algorithm, and an `ECPrivateKey` in an octet string.
fn pkcs8(der: &[u8]) -> Option<Parts<'_>> {
    let mut info = whole(der, SEQUENCE)?;
    let (version, rest) = element(info, INTEGER)?;
    info = rest;
    let (algorithm, rest) = element(info, SEQUENCE)?;
    let (key, _attributes) = element(rest, OCTET_STRING)?;
    let (kind, curve) = element(algorithm, OBJECT_IDENTIFIER)?;
    let is_ours =
        matches!(version, [0 | 1]) && kind == EC_PUBLIC_KEY && whole(curve, OBJECT_IDENTIFIER)? == P_256;
    is_ours.then(|| sec1(key)).flatten()
}

/// `ECPrivateKey` (RFC 5915 §3): a version, the private key, perhaps the curve, perhaps the public key.
fn sec1(der: &[u8]) -> Option<Parts<'_>> {
    let (version, rest) = element(whole(der, SEQUENCE)?, INTEGER)?;
    let (private, mut rest) = element(rest, OCTET_STRING)?;
    if version != [1] {
        return None;
    }
    if let Some((parameters, after)) = element(rest, PARAMETERS) {
        if whole(parameters, OBJECT_IDENTIFIER)? != P_256 {
            return None;
        }
        rest = after;
    }
    let public = match element(rest, PUBLIC_KEY) {
        Some((public, _)) => Some(point(public)?),
        None => None,
    };
    Some(Parts {
        private: private.try_into().ok()?,
        public,
    })
}

/// A bit string that is an uncompressed point: no bits are unused.
fn point(der: &[u8]) -> Option<&[u8; 65]> {
    whole(der, BIT_STRING)?.strip_prefix(&[0])?.try_into().ok()
}

/// The content of an element that is all there is.
fn whole(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (content, rest) = element(der, tag)?;
    rest.is_empty().then_some(content)
}

/// The content of the first element, and what follows it. Keys are short: lengths have one byte, or two with `81`.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (length, rest) = match rest {
        [length @ 0..=0x7f, rest @ ..] | [0x81, length @ 0x80..=0xff, rest @ ..] => {
            (usize::from(*length), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
