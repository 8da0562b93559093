//! What the service says. Texts are written straight into the buffer that goes to the socket.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::identifiers::{SubscriptionName, UserAgentIdentity};
use crate::message::{Coding, PushMessage};
use crate::wire::frame::write_text;

/// The result of a `register`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Registered<'a> {
    /// Status 200 and the push resource.
    Endpoint(&'a str),
    /// Status 400, and what was wrong.
    Refused(&'a str),
    /// Status 500: the service has trouble; nothing is known to be changed.
    Trouble,
}

/// The answer to `hello`.
// WS-HEL-3 to WS-HEL-5, WS-HEL-8.
pub fn write_hello(out: &mut Vec<u8>, identity: &UserAgentIdentity) {
    write_text(out, None, |out| {
        out.extend_from_slice(br#"{"messageType":"hello","uaid":""#);
        out.extend_from_slice(identity.to_hex().as_bytes());
        out.extend_from_slice(br#"","status":200,"use_webpush":true,"broadcasts":{}}"#);
    });
}

/// The answer to `register`. `name` is exactly what the user agent wrote; `pushEndpoint` is a string whatever
/// happened.
// WS-REG-2, WS-REG-6.
pub fn write_registered(out: &mut Vec<u8>, name: &str, registered: Registered<'_>) {
    let (status, text) = match registered {
        Registered::Endpoint(url) => (200, url),
        Registered::Refused(why) => (400, why),
        Registered::Trouble => (500, ""),
    };
    write_text(out, None, |out| {
        out.extend_from_slice(br#"{"messageType":"register","channelID":"#);
        json_string(out, name);
        status_member(out, status);
        out.extend_from_slice(br#","pushEndpoint":"#);
        json_string(out, text);
        out.push(b'}');
    });
}

/// The answer to `unregister`: status 200, also for what was not there, or 500 if it could not be `done`.
// WS-UNR-2.
pub fn write_unregistered(out: &mut Vec<u8>, name: &str, done: bool) {
    let status = if done { 200 } else { 500 };
    write_text(out, None, |out| {
        out.extend_from_slice(br#"{"messageType":"unregister","channelID":"#);
        json_string(out, name);
        status_member(out, status);
        out.push(b'}');
    });
}

/// A push message. An empty body has neither `data` nor `headers`.
// WS-NOT-1 to WS-NOT-7.
pub fn write_notification(out: &mut Vec<u8>, message: &PushMessage) {
    write_text(out, None, |out| {
        out.extend_from_slice(br#"{"messageType":"notification","channelID":""#);
        channel_id(out, message.name);
        out.extend_from_slice(br#"","version":""#);
        base64url(out, &message.id.to_bytes());
        out.push(b'"');
        if !message.content.body.is_empty() {
            out.extend_from_slice(br#","data":""#);
            base64url(out, &message.content.body);
            out.extend_from_slice(br#"","headers":{"#);
            encryption_headers(out, &message.content.coding);
            out.push(b'}');
        }
        out.push(b'}');
    });
}

/// The answer to a ping: `{}`.
// WS-PNG-1.
pub fn write_pong(out: &mut Vec<u8>) {
    write_text(out, None, |out| out.extend_from_slice(b"{}"));
}

/// The answer to a subscription to broadcasts: an empty list.
// WS-BRD-3.
pub fn write_broadcasts(out: &mut Vec<u8>) {
    write_text(out, None, |out| {
        out.extend_from_slice(br#"{"messageType":"broadcast","broadcasts":{}}"#);
    });
}

/// The answer to `urgency`: status 200, or 400 for a name that is not `understood`: none of the four.
// WS-URG-1.
pub fn write_urgency(out: &mut Vec<u8>, understood: bool) {
    let status = if understood { 200 } else { 400 };
    write_text(out, None, |out| {
        out.extend_from_slice(br#"{"messageType":"urgency""#);
        status_member(out, status);
        out.push(b'}');
    });
}

fn encryption_headers(out: &mut Vec<u8>, coding: &Coding) {
    match coding {
        Coding::Absent => {}
        Coding::Aes128gcm => out.extend_from_slice(br#""encoding":"aes128gcm""#),
        Coding::Aesgcm {
            encryption,
            crypto_key,
        } => {
            out.extend_from_slice(br#""encoding":"aesgcm","encryption":"#);
            json_string(out, encryption);
            out.extend_from_slice(br#","crypto_key":"#);
            json_string(out, crypto_key);
        }
        Coding::Other(coding) => {
            out.extend_from_slice(br#""encoding":"#);
            json_string(out, coding);
        }
    }
}

fn status_member(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(br#","status":"#);
    out.extend_from_slice(status.to_string().as_bytes());
}

pub(in crate::wire) fn json_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is JSON and a Vec takes every write");
}

pub(in crate::wire) fn base64url(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = URL_SAFE_NO_PAD
        .encode_slice(bytes, &mut out[start..])
        .expect("the room was made above");
    out.truncate(start + written);
}

fn channel_id(out: &mut Vec<u8>, name: SubscriptionName) {
    use std::io::Write as _;
    write!(out, "{name}").expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::identifiers::{MessageId, MessageNumber, SubscriptionId};
    use crate::message::Content;
    use crate::urgency::Urgency;
    use crate::wire::frame::{FrameReader, Incoming, Reader};

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        let mut reader = FrameReader::new(Reader::UserAgent, 1 << 20);
        match reader.read(&mut out) {
            Ok(Some((Incoming::Text(text), _))) => text.to_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn message(coding: Coding, body: &'static [u8]) -> PushMessage {
        PushMessage {
            id: MessageId {
                number: MessageNumber(1),
                nonce: 2,
            },
            subscription: SubscriptionId([3; 8]),
            name: SubscriptionName::parse("deadbeef-0000-4000-8000-0123456789ab").unwrap(),
            urgency: Urgency::High,
            content: Content {
                coding,
                media_type: None,
                body: Bytes::from_static(body),
            },
            key: None,
            sealed_by: crate::capability::KeyId(0),
            accepted_at_ms: 0,
            remaining_ms: 0,
        }
    }

    /// WS-HEL-3, WS-HEL-4, WS-HEL-5, WS-HEL-8, SU-2: the members that the user agents need are all there.
    #[test]
    fn hello() {
        let identity = UserAgentIdentity::from_random([0xab; 16]);
        assert_eq!(
            text(|out| write_hello(out, &identity)),
            r#"{"messageType":"hello","uaid":"abababababababababababababababab","status":200,"use_webpush":true,"broadcasts":{}}"#
        );
    }

    /// WS-REG-2, WS-REG-5, WS-REG-6, WS-REG-7: the name comes back unchanged, and the endpoint is always a string.
    #[test]
    fn registered() {
        let rows = [
            (
                Registered::Endpoint("https://h/x"),
                r#"200,"pushEndpoint":"https://h/x"}"#,
            ),
            (
                Registered::Refused("no \"key\""),
                r#"400,"pushEndpoint":"no \"key\""}"#,
            ),
            (Registered::Trouble, r#"500,"pushEndpoint":""}"#),
        ];
        for (registered, end) in rows {
            let expected = format!(r#"{{"messageType":"register","channelID":"A\"b","status":{end}"#);
            assert_eq!(text(|out| write_registered(out, "A\"b", registered)), expected);
        }
    }

    /// WS-NOT-1 to WS-NOT-4, WS-NOT-7, R30-URG-4, R30-TOP-7: what a notification has, and nothing else.
    #[test]
    fn notification() {
        assert_eq!(
            text(|out| write_notification(out, &message(Coding::Aes128gcm, b"\xff\xfe?"))),
            concat!(
                r#"{"messageType":"notification","channelID":"deadbeef-0000-4000-8000-0123456789ab","#,
                r#""version":"AAAAAAAAAAEAAAAAAAAAAg","data":"__4_","headers":{"encoding":"aes128gcm"}}"#
            )
        );
    }

    /// WS-NOT-5: an empty body has neither data nor headers.
    #[test]
    fn notification_without_a_body() {
        let written = text(|out| write_notification(out, &message(Coding::Absent, b"")));
        assert!(
            written.ends_with(r#""version":"AAAAAAAAAAEAAAAAAAAAAg"}"#),
            "{written}"
        );
    }

    /// WS-NOT-4, WS-NOT-6: the legacy coding brings its two fields.
    #[test]
    fn notification_in_the_legacy_coding() {
        let coding = Coding::Aesgcm {
            encryption: "salt=abc".into(),
            crypto_key: "dh=BNo".into(),
        };
        let written = text(|out| write_notification(out, &message(coding, b"x")));
        let headers = r#""headers":{"encoding":"aesgcm","encryption":"salt=abc","crypto_key":"dh=BNo"}}"#;
        assert!(written.ends_with(headers), "{written}");
    }

    /// WS-UNR-2, WS-PNG-1, WS-BRD-3, WS-URG-1: the short answers.
    #[test]
    fn short_answers() {
        assert_eq!(
            text(|out| write_unregistered(out, "c", true)),
            r#"{"messageType":"unregister","channelID":"c","status":200}"#
        );
        assert_eq!(text(write_pong), "{}");
        assert_eq!(
            text(write_broadcasts),
            r#"{"messageType":"broadcast","broadcasts":{}}"#
        );
        assert_eq!(
            text(|out| write_urgency(out, false)),
            r#"{"messageType":"urgency","status":400}"#
        );
    }
}
