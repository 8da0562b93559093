//! The JSON that a service says on the WebSocket, to a user agent that believes little of it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use push_protocol::session::Moment;
use push_protocol::session::user_agent::{
    Action, Arrived, Disposition, Durable, Identity, Limits, PushResource, Registered, Say, UserAgent,
};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader};
use push_protocol::wire::websocket::{Reply, Request, parse, parse_reply, write_say};
use push_protocol::{Coding, Content, SubscriptionName, Topic, Urgency};
use serde_json::{Value, json};

use super::messages::{is_object, with_an_unknown_member};

/// `wire::websocket::parse_reply`: what is accepted keeps its bounds (WS-HEL-3, WS-REG-11), means what a plain JSON reader
/// finds in it and survives its own spelling; white space and unknown members change nothing (WS-TYP-1); a push message is acknowledged exactly as the service wrote it, whatever that is (WS-ACK-1); and no answer makes the
/// session of a user agent panic or hold more than it may (PR-16).
pub fn service_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let answer = parse_reply(text);
    assert_eq!(parse_reply(&format!("\t{text}\r\n ")), answer, "white space");
    if let Some(longer) = with_an_unknown_member(text) {
        assert_eq!(parse_reply(&longer), answer, "unknown members are ignored");
    }
    let Ok(answer) = answer else { return };
    assert!(is_object(text), "a message is an object");
    assert_eq!(
        parse_reply(&respelled(&answer)).as_ref(),
        Ok(&answer),
        "written again"
    );
    match &answer {
        Reply::Hello(Some(identity)) => {
            assert_eq!(Identity::parse(identity.as_str()).as_ref(), Some(identity));
        }
        Reply::Registered(_, Registered::At(push_resource), _) => {
            assert!(push_resource.as_str().len() <= PushResource::MAX_BYTES);
            assert_eq!(
                PushResource::parse(push_resource.as_str()).as_ref(),
                Some(push_resource)
            );
        }
        Reply::Arrived(message) => {
            let body = message.content.as_ref().map_or(0, |content| content.body.len());
            assert!(body <= text.len() && message.id.len() <= text.len());
            agrees(message, text);
            acknowledged_by_the_letter(message);
        }
        _ => {}
    }
    told(&answer, text);
}

/// What a plain JSON reader finds, unless something that is skipped unread stops it.
fn agrees(message: &Arrived, text: &str) {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    assert_eq!(value["messageType"].as_str(), Some("notification"));
    assert_eq!(value["channelID"].as_str(), Some(&*message.subscription));
    assert_eq!(value["version"].as_str(), Some(&*message.id));
    if let Some(Content { coding, body, .. }) = &message.content {
        let headers = &value["headers"];
        assert!(body.is_empty() || headers.is_object() || headers.is_null());
        assert!(*coding == Coding::Absent || headers["encoding"].is_string());
    }
}

fn respelled(answer: &Reply) -> String {
    let spelled = |name: &Option<SubscriptionName>| name.map(|name| name.to_string());
    let value = match answer {
        Reply::Hello(identity) => {
            let identity = identity.as_ref().map(Identity::as_str);
            json!({"messageType": "hello", "uaid": identity, "status": 200, "use_webpush": true})
        }
        Reply::Registered(name, registered, details) => {
            let resource = match registered {
                Registered::At(resource) => resource.as_str(),
                Registered::Refused(_) | Registered::Trouble | Registered::Later(_) | Registered::Unknown => {
                    details.words.as_deref().unwrap_or_default()
                }
            };
            let status = details.status;
            let name = spelled(name);
            json!({"messageType": "register", "channelID": name, "status": status, "pushEndpoint": resource})
        }
        Reply::Unregistered(name, done) => {
            let status = if *done { 200 } else { 500 };
            json!({"messageType": "unregister", "channelID": spelled(name), "status": status})
        }
        Reply::Arrived(message) => notification(message),
        Reply::SignOfLife => json!({}),
    };
    value.to_string()
}

fn notification(message: &Arrived) -> Value {
    let (data, headers) = match &message.content {
        // What can't be read, whatever it was.
        None => (json!(17), Value::Null),
        Some(Content { coding, body, .. }) => (json!(URL_SAFE_NO_PAD.encode(body)), headers(coding)),
    };
    let metadata = message.metadata.as_deref().cloned().unwrap_or_default();
    json!({
        "messageType": "notification",
        "channelID": message.subscription,
        "version": message.id,
        "data": data,
        "headers": headers,
        "timestamp": metadata.time,
        "urgency": metadata.urgency.map(Urgency::as_str),
        "topic": metadata.topic.as_ref().map(Topic::as_str),
    })
}

fn headers(coding: &Coding) -> Value {
    match coding {
        Coding::Absent => Value::Null,
        Coding::Aes128gcm => json!({"encoding": "aes128gcm"}),
        Coding::Aesgcm {
            encryption,
            crypto_key,
        } => {
            json!({"encoding": "aesgcm", "encryption": encryption, "crypto_key": crypto_key})
        }
        Coding::Other(coding) => json!({"encoding": coding}),
    }
}

fn acknowledged_by_the_letter(message: &Arrived) {
    let say = Say::Acknowledge {
        message: Arc::new(message.clone()),
        disposition: Disposition::Delivered,
    };
    let mut out = Vec::new();
    write_say(&mut out, [1, 2, 3, 4], &say);
    let mut reader = FrameReader::new(Reader::Service, u32::MAX >> 1);
    let Ok(Some((Incoming::Text(said), _))) = reader.read(&mut out) else {
        panic!("what is said is one text");
    };
    let Ok(Request::Ack(updates)) = parse(said) else {
        panic!("the service understands it");
    };
    assert_eq!(updates.len(), 1);
    let said: Value = serde_json::from_str(said).expect("it is JSON");
    let update = &said["updates"][0];
    assert_eq!(update["version"], *message.id);
    assert_eq!(update["channelID"], *message.subscription);
}

/// Tells it three times, before and after the hello: what came in between is in hand, or done.
fn told(answer: &Reply, text: &str) {
    let limits = Limits {
        connect_within: Duration::from_secs(10),
        answer_within: Duration::from_secs(10),
        keepalive_least: Duration::from_secs(45),
        keepalive_most: Duration::from_secs(300),
        keepalive_floor: Duration::from_secs(20),
        backoff_least: Duration::from_millis(100),
        backoff_base: Duration::from_secs(1),
        backoff_most: Duration::from_secs(300),
        retry_after_most: Duration::from_secs(3_600),
        steady_after: Duration::from_secs(10),
        forgotten_apart: Duration::from_secs(5),
        network_apart: Duration::from_secs(2),
        network_calm: Duration::from_secs(60),
        held_messages: 1,
        held_bytes: 100,
        attempts: 3,
        crashes: 4,
        retry_base: Duration::from_secs(1),
        retry_most: Duration::from_secs(60),
        pause_base: Duration::from_secs(1),
        pause_most: Duration::from_secs(60),
        requests: 4,
        ask_again_after: Duration::from_secs(1),
        nonsense: 2,
        wish_every: Duration::from_secs(5),
        stop_within: Duration::from_secs(1),
    };
    let name = SubscriptionName::parse("deadbeef-0000-4000-8000-0123456789ab").expect("a name");
    let (mut user_agent, mut out) = (
        UserAgent::new(Arc::new(limits), Durable::default(), 1),
        Vec::new(),
    );
    let now = Moment(1_000);
    user_agent.subscribe(name, None, now, &mut out);
    user_agent.tick(now, &mut out);
    user_agent.opened(now, &mut out);
    user_agent.welcomed(Identity::parse("me"), now, &mut out);
    for _ in 0..3 {
        tell(text, &mut user_agent, now, &mut out);
    }
    assert!(user_agent.held() <= 1);
    for action in std::mem::take(&mut out) {
        if let Action::HandOver { message, .. } = action {
            assert!(matches!(answer, Reply::Arrived(_)));
            user_agent.taken(message.key(), &mut out);
            user_agent.handled(
                message.key(),
                push_protocol::session::user_agent::Outcome::Succeeded,
                now,
                &mut out,
            );
        }
    }
    assert_eq!(user_agent.held(), 0);
}

fn tell(text: &str, user_agent: &mut UserAgent, now: Moment, out: &mut Vec<Action>) {
    match parse_reply(text) {
        Ok(answer) => answer.tell(user_agent, now, out),
        Err(_) => user_agent.nonsense(now, out),
    }
}
