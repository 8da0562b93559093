//! A user agent on the WebSocket: the autopush protocol as Firefox speaks it, one step at a time.
//!
//! Every expectation has a deadline and says what it was. Messages that arrive while a reply is awaited are kept in
//! order and handed out later, as a browser would; everything else that is not expected fails the test.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt as _, StreamExt as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::connector::{Connector, Stream};
use crate::{payload, within};

/// A connected user agent.
pub struct UserAgent {
    socket: WebSocketStream<Stream>,
    arrived: VecDeque<Notification>,
}

/// A subscription, as the user agent that made it knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its name: the *channelID*.
    pub name: String,
    /// Its push resource.
    pub push_resource: String,
}

/// A push message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The subscription's name.
    pub name: String,
    /// The message's id.
    pub version: String,
    /// The body; `None` when the message has none.
    pub body: Option<Vec<u8>>,
    /// The coding's header fields as they came.
    pub headers: Value,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close code; 1006 when the connection ended without one (RFC 6455 §7.1.5).
    pub code: u16,
    /// The reason given with it.
    pub reason: String,
}

/// What comes out of the socket.
#[derive(Debug)]
pub enum Event {
    /// A push message.
    Notification(Notification),
    /// Any other JSON message.
    Reply(Value),
    /// The answer to a WebSocket ping, with the bytes of the ping.
    Pong(Vec<u8>),
    /// The end.
    Closed(Closed),
}

impl UserAgent {
    /// Connects and upgrades, and says nothing yet.
    ///
    /// # Panics
    ///
    /// When the upgrade is refused.
    pub async fn connect(connector: &Connector) -> Self {
        let connected = within("the WebSocket is opened", Self::try_connect(connector, "/")).await;
        connected.expect("the WebSocket is opened")
    }

    /// Connects and upgrades on a path of the caller's.
    pub async fn try_connect(connector: &Connector, path: &str) -> Result<Self, tungstenite::Error> {
        let stream = connector.connect("http/1.1").await?;
        let request = Request::builder()
            .uri(format!("ws://{}{path}", connector.address))
            .header("host", connector.address.to_string())
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .body(())?;
        let (socket, _) = client_async(request, stream).await?;
        Ok(Self {
            socket,
            arrived: VecDeque::new(),
        })
    }

    /// Connects and says hello: a new user agent, or the one of this *uaid*. Returns the *uaid* that the service gave.
    pub async fn arrive(connector: &Connector, uaid: Option<&str>) -> (Self, String) {
        let mut agent = Self::connect(connector).await;
        let uaid = agent.hello(uaid).await;
        (agent, uaid)
    }

    /// Says hello and returns the *uaid* of the reply.
    pub async fn hello(&mut self, uaid: Option<&str>) -> String {
        let mut hello = json!({"messageType": "hello", "use_webpush": true, "broadcasts": {}});
        if let Some(uaid) = uaid {
            hello["uaid"] = uaid.into();
        }
        self.send(&hello).await;
        let reply = self.reply("hello").await;
        assert_eq!(reply["status"], 200, "{reply}");
        assert_eq!(reply["use_webpush"], true, "{reply}");
        reply["uaid"].as_str().expect("a uaid").to_owned()
    }

    /// Makes a new subscription, restricted to an application server's key or open to all.
    pub async fn subscribe(&mut self, key: Option<&str>) -> Subscription {
        self.subscribe_as(&new_name(), key).await
    }

    /// Makes or renews the subscription of this name.
    pub async fn subscribe_as(&mut self, name: &str, key: Option<&str>) -> Subscription {
        let reply = self.register(name, key).await;
        assert_eq!(reply["status"], 200, "{reply}");
        let push_resource = reply["pushEndpoint"].as_str().expect("a push resource");
        Subscription {
            name: name.to_owned(),
            push_resource: push_resource.to_owned(),
        }
    }

    /// Registers and returns the reply, whatever its status.
    pub async fn register(&mut self, name: &str, key: Option<&str>) -> Value {
        let mut register = json!({"messageType": "register", "channelID": name});
        if let Some(key) = key {
            register["key"] = key.into();
        }
        self.send(&register).await;
        let reply = self.reply("register").await;
        assert_eq!(reply["channelID"], name, "{reply}");
        reply
    }

    /// Ends a subscription and expects that it is confirmed.
    pub async fn unsubscribe(&mut self, name: &str) {
        self.send(&json!({"messageType": "unregister", "channelID": name, "code": 200}))
            .await;
        let reply = self.reply("unregister").await;
        assert_eq!(
            (&reply["channelID"], &reply["status"]),
            (&json!(name), &json!(200)),
            "{reply}"
        );
    }

    /// The next push message.
    pub async fn notification(&mut self) -> Notification {
        if let Some(kept) = self.arrived.pop_front() {
            return kept;
        }
        match within("a push message arrives", self.event()).await {
            Event::Notification(notification) => notification,
            other => panic!("a push message was expected, not {other:?}"),
        }
    }

    /// Expects the next push message to carry this text, and acknowledges it.
    pub async fn receives(&mut self, text: &str) {
        let notification = self.notification().await;
        assert_eq!(notification.text().as_deref(), Some(text), "{notification:?}");
        self.acknowledge(&notification).await;
    }

    /// Acknowledges a message as delivered.
    pub async fn acknowledge(&mut self, notification: &Notification) {
        let update = json!({"channelID": notification.name, "version": notification.version, "code": 100});
        self.send(&json!({"messageType": "ack", "updates": [update]}))
            .await;
    }

    /// Acknowledges and then waits until the acknowledgement is committed (PR-4).
    ///
    /// The answer that tells of it is the one to a later request: it is given when what it rests on is durable, and the
    /// acknowledgement is an earlier step of the same user agent. The request ends a subscription that never was, so it
    /// changes nothing.
    pub async fn acknowledge_and_settle(&mut self, notification: &Notification) {
        self.acknowledge(notification).await;
        self.ping().await;
        self.unsubscribe(&new_name()).await;
    }

    /// Expects that the service answers a WebSocket ping, and thus has read all that was sent before.
    pub async fn ping(&mut self) {
        self.send_frame(Message::Ping(b"there?".to_vec().into())).await;
        loop {
            match within("a pong", self.event()).await {
                Event::Pong(_) => return,
                Event::Notification(notification) => self.arrived.push_back(notification),
                other => panic!("a pong was expected, not {other:?}"),
            }
        }
    }

    /// The next reply, which must be of this type. Push messages that come before it are kept.
    pub async fn reply(&mut self, kind: &str) -> Value {
        loop {
            match within(&format!("a reply to {kind}"), self.event()).await {
                Event::Reply(reply) if reply["messageType"] == kind => return reply,
                Event::Notification(notification) => self.arrived.push_back(notification),
                Event::Pong(_) => {}
                other => panic!("a reply to {kind} was expected, not {other:?}"),
            }
        }
    }

    /// Expects the service to close the connection, and returns how. Whatever else arrives before is passed over.
    pub async fn closed(&mut self) -> Closed {
        let end = async {
            loop {
                if let Event::Closed(closed) = self.event().await {
                    return closed;
                }
            }
        };
        within("the service closes the connection", end).await
    }

    /// Sends a JSON message.
    pub async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends a text frame with any content.
    pub async fn send_text(&mut self, text: &str) {
        self.send_frame(Message::text(text)).await;
    }

    /// Sends any frame. That the connection has ended shows when something is expected of it.
    pub async fn send_frame(&mut self, frame: Message) {
        let _ = self.socket.send(frame).await;
    }

    /// Says goodbye and waits until the connection is closed.
    pub async fn leave(mut self) {
        let _ = self.socket.close(None).await;
        self.closed().await;
    }

    /// Whatever comes next, with no deadline. Cancel safe.
    pub async fn event(&mut self) -> Event {
        loop {
            return match self.socket.next().await {
                Some(Ok(Message::Text(text))) => Event::read(&text),
                Some(Ok(Message::Pong(payload))) => Event::Pong(payload.to_vec()),
                // The library answers pings by itself.
                Some(Ok(Message::Ping(_))) => continue,
                Some(Ok(Message::Close(frame))) => Event::Closed(Closed {
                    code: frame.as_ref().map_or(1005, |frame| frame.code.into()),
                    reason: frame.map_or_else(String::new, |frame| frame.reason.to_string()),
                }),
                Some(Ok(other)) => panic!("a service does not send {other:?}"),
                Some(Err(error)) => Event::Closed(Closed::without_a_word(&error.to_string())),
                None => Event::Closed(Closed::without_a_word("end of stream")),
            };
        }
    }
}

impl Event {
    fn read(text: &str) -> Self {
        let message: Value = serde_json::from_str(text).expect("the service sends JSON");
        if message["messageType"] != "notification" {
            return Self::Reply(message);
        }
        let field = |name: &str| message[name].as_str().expect("a string").to_owned();
        let data = message
            .get("data")
            .map(|data| data.as_str().expect("data is a string"));
        Self::Notification(Notification {
            name: field("channelID"),
            version: field("version"),
            body: data.map(|data| URL_SAFE_NO_PAD.decode(data).expect("base64url without padding")),
            headers: message.get("headers").cloned().unwrap_or_default(),
        })
    }
}

impl Notification {
    /// The text that the test put into the body; `None` when the body is missing or not as it was sent.
    pub fn text(&self) -> Option<String> {
        payload::text(self.body.as_deref()?)
    }
}

impl Closed {
    fn without_a_word(how: &str) -> Self {
        Self {
            code: 1006,
            reason: how.to_owned(),
        }
    }
}

/// A name for a subscription: a random UUID in its canonical spelling.
pub fn new_name() -> String {
    let mut bits = [0; 16];
    SystemRandom::new().fill(&mut bits).expect("random bits");
    let digits = format!("{:032x}", u128::from_be_bytes(bits));
    let groups = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    groups.join("-")
}
