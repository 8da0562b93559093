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
    books: Arc<Mutex<Books>>,
    acknowledged: mpsc::Receiver<Acknowledged>,
}

#[derive(Default)]
struct Books {
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
        let books = Arc::new(Mutex::new(Books::default()));
        let (acknowledge, acknowledged) = mpsc::channel();
        let serving = Arc::clone(&books);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (books, acknowledge) = (Arc::clone(&serving), acknowledge.clone());
                thread::spawn(move || serve(stream.unwrap(), &books, &acknowledge));
            }
        });
        Self {
            address,
            books,
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
        let mut books = lock(&self.books);
        let mut message = json!({
            "messageType": "notification",
            "channelID": books.channels[channel],
            "version": id,
        });
        let more = members.as_object().unwrap().clone();
        message.as_object_mut().unwrap().extend(more);
        books.waiting.insert(id.to_owned(), message.clone());
        if let Some(open) = &mut books.open {
            say(open, &message);
        }
    }

    /// The next acknowledgement.
    pub(crate) fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.recv_timeout(crate::PATIENCE).unwrap()
    }

    /// Whether this one still waits.
    pub(crate) fn keeps(&self, id: &str) -> bool {
        lock(&self.books).waiting.contains_key(id)
    }
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Nobody hears it: then it waits.
fn say(stream: &mut TcpStream, message: &Value) {
    let mut bytes = Vec::new();
    write_text(&mut bytes, None, |out| {
        out.extend_from_slice(message.to_string().as_bytes());
    });
    let _ = stream.write_all(&bytes);
}

fn serve(mut stream: TcpStream, books: &Mutex<Books>, acknowledge: &mpsc::Sender<Acknowledged>) {
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
                answer(&mut stream, &said, books, acknowledge);
            }
        }
    }
}

fn answer(
    stream: &mut TcpStream,
    said: &Value,
    books: &Mutex<Books>,
    acknowledge: &mpsc::Sender<Acknowledged>,
) {
    let mut books = lock(books);
    match said["messageType"].as_str() {
        Some("hello") => {
            say(
                stream,
                &json!({"messageType": "hello", "uaid": "somebody", "status": 200, "use_webpush": true}),
            );
            for message in books.waiting.values() {
                say(stream, message);
            }
            books.open = Some(stream.try_clone().unwrap());
        }
        Some("register") => {
            let channel = said["channelID"].as_str().unwrap().to_owned();
            let endpoint = format!("http://push.example.net/{channel}");
            say(
                stream,
                &json!({"messageType": "register", "channelID": channel, "status": 200, "pushEndpoint": endpoint}),
            );
            if !books.channels.contains(&channel) {
                books.channels.push(channel);
            }
        }
        Some("ack") => {
            for update in said["updates"].as_array().unwrap() {
                let id = update["version"].as_str().unwrap().to_owned();
                books.waiting.remove(&id);
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
