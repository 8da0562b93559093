//! The header fields of a push, row by row.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use super::*;
use crate::dialect::Dialect;
use crate::message::{Coding, Content};
use crate::vapid::vectors::RFC_KEY;

/// The lines of one field, and what they are read as.
type Row<T> = (&'static [&'static str], Result<T, HeaderError>);

const SALT: &str = "lngarbyKfMoi9Z75xYXmkg";
const DH: &str = "BNoRDbb84JGm8g5Z5CFxurSqsXWJ11ItfXEWYVLE85Y7CYkDjXsIEc4aqxYaQ1G8BqkXCJ6DPpDrWtdWj_mugHU";

/// The body of the example in RFC 8291 §5, and the key inside it.
const RFC8291_BODY: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
const RFC8291_DH: &str =
    "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";

fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn strict(lines: &[(&'static str, &str)]) -> Result<Coding, HeaderError> {
    let body = Bytes::from_static(b"body");
    content(&fields(lines), body, Dialect::Webpush).map(|content| content.coding)
}

fn lenient(lines: &[(&'static str, &str)]) -> Result<Content, HeaderError> {
    content(&fields(lines), Bytes::from_static(b"body"), Dialect::Rfc8030)
}

fn aesgcm(encryption: &str, crypto_key: &str) -> Coding {
    Coding::Aesgcm {
        encryption: encryption.into(),
        crypto_key: crypto_key.into(),
    }
}

/// R30-TTL-1, R30-TTL-2, R30-TTL-3, WP-3: missing, malformed and negative are three answers; too long is none.
#[test]
fn ttl_is_there_once_and_digits() {
    use HeaderError::{MalformedTtl, MissingTtl, NegativeTtl};
    let rows: &[Row<u32>] = &[
        (&[], Err(MissingTtl)),
        (&["0"], Ok(0)),
        (&[" 60\t"], Ok(60)),
        (&["99999999999999999999999"], Ok(1 << 31)),
        (&["60", "60"], Ok(60)),
        (&["60", "61"], Err(MalformedTtl)),
        (&["60, 60"], Err(MalformedTtl)),
        (&[""], Err(MalformedTtl)),
        (&["-1"], Err(NegativeTtl)),
        (&["-0"], Err(NegativeTtl)),
        (&["--1"], Err(MalformedTtl)),
        (&["-"], Err(MalformedTtl)),
        (&["+1"], Err(MalformedTtl)),
        (&["1.5"], Err(MalformedTtl)),
        (&["60s"], Err(MalformedTtl)),
        (&["6\u{e9}"], Err(MalformedTtl)),
    ];
    for (lines, expected) in rows {
        let lines: Vec<_> = lines.iter().map(|line| ("ttl", *line)).collect();
        assert_eq!(ttl(&fields(&lines)).map(Ttl::as_secs), *expected, "{lines:?}");
    }
}

/// R30-URG-1, R30-URG-2, R30-URG-3: one of four names, in any case, or nothing; never two.
#[test]
fn urgency_is_one_of_four() {
    use HeaderError::{RepeatedUrgency, UnknownUrgency};
    let rows: &[Row<Option<Urgency>>] = &[
        (&[], Ok(None)),
        (&["very-low"], Ok(Some(Urgency::VeryLow))),
        (&[" high "], Ok(Some(Urgency::High))),
        (&["high", "high"], Err(RepeatedUrgency)),
        (&["high,low"], Err(RepeatedUrgency)),
        (&["high,"], Err(RepeatedUrgency)),
        (&["urgent"], Err(UnknownUrgency)),
        (&["High"], Ok(Some(Urgency::High))),
        (&["VERY-LOW"], Ok(Some(Urgency::VeryLow))),
        (&["High", "high"], Err(RepeatedUrgency)),
        (&[""], Err(UnknownUrgency)),
        (&["high\u{e9}"], Err(UnknownUrgency)),
    ];
    for (lines, expected) in rows {
        let lines: Vec<_> = lines.iter().map(|line| ("urgency", *line)).collect();
        assert_eq!(urgency(&fields(&lines)), *expected, "{lines:?}");
    }
}

/// R30-TOP-1, WP-4: one topic of base64url characters, or none.
#[test]
fn topic_is_one_token() {
    let parsed = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| ("topic", *line)).collect();
        topic(&fields(&lines))
    };
    assert_eq!(parsed(&[]), Ok(None));
    assert_eq!(parsed(&["upd-1_"]), Ok(Topic::parse("upd-1_")));
    let longer = "a".repeat(33);
    for wrong in [
        &["a", "a"][..],
        &["a,b"],
        &[""],
        &["a="],
        &["a b"],
        &[&longer],
        &["\u{e9}"],
    ] {
        assert_eq!(parsed(wrong), Err(HeaderError::MalformedTopic), "{wrong:?}");
    }
}

/// R30-RCP-2: `respond-async` in any case, anywhere in the list, whatever else is preferred.
#[test]
fn a_receipt_is_asked_for_by_preference() {
    let rows: &[(&[&str], bool)] = &[
        (&[], false),
        (&["respond-async"], true),
        (&["Respond-Async"], true),
        (&["wait=10, respond-async; x=1"], true),
        (&["wait=10", "respond-async"], true),
        (&["x=\", respond-async\""], false),
        (&["x; respond-async"], false),
        (&["respond-asynchronously"], false),
        (&["handling=respond-async"], false),
        (&["respond-async=\"\""], true),
        (&["\u{e9}", "respond-async"], true),
        (&["\u{e9}"], false),
    ];
    for (lines, expected) in rows {
        let lines: Vec<_> = lines.iter().map(|line| ("prefer", *line)).collect();
        assert_eq!(prefers_async(&fields(&lines)), *expected, "{lines:?}");
    }
}

/// R30-V-2, RFC 9110 §12.5.1: events are asked for by their name, wherever it stands and whatever else is taken, and not by
/// one who gives them no quality at all.
#[test]
fn events_are_asked_for_by_name() {
    let rows: &[(&[&str], bool)] = &[
        (&[], false),
        (&["text/event-stream"], true),
        (&["Text/Event-Stream ; charset=utf-8"], true),
        (&["text/html, text/event-stream;q=0.1;x=y"], true),
        (&["text/html", "*/*;q=0, text/event-stream"], true),
        (&["text/event-stream;q=0.001"], true),
        (&["text/event-stream;q=1.000"], true),
        (&["text/event-stream;q=0"], false),
        (&["text/event-stream ; Q=0.000"], false),
        (&["text/event-stream;charset=\"a;b\";q=0."], false),
        (&["text/event-stream;q=0, text/html", "*/*"], false),
        (&["text/event-stream;x=\", q=0\""], true),
        (&["text/event-stream;q="], true),
        (&["text/event-stream;q=nothing"], true),
        (&["text/event-stream;q"], true),
        (&["*/*, text/*"], false),
        (&["text/event-streams"], false),
        (&["x=\", text/event-stream\""], false),
        (&["\u{e9}", "text/event-stream"], true),
        (&["\u{e9}, text/event-stream"], false),
        (&[",;,\"", ""], false),
    ];
    for (lines, expected) in rows {
        let lines: Vec<_> = lines.iter().map(|line| ("accept", *line)).collect();
        assert_eq!(accepts_events(&fields(&lines)), *expected, "{lines:?}");
    }
}

/// EPS-1, E88-10, E91-10: a body is in exactly one of the two codings, in any case.
#[test]
fn a_body_is_encrypted_for_web_push() {
    use HeaderError::{MissingContentEncoding, UnknownContentEncoding};
    assert_eq!(
        strict(&[("content-encoding", "aes128gcm")]),
        Ok(Coding::Aes128gcm)
    );
    assert_eq!(
        strict(&[("content-encoding", " AES128GCM ")]),
        Ok(Coding::Aes128gcm)
    );
    assert_eq!(strict(&[]), Err(MissingContentEncoding));
    assert_eq!(strict(&[("content-encoding", "")]), Err(MissingContentEncoding));
    for other in [
        "aesgcm128",
        "gzip",
        "aes128gcm, gzip",
        "identity",
        "aes128gcm\u{e9}",
    ] {
        assert_eq!(
            strict(&[("content-encoding", other)]),
            Err(UnknownContentEncoding),
            "{other}"
        );
    }
    let twice = [
        ("content-encoding", "aes128gcm"),
        ("content-encoding", "aes128gcm"),
    ];
    assert_eq!(strict(&twice), Err(UnknownContentEncoding));
    let silent = [
        ("content-encoding", ""),
        ("content-encoding", "aes128gcm"),
        ("content-encoding", " "),
    ];
    assert_eq!(strict(&silent), Ok(Coding::Aes128gcm));
}

/// EPS-4, EPS-5: parameters of the draft beside `aes128gcm` are a mix-up; a VAPID key alone is not.
#[test]
fn aes128gcm_has_its_parameters_in_the_body() {
    let with = |name, value: &str| strict(&[("content-encoding", "aes128gcm"), (name, value)]);
    let vapid_key = format!("p256ecdsa={RFC_KEY}");
    assert_eq!(with("crypto-key", &vapid_key), Ok(Coding::Aes128gcm));
    assert_eq!(with("crypto-key", "keyid=a"), Ok(Coding::Aes128gcm));
    assert_eq!(with("encryption", "rs=4096"), Ok(Coding::Aes128gcm));
    assert_eq!(
        with("encryption", "keyid=a;salt=b"),
        Err(HeaderError::UnexpectedSalt)
    );
    assert_eq!(
        with("encryption", "rs=1, SALT=\"b\""),
        Err(HeaderError::UnexpectedSalt)
    );
    assert_eq!(
        with("crypto-key", &format!("{vapid_key};dh=a")),
        Err(HeaderError::UnexpectedDh)
    );
    assert_eq!(
        with("crypto-key", &format!("{vapid_key},dh=a")),
        Err(HeaderError::UnexpectedDh)
    );
    assert_eq!(with("crypto-key", "\u{e9}"), Err(HeaderError::MalformedCryptoKey));
    assert_eq!(
        with("encryption", "\u{e9}"),
        Err(HeaderError::MalformedEncryption)
    );
}

/// EPS-6, EUA-2, V-LEG-6, V-RES-6: quotes, padding, the VAPID key and whatever is not known stay behind.
#[test]
fn aesgcm_parameters_are_stripped() {
    let (salt, dh, k) = (SALT, DH, RFC_KEY);
    let (plain_salt, plain_dh) = (format!("salt={salt}"), format!("dh={dh}"));
    let rows = [
        (
            format!("salt={salt}"),
            format!("dh={dh}"),
            plain_salt.clone(),
            plain_dh.clone(),
        ),
        (
            format!("salt=\"{salt}==\""),
            format!("dh=\"{dh}=\""),
            plain_salt.clone(),
            plain_dh.clone(),
        ),
        (
            plain_salt.clone(),
            format!("dh={dh};p256ecdsa={k}"),
            plain_salt.clone(),
            plain_dh.clone(),
        ),
        (
            plain_salt.clone(),
            format!("p256ecdsa={k};dh={dh}"),
            plain_salt.clone(),
            plain_dh.clone(),
        ),
        (
            plain_salt.clone(),
            format!("p256ecdsa={k}, dh={dh}"),
            plain_salt.clone(),
            plain_dh.clone(),
        ),
        (
            plain_salt.clone(),
            format!("DH=\"{dh}\" , P256ECDSA=\"{k}\""),
            plain_salt.clone(),
            plain_dh.clone(),
        ),
        (
            format!("keyid=\"p256dh\"; salt=\"{salt}\"; rs=4096; x=y"),
            format!("keyid=\"p256dh\";dh=\"{dh}\";p256ecdsa={k}"),
            format!("keyid=p256dh; salt={salt}; rs=4096"),
            format!("keyid=p256dh;dh={dh}"),
        ),
        (
            format!("keyid=\"http://example.org/bob/keys/123\";salt=\"{salt}==\""),
            "keyid=\"a1\"; dh=\"JcqK-OLkJZlJ3sJJWstJCA\"".to_owned(),
            format!("keyid=http://example.org/bob/keys/123;salt={salt}"),
            "keyid=a1; dh=JcqK-OLkJZlJ3sJJWstJCA".to_owned(),
        ),
    ];
    for (encryption, crypto_key, stripped_encryption, stripped_key) in rows {
        let lines = [
            ("content-encoding", "aesgcm"),
            ("encryption", &encryption),
            ("crypto-key", &crypto_key),
        ];
        let expected = aesgcm(&stripped_encryption, &stripped_key);
        assert_eq!(strict(&lines), Ok(expected.clone()), "{encryption} {crypto_key}");
        assert_eq!(
            lenient(&lines).unwrap().coding,
            expected,
            "{encryption} {crypto_key}"
        );
    }
    let two_lines = [
        ("content-encoding", "AesGcm"),
        ("encryption", &plain_salt),
        ("crypto-key", &format!("p256ecdsa={k}")),
        ("crypto-key", &plain_dh),
    ];
    assert_eq!(strict(&two_lines), Ok(aesgcm(&plain_salt, &plain_dh)));
}

/// EPS-2, EPS-3, EAG-1, EAG-2: one salt of 16 bytes, a sensible record size, one `dh`, no explicit key, no endless names.
#[test]
fn broken_aesgcm_parameters_are_refused() {
    use HeaderError::{MalformedCryptoKey, MalformedEncryption, MissingDh, MissingEncryption};
    let (salt, dh) = (&format!("salt={SALT}"), &format!("dh={DH}"));
    let long = "x".repeat(MAX_PARAMETERS_BYTES);
    let rows = [
        (String::new(), dh.clone(), MissingEncryption),
        ("rs=4096".to_owned(), dh.clone(), MalformedEncryption),
        ("salt".to_owned(), dh.clone(), MalformedEncryption),
        ("salt=\"\"".to_owned(), dh.clone(), MalformedEncryption),
        ("salt=abc".to_owned(), dh.clone(), MalformedEncryption),
        (format!("{salt}AA"), dh.clone(), MalformedEncryption),
        (
            "salt=lngarbyKfMoi9Z75xYXm+g".to_owned(),
            dh.clone(),
            MalformedEncryption,
        ),
        (format!("{salt};{salt}"), dh.clone(), MalformedEncryption),
        (format!("{salt},{salt}"), dh.clone(), MalformedEncryption),
        (format!("{salt};rs=1"), dh.clone(), MalformedEncryption),
        (format!("{salt};rs=+4096"), dh.clone(), MalformedEncryption),
        (format!("{salt};rs="), dh.clone(), MalformedEncryption),
        (format!("{salt};rs=many"), dh.clone(), MalformedEncryption),
        (
            format!("{salt};keyid=\"a;salt=b\""),
            dh.clone(),
            MalformedEncryption,
        ),
        (format!("{salt};keyid={long}"), dh.clone(), MalformedEncryption),
        (format!("{salt}\""), dh.clone(), MalformedEncryption),
        (format!("{salt}\u{e9}"), dh.clone(), MalformedEncryption),
        (salt.clone(), String::new(), MissingDh),
        (salt.clone(), "keyid=a".to_owned(), MissingDh),
        (salt.clone(), format!("p256ecdsa={RFC_KEY}"), MissingDh),
        (salt.clone(), "dh=".to_owned(), MalformedCryptoKey),
        (salt.clone(), "dh=a.b".to_owned(), MalformedCryptoKey),
        (salt.clone(), format!("{dh},{dh}"), MalformedCryptoKey),
        (salt.clone(), format!("{dh},aesgcm=abc"), MalformedCryptoKey),
        (salt.clone(), format!("{dh};keyid=\"a,dh=b\""), MalformedCryptoKey),
        (salt.clone(), format!("{dh};keyid={long}"), MalformedCryptoKey),
        (salt.clone(), format!("{dh}\u{e9}"), MalformedCryptoKey),
    ];
    for (encryption, crypto_key, expected) in rows {
        let mut lines = vec![("content-encoding", "aesgcm")];
        lines.extend([("encryption", &*encryption), ("crypto-key", &*crypto_key)]);
        assert_eq!(strict(&lines), Err(expected), "{encryption} {crypto_key}");
        assert_eq!(lenient(&lines), Err(expected), "{encryption} {crypto_key}");
    }
}

/// WP-12, EPS-1: an empty body has no coding and no type, and what the fields say is ignored.
#[test]
fn an_empty_body_says_nothing() {
    let headers = fields(&[
        ("content-encoding", "\u{e9}"),
        ("content-type", "\u{e9}"),
        ("encryption", "salt=\""),
        ("crypto-key", "dh=\u{e9}"),
    ]);
    for dialect in [Dialect::Webpush, Dialect::Rfc8030] {
        let content = content(&headers, Bytes::new(), dialect).unwrap();
        assert_eq!((content.coding, content.media_type), (Coding::Absent, None));
        assert!(content.body.is_empty());
    }
}

/// R30-MON-9: RFC 8030 resources carry any coding and type; the body is never touched.
#[test]
fn rfc_resources_carry_what_they_are_given() {
    let long = "x".repeat(MAX_CONTENT_TYPE_BYTES + 1);
    let plain = lenient(&[("content-type", "text/plain;charset=utf-8")]).unwrap();
    assert_eq!(plain.coding, Coding::Absent);
    assert_eq!(plain.media_type.as_deref(), Some("text/plain;charset=utf-8"));
    assert_eq!(plain.body, "body");

    let zipped = lenient(&[("content-encoding", "gzip"), ("content-encoding", "br")]).unwrap();
    assert_eq!(zipped.coding, Coding::Other("gzip, br".into()));
    let mixed = lenient(&[("content-encoding", "aes128gcm"), ("crypto-key", "dh=abc")]).unwrap();
    assert_eq!(mixed.coding, Coding::Aes128gcm);
    for silent in ["application/octet-stream", "Application/Octet-Stream ", ""] {
        assert_eq!(lenient(&[("content-type", silent)]).unwrap().media_type, None);
    }
    for (name, value, expected) in [
        ("content-type", "\u{e9}", HeaderError::MalformedContentType),
        ("content-type", &long, HeaderError::MalformedContentType),
        ("content-encoding", "\u{e9}", HeaderError::UnknownContentEncoding),
        ("content-encoding", &long, HeaderError::UnknownContentEncoding),
    ] {
        assert_eq!(lenient(&[(name, value)]), Err(expected), "{name}: {value}");
    }
    let twice = [("content-type", "a/b"), ("content-type", "a/b")];
    assert_eq!(lenient(&twice), Err(HeaderError::MalformedContentType));
}

/// WP-12: the WebSocket's resources ignore `Content-Type`, broken or not.
#[test]
fn web_push_ignores_the_media_type() {
    for value in ["text/plain", "\u{e9}"] {
        let headers = fields(&[("content-encoding", "aes128gcm"), ("content-type", value)]);
        let content = content(&headers, Bytes::from_static(b"x"), Dialect::Webpush).unwrap();
        assert_eq!(content.media_type, None);
    }
}

/// V-AUTH-8: the key of the message is seen in the body of `aes128gcm` and in the `dh` of `aesgcm`, where there is one.
#[test]
fn the_key_of_a_message_can_be_seen() {
    let key = |coding: Coding, body: &[u8]| {
        dh_key(&Content {
            coding,
            media_type: None,
            body: Bytes::copy_from_slice(body),
        })
    };
    let body = URL_SAFE_NO_PAD.decode(RFC8291_BODY).unwrap();
    let expected = URL_SAFE_NO_PAD.decode(RFC8291_DH).unwrap();
    assert_eq!(key(Coding::Aes128gcm, &body).unwrap(), *expected);
    assert_eq!(key(Coding::Aes128gcm, &body[..86]).unwrap(), *expected);
    for length in 0..86 {
        assert_eq!(key(Coding::Aes128gcm, &body[..length]), None, "{length}");
    }
    for id_bytes in [0, 64, 66, 255] {
        let mut other = body.clone();
        other[20] = id_bytes;
        assert_eq!(key(Coding::Aes128gcm, &other), None, "{id_bytes}");
    }
    let draft = URL_SAFE_NO_PAD.decode(DH).unwrap();
    assert_eq!(
        key(aesgcm("", &format!("keyid=a;dh={DH}")), b"x").unwrap(),
        *draft
    );
    assert_eq!(key(aesgcm("", "dh=JcqK-OLkJZlJ3sJJWstJCA"), b"x"), None);
    assert_eq!(key(aesgcm("", ""), b"x"), None);
    assert_eq!(key(Coding::Absent, &body), None);
    assert_eq!(key(Coding::Other("gzip".into()), &body), None);
}

/// R30-MON-12, R30-MON-16: `wait` is found among other preferences; what is no number is no preference.
#[test]
fn wait_is_a_number_of_seconds() {
    let rows = [
        ("wait=0", Some(0)),
        ("respond-async, Wait=10", Some(10)),
        ("wait=\"7\"; x=y", Some(7)),
        ("wait=99999999999999999999999", Some(u64::from(u32::MAX))),
        ("wait", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("waiting=1", None),
    ];
    for (line, expected) in rows {
        let mut headers = HeaderMap::new();
        headers.insert("prefer", line.parse().unwrap());
        assert_eq!(
            wait(&headers),
            expected.map(std::time::Duration::from_secs),
            "{line}"
        );
    }
}
