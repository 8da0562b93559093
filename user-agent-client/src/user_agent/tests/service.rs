//! A push service for one user agent at a time, which does what a test tells it.

use push_protocol::Urgency;
use push_protocol::encryption::Recipient;
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_close, write_pong, write_text};
use push_protocol::wire::websocket::{Request, parse};
use ring::rand::SystemRandom;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::server_url::ServerUrl;
use crate::subscription::Subscription;

pub(super) const IDENTITY: &str = "0123456789abcdef0123456789abcdef";

pub(super) struct Service {
    listener: TcpListener,
}

/// A channel, as the service sees it.
pub(super) struct Peer {
    stream: TcpStream,
    reader: FrameReader,
    unread: Vec<u8>,
}

/// What the user agent said, owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    Hello(Option<String>),
    /// With a lowest urgency.
    HelloFrom(Urgency),
    Urgency(Urgency),
    Register(String, Option<String>),
    Unregister(String),
    /// Version and code.
    Ack(String, u64),
    Ping,
    Closed(Option<u16>),
    Gone,
}

impl Service {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    pub(super) fn url(&self) -> ServerUrl {
        ServerUrl::parse(&format!("ws://{}/", self.listener.local_addr().unwrap())).unwrap()
    }

    /// The next connection, before anything is said on it.
    pub(super) async fn connection(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// The next channel, upgraded.
    pub(super) async fn channel(&self) -> Peer {
        let mut stream = self.connection().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let key = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .starts_with("sec-websocket-key:")
                .then(|| line[18..].trim())
        });
        let mut digest = sha1_smol::Sha1::from(key.unwrap());
        digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        let accept = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            digest.digest().bytes(),
        );
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        Peer {
            stream,
            reader: FrameReader::new(Reader::Service, 1 << 20),
            unread: Vec::new(),
        }
    }

    /// The service has forgotten who the user agent is, and says so until it is believed: then everything is asked for.
    pub(super) async fn forgets(&self, identity: &str) -> Peer {
        drop(self.welcome(identity).await);
        self.welcome(identity).await.0
    }

    /// The next channel, greeted, and the identity that was shown.
    pub(super) async fn welcome(&self, identity: &str) -> (Peer, Option<String>) {
        let mut peer = self.channel().await;
        let Said::Hello(shown) = peer.hears().await else {
            panic!("a hello comes first")
        };
        peer.says(&hello(identity)).await;
        (peer, shown)
    }
}

pub(super) fn hello(identity: &str) -> String {
    format!(r#"{{"messageType":"hello","uaid":"{identity}","status":200,"use_webpush":true}}"#)
}

pub(super) fn endpoint(number: u32) -> String {
    format!("https://push.example.net/wpush/v1/{number}")
}

impl Peer {
    pub(super) async fn says(&mut self, text: &str) {
        let mut out = Vec::new();
        write_text(&mut out, None, |out| out.extend_from_slice(text.as_bytes()));
        self.writes(&out).await;
    }

    /// Says all of this in one piece.
    pub(super) async fn says_all(&mut self, texts: &[&str]) {
        let mut out = Vec::new();
        for text in texts {
            write_text(&mut out, None, |out| out.extend_from_slice(text.as_bytes()));
        }
        self.writes(&out).await;
    }

    pub(super) async fn writes(&mut self, bytes: &[u8]) {
        // A user agent that went away is noticed when something is expected of it.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The bare connection, for a thread.
    pub(super) fn into_std(self) -> std::net::TcpStream {
        let stream = self.stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    }

    /// Says this again and again, from a thread of its own, until the user agent has gone.
    pub(super) fn raves(self, text: &str) {
        let mut out = Vec::new();
        for _ in 0..10_000 {
            write_text(&mut out, None, |out| out.extend_from_slice(text.as_bytes()));
        }
        let mut stream = self.into_std();
        std::thread::spawn(move || while std::io::Write::write_all(&mut stream, &out).is_ok() {});
    }

    pub(super) async fn closes(mut self, code: u16) {
        let mut out = Vec::new();
        write_close(&mut out, None, code, "");
        self.writes(&out).await;
    }

    /// The next thing that the user agent says. Pings of the WebSocket are answered.
    pub(super) async fn hears(&mut self) -> Said {
        loop {
            let mut pong = None;
            let mut input = std::mem::take(&mut self.unread);
            let (said, used) = match self.reader.read(&mut input) {
                Ok(Some((incoming, used))) => match incoming {
                    Incoming::Text(text) => (Some(said(text)), used),
                    Incoming::Ping(payload) => {
                        pong = Some(payload.to_vec());
                        (None, used)
                    }
                    Incoming::Close(code) => (Some(Said::Closed(code)), used),
                    other => panic!("a user agent doesn't send {other:?}"),
                },
                Ok(None) => (None, 0),
                Err(error) => panic!("{error}"),
            };
            input.drain(..used);
            self.unread = input;
            if let Some(payload) = pong {
                let mut out = Vec::new();
                write_pong(&mut out, None, &payload);
                self.writes(&out).await;
            }
            if let Some(said) = said {
                return said;
            }
            if used == 0 && !matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..)) {
                return Said::Gone;
            }
        }
    }

    /// Confirms the registration that comes next, and returns its name.
    pub(super) async fn confirms(&mut self, number: u32) -> String {
        let Said::Register(name, _) = self.hears().await else {
            panic!("a registration is expected")
        };
        let endpoint = endpoint(number);
        self.says(&format!(
            r#"{{"messageType":"register","channelID":"{name}","status":200,"pushEndpoint":"{endpoint}"}}"#
        ))
        .await;
        name
    }

    /// Pushes a text, encrypted for this subscription.
    pub(super) async fn pushes(&mut self, to: &Subscription, version: &str, text: &str) {
        let recipient = Recipient::parse(&to.p256dh(), &to.auth()).unwrap();
        let body = recipient
            .encrypt(text.as_bytes(), 0, &SystemRandom::new())
            .unwrap();
        self.pushes_body(&to.name.to_string(), version, &body).await;
    }

    pub(super) async fn pushes_body(&mut self, name: &str, version: &str, body: &[u8]) {
        use base64::Engine as _;
        let data = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(body);
        self.says(&format!(
            r#"{{"messageType":"notification","channelID":"{name}","version":"{version}","data":"{data}","headers":{{"encoding":"aes128gcm"}}}}"#
        ))
        .await;
    }
}

fn said(text: &str) -> Said {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let string = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    match parse(text).unwrap() {
        Request::Hello(_, Urgency::VeryLow) => Said::Hello(string(&value["uaid"])),
        Request::Hello(_, lowest) => Said::HelloFrom(lowest),
        Request::Urgency(lowest) => Said::Urgency(lowest.unwrap()),
        Request::Register { name, key } => {
            Said::Register(name.text.into_owned(), key.map(std::borrow::Cow::into_owned))
        }
        Request::Unregister { name, .. } => Said::Unregister(name.text.into_owned()),
        Request::Ack(_) => {
            let update = &value["updates"][0];
            Said::Ack(
                string(&update["version"]).unwrap(),
                update["code"].as_u64().unwrap(),
            )
        }
        Request::Ping => Said::Ping,
        other => panic!("a user agent doesn't say {other:?}"),
    }
}
