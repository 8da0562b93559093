//! A push service in a few lines, without storage on disk, VAPID or limits: enough for the load tool to be tested against,
//! and able to break every promise that the load tool checks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_pong, write_text};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What this service does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    Nothing,
    /// One message is delivered twice.
    Twice,
    /// One message is answered 201 and dropped.
    Lost,
    /// One body is changed.
    Harmed,
    /// One message goes to another subscription's name.
    Elsewhere,
    /// One message is refused.
    Refused,
    /// One acknowledged message stays.
    KeptAfterAck,
}

/// Which message it happens to.
const UNLUCKY: usize = 15;

#[derive(Default)]
struct Queue {
    channel: String,
    /// Versions, and frames that hold the notifications.
    waiting: Vec<(String, Vec<u8>)>,
    connected: Option<mpsc::UnboundedSender<Vec<u8>>>,
}

pub(super) struct Fake {
    wrong: Wrong,
    address: SocketAddr,
    state: Mutex<FakeState>,
}

#[derive(Default)]
struct FakeState {
    queues: HashMap<String, Queue>,
    pushed: usize,
}

impl Fake {
    /// Starts it, and returns where it listens.
    pub(super) async fn start(wrong: Wrong) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Arc::new(Self {
            wrong,
            address,
            state: Mutex::default(),
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&fake).serve(stream));
            }
        });
        address
    }

    /// One connection: a WebSocket if it begins so, else pushes. It ends when the peer goes.
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut read = Vec::new();
        while let Some((head, body)) = request(&mut stream, &mut read).await {
            if field(&head, "upgrade") == Some("websocket") {
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                     sec-websocket-accept: {}\r\n\r\n",
                    accept(field(&head, "sec-websocket-key").unwrap())
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
                return self.channel(stream, read).await;
            }
            let uaid = head.split(['/', ' ']).nth(4).unwrap();
            let status = self.push(uaid, &body);
            let answer = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn push(&self, uaid: &str, body: &[u8]) -> u16 {
        let mut state = self.state.lock().unwrap();
        state.pushed += 1;
        let number = state.pushed;
        let wrong = if number == UNLUCKY {
            self.wrong
        } else {
            Wrong::Nothing
        };
        let mut body = URL_SAFE_NO_PAD.encode(body);
        let queue = state.queues.get_mut(uaid).unwrap();
        let mut channel = queue.channel.clone();
        match wrong {
            Wrong::Refused => return 503,
            Wrong::Lost => return 201,
            Wrong::Harmed => body.replace_range(100..104, "AAAA"),
            Wrong::Elsewhere => channel = "another".to_owned(),
            Wrong::Nothing | Wrong::Twice | Wrong::KeptAfterAck => {}
        }
        let version = format!("v{number}");
        let notification = json!({
            "messageType": "notification", "channelID": channel, "version": version, "data": body,
            "headers": {"encoding": "aes128gcm"},
        });
        let notification = frame(&notification);
        if let Some(connected) = &queue.connected {
            let times = if wrong == Wrong::Twice { 2 } else { 1 };
            for _ in 0..times {
                let _ = connected.send(notification.clone());
            }
        }
        queue.waiting.push((version, notification));
        201
    }

    async fn channel(&self, stream: TcpStream, mut read: Vec<u8>) {
        let (mut from, mut to) = stream.into_split();
        let (tell, mut told) = mpsc::unbounded_channel::<Vec<u8>>();
        tokio::spawn(async move {
            while let Some(frame) = told.recv().await {
                if to.write_all(&frame).await.is_err() {
                    return;
                }
            }
        });
        let mut frames = FrameReader::new(Reader::Service, 1 << 20);
        let mut uaid = String::new();
        loop {
            while let Some((incoming, taken)) = frames.read(&mut read).unwrap() {
                match incoming {
                    Incoming::Text(text) => self.hear(text, &mut uaid, &tell),
                    Incoming::Ping(payload) => {
                        let mut out = Vec::new();
                        write_pong(&mut out, None, payload);
                        tell.send(out).unwrap();
                    }
                    other => panic!("{other:?}"),
                }
                read.drain(..taken);
            }
            if from.read_buf(&mut read).await.unwrap_or(0) == 0 {
                break;
            }
        }
        if let Some(queue) = self.state.lock().unwrap().queues.get_mut(&uaid) {
            queue.connected = None;
        }
    }

    fn hear(&self, text: &str, uaid: &mut String, tell: &mpsc::UnboundedSender<Vec<u8>>) {
        let message: Value = serde_json::from_str(text).unwrap();
        let mut state = self.state.lock().unwrap();
        let say = |text: Value| tell.send(frame(&text)).unwrap();
        match message["messageType"].as_str() {
            Some("hello") => {
                let known = message["uaid"].as_str().map(str::to_owned);
                *uaid = known.unwrap_or_else(|| format!("{:032x}", state.queues.len()));
                say(json!({"messageType": "hello", "uaid": uaid, "status": 200, "use_webpush": true}));
                let queue = state.queues.entry(uaid.clone()).or_default();
                queue.connected = Some(tell.clone());
                for (_, notification) in &queue.waiting {
                    tell.send(notification.clone()).unwrap();
                }
            }
            Some("register") => {
                let channel = &message["channelID"];
                state.queues.get_mut(uaid).unwrap().channel = channel.as_str().unwrap().to_owned();
                let url = format!("http://{}/wpush/v1/{uaid}", self.address);
                say(
                    json!({"messageType": "register", "channelID": channel, "status": 200, "pushEndpoint": url}),
                );
            }
            Some("ack") => {
                let version = message["updates"][0]["version"].as_str().unwrap();
                let stays = self.wrong == Wrong::KeptAfterAck && version == format!("v{UNLUCKY}");
                let waiting = &mut state.queues.get_mut(uaid).unwrap().waiting;
                waiting.retain(|(waiting, _)| waiting != version || stays);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn frame(text: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let text = text.to_string();
    write_text(&mut out, None, |out| out.extend_from_slice(text.as_bytes()));
    out
}

/// RFC 6455 §4.2.2.
fn accept(key: &str) -> String {
    let digest = sha1_smol::Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")).digest();
    STANDARD.encode(digest.bytes())
}

/// The value of a header field.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields
        .find(|(there, _)| there.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// Reads a request: its head, and its body. `None` when the peer has gone.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            if read.len() >= end + 4 + length {
                let body = read[end + 4..end + 4 + length].to_vec();
                read.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}
