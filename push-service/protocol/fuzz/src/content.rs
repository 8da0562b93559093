//! How a body is encrypted: `Content-Encoding`, `Encryption`, `Crypto-Key` and `Content-Type`.

use bytes::Bytes;
use http::HeaderMap;
use push_protocol::Dialect;
use push_protocol::headers::{HeaderError, MAX_CONTENT_TYPE_BYTES, MAX_PARAMETERS_BYTES, content, dh_key};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader};
use push_protocol::wire::websocket::write_notification;
use push_protocol::{
    Coding, Content, MessageId, MessageNumber, PushMessage, SubscriptionId, SubscriptionName, Urgency,
};
use serde_json::Value;

use super::fields;

/// In the order of their digits in a case.
const FIELDS: [&str; 4] = ["content-encoding", "content-type", "encryption", "crypto-key"];

/// `headers::content` and `headers::dh_key`: what is passed on is bounded and plain and tells no VAPID key (EPS-2,
/// V-LEG-6), means the same when it is read again, and arrives whole in a notification (WS-NOT-1); the body is passed
/// on byte by byte; and what the strict reading takes the lenient one takes alike.
///
/// `data`: header fields, an empty line, and the body.
pub fn encryption_header(data: &[u8]) {
    let (fields, body) = fields::read(data, &FIELDS);
    let body = Bytes::copy_from_slice(body);
    let strict = content(&fields, body.clone(), Dialect::Webpush);
    let lenient = content(&fields, body.clone(), Dialect::Rfc8030);
    match (&strict, &lenient) {
        (Ok(strict), Ok(lenient)) => assert_eq!(strict.coding, lenient.coding),
        (Ok(_), Err(error)) => assert_eq!(*error, HeaderError::MalformedContentType),
        (Err(error), _) => assert!(!error.to_string().is_empty()),
    }
    for (accepted, dialect) in [(strict, Dialect::Webpush), (lenient, Dialect::Rfc8030)] {
        let Ok(accepted) = accepted else {
            continue;
        };
        assert_eq!(accepted.body, body);
        is_bounded_and_plain(&accepted);
        if !body.is_empty() {
            assert_eq!(
                content(&respelled(&accepted), body.clone(), dialect).as_ref(),
                Ok(&accepted)
            );
        }
        let key = dh_key(&accepted);
        if accepted.coding == Coding::Aes128gcm {
            let seen = body.get(21..86).filter(|_| body[20] == 65);
            assert_eq!(key.as_ref().map(<[u8; 65]>::as_slice), seen);
        }
        arrives(accepted);
    }
}

fn is_bounded_and_plain(content: &Content) {
    let is_visible = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    match &content.coding {
        Coding::Absent | Coding::Aes128gcm => {}
        Coding::Aesgcm {
            encryption,
            crypto_key,
        } => {
            for passed_on in [encryption, crypto_key] {
                assert!(passed_on.len() <= MAX_PARAMETERS_BYTES);
                assert!(
                    is_visible(passed_on) && !passed_on.contains(['"', ',', '\\']),
                    "{passed_on}"
                );
            }
            let names = |list: &str| {
                let parts = list
                    .split(';')
                    .map(|part| part.trim_start().split('=').next().unwrap_or(""));
                parts.map(str::to_owned).collect::<Vec<_>>()
            };
            assert!(
                names(encryption)
                    .iter()
                    .all(|name| ["keyid", "salt", "rs"].contains(&name.as_str()))
            );
            assert!(
                names(crypto_key)
                    .iter()
                    .all(|name| ["keyid", "dh"].contains(&name.as_str()))
            );
        }
        Coding::Other(coding) => {
            assert!((1..=MAX_CONTENT_TYPE_BYTES).contains(&coding.len()) && is_visible(coding));
            let known = ["aes128gcm", "aesgcm"];
            assert!(!known.iter().any(|known| coding.eq_ignore_ascii_case(known)));
        }
    }
    if let Some(media_type) = &content.media_type {
        assert!((1..=MAX_CONTENT_TYPE_BYTES).contains(&media_type.len()) && is_visible(media_type));
    }
    if content.body.is_empty() {
        assert_eq!((&content.coding, &content.media_type), (&Coding::Absent, &None));
    }
}

/// The fields that the user agent would be sent.
fn respelled(content: &Content) -> HeaderMap {
    let (coding, encryption, crypto_key) = match &content.coding {
        Coding::Absent => ("", "", ""),
        Coding::Aes128gcm => ("aes128gcm", "", ""),
        Coding::Aesgcm {
            encryption,
            crypto_key,
        } => ("aesgcm", &**encryption, &**crypto_key),
        Coding::Other(coding) => (&**coding, "", ""),
    };
    fields::of([
        ("content-encoding", coding),
        ("encryption", encryption),
        ("crypto-key", crypto_key),
        ("content-type", content.media_type.as_deref().unwrap_or_default()),
    ])
}

/// A notification of it is JSON that holds the parameters unchanged.
fn arrives(content: Content) {
    let (coding, has_body) = (content.coding.clone(), !content.body.is_empty());
    let message = PushMessage {
        id: MessageId {
            number: MessageNumber(1),
            nonce: 2,
        },
        subscription: SubscriptionId([3; 8]),
        name: SubscriptionName([4; 16]),
        urgency: Urgency::Normal,
        content,
        key: None,
        sealed_by: push_protocol::capability::KeyId(0),
        accepted_at_ms: 0,
        remaining_ms: 0,
    };
    let mut out = Vec::new();
    write_notification(&mut out, &message);
    let mut reader = FrameReader::new(Reader::UserAgent, u32::MAX);
    let Ok(Some((Incoming::Text(text), _))) = reader.read(&mut out) else {
        panic!("our own notification is a text");
    };
    let notification: Value = serde_json::from_str(text).expect("our own notification is JSON");
    assert_eq!(notification["data"].is_string(), has_body);
    let sent = &notification["headers"];
    match &coding {
        Coding::Absent => assert!(sent["encoding"].is_null()),
        Coding::Aes128gcm => assert_eq!(sent["encoding"].as_str(), Some("aes128gcm")),
        Coding::Aesgcm {
            encryption,
            crypto_key,
        } => {
            assert_eq!(sent["encoding"].as_str(), Some("aesgcm"));
            assert_eq!(sent["encryption"].as_str(), Some(&**encryption));
            assert_eq!(sent["crypto_key"].as_str(), Some(&**crypto_key));
        }
        Coding::Other(coding) => assert_eq!(sent["encoding"].as_str(), Some(&**coding)),
    }
}
