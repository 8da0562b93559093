//! What a user agent says. Texts are written straight into the buffer that goes to the socket.

use crate::p256::PublicKey;
use crate::session::user_agent::{Arrived, Disposition, Identity, Say, Wish};
use crate::wire::frame::write_text;

/// Appends what is to be said as one text frame under a `mask`, which RFC 6455 §5.3 wants to be drawn for each.
pub fn write_say(out: &mut Vec<u8>, mask: [u8; 4], say: &Say) {
    write_text(out, Some(mask), |out| match say {
        Say::Hello(identity, wish) => hello(out, identity.as_ref(), *wish),
        // There is no word for how long (WS-URG-1).
        Say::Bring(wish) => {
            let lowest = wish.lowest.as_str();
            extend(out, &[r#"{"messageType":"urgency","min":""#, lowest, r#""}"#]);
        }
        Say::Register {
            name,
            application_server,
        } => register(out, &name.to_string(), application_server.as_ref()),
        // By the application: the only reason that there is without a browser's quotas and permissions (WS-UNR-1).
        Say::Unregister(name) => {
            extend(
                out,
                &[
                    r#"{"messageType":"unregister","channelID":""#,
                    &name.to_string(),
                    r#"","code":200}"#,
                ],
            );
        }
        Say::Acknowledge { message, disposition } => acknowledge(out, message, *disposition),
    });
}

/// What waits follows the answer at once (WS-HEL-12), so the lowest urgency has to be known before. Services that don't know
/// it here ignore it (WS-HEL-13).
fn hello(out: &mut Vec<u8>, identity: Option<&Identity>, wish: Wish) {
    extend(out, &[r#"{"messageType":"hello","use_webpush":true"#]);
    if let Some(identity) = identity {
        extend(out, &[r#","uaid":"#]);
        json_string(out, identity.as_str());
    }
    if wish.lowest != Wish::default().lowest {
        extend(out, &[r#","urgency":""#, wish.lowest.as_str(), r#"""#]);
    }
    out.push(b'}');
}

fn register(out: &mut Vec<u8>, name: &str, application_server: Option<&PublicKey>) {
    extend(out, &[r#"{"messageType":"register","channelID":""#, name, r#"""#]);
    if let Some(key) = application_server {
        extend(out, &[r#","key":""#, &key.to_string(), r#"""#]);
    }
    out.push(b'}');
}

/// Each on its own, as Firefox does it (WS-ACK-1).
fn acknowledge(out: &mut Vec<u8>, message: &Arrived, disposition: Disposition) {
    extend(out, &[r#"{"messageType":"ack","updates":[{"channelID":"#]);
    json_string(out, &message.subscription);
    extend(out, &[r#","version":"#]);
    json_string(out, &message.id);
    extend(
        out,
        &[match disposition {
            Disposition::Delivered => r#","code":100}]}"#,
            Disposition::NotDecrypted => r#","code":101}]}"#,
            Disposition::NotDelivered => r#","code":102}]}"#,
        }],
    );
}

fn extend(out: &mut Vec<u8>, pieces: &[&str]) {
    for piece in pieces {
        out.extend_from_slice(piece.as_bytes());
    }
}

fn json_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is JSON and a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identifiers::{MessageId, SubscriptionName, UserAgentIdentity};
    use crate::urgency::Urgency;
    use crate::vapid::vectors::RFC_KEY;
    use crate::wire::frame::{FrameReader, Incoming, Reader};
    use crate::wire::websocket::{AckCode, Acknowledgement, Name, Request, parse};

    /// What the service's end understands of it.
    fn understood<T>(say: &Say, check: impl FnOnce(Request<'_>, &str) -> T) -> T {
        let mut out = Vec::new();
        write_say(&mut out, [1, 2, 3, 4], say);
        let mut reader = FrameReader::new(Reader::Service, 4_096);
        match reader.read(&mut out) {
            Ok(Some((Incoming::Text(text), _))) => check(parse(text).unwrap(), text),
            other => panic!("{other:?}"),
        }
    }

    fn at_least(lowest: Urgency) -> Wish {
        Wish {
            lowest,
            ..Wish::default()
        }
    }

    /// WS-HEL-1, WS-HEL-7: with and without an identity. Who wants everything says nothing of it.
    #[test]
    fn says_hello() {
        let uaid = "0123456789abcdef0123456789abcdef";
        understood(&Say::Hello(None, Wish::default()), |request, text| {
            assert_eq!(request, Request::Hello(None, Urgency::VeryLow));
            assert_eq!(text, r#"{"messageType":"hello","use_webpush":true}"#);
        });
        let hello = Say::Hello(Identity::parse(uaid), at_least(Urgency::High));
        understood(&hello, |request, _| {
            let identity = UserAgentIdentity::parse(uaid);
            assert_eq!(request, Request::Hello(identity, Urgency::High));
        });
    }

    /// R30-URG-5, WS-URG-1: the lowest urgency, in each of its names.
    #[test]
    fn says_the_lowest_urgency() {
        for urgency in Urgency::ALL {
            understood(&Say::Bring(at_least(urgency)), |request, _| {
                assert_eq!(request, Request::Urgency(Some(urgency)));
            });
        }
    }

    /// WS-REG-1, WS-REG-3, WS-UNR-1: requests name a subscription as services want it named.
    #[test]
    fn asks_for_subscriptions() {
        let parsed = SubscriptionName::parse("deadbeef-0000-4000-8000-0123456789ab");
        let name = || Name {
            text: "deadbeef-0000-4000-8000-0123456789ab".into(),
            parsed,
        };
        for key in [None, Some(RFC_KEY)] {
            let say = Say::Register {
                name: parsed.unwrap(),
                application_server: key.and_then(PublicKey::parse),
            };
            let key = key.map(Into::into);
            understood(&say, |request, _| {
                assert_eq!(request, Request::Register { name: name(), key });
            });
        }
        understood(&Say::Unregister(parsed.unwrap()), |request, _| {
            let code = Some(200);
            assert_eq!(request, Request::Unregister { name: name(), code });
        });
    }

    /// WS-ACK-1: an acknowledgement names the message exactly, whatever characters its id has.
    #[test]
    fn acknowledges() {
        let id = MessageId::from_bytes([7; 16]);
        let rows = [
            (Disposition::Delivered, AckCode::Delivered),
            (Disposition::NotDecrypted, AckCode::NotDecrypted),
            (Disposition::NotDelivered, AckCode::NotDelivered),
        ];
        for (disposition, code) in rows {
            let acknowledge = |id: &str| Say::Acknowledge {
                message: Arc::new(Arrived {
                    subscription: "a\"\u{1}\\".into(),
                    id: id.into(),
                    content: None,
                    metadata: None,
                }),
                disposition,
            };
            understood(&acknowledge(&id.to_base64url()), |request, _| {
                let message = Some(id);
                assert_eq!(request, Request::Ack(vec![Acknowledgement { message, code }]));
            });
            understood(&acknowledge("\"],"), |request, _| {
                assert_eq!(
                    request,
                    Request::Ack(vec![Acknowledgement { message: None, code }])
                );
            });
        }
    }
}
