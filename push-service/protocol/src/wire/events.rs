//! How messages and receipts are told as Server-Sent Events (WHATWG HTML §9.2): for clients without HTTP/2 server push.
//!
//! An event is one line of JSON, so nothing in it can break the stream's framing. Names of members are those of the header
//! fields, in lower case.

use httpdate::fmt_http_date;

use super::websocket::{base64url, json_string};
use crate::message::{Coding, PushMessage};

/// A push message, with the URL that acknowledges it and its push resource.
///
/// ```text
/// id: MESSAGE-ID
/// event: message
/// data: {"message":"URL","push":"URL","headers":{"content-encoding":"aes128gcm", …},"body":"BASE64URL"}
/// ```
pub fn write_message(out: &mut Vec<u8>, message: &PushMessage, message_url: &str, push_url: &str) {
    begin(out, Some(&message.id.to_base64url()), "message");
    member(out, b"{\"message\":", message_url);
    member(out, b",\"push\":", push_url);
    out.extend_from_slice(b",\"headers\":{");
    for (at, (name, value)) in content_fields(message).into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json_string(out, name);
        member(out, b":", &value);
    }
    out.extend_from_slice(b"},\"body\":\"");
    base64url(out, &message.content.body);
    out.extend_from_slice(b"\"}\n\n");
}

/// A receipt: how a message ended, by its sender's `Location`, and the URL that says that the receipt has arrived. `id`
/// is a token, so that `Last-Event-ID` can only confirm what was sent here.
///
/// ```text
/// id: TOKEN
/// event: receipt
/// data: {"message":"URL","status":204,"acknowledge":"URL"}
/// ```
pub fn write_receipt(out: &mut Vec<u8>, id: &str, message_url: &str, status: u16, acknowledge: &str) {
    begin(out, Some(id), "receipt");
    member(out, b"{\"message\":", message_url);
    out.extend_from_slice(b",\"status\":");
    out.extend_from_slice(status.to_string().as_bytes());
    member(out, b",\"acknowledge\":", acknowledge);
    out.extend_from_slice(b"}\n\n");
}

/// The last event: why nothing more comes. The status is the one that a monitoring request is answered with.
pub fn write_end(out: &mut Vec<u8>, status: u16, why: &str) {
    begin(out, None, "end");
    out.extend_from_slice(b"{\"status\":");
    out.extend_from_slice(status.to_string().as_bytes());
    member(out, b",\"detail\":", why);
    out.extend_from_slice(b"}\n\n");
}

/// A comment: the connection is alive.
pub fn write_alive(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n\n");
}

/// What the user agent needs beside the body, as header fields: never urgency or topic.
// R30-MON-7 to R30-MON-10.
pub fn content_fields(message: &PushMessage) -> Vec<(&'static str, String)> {
    let mut fields = Vec::with_capacity(4);
    if let Some(media_type) = &message.content.media_type {
        fields.push(("content-type", media_type.to_string()));
    }
    match &message.content.coding {
        Coding::Absent => {}
        Coding::Aes128gcm => fields.push(("content-encoding", "aes128gcm".to_owned())),
        Coding::Aesgcm {
            encryption,
            crypto_key,
        } => {
            fields.push(("content-encoding", "aesgcm".to_owned()));
            fields.push(("encryption", encryption.to_string()));
            fields.push(("crypto-key", crypto_key.to_string()));
        }
        Coding::Other(coding) => fields.push(("content-encoding", coding.to_string())),
    }
    let accepted = std::time::UNIX_EPOCH + std::time::Duration::from_millis(message.accepted_at_ms);
    fields.push(("last-modified", fmt_http_date(accepted)));
    fields
}

fn begin(out: &mut Vec<u8>, id: Option<&str>, event: &str) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(b"\ndata: ");
}

fn member(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    json_string(out, value);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::capability::KeyId;
    use crate::identifiers::{MessageId, MessageNumber, SubscriptionId, SubscriptionName};
    use crate::message::Content;
    use crate::urgency::Urgency;

    fn message() -> PushMessage {
        PushMessage {
            id: MessageId {
                number: MessageNumber(1),
                nonce: 2,
            },
            subscription: SubscriptionId([0; 8]),
            name: SubscriptionName([0; 16]),
            urgency: Urgency::High,
            content: Content {
                coding: Coding::Aesgcm {
                    encryption: "salt=\"c2Fs\"".into(),
                    crypto_key: "dh=ZGg".into(),
                },
                media_type: Some("text/plain".into()),
                body: Bytes::from_static(b"\n\xff\n"),
            },
            key: None,
            sealed_by: KeyId(0),
            accepted_at_ms: 1_500,
            remaining_ms: 5_000,
        }
    }

    /// R30-MON-9, R30-MON-10, R30-URG-4: a message is told with all that decrypts it, without urgency and TTL, in an event
    /// whose lines nothing in it can break.
    #[test]
    fn a_message_is_one_event() {
        let mut out = Vec::new();
        write_message(&mut out, &message(), "https://h/message/a", "https://h/push/b");
        let expected = concat!(
            "id: AAAAAAAAAAEAAAAAAAAAAg\nevent: message\n",
            r#"data: {"message":"https://h/message/a","push":"https://h/push/b","headers":{"content-type":"text/plain","#,
            r#""content-encoding":"aesgcm","encryption":"salt=\"c2Fs\"","crypto-key":"dh=ZGg","#,
            r#""last-modified":"Thu, 01 Jan 1970 00:00:01 GMT"},"body":"Cv8K"}"#,
            "\n\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    /// R30-RDL-2: a receipt is told with the message's URL and its status.
    #[test]
    fn a_receipt_is_one_event() {
        let mut out = Vec::new();
        write_receipt(
            &mut out,
            "TOKEN",
            "https://h/message/a",
            204,
            "https://h/message/b",
        );
        write_end(&mut out, 404, "gone");
        let expected = concat!(
            "id: TOKEN\nevent: receipt\n",
            r#"data: {"message":"https://h/message/a","status":204,"acknowledge":"https://h/message/b"}"#,
            "\n\nevent: end\n",
            r#"data: {"status":404,"detail":"gone"}"#,
            "\n\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
