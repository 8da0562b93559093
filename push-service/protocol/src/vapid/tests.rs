//! RFC 8292, row by row.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::rand::SystemRandom;

use super::vectors::{OUR_KEY, OUR_PRIVATE_KEY, OUR_TOKEN, RFC_KEY, RFC_TOKEN};
use super::*;
use crate::origin::Origin;

const OUR_ORIGIN: &str = "https://push.example.test:8443";
const OUR_EXP: u64 = 1_893_456_000;
const NOW: u64 = 1_893_400_000;
const ES256: &str = r#"{"typ":"JWT","alg":"ES256"}"#;

fn authorization(value: &str) -> HeaderMap {
    fields(&[(AUTHORIZATION, value)])
}

fn fields(lines: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

const CRYPTO_KEY: HeaderName = HeaderName::from_static("crypto-key");

fn our_private_key() -> [u8; 32] {
    let private = URL_SAFE_NO_PAD.decode(OUR_PRIVATE_KEY).unwrap();
    private.try_into().unwrap()
}

fn our_key() -> SigningKey {
    SigningKey::from_raw(
        &our_private_key(),
        &PublicKey::parse(OUR_KEY).unwrap(),
        &SystemRandom::new(),
    )
    .unwrap()
}

fn verify(token: &str, key: &str) -> Result<Claims, VapidError> {
    let headers = authorization(&format!("vapid t={token}, k={key}"));
    credentials(&headers)?.expect("they are there").verify()
}

fn check(token: &str, origin: &str, now: u64) -> Result<(), VapidError> {
    verify(token, OUR_KEY)?.check(&Origin::parse(origin).unwrap(), now)
}

/// A token that our key signed, with any header and claims.
fn signed(header: &str, claims: &str) -> String {
    our_key()
        .sign_parts(
            &URL_SAFE_NO_PAD.encode(header),
            claims.as_bytes(),
            &SystemRandom::new(),
        )
        .unwrap()
}

/// What becomes of these claims, well signed, at our origin, now.
fn outcome(claims: &str) -> Result<(), VapidError> {
    check(&signed(ES256, claims), OUR_ORIGIN, NOW)
}

/// V-AUTH-1, V-AUTH-2, V-AUTH-3: any case, any order, optional white space, quoted or not; what else there is is ignored.
#[test]
fn the_vapid_scheme_in_its_many_spellings() {
    let (t, k) = (RFC_TOKEN, RFC_KEY);
    let standard = STANDARD.encode(URL_SAFE_NO_PAD.decode(k).unwrap());
    for value in [
        format!("vapid t={t}, k={k}"),
        format!("vapid t={t},k={k}"),
        format!("VAPID k={k},t={t}"),
        format!("Vapid   t = {t} ,\tk = {k}  "),
        format!("vapid T={t}, K={k}"),
        format!(r#"vapid t="{t}", k="{k}""#),
        format!(r#"vapid realm="a, t=b, \"k=c", t={t}, x, ,k={k}, y=1"#),
        format!("vapid ,t={t},,k={k},"),
        format!("vapid t={t}, k={k}="),
        format!("vapid t={t}, k={standard}"),
        format!(r#"vapid t={t}, k="{}""#, standard.trim_end_matches('=')),
    ] {
        let headers = authorization(&value);
        let found = credentials(&headers).unwrap().unwrap();
        assert_eq!((found.scheme, found.token), (Scheme::Vapid, t), "{value}");
        assert_eq!(found.key.to_string(), k, "{value}");
    }
}

/// V-AUTH-2, V-AUTH-7, V-AUTH-9, V-CLM-8: what is missing, double, broken or endless is refused before any cryptography.
#[test]
fn broken_credentials_are_refused() {
    use VapidError::*;
    let (t, k) = (RFC_TOKEN, RFC_KEY);
    let off_curve = k.replace("BA1H", "BA1I");
    let compressed = URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(k).unwrap()[..33]);
    let long = "x".repeat(MAX_AUTHORIZATION_BYTES);
    let rows = [
        ("vapid".to_owned(), MissingToken),
        ("vapid ".to_owned(), MissingToken),
        (format!("vapid k={k}"), MissingToken),
        (format!("vapid t=, k={k}"), MissingToken),
        (format!("vapid t={t}"), MissingKey),
        (format!("vapid t={t}, k=\"\""), MissingKey),
        (format!("vapid t={t}, t={t}, k={k}"), DuplicateParameter),
        (format!("vapid t={t}, T={t}, k={k}"), DuplicateParameter),
        (format!("vapid t={t}, k={k}, k={k}"), DuplicateParameter),
        (format!("vapid t={t} k={k}"), MalformedHeader),
        (format!("vapid t=\"{t}, k={k}"), MalformedHeader),
        (format!("vapid t={t}, k={k}\u{e9}"), MalformedHeader),
        (format!("vapid t={t}, k={compressed}"), MalformedKey),
        (format!("vapid t={t}, k={off_curve}"), MalformedKey),
        (format!("vapid t={t}, k={k}A"), MalformedKey),
        (format!("vapid t={t}, k={k}, x={long}"), TooLong),
        ("Basic dXNlcjpwYXNz".to_owned(), OtherScheme),
        ("vapidt=1".to_owned(), OtherScheme),
        (String::new(), OtherScheme),
        ("WebPush".to_owned(), MissingToken),
        (format!("WebPush {t}"), MissingLegacyKey),
        (format!("Bearer {t}"), MissingLegacyKey),
    ];
    for (value, expected) in rows {
        assert_eq!(credentials(&authorization(&value)), Err(expected), "{value}");
    }
    let good = format!("vapid t={t}, k={k}");
    let twice = fields(&[(AUTHORIZATION, &good), (AUTHORIZATION, &good)]);
    assert_eq!(credentials(&twice), Err(MalformedHeader));
}

/// V-CLM-8: a field and a token may have as many bytes as allowed, and not one more.
#[test]
fn credentials_have_a_length_to_the_byte() {
    let begin = format!("vapid t={RFC_TOKEN}, k={RFC_KEY}, x=");
    for (bytes, is_refused) in [
        (MAX_AUTHORIZATION_BYTES, false),
        (MAX_AUTHORIZATION_BYTES + 1, true),
    ] {
        let value = format!("{begin}{}", "x".repeat(bytes - begin.len()));
        let refused = credentials(&authorization(&value)).err();
        assert_eq!(refused, is_refused.then_some(VapidError::TooLong), "{bytes}");
        let token = "x".repeat(bytes);
        let shown = Credentials {
            scheme: Scheme::Vapid,
            token: &token,
            key: PublicKey::parse(RFC_KEY).unwrap(),
        };
        let expected = match is_refused {
            true => VapidError::TooLong,
            false => VapidError::MalformedToken,
        };
        assert_eq!(shown.verify(), Err(expected), "{bytes}");
    }
}

/// Each refusal is a sentence of its own.
#[test]
fn each_refusal_says_what_to_do() {
    use VapidError::*;
    let sentences: std::collections::BTreeSet<_> = [
        TooLong,
        MalformedHeader,
        OtherScheme,
        MissingToken,
        MissingKey,
        MissingLegacyKey,
        DuplicateParameter,
        MalformedKey,
        MalformedToken,
        OtherAlgorithm,
        BadSignature,
        MalformedClaims,
        MissingAudience,
        OtherAudience,
        MissingExpiration,
        Expired,
        ExpiresTooLate,
    ]
    .map(|refusal| refusal.to_string())
    .into();
    assert_eq!(sentences.len(), 17);
    for sentence in sentences {
        assert!(
            sentence.starts_with("The") && sentence.ends_with('.'),
            "{sentence}"
        );
    }
    assert_eq!(SigningError::NotAKeyPair.to_string(), "not a P-256 key pair");
    assert_eq!(SigningError::NoRandomness.to_string(), "the random source failed");
}

/// V-AUTH-4: credentials for a proxy are not ours; a key alone is no credential.
#[test]
fn without_authorization_no_key_is_shown() {
    let good = format!("vapid t={RFC_TOKEN}, k={RFC_KEY}");
    let key = format!("p256ecdsa={RFC_KEY}");
    assert_eq!(credentials(&HeaderMap::new()), Ok(None));
    assert_eq!(credentials(&fields(&[(PROXY_AUTHORIZATION, &good)])), Ok(None));
    assert_eq!(credentials(&fields(&[(CRYPTO_KEY, &key)])), Ok(None));
}

/// V-LEG-1, V-LEG-2: the draft's schemes, with the key anywhere in `Crypto-Key`.
#[test]
fn the_draft_scheme_finds_its_key() {
    for (scheme, crypto_key) in [
        ("WebPush", format!("p256ecdsa={RFC_KEY}")),
        ("webpush", format!("p256ecdsa=\"{RFC_KEY}\"")),
        ("Bearer", format!("dh=abc;p256ecdsa={RFC_KEY}")),
        (
            "BEARER",
            format!("keyid=\"a,b;c\"; dh=abc , P256ECDSA={RFC_KEY}="),
        ),
        (
            "WebPush",
            format!("p256ecdsa={RFC_KEY},dh=abc, p256ecdsa={RFC_KEY}"),
        ),
    ] {
        let value = format!("{scheme} {RFC_TOKEN}");
        let headers = fields(&[
            (AUTHORIZATION, &value),
            (CRYPTO_KEY, "dh=x"),
            (CRYPTO_KEY, &crypto_key),
        ]);
        let found = credentials(&headers).unwrap().unwrap();
        assert_eq!(
            (found.scheme, found.token),
            (Scheme::Draft, RFC_TOKEN),
            "{crypto_key}"
        );
        assert_eq!(found.key.to_string(), RFC_KEY, "{crypto_key}");
        assert!(found.verify().is_ok(), "V-LEG-3");
    }
    let value = format!("WebPush {RFC_TOKEN}");
    for (crypto_key, expected) in [
        ("dh=abc".to_owned(), VapidError::MissingLegacyKey),
        ("p256ecdsa=abc".to_owned(), VapidError::MalformedKey),
        ("p256ecdsa=\u{e9}".to_owned(), VapidError::MissingLegacyKey),
        (
            format!("p256ecdsa={RFC_KEY}, p256ecdsa={OUR_KEY}"),
            VapidError::DuplicateParameter,
        ),
    ] {
        let headers = fields(&[(AUTHORIZATION, &value), (CRYPTO_KEY, &crypto_key)]);
        assert_eq!(credentials(&headers), Err(expected), "{crypto_key}");
    }
}

/// RFC 8292 §2.4: its example, in the window in which it was good.
#[test]
fn the_example_of_the_rfc_verifies() {
    let claims = verify(RFC_TOKEN, RFC_KEY).unwrap();
    let origin = Origin::parse("https://push.example.net").unwrap();
    assert_eq!(claims.expires_at_secs(), 1_453_523_768);
    assert_eq!(claims.check(&origin, 1_453_500_000), Ok(()));
    assert_eq!(claims.check(&origin, 1_453_523_768 - 86_460), Ok(()));
    assert_eq!(
        claims.check(&origin, 1_453_523_768 - 86_461),
        Err(VapidError::ExpiresTooLate)
    );
    assert_eq!(claims.check(&origin, 1_790_000_000), Err(VapidError::Expired));
}

/// V-CLM-3, V-CLM-4: 24 hours, and a minute on both sides for clocks that differ, and not a second more.
#[test]
fn a_token_is_good_for_a_day_and_a_minute_on_both_sides() {
    let rows = [
        (NOW, Ok(())),
        (OUR_EXP - 86_400, Ok(())),
        (OUR_EXP - 86_401, Ok(())),
        (OUR_EXP - 86_400 - LEEWAY_SECS, Ok(())),
        (OUR_EXP - 86_401 - LEEWAY_SECS, Err(VapidError::ExpiresTooLate)),
        (0, Err(VapidError::ExpiresTooLate)),
        (OUR_EXP - 1, Ok(())),
        (OUR_EXP, Ok(())),
        (OUR_EXP + LEEWAY_SECS - 1, Ok(())),
        (OUR_EXP + LEEWAY_SECS, Err(VapidError::Expired)),
        (u64::MAX, Err(VapidError::Expired)),
    ];
    for (now, expected) in rows {
        assert_eq!(check(OUR_TOKEN, OUR_ORIGIN, now), expected, "{now}");
    }
}

/// V-AUTH-6, V-AUTH-7: one wrong bit, another key, another form of signature: all refused as what they are.
#[test]
fn only_the_key_s_own_raw_signature_verifies() {
    assert!(verify(OUR_TOKEN, OUR_KEY).is_ok());
    assert_eq!(verify(OUR_TOKEN, RFC_KEY), Err(VapidError::BadSignature));
    assert_eq!(verify(RFC_TOKEN, OUR_KEY), Err(VapidError::BadSignature));

    let (signed, signature) = OUR_TOKEN.rsplit_once('.').unwrap();
    let raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let resigned = |bytes: &[u8]| format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes));
    for bit in 0..raw.len() * 8 {
        let mut changed = raw.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            verify(&resigned(&changed), OUR_KEY),
            Err(VapidError::BadSignature),
            "bit {bit}"
        );
    }
    let der = [&[0x30, 0x44, 2, 32][..], &raw[..32], &[2, 32], &raw[32..]].concat();
    for other in [&der[..], &raw[..63], &[&raw[..], &[0]].concat(), &[], &[0; 64]] {
        assert_eq!(verify(&resigned(other), OUR_KEY), Err(VapidError::BadSignature));
    }
}

/// V-AUTH-6: an ECDSA signature has a second form, which anyone can compute from the first (`n - s` instead of `s`).
/// It verifies with the same meaning, gives no further right, and is remembered as another token.
#[test]
fn the_second_spelling_of_a_signature_says_the_same() {
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let (signed, signature) = OUR_TOKEN.rsplit_once('.').unwrap();
    let mut raw = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let of_order = i32::from(u8::from_str_radix(&ORDER[at * 2..at * 2 + 2], 16).unwrap());
        let difference = of_order - i32::from(raw[32 + at]) - borrow;
        raw[32 + at] = difference.rem_euclid(256) as u8;
        borrow = i32::from(difference < 0);
    }
    let other = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(raw));
    assert_ne!(other, OUR_TOKEN);
    assert_eq!(verify(&other, OUR_KEY), verify(OUR_TOKEN, OUR_KEY));
    assert!(verify(&other, OUR_KEY).is_ok());
    let key_of = |token: &str| {
        let headers = authorization(&format!("vapid t={token}, k={OUR_KEY}"));
        credentials(&headers).unwrap().unwrap().cache_key()
    };
    assert_ne!(key_of(&other), key_of(OUR_TOKEN));
}

/// V-CLM-7: claims that were changed after signing are never read, however broken they are.
#[test]
fn the_signature_comes_before_the_claims() {
    let [header, _, signature] = OUR_TOKEN.split('.').collect::<Vec<_>>().try_into().unwrap();
    for claims in [
        "{}",
        "not JSON",
        "",
        r#"{"aud":"https://push.example.test:8443","exp":1}"#,
    ] {
        let token = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(verify(&token, OUR_KEY), Err(VapidError::BadSignature), "{claims}");
    }
}

/// V-AUTH-6: a token is three parts of unpadded base64url.
#[test]
fn a_token_is_a_compact_jws() {
    let [header, claims, signature] = OUR_TOKEN.split('.').collect::<Vec<_>>().try_into().unwrap();
    let padded_claims = URL_SAFE.encode(URL_SAFE_NO_PAD.decode(claims).unwrap());
    assert!(padded_claims.ends_with('='));
    let stray_bits = format!("{}R", &signature[..signature.len() - 1]);
    for token in [
        "x".to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("{header}..{claims}.{signature}"),
        format!(".{claims}.{signature}"),
        format!("{header}.{padded_claims}.{signature}"),
        format!("{header}.{claims}.{signature}=="),
        format!("{header}.{claims}.{stray_bits}"),
        format!(
            "{header}.{claims}.{}",
            STANDARD.encode(URL_SAFE_NO_PAD.decode(signature).unwrap())
        ),
        format!("{header}.{claims}+/.{signature}"),
    ] {
        assert_eq!(
            verify(&token, OUR_KEY),
            Err(VapidError::MalformedToken),
            "{token}"
        );
    }
}

/// V-AUTH-6: ES256 and no other algorithm, also when the signature is good.
#[test]
fn only_es256_is_taken() {
    use VapidError::{MalformedToken, OtherAlgorithm};
    let rows = [
        (r#"{"alg":"ES256"}"#, Ok(())),
        (r#"{"typ":"x","kid":"1","alg":"ES256"}"#, Ok(())),
        (r#"{"alg":"none"}"#, Err(OtherAlgorithm)),
        (r#"{"alg":"HS256"}"#, Err(OtherAlgorithm)),
        (r#"{"alg":"es256"}"#, Err(OtherAlgorithm)),
        (r#"{"alg":"ES384"}"#, Err(OtherAlgorithm)),
        (r#"{"alg":"ES256","crit":["exp"]}"#, Err(OtherAlgorithm)),
        (r#"{"alg":"none","alg":"ES256"}"#, Err(MalformedToken)),
        (r#"{"alg":["ES256"]}"#, Err(MalformedToken)),
        (r#"["ES256",null]"#, Err(MalformedToken)),
        (r#"{"typ":"JWT"}"#, Err(MalformedToken)),
        (r#""ES256""#, Err(MalformedToken)),
        ("", Err(MalformedToken)),
    ];
    for (header, expected) in rows {
        let token = signed(
            header,
            r#"{"aud":"https://push.example.test:8443","exp":1893456000}"#,
        );
        assert_eq!(check(&token, OUR_ORIGIN, NOW), expected, "{header}");
    }
}

/// V-CLM-1, V-CLM-2: `aud` is our origin, or an array in which it is.
#[test]
fn the_audience_includes_our_origin() {
    use VapidError::{MalformedClaims, MissingAudience, OtherAudience};
    let many = [r#""https://a.test""#; 9].join(",");
    let rows = [
        (r#""https://push.example.test:8443""#, Ok(())),
        (r#"["https://push.example.test:8443"]"#, Ok(())),
        (r#"["https://a.test","https://push.example.test:8443"]"#, Ok(())),
        (r#""https:\/\/push.example.test:8443""#, Ok(())),
        (r#""https://push.example.test:8443/""#, Err(OtherAudience)),
        (
            r#""https://push.example.test:8443/wpush/v2/x""#,
            Err(OtherAudience),
        ),
        (r#""https://push.example.test""#, Err(OtherAudience)),
        (r#""https://push.example.test:443""#, Err(OtherAudience)),
        (r#""http://push.example.test:8443""#, Err(OtherAudience)),
        (r#""""#, Err(OtherAudience)),
        ("[]", Err(OtherAudience)),
        ("null", Err(MissingAudience)),
        ("7", Err(MalformedClaims)),
        ("{}", Err(MalformedClaims)),
        (r#"[7]"#, Err(MalformedClaims)),
        (&format!("[{many}]"), Err(MalformedClaims)),
    ];
    for (aud, expected) in rows {
        assert_eq!(
            outcome(&format!(r#"{{"aud":{aud},"exp":{OUR_EXP}}}"#)),
            expected,
            "{aud}"
        );
    }
    assert_eq!(outcome(&format!(r#"{{"exp":{OUR_EXP}}}"#)), Err(MissingAudience));
}

/// V-CLM-3: `exp` is a number; RFC 7519 §2 lets it have a fraction, which is dropped.
#[test]
fn the_expiration_is_a_number() {
    use VapidError::{Expired, ExpiresTooLate, MalformedClaims, MissingExpiration};
    let rows = [
        ("1893456000", Ok(())),
        ("1893456000.75", Ok(())),
        ("1.893456e9", Ok(())),
        ("1893486460.9", Ok(())),
        ("1893486461", Err(ExpiresTooLate)),
        ("18446744073709551615", Err(ExpiresTooLate)),
        ("18446744073709551616", Err(ExpiresTooLate)),
        ("1e300", Err(ExpiresTooLate)),
        ("0", Err(Expired)),
        ("-1", Err(Expired)),
        ("-1893456000", Err(Expired)),
        ("-1e300", Err(Expired)),
        ("1e999", Err(MalformedClaims)),
        (r#""1893456000""#, Err(MalformedClaims)),
        ("true", Err(MalformedClaims)),
        ("[1893456000]", Err(MalformedClaims)),
        ("null", Err(MissingExpiration)),
    ];
    for (exp, expected) in rows {
        assert_eq!(
            outcome(&format!(r#"{{"aud":"{OUR_ORIGIN}","exp":{exp}}}"#)),
            expected,
            "{exp}"
        );
    }
    assert_eq!(
        outcome(&format!(r#"{{"aud":"{OUR_ORIGIN}"}}"#)),
        Err(MissingExpiration)
    );
}

/// V-CLM-5, V-CLM-6: `sub` and further claims may be anything; claims that are no object, or say a thing twice, are none.
#[test]
fn other_claims_are_ignored_and_broken_json_is_not() {
    let known = format!(r#""aud":"{OUR_ORIGIN}","exp":{OUR_EXP}"#);
    for more in [
        r#""sub":"mailto:a@b""#,
        r#""sub":7"#,
        r#""x":{"y":[null]}"#,
        r#""Exp":1"#,
    ] {
        assert_eq!(outcome(&format!("{{{known},{more}}}")), Ok(()), "{more}");
        assert_eq!(outcome(&format!(" {{{more},{known}}}\n")), Ok(()), "{more}");
    }
    for broken in [
        format!("{{{known},\"exp\":1}}"),
        format!("{{{known}"),
        format!("{{{known}}} x"),
        format!(r#"["{OUR_ORIGIN}",{OUR_EXP}]"#),
        "[".repeat(1500),
        "null".to_owned(),
        String::new(),
    ] {
        assert_eq!(outcome(&broken), Err(VapidError::MalformedClaims), "{broken}");
    }
}

/// V-SEC-3: what is remembered is remembered for exactly this token and exactly this key.
#[test]
fn the_cache_key_is_of_token_and_key() {
    let found = |token, key: &str| {
        let headers = authorization(&format!("vapid t={token}, k={key}"));
        credentials(&headers).unwrap().unwrap().cache_key()
    };
    let ours = found(OUR_TOKEN, OUR_KEY);
    assert_eq!(ours, found(OUR_TOKEN, &format!("{OUR_KEY}=")));
    assert_ne!(ours, found(OUR_TOKEN, RFC_KEY));
    assert_ne!(ours, found(RFC_TOKEN, OUR_KEY));
    assert_ne!(ours, found(&OUR_TOKEN[1..], OUR_KEY));
}

/// V-SEC-7: neither token nor key stands in what may be logged.
#[test]
fn nothing_secret_is_printed() {
    let headers = authorization(&format!("vapid t={OUR_TOKEN}, k={OUR_KEY}"));
    let printed = format!("{:?} {:?}", credentials(&headers), our_key());
    assert_eq!(printed, "Ok(Some(Credentials(Vapid, …))) SigningKey(…)");
}

/// V-AUTH-2, V-AUTH-6, V-CLM-1: what the signer writes, the verifier takes, from all four sources of a key.
#[test]
fn a_signed_token_comes_back_verified() {
    let random = SystemRandom::new();
    let pkcs8 = SigningKey::generate_pkcs8(&random).unwrap();
    let generated = SigningKey::from_pkcs8(&pkcs8, &random).unwrap();
    assert_ne!(generated.public_key(), our_key().public_key());
    let derived = SigningKey::from_private(&our_private_key(), &random).unwrap();
    assert_eq!(derived.public_key(), our_key().public_key());
    let origin = Origin::parse(OUR_ORIGIN).unwrap();
    for key in [generated, our_key(), derived] {
        for contact in [None, Some("mailto:\"ops\"@example.test")] {
            let token = key.sign(origin.as_str(), OUR_EXP, contact, &random).unwrap();
            let headers = authorization(&key.authorization_header(&token));
            let found = credentials(&headers).unwrap().unwrap();
            assert_eq!(found.key, *key.public_key());
            assert_eq!(found.verify().unwrap().check(&origin, NOW), Ok(()));
        }
    }
}

/// V-AUTH-7: halves that do not belong together are no key pair, and what is out of range is no half of one.
#[test]
fn a_signing_key_is_a_pair() {
    let random = SystemRandom::new();
    let ours = PublicKey::parse(OUR_KEY).unwrap();
    for private in [[0; 32], [0xff; 32], [1; 32]] {
        let refused = SigningKey::from_raw(&private, &ours, &random);
        assert_eq!(refused.unwrap_err(), SigningError::NotAKeyPair);
    }
    for private in [[0; 32], [0xff; 32]] {
        let refused = SigningKey::from_private(&private, &random);
        assert_eq!(refused.unwrap_err(), SigningError::NotAKeyPair);
    }
    assert_eq!(
        SigningKey::from_pkcs8(b"", &random).unwrap_err(),
        SigningError::NotAKeyPair
    );
}
