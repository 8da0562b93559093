//! The JSON that a service says on the WebSocket, to a user agent that believes little of it.

use std::sync::Arc;
use std::time::Duration;

use push_protocol::SubscriptionName;
use push_protocol::session::Moment;
use push_protocol::session::user_agent::{
    Action, Arrived, Durable, Fate, Identity, Limits, PushResource, Registered, Say, UserAgent,
};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader};
use push_protocol::wire::websocket::{Answer, Request, parse, parse_answer, write_say};
use serde_json::Value;

/// `wire::websocket::parse_answer`: what is accepted keeps its bounds (WS-HEL-3, WS-REG-11); white space changes nothing;
/// a push message is acknowledged by the letter of the service, whatever that is (WS-ACK-1); and no answer makes the
/// session of a user agent panic or hold more than it may (PR-16).
pub fn service_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let answer = parse_answer(text);
    assert_eq!(parse_answer(&format!("\t{text}\r\n ")), answer, "white space");
    let Ok(answer) = answer else { return };
    assert!(text.trim_start().starts_with('{'), "a message is an object");
    match &answer {
        Answer::Hello(Some(identity)) => {
            assert_eq!(Identity::parse(identity.as_str()).as_ref(), Some(identity));
        }
        Answer::Registered(_, Registered::At(push_resource)) => {
            assert!(push_resource.as_str().len() <= PushResource::MAX_BYTES);
            assert_eq!(
                PushResource::parse(push_resource.as_str()).as_ref(),
                Some(push_resource)
            );
        }
        Answer::Arrived(message) => {
            let body = message.content.as_ref().map_or(0, |content| content.body.len());
            assert!(body <= text.len() && message.id.len() <= text.len());
            acknowledged_by_the_letter(message);
        }
        _ => {}
    }
    told(&answer, text);
}

fn acknowledged_by_the_letter(message: &Arrived) {
    let say = Say::Acknowledge {
        message: Arc::new(message.clone()),
        fate: Fate::Delivered,
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
fn told(answer: &Answer, text: &str) {
    let limits = Limits {
        connect_within: Duration::from_secs(10),
        answer_within: Duration::from_secs(10),
        keepalive_least: Duration::from_secs(45),
        keepalive_most: Duration::from_secs(300),
        backoff_least: Duration::from_millis(100),
        backoff_base: Duration::from_secs(1),
        backoff_most: Duration::from_secs(300),
        steady_after: Duration::from_secs(10),
        held_messages: 1,
        held_bytes: 100,
        attempts: 3,
        retry_after: Duration::from_secs(1),
        requests: 4,
        ask_again_after: Duration::from_secs(1),
        nonsense: 2,
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
            assert!(matches!(answer, Answer::Arrived(_)));
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
    match parse_answer(text) {
        Ok(answer) => answer.tell(user_agent, now, out),
        Err(_) => user_agent.nonsense(now, out),
    }
}
