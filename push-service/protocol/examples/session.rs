//! A user agent: it subscribes, receives one message over a WebSocket, decrypts and acknowledges it.
//!
//! The session decides everything and does nothing: a driver performs its actions, in their order. This driver has no socket:
//! the `Service` below answers instead of one. A real driver also calls `tick` when `next_due` has come.
//!
//! ```sh
//! cargo run -p push-protocol --example session
//! ```

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use push_protocol::SubscriptionName;
use push_protocol::encryption::SubscriptionKeys;
use push_protocol::session::Moment;
use push_protocol::session::user_agent::{Action, Durable, Event, Limits, Outcome, Say, UserAgent};
use push_protocol::wire::websocket::{parse_reply, write_say};
use ring::rand::SystemRandom;

fn main() -> Result<(), Box<dyn Error>> {
    // The keys of the subscription stay with the user agent. It shows a part of them to the application server.
    let keys = SubscriptionKeys::generate(&SystemRandom::new())?;
    let name: SubscriptionName = "5a0c5b1e-7d1f-4f0e-8a6b-0123456789ab".parse()?;

    // Milliseconds of a clock that never goes back. What a restart needs is `Durable`; here nothing was kept yet.
    let now = Moment(0);
    let mut session = UserAgent::new(Arc::new(limits()), Durable::default(), 1);
    let mut actions = Vec::new();
    session.subscribe(name, None, now, &mut actions);
    session.tick(now, &mut actions);

    // Messages that the application has.
    let mut in_hand = VecDeque::new();
    let mut service = Service {
        keys: keys.clone(),
        texts: VecDeque::new(),
    };
    loop {
        for action in std::mem::take(&mut actions) {
            match action {
                // Kept before anything that follows: a crash then loses and repeats nothing.
                Action::Save(change) => println!("keep     {change:?}"),
                Action::Connect => session.opened(now, &mut actions),
                Action::Say(say) => {
                    // What would go to the socket: one frame under a mask that is drawn for each.
                    let mut frame = Vec::new();
                    write_say(&mut frame, [0; 4], &say);
                    println!("send     {} bytes", frame.len());
                    service.hears(&say)?;
                }
                // That the application begins is kept before it does: so a message that kills it is noticed.
                Action::HandOver { message, .. } => {
                    if session.taken(message.key(), &mut actions) {
                        in_hand.push_back(message);
                    }
                }
                Action::Tell(Event::Stopped) => return Ok(()),
                Action::Tell(event) => println!("event    {event:?}"),
                Action::Disconnect(farewell) => println!("close    {farewell:?}"),
                // Only for drivers that hand messages over to another task, or that wait.
                Action::TakeBack(_) | Action::Ping => {}
            }
        }
        if !actions.is_empty() {
            continue;
        }
        if let Some(message) = in_hand.pop_front() {
            let content = message.content.as_ref().ok_or("the message has no content")?;
            let text = keys.decrypt(&content.coding, &content.body)?;
            println!("message  {}", String::from_utf8_lossy(&text));
            session.handled(message.key(), Outcome::Succeeded, now, &mut actions);
        } else if let Some(text) = service.texts.pop_front() {
            parse_reply(&text)?.tell(&mut session, now, &mut actions);
        } else {
            session.stop(now, &mut actions);
        }
    }
}

/// Stands for the push service and for an application server that sends one message.
struct Service {
    keys: SubscriptionKeys,
    texts: VecDeque<String>,
}

impl Service {
    fn hears(&mut self, say: &Say) -> Result<(), Box<dyn Error>> {
        match say {
            Say::Hello(..) => self.texts.push_back(
                r#"{"messageType":"hello","uaid":"0123456789abcdef0123456789abcdef","status":200,"use_webpush":true}"#
                    .into(),
            ),
            Say::Register { name, .. } => {
                self.texts.push_back(format!(
                    r#"{{"messageType":"register","channelID":"{name}","status":200,"pushEndpoint":"https://push.example.net/push/abc"}}"#
                ));
                let body = self.keys.recipient().encrypt(b"Hello", 0, &SystemRandom::new())?;
                self.texts.push_back(format!(
                    r#"{{"messageType":"notification","channelID":"{name}","version":"1","data":"{}","headers":{{"encoding":"aes128gcm"}}}}"#,
                    URL_SAFE_NO_PAD.encode(body)
                ));
            }
            Say::Acknowledge { message, disposition } => {
                println!("service  message {} is {disposition:?}", message.id);
            }
            Say::Bring(_) | Say::Unregister(_) => {}
        }
        Ok(())
    }
}

/// The bounds of a user agent. The documentation of each field says what it is for.
fn limits() -> Limits {
    let seconds = Duration::from_secs;
    Limits {
        connect_within: seconds(30),
        answer_within: seconds(20),
        keepalive_least: seconds(45),
        keepalive_most: seconds(300),
        keepalive_floor: seconds(20),
        backoff_least: seconds(1),
        backoff_base: seconds(5),
        backoff_most: seconds(1_800),
        retry_after_most: seconds(86_400),
        steady_after: seconds(10),
        forgotten_apart: seconds(5),
        network_apart: seconds(2),
        network_calm: seconds(60),
        held_messages: 64,
        held_bytes: 1 << 20,
        attempts: 3,
        crashes: 16,
        retry_base: seconds(2),
        retry_most: seconds(60),
        pause_base: seconds(2),
        pause_most: seconds(60),
        requests: 8,
        ask_again_after: seconds(5),
        nonsense: 100,
        wish_every: seconds(5),
        stop_within: seconds(20),
    }
}
