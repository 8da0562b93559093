//! Those who do nothing wrong: user agents on WebSockets, by server push and by Server-Sent Events, and what they hear.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, StatusCode};
use push_tests::application_server::{Http, Push};
use push_tests::connector::Connector;
use push_tests::frames::{RawWebSocket, opcode};
use push_tests::node::Node;
use push_tests::user_agent::new_name;
use push_tests::{payload, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A user agent that waits for messages.
pub(crate) struct Quiet {
    push_resource: String,
    source: MessageSource,
}

enum MessageSource {
    WebSocket(RawWebSocket),
    /// Messages, as they come.
    Monitor(mpsc::UnboundedReceiver<Came>),
}

/// A message that came to a monitor.
struct Came {
    url: String,
    body: Vec<u8>,
}

/// What a user agent is given when it subscribes (RFC 8030 §4).
pub(crate) struct Subscribed {
    /// The push resource.
    pub(crate) push_resource: String,
    /// The path of the subscription set.
    pub(crate) set: String,
}

impl Quiet {
    /// On the WebSocket: the cheapest there is.
    pub(crate) async fn on_websocket(connector: &Connector) -> Self {
        let mut socket = RawWebSocket::connect(connector).await.expect("a WebSocket");
        ask(&mut socket, &json!({"messageType": "hello", "use_webpush": true})).await;
        let register = json!({"messageType": "register", "channelID": new_name()});
        let reply = ask(&mut socket, &register).await;
        Self {
            push_resource: reply["pushEndpoint"].as_str().expect("an endpoint").to_owned(),
            source: MessageSource::WebSocket(socket),
        }
    }

    /// By HTTP/2 server push.
    pub(crate) async fn by_push(node: &Node) -> Self {
        let subscribed = subscribe(node).await;
        let stream = node.connector().connect("h2").await.expect("the node listens");
        let (mut requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        let get = Request::get(format!("{}{}", node.public_url(), subscribed.set)).body(());
        let (mut response, _) = requests
            .send_request(get.expect("a URL"), true)
            .expect("a stream");
        let (told, hears) = mpsc::unbounded_channel();
        let mut promises = response.push_promises();
        tokio::spawn(async move {
            // Open for as long as it monitors.
            let (_requests, _response) = (requests, response);
            while let Some(Ok(promise)) = promises.push_promise().await {
                let (request, response) = promise.into_parts();
                let url = request.uri().to_string();
                let mut body = response.await.expect("a pushed response").into_body();
                let mut whole = Vec::new();
                while let Some(Ok(piece)) = body.data().await {
                    let _ = body.flow_control().release_capacity(piece.len());
                    whole.extend(piece);
                }
                if told.send(Came { url, body: whole }).is_err() {
                    return;
                }
            }
        });
        Self {
            push_resource: subscribed.push_resource,
            source: MessageSource::Monitor(hears),
        }
    }

    /// By Server-Sent Events over HTTP/1.1.
    pub(crate) async fn by_events(node: &Node) -> Self {
        let subscribed = subscribe(node).await;
        let mut stream = TcpStream::connect(node.connector().address)
            .await
            .expect("the node listens");
        let get = format!(
            "GET {} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
            subscribed.set
        );
        stream.write_all(get.as_bytes()).await.expect("the node reads");
        let (told, hears) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Some(data) = line.strip_prefix("data: ") else {
                    continue;
                };
                let event: Value = serde_json::from_str(data).expect("JSON");
                let text = |name: &str| event[name].as_str().expect("text").to_owned();
                let body = URL_SAFE_NO_PAD.decode(text("body")).expect("base64url");
                let url = text("message");
                if told.send(Came { url, body }).is_err() {
                    return;
                }
            }
        });
        Self {
            push_resource: subscribed.push_resource,
            source: MessageSource::Monitor(hears),
        }
    }

    /// Sends it a message, waits until it has come, and acknowledges it. How long it took, from the sender's request.
    pub(crate) async fn is_reached(&mut self, sender: &mut Http, text: &str) -> Duration {
        let started = Instant::now();
        let answer = within(
            "a push is answered",
            sender.push(&Push::new(&self.push_resource, text)),
        )
        .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        match &mut self.source {
            MessageSource::WebSocket(socket) => {
                let message = within("a message comes", notification(socket)).await;
                let took = started.elapsed();
                let body = URL_SAFE_NO_PAD.encode(payload::body(text));
                assert_eq!(message["data"], body, "{message}");
                let update = json!({"channelID": message["channelID"], "version": message["version"]});
                let ack = json!({"messageType": "ack", "updates": [update]});
                socket
                    .send(opcode::TEXT, ack.to_string().as_bytes())
                    .await
                    .expect("an acknowledgement");
                took
            }
            MessageSource::Monitor(hears) => {
                let came = within("a message comes", hears.recv()).await;
                let came = came.expect("the monitor lives");
                let took = started.elapsed();
                assert_eq!(payload::text(&came.body).as_deref(), Some(text));
                let acknowledged = within("an acknowledgement is answered", sender.delete(&came.url)).await;
                assert_eq!(acknowledged.expect("an answer").status, StatusCode::NO_CONTENT);
                took
            }
        }
    }
}

/// Makes a subscription in a set of its own.
pub(crate) async fn subscribe(node: &Node) -> Subscribed {
    let mut http = Http::connect(&node.connector()).await.expect("the node listens");
    let post = Request::post(format!("{}/subscribe", node.public_url())).body(Bytes::new());
    let answer = within("a subscription is made", http.request(post.expect("a URL")))
        .await
        .expect("an answer");
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let links = answer.headers.get_all("link");
    let named = |relation: &str| {
        links
            .iter()
            .filter_map(|link| link.to_str().ok()?.split_once(">; rel="))
            .find(|(_, found)| found.trim_matches('"') == relation)
            .and_then(|(target, _)| target.strip_prefix('<'))
            .unwrap_or_else(|| panic!("a link {relation} in {links:?}"))
            .to_owned()
    };
    let set = named("urn:ietf:params:push:set");
    Subscribed {
        push_resource: named("urn:ietf:params:push"),
        set: set
            .strip_prefix(node.public_url())
            .expect("a URL of the service")
            .to_owned(),
    }
}

async fn ask(socket: &mut RawWebSocket, message: &Value) -> Value {
    let asked = async {
        socket.send(opcode::TEXT, message.to_string().as_bytes()).await?;
        socket.receive().await
    };
    let (_, reply) = within("a reply", asked).await.expect("a reply");
    serde_json::from_slice(&reply).expect("JSON")
}

async fn notification(socket: &mut RawWebSocket) -> Value {
    loop {
        let (opcode, message) = socket.receive().await.expect("the channel lives");
        if opcode == opcode::TEXT {
            return serde_json::from_slice(&message).expect("JSON");
        }
    }
}
