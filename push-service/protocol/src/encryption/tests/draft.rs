//! `aesgcm`, whose parameters stand in header fields.

use super::super::aesgcm::{CODING, context, secret};
use super::super::derivation::{base_nonce, content_key, extract};
use super::super::vectors::draft::*;
use super::super::vectors::draft_keys;
use super::*;
use crate::message::Coding;
use crate::p256::PublicKey;
use crate::vapid::vectors::OUR_KEY;

fn decrypt(encryption: &str, crypto_key: &str, body: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let coding = Coding::Aesgcm {
        encryption: encryption.into(),
        crypto_key: crypto_key.into(),
    };
    draft_keys().decrypt(&coding, body)
}

/// What the example's keys and salt make of a record, padding and all.
fn record(padded: &[u8]) -> Vec<u8> {
    let key = array(PRK);
    let context = context(draft_keys().public_key(), &PublicKey::parse(AS_PUBLIC).unwrap());
    let (content_key, base_nonce) = (content_key(&key, CODING, &context), base_nonce(&key, &context));
    sealed(content_key, base_nonce, 0, padded)
}

/// What is read of such a record, with `parameters` behind the salt.
fn read(parameters: &str, padded: &[u8]) -> Result<Vec<u8>, DecryptError> {
    decrypt(
        &format!("salt={SALT}{parameters}"),
        &format!("dh={AS_PUBLIC}"),
        &record(padded),
    )
}

/// EAG-4, EAG-5: the example of the draft, in every step.
#[test]
fn the_example_step_by_step() {
    assert_eq!(draft_keys().p256dh(), UA_PUBLIC);
    let sender = PublicKey::parse(AS_PUBLIC).unwrap();
    let sender_keys = SubscriptionKeys::from_parts(array(AS_PRIVATE), [0; 16]).unwrap();
    assert_eq!(*sender_keys.public_key(), sender);
    let shared = draft_keys().agree(&sender).unwrap();
    assert_eq!(shared, array(SHARED));
    assert_eq!(sender_keys.agree(draft_keys().public_key()).unwrap(), shared);

    assert_eq!(extract(&array::<16>(AUTH), &shared), array(PRK_KEY));
    let secret = secret(&array(AUTH), &shared);
    assert_eq!(secret, array(IKM));
    let key = extract(&array::<16>(SALT), &secret);
    assert_eq!(key, array(PRK));
    let context = context(draft_keys().public_key(), &sender);
    assert_eq!(context.len(), 140);
    assert_eq!(content_key(&key, CODING, &context), array(CEK));
    assert_eq!(base_nonce(&key, &context), array(NONCE));
    assert_eq!(record(&[b"\0\0", PLAINTEXT].concat()), bytes(BODY));
}

/// EAG-1, EAG-2, EAG-3: quoted or not, padded or not, in any case and order, in one entry or several: all is one message.
#[test]
fn parameters_in_their_many_spellings() {
    let (s, d, k) = (SALT, AS_PUBLIC, OUR_KEY);
    let encryptions = [
        format!("salt={s}"),
        format!("salt=\"{s}\""),
        format!("salt=\"{s}==\"; rs=4096"),
        format!("keyid=\"p256dh\";salt=\"{s}\";rs=\"4096\""),
        format!("keyid=p256dh; SALT={s}; RS=18446744073709551615"),
        format!("keyid=other;rs=7, keyid=p256dh ;\tsalt = {s}"),
    ];
    let crypto_keys = [
        format!("dh={d}"),
        format!("dh=\"{d}=\""),
        format!("keyid=\"p256dh\";dh=\"{d}\""),
        format!("keyid=p256dh;dh={d};p256ecdsa={k}"),
        format!("keyid=p256dh;DH={d}, p256ecdsa=\"{k}\""),
        format!("p256ecdsa={k},dh={d};KEYID=\"p256dh\""),
        format!("keyid=other;p256ecdsa={k},,dh={d};"),
    ];
    for encryption in &encryptions {
        for crypto_key in &crypto_keys {
            let read = decrypt(encryption, crypto_key, &bytes(BODY));
            assert_eq!(read.as_deref(), Ok(PLAINTEXT), "{encryption} {crypto_key}");
        }
    }
}

/// EAG-1: exactly one salt of 16 bytes, and a record size, if any, that is decimal and above 1.
#[test]
fn encryption_fields_that_are_refused() {
    let (s, short) = (SALT, &SALT[..21]);
    for wrong in [
        String::new(),
        "keyid=p256dh".into(),
        "salt".into(),
        "salt=".into(),
        format!("salt={short}"),
        format!("salt={s}A"),
        format!("salt={s}, salt={s}"),
        format!("salt={s};salt={s}"),
        format!("salt=\"{s}"),
        format!("salt={s};rs=1"),
        format!("salt={s};rs=0"),
        format!("salt={s};rs="),
        format!("salt={s};rs=+4096"),
        format!("salt={s};rs=0x1000"),
        format!("salt={s};rs=18446744073709551616"),
        format!("salt={s};rs=4096;rs=4096"),
        format!("salt={s};keyid=a;keyid=a"),
    ] {
        let refused = decrypt(&wrong, &format!("dh={AS_PUBLIC}"), &bytes(BODY));
        assert_eq!(refused, Err(DecryptError::MalformedEncryption), "{wrong}");
    }
}

/// EAG-2, EAG-3: exactly one `dh`, no key that is sent openly, and not the key of another entry.
#[test]
fn crypto_key_fields_that_are_refused() {
    let d = AS_PUBLIC;
    let encryption = format!("keyid=a;salt={SALT}");
    for wrong in [
        String::new(),
        format!("p256ecdsa={OUR_KEY}"),
        format!("dh={d},dh={d}"),
        format!("dh={d};dh={d}"),
        format!("dh={d};aesgcm=AAAAAAAAAAAAAAAAAAAAAA"),
        format!("dh={d},keyid=b;AESGCM=AAAAAAAAAAAAAAAAAAAAAA"),
        format!("dh=\"{d}"),
        format!("keyid=b;dh={d}"),
    ] {
        let refused = decrypt(&encryption, &wrong, &bytes(BODY));
        assert_eq!(refused, Err(DecryptError::MalformedCryptoKey), "{wrong}");
    }
    let mut off_curve = bytes(d);
    off_curve[64] ^= 1;
    let off_curve = PublicKey::from_bytes(off_curve.try_into().unwrap());
    assert!(off_curve.is_none());
    let swapped = d.replacen('B', "A", 1);
    for wrong in [
        "dh",
        "dh=",
        "dh=AAAA",
        &format!("dh={}", &d[1..]),
        &format!("dh={swapped}"),
    ] {
        let refused = decrypt(&encryption, wrong, &bytes(BODY));
        assert_eq!(refused, Err(DecryptError::MalformedSenderKey), "{wrong}");
    }
}

/// EAG-4, EAG-6: a record as long as the record size says would be followed by another: it is not the whole message. The
/// tag is not counted.
#[test]
fn a_full_record_is_not_the_last() {
    let padded = [b"\0\0", PLAINTEXT].concat();
    assert_eq!(padded.len(), 17);
    assert_eq!(read(";rs=18", &padded).unwrap(), PLAINTEXT);
    assert_eq!(read(";rs=17", &padded), Err(DecryptError::Truncated));
    assert_eq!(read(";rs=16", &padded), Err(DecryptError::SeveralRecords));
    assert_eq!(read(";rs=2", &padded), Err(DecryptError::SeveralRecords));

    assert_eq!(read("", &[0; 4_095]).unwrap(), [0; 4_093]);
    assert_eq!(read("", &[0; 4_096]), Err(DecryptError::Truncated));
    assert_eq!(read("", &[0; 4_097]), Err(DecryptError::SeveralRecords));
}

/// EAG-5: padding stands in front, behind its length; it is zero, and ends within the record.
#[test]
fn padding_in_front() {
    for (padded, expected) in [
        (&b"\0\0"[..], &b""[..]),
        (b"\0\0\0\x01a", b"\0\x01a"),
        (b"\0\x01\0a", b"a"),
        (b"\0\x03\0\0\0", b""),
        (b"\0\x02\0\0\0\0", b"\0\0"),
    ] {
        assert_eq!(read("", padded).unwrap(), expected, "{padded:?}");
    }
    let mut long = vec![0; 2 + 0x0102];
    long[..2].copy_from_slice(&[1, 2]);
    assert_eq!(read("", &[&long[..], b"x"].concat()).unwrap(), b"x");
    for wrong in [
        &b"\0\x01"[..],
        b"\0\x02\0",
        b"\xff\xff\0\0\0",
        b"\0\x01a",
        b"\0\x03\0\0\x01a",
    ] {
        assert_eq!(read("", wrong), Err(DecryptError::MalformedPadding), "{wrong:?}");
    }
}

/// EAG-6: less than 18 bytes are no record, and what was cut or changed is no message.
#[test]
fn a_body_cut_or_changed_anywhere() {
    let (encryption, crypto_key) = (format!("salt={SALT}"), format!("dh={AS_PUBLIC}"));
    let body = bytes(BODY);
    for end in 0..body.len() {
        let refused = decrypt(&encryption, &crypto_key, &body[..end]);
        let expected = match end {
            0..18 => DecryptError::ShortRecord,
            _ => DecryptError::NotAuthentic,
        };
        assert_eq!(refused, Err(expected), "{end}");
    }
    for bit in 0..body.len() * 8 {
        let mut body = body.clone();
        body[bit / 8] ^= 1 << (bit % 8);
        let refused = decrypt(&encryption, &crypto_key, &body);
        assert_eq!(refused, Err(DecryptError::NotAuthentic), "bit {bit}");
    }
    let other_secret = SubscriptionKeys::from_parts(array(UA_PRIVATE), [1; 16]).unwrap();
    let coding = Coding::Aesgcm {
        encryption: encryption.into(),
        crypto_key: crypto_key.into(),
    };
    let refused = other_secret.decrypt(&coding, &body);
    assert_eq!(refused, Err(DecryptError::NotAuthentic));
}

/// EAG-3, EPS-6: what the service passes on of a sender's header fields is what is read here.
#[test]
fn what_the_service_passes_on_is_read() {
    let mut fields = http::HeaderMap::new();
    for (name, value) in [
        ("content-encoding", "aesgcm".to_owned()),
        (
            "encryption",
            format!("keyid=\"p256dh\"; salt=\"{SALT}==\"; rs=4096"),
        ),
        (
            "crypto-key",
            format!("keyid=\"p256dh\"; dh=\"{AS_PUBLIC}=\"; p256ecdsa={OUR_KEY}"),
        ),
    ] {
        fields.insert(name, value.parse().unwrap());
    }
    let body = bytes(BODY).into();
    let content = crate::headers::content(&fields, body, crate::dialect::Dialect::Webpush).unwrap();
    let read = draft_keys().decrypt(&content.coding, &content.body);
    assert_eq!(read.unwrap(), PLAINTEXT);
}
