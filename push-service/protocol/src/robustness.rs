//! Every parser against thousands of inputs that are nearly right: mutated, cut, spliced. None may panic, and what one
//! accepts must survive its own spelling. Seeds are fixed, so that a failure comes again.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LINK};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Coding;
use crate::capability::{Capabilities, Dialect, MessageKind, PushCapability, PushKind, SealingKey};
use crate::encryption::vectors::{self as encryption, draft};
use crate::headers::{self, Relation};
use crate::identifiers::{SubscriptionId, UserAgentId};
use crate::origin::Origin;
use crate::vapid::vectors::{OUR_KEY, OUR_PRIVATE_KEY, OUR_TOKEN, RFC_KEY, RFC_TOKEN};
use crate::vapid::{self, PublicKey};

const ROUNDS: usize = 4_000;

/// SplitMix64: enough chance for a test, from a seed that is printed in the code.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % limit
    }

    /// One of the samples after one to four accidents; pieces of the others may have got in.
    fn mutant<S: AsRef<[u8]>>(&mut self, samples: &[S]) -> Vec<u8> {
        const SPICE: &[u8] = b",;=\"\\ \t.-_+/:@[]{}%\x00\x7f\x80\xc3\xff0Az";
        let mut bytes = samples[self.below(samples.len())].as_ref().to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = at + self.below(bytes.len() - at + 1);
            let spice = SPICE[self.below(SPICE.len())];
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = spice,
                2 => bytes.insert(at, spice),
                3 => drop(bytes.drain(at..end)),
                4 => bytes.truncate(at),
                _ => {
                    let other = samples[self.below(samples.len())].as_ref();
                    let piece = &other[self.below(other.len() + 1)..];
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
            bytes.truncate(8_192);
        }
        bytes
    }

    fn mutant_text(&mut self, samples: &[&str]) -> String {
        String::from_utf8_lossy(&self.mutant(samples)).into_owned()
    }
}

/// V-AUTH-2, V-CLM-8: no `Authorization` and no `Crypto-Key` makes the service panic, and none but ours verifies.
#[test]
fn credentials_never_panic() {
    let vapid_field = format!("vapid t={OUR_TOKEN}, k=\"{OUR_KEY}\"");
    let draft_field = format!("WebPush {RFC_TOKEN}");
    let key_field = format!("keyid=\"a\";dh=abc;p256ecdsa={RFC_KEY}, p256ecdsa={RFC_KEY}");
    let mut chance = Chance(1);
    for _ in 0..ROUNDS {
        let mut fields = HeaderMap::new();
        append(
            &mut fields,
            AUTHORIZATION,
            &chance.mutant(&[&vapid_field, &draft_field]),
        );
        append(
            &mut fields,
            HeaderName::from_static("crypto-key"),
            &chance.mutant(&[&key_field]),
        );
        let Ok(Some(found)) = vapid::credentials(&fields) else {
            continue;
        };
        assert_eq!(PublicKey::parse(&found.key.to_string()), Some(found.key));
        let is_original = found.token == OUR_TOKEN || found.token == RFC_TOKEN;
        assert!(is_original || found.verify().is_err(), "{}", found.token);
    }
}

/// R30-TTL-2, R30-TOP-1, EPS-2: no field of a push makes the service panic, and what is passed on is bounded and plain.
#[test]
fn header_fields_never_panic() {
    let key = format!("keyid=\"p256dh\"; dh=\"{OUR_KEY}=\" ; p256ecdsa={RFC_KEY}");
    let samples: [(HeaderName, &[&str]); 10] = [
        (
            LINK,
            &["</s,1>; x=\",<\"; rel=\"a urn:ietf:params:push:set\", </p>;rel=b"],
        ),
        (
            HeaderName::from_static("accept"),
            &["text/html, text/event-stream;q=0.0;x=\"1,2\""],
        ),
        (
            HeaderName::from_static("ttl"),
            &["60", "-1", "99999999999999999999"],
        ),
        (HeaderName::from_static("urgency"), &["high", "very-low"]),
        (HeaderName::from_static("topic"), &["abc-_", OUR_KEY]),
        (
            HeaderName::from_static("prefer"),
            &["wait=0, respond-async; x=\"1,2\""],
        ),
        (CONTENT_ENCODING, &["aesgcm", "aes128gcm", "gzip"]),
        (CONTENT_TYPE, &["text/plain; charset=\"utf-8\""]),
        (
            HeaderName::from_static("encryption"),
            &["keyid=\"p256dh\";salt=\"lngarbyKfMoi9Z75xYXmkg==\" ; rs=4096"],
        ),
        (HeaderName::from_static("crypto-key"), &[&key]),
    ];
    let mut chance = Chance(2);
    for _ in 0..ROUNDS {
        let mut fields = HeaderMap::new();
        for (name, samples) in &samples {
            // Mostly one line and mostly whole, so that the mutants behind it are looked at too.
            for _ in 0..[1, 1, 1, 0, 2][chance.below(5)] {
                let whole = samples[chance.below(samples.len())].as_bytes().to_vec();
                let mutant = chance.mutant(samples);
                append(
                    &mut fields,
                    name.clone(),
                    [&whole, &whole, &mutant][chance.below(3)],
                );
            }
        }
        let _ = (
            headers::ttl(&fields),
            headers::urgency(&fields),
            headers::topic(&fields),
        );
        headers::prefers_async(&fields);
        headers::accepts_events(&fields);
        if let Ok(found) = headers::link(&fields, Relation::Set) {
            assert_eq!(headers::first_link(&fields, Relation::Set), found);
        }
        for dialect in [Dialect::Webpush, Dialect::Rfc8030] {
            let Ok(content) = headers::content(&fields, Bytes::from_static(b"body"), dialect) else {
                continue;
            };
            headers::dh_key(&content);
            if let Coding::Aesgcm {
                encryption,
                crypto_key,
            } = &content.coding
            {
                for passed_on in [encryption, crypto_key] {
                    assert!(passed_on.len() <= headers::MAX_PARAMETERS_BYTES);
                    assert!(!passed_on.contains(['"', ',', '\\']), "{passed_on}");
                }
                assert!(!crypto_key.contains("p256ecdsa"), "V-LEG-6: {crypto_key}");
            }
        }
    }
}

/// V-AUTH-8: no body makes the look for its key panic.
#[test]
fn bodies_never_panic() {
    let mut chance = Chance(3);
    for _ in 0..ROUNDS {
        let content = crate::Content {
            coding: Coding::Aes128gcm,
            media_type: None,
            body: chance.mutant(&[OUR_TOKEN, OUR_KEY, "A", ""]).into(),
        };
        headers::dh_key(&content);
    }
}

/// E91-13, E88-8: no body makes a user agent panic, and none is read but as what was encrypted.
#[test]
fn encrypted_bodies_never_panic() {
    let samples = [encryption::BODY, encryption::EMPTY_BODY, encryption::PADDED_BODY].map(encryption::bytes);
    let keys = encryption::keys();
    let mut chance = Chance(6);
    for _ in 0..ROUNDS {
        let body = chance.mutant(&samples);
        if let Ok(plaintext) = keys.decrypt(&Coding::Aes128gcm, &body) {
            let known = [encryption::PLAINTEXT, b"", b"hi"];
            assert!(known.contains(&&*plaintext), "{body:02x?}");
        }
    }
}

/// EAG-1, EAG-2, EAG-5: nor does any with parameters in its header fields.
#[test]
fn encrypted_bodies_of_the_draft_never_panic() {
    let body = encryption::bytes(draft::BODY);
    let fields = [
        format!("keyid=\"p256dh\";salt=\"{}==\" ; rs=4096", draft::SALT),
        format!("keyid=p256dh; dh=\"{}=\",p256ecdsa={OUR_KEY}", draft::AS_PUBLIC),
    ];
    let samples = fields.each_ref().map(String::as_str);
    let keys = encryption::draft_keys();
    let mut chance = Chance(7);
    for _ in 0..ROUNDS {
        // Mostly whole, so that the mutants behind it are looked at too.
        let mut field = |whole: usize| match chance.below(3) {
            0 => chance.mutant_text(&samples).into(),
            _ => samples[whole].into(),
        };
        let coding = Coding::Aesgcm {
            encryption: field(0),
            crypto_key: field(1),
        };
        let body = match chance.below(2) {
            0 => chance.mutant(&[&body]),
            _ => body.clone(),
        };
        if let Ok(plaintext) = keys.decrypt(&coding, &body) {
            assert_eq!(plaintext, draft::PLAINTEXT, "{coding:?} {body:02x?}");
        }
    }
}

/// R30-RES-5, PR-27: no path segment makes opening panic, and none opens but what was sealed.
#[test]
fn tokens_never_panic() {
    let key = SealingKey::from_random([1; 32]);
    let service = Capabilities::new(std::slice::from_ref(&key)).unwrap();
    let capability = PushCapability {
        user_agent: UserAgentId([2; 16]),
        subscription: SubscriptionId([3; 8]),
        key: None,
    };
    let sealed =
        [Dialect::Rfc8030, Dialect::Webpush].map(|dialect| service.seal_push(dialect, &capability, [4; 16]));
    let samples = [sealed[0].token.as_str(), sealed[1].token.as_str()];
    let mut chance = Chance(4);
    for _ in 0..ROUNDS {
        let text = chance.mutant_text(&samples);
        let opens =
            [PushKind::Push, PushKind::WpushV1, PushKind::WpushV2].map(|kind| service.open_push(kind, &text));
        assert!(
            samples.contains(&text.as_str()) || opens.iter().all(Option::is_none),
            "{text}"
        );
        for kind in [MessageKind::Message, MessageKind::Promise] {
            assert_eq!(service.open_message(kind, &text), None);
        }
        assert_eq!(service.open_subscription(&text), None);
        assert_eq!(service.open_subscription_set(&text), None);
    }
}

/// V-CLM-1, V-AUTH-7, PR-28: no URL and no key of an operator makes the service panic; what is read is read again alike.
#[test]
fn configuration_never_panics() {
    let urls = [
        "https://push.example.net:8443/",
        "http://[2001:db8::1]:80",
        "https://xn--bcher-kva.xn--p1ai",
    ];
    let keys = [OUR_KEY, RFC_KEY, OUR_PRIVATE_KEY];
    let mut chance = Chance(5);
    for _ in 0..ROUNDS {
        let url = chance.mutant_text(&urls);
        if let Ok(origin) = Origin::parse(&url) {
            assert!(origin.matches(origin.as_str()));
            assert_eq!(Origin::parse(origin.as_str()), Ok(origin), "{url}");
        }
        let text = chance.mutant_text(&keys);
        if let Some(key) = PublicKey::parse(&text) {
            assert_eq!(PublicKey::parse(&key.to_string()), Some(key));
        }
        if let Some(key) = SealingKey::parse(&text) {
            let again = SealingKey::parse(&key.to_base64url()).unwrap();
            assert_eq!(again.fingerprint(), key.fingerprint());
        }
    }
}

/// Adds a line, unless an HTTP parser would never let it through.
fn append(fields: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        fields.append(name, value);
    }
}
