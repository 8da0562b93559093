//! A push service on the WebSocket, as far as `listen` needs one: it keeps each message until it is acknowledged, and sends
//! all that it keeps on each new channel.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_text};
use serde_json::{Value, json};

/// What was acknowledged: the message's id, and the code.
pub(crate) type Acknowledged = (String, u64);

pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    served: Arc<Mutex<Served>>,
    acknowledged: mpsc::Receiver<Acknowledged>,
}

#[derive(Default)]
struct Served {
    /// Names of the subscriptions, in the order in which they were made.
    channels: Vec<String>,
    /// What waits, by id; the order of ids is that in which they are sent.
    waiting: BTreeMap<String, Value>,
    /// The channel that is open.
    open: Option<TcpStream>,
}

impl Service {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(Mutex::new(Served::default()));
        let (acknowledge, acknowledged) = mpsc::channel();
        let serving = Arc::clone(&served);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (served, acknowledge) = (Arc::clone(&serving), acknowledge.clone());
                thread::spawn(move || serve(stream.unwrap(), &served, &acknowledge));
            }
        });
        Self {
            address,
            served,
            acknowledged,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Sends a message without data to the subscription that was made as the first, second, …
    pub(crate) fn send(&self, channel: usize, id: &str) {
        self.send_with(channel, id, &json!({}));
    }

    /// The same, with more members.
    pub(crate) fn send_with(&self, channel: usize, id: &str, members: &Value) {
        let mut served = lock(&self.served);
        let mut message = json!({
            "messageType": "notification",
            "channelID": served.channels[channel],
            "version": id,
        });
        let more = members.as_object().unwrap().clone();
        message.as_object_mut().unwrap().extend(more);
        served.waiting.insert(id.to_owned(), message.clone());
        if let Some(open) = &mut served.open {
            say(open, &message);
        }
    }

    /// The next acknowledgement.
    pub(crate) fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.recv_timeout(crate::PATIENCE).unwrap()
    }

    /// Whether this one still waits.
    pub(crate) fn keeps(&self, id: &str) -> bool {
        lock(&self.served).waiting.contains_key(id)
    }
}

fn lock(served: &Mutex<Served>) -> MutexGuard<'_, Served> {
    served.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Without an open channel it waits.
fn say(stream: &mut TcpStream, message: &Value) {
    let mut bytes = Vec::new();
    write_text(&mut bytes, None, |out| {
        out.extend_from_slice(message.to_string().as_bytes());
    });
    let _ = stream.write_all(&bytes);
}

fn serve(mut stream: TcpStream, served: &Mutex<Served>, acknowledge: &mpsc::Sender<Acknowledged>) {
    if upgrade(&mut stream).is_none() {
        return;
    }
    let mut reader = FrameReader::new(Reader::Service, 65_536);
    let mut unread = Vec::new();
    let mut bytes = [0; 16_384];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        unread.extend_from_slice(&bytes[..length]);
        while let Ok(Some((incoming, read))) = reader.read(&mut unread) {
            let said = match incoming {
                Incoming::Text(text) => Some(serde_json::from_str::<Value>(text).unwrap()),
                _ => None,
            };
            unread.drain(..read);
            if let Some(said) = said {
                answer(&mut stream, &said, served, acknowledge);
            }
        }
    }
}

fn answer(
    stream: &mut TcpStream,
    said: &Value,
    served: &Mutex<Served>,
    acknowledge: &mpsc::Sender<Acknowledged>,
) {
    let mut served = lock(served);
    match said["messageType"].as_str() {
        Some("hello") => {
            say(
                stream,
                &json!({"messageType": "hello", "uaid": "somebody", "status": 200, "use_webpush": true}),
            );
            for message in served.waiting.values() {
                say(stream, message);
            }
            served.open = Some(stream.try_clone().unwrap());
        }
        Some("register") => {
            let channel = said["channelID"].as_str().unwrap().to_owned();
            let endpoint = format!("http://push.example.net/{channel}");
            say(
                stream,
                &json!({"messageType": "register", "channelID": channel, "status": 200, "pushEndpoint": endpoint}),
            );
            if !served.channels.contains(&channel) {
                served.channels.push(channel);
            }
        }
        Some("ack") => {
            for update in said["updates"].as_array().unwrap() {
                let id = update["version"].as_str().unwrap().to_owned();
                served.waiting.remove(&id);
                let _ = acknowledge.send((id, update["code"].as_u64().unwrap()));
            }
        }
        _ => {}
    }
}

fn upgrade(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    })?;
    let digest = sha1_smol::Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")).digest();
    let accept = STANDARD.encode(digest.bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).ok()
}
