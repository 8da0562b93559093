//! Who sends: `Authorization` and `Crypto-Key`, and the token in them.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use push_protocol::origin::Origin;
use push_protocol::vapid::{
    Claims, Credentials, LEEWAY_SECS, MAX_AUTHORIZATION_BYTES, MAX_LIFETIME_SECS, PublicKey, Scheme,
    VapidError, credentials,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::Value;

use super::fields;
use super::vectors::{OUR_KEY, OUR_PRIVATE_KEY, OUR_TOKEN, RFC_KEY, RFC_TOKEN};

const ORIGIN: &str = "https://push.example.net";

/// In the order of their digits in a case.
const FIELDS: [&str; 2] = ["authorization", "crypto-key"];

/// `vapid::credentials`: what is found can be written again and is found again, its key is a point with one spelling
/// (V-AUTH-7), and no token verifies but those that were signed (V-CLM-8).
///
/// `data`: header fields.
pub fn vapid_header(data: &[u8]) {
    let (fields, _) = fields::read(data, &FIELDS);
    let found = match credentials(&fields) {
        Ok(Some(found)) => found,
        Ok(None) => return assert!(!fields.contains_key("authorization")),
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(!found.token.is_empty());
    assert_eq!(PublicKey::from_bytes(*found.key.as_bytes()), Some(found.key));
    assert_eq!(PublicKey::parse(&found.key.to_string()), Some(found.key));
    if let Some(again) = respelled(&found) {
        let again = credentials(&again).expect("what was read").expect("is there");
        assert_eq!(again, found);
        assert_eq!(again.cache_key(), found.cache_key());
    }
    let signed = [(OUR_TOKEN, OUR_KEY), (RFC_TOKEN, RFC_KEY)];
    let is_signed = signed.contains(&(found.token, found.key.to_string().as_str()));
    assert_eq!(found.verify().is_ok(), is_signed, "{}", found.token);
}

/// The same credentials in our own spelling, unless that is too long.
fn respelled(found: &Credentials<'_>) -> Option<http::HeaderMap> {
    let (token, key) = (found.token, found.key);
    let quote = if token.contains([' ', '\t', '"', ',']) {
        "\""
    } else {
        ""
    };
    let (authorization, crypto_key) = match found.scheme {
        Scheme::Vapid => (format!("vapid t={quote}{token}{quote}, k={key}"), String::new()),
        Scheme::Draft => (format!("WebPush {token}"), format!("p256ecdsa={key}")),
    };
    let fits = authorization.len() <= MAX_AUTHORIZATION_BYTES;
    fits.then(|| fields::of([("authorization", &authorization), ("crypto-key", &crypto_key)]))
}

/// `Credentials::verify` and `Claims::check` on tokens whose signature is good, as anybody can make them with a key of
/// their own: what is accepted is ES256 without extensions, means what a plain JSON reader finds in it, and holds in
/// its time (V-CLM-3) and for its audiences only.
///
/// `data`: the JOSE header, a line feed, and the claims.
pub fn vapid_claims(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, claims) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let token = signed(header, claims);
    let key = PublicKey::parse(OUR_KEY).expect("a key");
    let credentials = Credentials {
        scheme: Scheme::Vapid,
        token: &token,
        key,
    };
    let verified = credentials.verify();
    assert_ne!(verified, Err(VapidError::BadSignature));
    let Ok(verified) = verified else {
        return;
    };
    is_es256(header);
    let Ok(json) = serde_json::from_slice::<Value>(claims) else {
        return; // Something that is skipped unread stopped this reader, and not ours.
    };
    assert!(json.is_object());
    let seconds = json["exp"]
        .as_u64()
        .or_else(|| json["exp"].as_f64().map(|seconds| seconds as u64));
    assert_eq!(seconds, Some(verified.expires_at_secs()));
    holds_in_its_time(&verified);
    holds_for_its_audiences(&verified, &json["aud"]);
}

fn signed(header: &[u8], claims: &[u8]) -> String {
    static KEY_PAIR: OnceLock<EcdsaKeyPair> = OnceLock::new();
    let key_pair = KEY_PAIR.get_or_init(|| {
        let decode = |text| URL_SAFE_NO_PAD.decode(text).expect("base64url");
        EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &decode(OUR_PRIVATE_KEY),
            &decode(OUR_KEY),
            &SystemRandom::new(),
        )
        .expect("a key pair")
    });
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = key_pair
        .sign(&SystemRandom::new(), signed.as_bytes())
        .expect("random bits");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn is_es256(header: &[u8]) {
    if let Ok(json) = serde_json::from_slice::<Value>(header) {
        assert_eq!(json["alg"].as_str(), Some("ES256"));
        assert!(json["crit"].is_null());
    }
}

fn holds_in_its_time(claims: &Claims) {
    let origin = Origin::parse(ORIGIN).expect("an origin");
    let at = |now| claims.check(&origin, now);
    let expires = claims.expires_at_secs();
    if let Some(end) = expires.checked_add(LEEWAY_SECS) {
        assert_eq!(at(end), Err(VapidError::Expired));
        assert_ne!(at(end - 1), Err(VapidError::Expired));
    }
    if let Some(start) = expires.checked_sub(MAX_LIFETIME_SECS + LEEWAY_SECS) {
        assert_ne!(at(start), Err(VapidError::ExpiresTooLate));
        assert!(start == 0 || at(start - 1) == Err(VapidError::ExpiresTooLate));
    }
}

fn holds_for_its_audiences(claims: &Claims, audiences: &Value) {
    let audiences = match audiences {
        Value::Array(several) => several.as_slice(),
        one => std::slice::from_ref(one),
    };
    let audiences: Vec<&str> = audiences
        .iter()
        .map(|one| one.as_str().expect("a string"))
        .collect();
    let now = claims.expires_at_secs() - u64::from(claims.expires_at_secs() == u64::MAX);
    for origin in audiences.iter().copied().chain([ORIGIN]) {
        let Ok(origin) = Origin::parse(origin) else {
            continue;
        };
        let is_named = audiences.iter().any(|audience| origin.matches(audience));
        assert_eq!(claims.check(&origin, now).is_ok(), is_named);
    }
}
