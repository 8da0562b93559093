//! The JSON that a user agent says on the WebSocket.

use push_protocol::session::CloseReason;
use push_protocol::wire::frame::{FrameReader, Incoming, Reader};
use push_protocol::wire::websocket::{
    AckCode, Acknowledgement, Malformed, NackCode, Name, Registered, Request, close_text, parse,
    write_registered,
};
use push_protocol::{MessageId, Urgency, UserAgentIdentity};
use serde_json::{Value, json};

/// The longest reason of a close frame (RFC 6455 §5.5).
const CLOSE_REASON_BYTES: usize = 123;

/// `wire::websocket::parse`: what is accepted is one JSON object, means what a plain JSON reader finds in it, and
/// means the same when it is written again (WS-TYP-2); white space and unknown members change nothing (WS-HEL-13); a
/// name goes back unchanged (WS-REG-2); and every refusal fits a close frame.
pub fn websocket_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let request = parse(text);
    assert_eq!(parse(&format!("\t{text}\r\n ")), request, "white space");
    if let Some(longer) = with_an_unknown_member(text) {
        assert_eq!(parse(&longer), request, "unknown members are ignored");
    }
    match &request {
        Ok(request) => accepted(text, request),
        Err(Malformed(why)) => {
            let said = close_text(CloseReason::Malformed(why));
            assert!((1..=CLOSE_REASON_BYTES).contains(&said.len()));
        }
    }
}

fn accepted(text: &str, request: &Request<'_>) {
    assert!(is_object(text), "a message is an object");
    assert_eq!(parse(&respelled(request)).as_ref(), Ok(request), "written again");
    // What is skipped unread (nesting without end, a number beyond all bounds) stops this reader, and not ours.
    if let Ok(value) = serde_json::from_str(text) {
        agrees(request, &value);
    }
    if let Request::Register { name, .. } | Request::Unregister { name, .. } = request {
        goes_back_by_the_letter(name);
    }
    if let Request::Ack(acknowledgements) = request {
        // `{},` is the shortest of them.
        assert!(acknowledgements.len() <= text.len() / 3);
    }
}

pub(crate) fn is_object(text: &str) -> bool {
    text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{')
}

/// The same message with one more member, if there is an object at all.
pub(crate) fn with_an_unknown_member(text: &str) -> Option<String> {
    let at = text.find('{')? + 1;
    let (start, rest) = text.split_at(at);
    if !is_object(start) {
        return None;
    }
    let is_empty = rest.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('}');
    let comma = if is_empty { "" } else { "," };
    Some(format!(r#"{start}"unknown":[{{"messageType":7}}]{comma}{rest}"#))
}

fn respelled(request: &Request<'_>) -> String {
    let value = match request {
        Request::Hello(identity, lowest) => {
            let uaid = identity.as_ref().map(UserAgentIdentity::to_hex);
            json!({"messageType": "hello", "uaid": uaid, "urgency": lowest.as_str()})
        }
        Request::Register { name, key } => {
            json!({"messageType": "register", "channelID": name.text, "key": key})
        }
        Request::Unregister { name, code } => {
            json!({"messageType": "unregister", "channelID": name.text, "code": code})
        }
        Request::Ack(acknowledgements) => {
            let updates: Vec<Value> = acknowledgements.iter().map(update).collect();
            json!({"messageType": "ack", "updates": updates})
        }
        Request::Nack(code) => json!({"messageType": "nack", "code": nack_code(*code)}),
        Request::Ping => json!({}),
        Request::BroadcastSubscribe => json!({"messageType": "broadcast_subscribe"}),
        Request::Urgency(urgency) => {
            json!({"messageType": "urgency", "min": urgency.map(Urgency::as_str)})
        }
    };
    value.to_string()
}

fn update(acknowledgement: &Acknowledgement) -> Value {
    let code = match acknowledgement.code {
        AckCode::Delivered => 100,
        AckCode::NotDecrypted => 101,
        AckCode::NotDelivered => 102,
    };
    json!({"version": acknowledgement.message.map(MessageId::to_base64url), "code": code})
}

fn nack_code(code: NackCode) -> Option<u16> {
    match code {
        NackCode::Exception => Some(301),
        NackCode::Rejection => Some(302),
        NackCode::Internal => Some(303),
        NackCode::Other => None,
    }
}

/// Every member that the request was made of is there, with its type.
fn agrees(request: &Request<'_>, value: &Value) {
    let message_types: &[&str] = match request {
        Request::Hello(..) => &["hello"],
        Request::Register { .. } => &["register"],
        Request::Unregister { .. } => &["unregister"],
        Request::Ack(_) => &["ack"],
        Request::Nack(_) => &["nack"],
        Request::Ping => &["ping"],
        Request::BroadcastSubscribe => &["broadcast_subscribe", "broadcastsubscribe"],
        Request::Urgency(_) => &["urgency"],
    };
    match value["messageType"].as_str() {
        Some(message_type) => assert!(message_types.contains(&message_type)),
        None => assert_eq!(*request, Request::Ping),
    }
    match request {
        Request::Hello(identity, lowest) => {
            if let Some(identity) = identity {
                let digits = value["uaid"]
                    .as_str()
                    .map(|text| text.replace('-', "").to_ascii_lowercase());
                assert_eq!(digits, Some(identity.to_hex()));
            }
            assert!(*lowest == Urgency::VeryLow || value["urgency"].as_str() == Some(lowest.as_str()));
        }
        Request::Register { name, key } => {
            assert_eq!(value["channelID"].as_str(), Some(&*name.text));
            assert_eq!(value["key"].as_str(), key.as_deref());
        }
        Request::Unregister { name, code } => {
            assert_eq!(value["channelID"].as_str(), Some(&*name.text));
            assert_eq!(value["code"].as_u64(), code.map(u64::from));
        }
        Request::Ack(acknowledgements) => {
            let updates = value["updates"].as_array().expect("updates are an array");
            assert!(updates.iter().all(Value::is_object), "an update is an object");
            let versions = updates.iter().map(|update| update["version"].as_str());
            for (acknowledgement, version) in acknowledgements.iter().zip(versions) {
                let message = acknowledgement.message.map(MessageId::to_base64url);
                assert!(message.is_none() || message.as_deref() == version);
            }
            assert_eq!(acknowledgements.len(), updates.len());
        }
        Request::Urgency(Some(urgency)) => assert_eq!(value["min"].as_str(), Some(urgency.as_str())),
        Request::Urgency(None) => {}
        Request::Nack(_) | Request::Ping | Request::BroadcastSubscribe => {}
    }
}

fn goes_back_by_the_letter(name: &Name<'_>) {
    if let Some(parsed) = name.parsed {
        assert_eq!(parsed.to_string(), name.text);
    }
    let mut out = Vec::new();
    write_registered(&mut out, &name.text, Registered::Refused(&name.text));
    let mut reader = FrameReader::new(Reader::UserAgent, u32::MAX);
    let Ok(Some((Incoming::Text(text), _))) = reader.read(&mut out) else {
        panic!("our own answer is a text");
    };
    let answer: Value = serde_json::from_str(text).expect("our own answer is JSON");
    assert_eq!(answer["channelID"].as_str(), Some(&*name.text));
    assert_eq!(answer["pushEndpoint"].as_str(), Some(&*name.text));
}
