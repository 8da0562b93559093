//! Token and key in the header fields (RFC 8292 §3), and the check of the signature.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use ring::digest;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::claims::{Claims, json_object};
use super::error::VapidError;
use crate::p256::PublicKey;
use crate::parameters::{parameter, split, trim};

/// The longest `Authorization` field that is looked into. A token of a deployed library has 200 to 400 bytes; chosen
/// because anyone may send one with every push.
pub const MAX_AUTHORIZATION_BYTES: usize = 4096;

/// How credentials were sent: to whom a challenge can be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// `vapid t=…, k=…` (RFC 8292 §3).
    Vapid,
    /// `WebPush …` or `Bearer …`, with the key in `Crypto-Key` (draft-ietf-webpush-vapid-01).
    Draft,
}

/// What an application server shows to say who it is. Nothing of it is verified yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// How they were sent.
    pub scheme: Scheme,
    /// A JWS in its compact form. A bearer token: anyone who sees it can use it until it expires (RFC 8292 §5).
    pub token: &'a str,
    /// The key that the token claims to be signed with.
    pub key: PublicKey,
}

/// Finds the credentials of a push. `Ok(None)` when the sender shows none.
///
/// `Proxy-Authorization` is for others and ignored (RFC 8292 §3).
///
/// # Errors
///
/// [`VapidError::OtherScheme`] when `Authorization` is not about VAPID at all, which the edge may choose to ignore;
/// otherwise what is wrong with the form. Token and signature are not looked at.
pub fn credentials(headers: &HeaderMap) -> Result<Option<Credentials<'_>>, VapidError> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(VapidError::MalformedHeader);
    }
    if line.len() > MAX_AUTHORIZATION_BYTES {
        return Err(VapidError::TooLong);
    }
    let line = trim(line.to_str().map_err(|_| VapidError::MalformedHeader)?);
    let (scheme, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    if scheme.eq_ignore_ascii_case("vapid") {
        vapid_credentials(rest).map(Some)
    } else if scheme.eq_ignore_ascii_case("webpush") || scheme.eq_ignore_ascii_case("bearer") {
        draft_credentials(trim(rest), headers).map(Some)
    } else {
        Err(VapidError::OtherScheme)
    }
}

impl Credentials<'_> {
    /// Under which the outcome of [`Credentials::verify`] may be remembered: SHA-256 of the exact key and token. A caller that
    /// can look it up in memory learns no token.
    pub fn cache_key(&self) -> [u8; 32] {
        // The key has a fixed length, so that no other pair of key and token hashes the same bytes.
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.key.as_bytes());
        context.update(self.token.as_bytes());
        let mut cache_key = [0; 32];
        cache_key.copy_from_slice(context.finish().as_ref());
        cache_key
    }

    /// Checks that the token is signed with the key, and only then reads what it says (RFC 8292 §2).
    ///
    /// Takes tens of microseconds of CPU. Whether the claims hold now and here is for [`Claims::check`].
    ///
    /// # Errors
    ///
    /// What is wrong with the token; never [`VapidError::Expired`], [`VapidError::ExpiresTooLate`] or
    /// [`VapidError::OtherAudience`].
    pub fn verify(&self) -> Result<Claims, VapidError> {
        if self.token.len() > MAX_AUTHORIZATION_BYTES {
            return Err(VapidError::TooLong);
        }
        let (signed, signature) = self.token.rsplit_once('.').ok_or(VapidError::MalformedToken)?;
        let (header, claims) = signed.split_once('.').ok_or(VapidError::MalformedToken)?;
        require_es256(&decode(header)?)?;
        let (claims, signature) = (decode(claims)?, decode(signature)?);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.as_bytes())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| VapidError::BadSignature)?;
        Claims::from_verified_json(&claims)
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, …)", self.scheme)
    }
}

fn vapid_credentials(parameters: &str) -> Result<Credentials<'_>, VapidError> {
    let (mut token, mut key) = (None, None);
    for part in split(parameters, b',') {
        let (name, value) = parameter(part).ok_or(VapidError::MalformedHeader)?;
        let slot = match name {
            "t" | "T" => &mut token,
            "k" | "K" => &mut key,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(VapidError::DuplicateParameter);
        }
    }
    let token = token.filter(|t| !t.is_empty()).ok_or(VapidError::MissingToken)?;
    let key = key.filter(|k| !k.is_empty()).ok_or(VapidError::MissingKey)?;
    Ok(Credentials {
        scheme: Scheme::Vapid,
        token,
        key: PublicKey::parse(key).ok_or(VapidError::MalformedKey)?,
    })
}

fn draft_credentials<'a>(token: &'a str, headers: &HeaderMap) -> Result<Credentials<'a>, VapidError> {
    if token.is_empty() {
        return Err(VapidError::MissingToken);
    }
    let mut key = None;
    for line in headers.get_all("crypto-key") {
        for found in draft_keys(line) {
            if key.replace(found).is_some_and(|earlier| earlier != found) {
                return Err(VapidError::DuplicateParameter);
            }
        }
    }
    let key = key.ok_or(VapidError::MissingLegacyKey)?;
    Ok(Credentials {
        scheme: Scheme::Draft,
        token,
        key: PublicKey::parse(key).ok_or(VapidError::MalformedKey)?,
    })
}

/// Every `p256ecdsa` of a `Crypto-Key` line: it may stand beside `dh` in one entry, or in an entry of its own.
fn draft_keys(line: &HeaderValue) -> impl Iterator<Item = &str> {
    split(line.to_str().unwrap_or_default(), b',')
        .flat_map(|entry| split(entry, b';'))
        .filter_map(parameter)
        .filter(|(name, _)| name.eq_ignore_ascii_case("p256ecdsa"))
        .map(|(_, value)| value)
}

fn decode(part: &str) -> Result<Vec<u8>, VapidError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| VapidError::MalformedToken)
}

/// The one algorithm of RFC 8292 §2, and no `crit`: an extension that must be understood is not (RFC 7515 §4.1.11).
fn require_es256(header: &[u8]) -> Result<(), VapidError> {
    #[derive(Deserialize)]
    struct JoseHeader {
        alg: String,
        crit: Option<IgnoredAny>,
    }
    let header: JoseHeader = json_object(header).ok_or(VapidError::MalformedToken)?;
    if header.alg != "ES256" || header.crit.is_some() {
        return Err(VapidError::OtherAlgorithm);
    }
    Ok(())
}
