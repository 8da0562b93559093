//! A user agent over an in-memory connection, as little of one as a test needs.

use std::sync::Arc;

use futures_util::future::Either;
use push_protocol::capability::{Capabilities, PushCapability, PushKind};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_pong, write_text};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::name;

/// The other end of a connection.
pub(crate) struct UserAgent {
    stream: DuplexStream,
    read: Vec<u8>,
    frames: FrameReader,
    answers_pings: bool,
    capabilities: Arc<Capabilities>,
}

impl UserAgent {
    pub(super) fn new(stream: DuplexStream, capabilities: Arc<Capabilities>) -> Self {
        Self {
            stream,
            read: Vec::new(),
            frames: FrameReader::new(Reader::UserAgent, 1 << 20),
            answers_pings: true,
            capabilities,
        }
    }

    pub(crate) fn answers_pings(&mut self, answers: bool) {
        self.answers_pings = answers;
    }

    /// Says hello and returns the uaid of the answer.
    pub(crate) async fn hello(&mut self, uaid: Option<&str>) -> String {
        self.send(&json!({"messageType": "hello", "use_webpush": true, "uaid": uaid}))
            .await;
        let hello = self.receive().await;
        assert_eq!(
            (&hello["messageType"], &hello["status"]),
            (&json!("hello"), &json!(200))
        );
        hello["uaid"].as_str().unwrap().to_owned()
    }

    /// Registers without a key, and returns what the push URL stands for.
    pub(crate) async fn register(&mut self, n: u8) -> PushCapability {
        self.send(&json!({"messageType": "register", "channelID": name(n)}))
            .await;
        let reply = loop {
            let reply = self.receive().await;
            if reply["messageType"] == "register" {
                break reply;
            }
        };
        let url = reply["pushEndpoint"].as_str().unwrap();
        let token = url.rsplit('/').next().unwrap();
        self.capabilities
            .open_push(PushKind::WpushV1, token)
            .unwrap()
            .capability
    }

    pub(crate) async fn acknowledge(&mut self, message: &Value) {
        let update = json!({"channelID": message["channelID"], "version": message["version"], "code": 100});
        self.send(&json!({"messageType": "ack", "updates": [update]}))
            .await;
    }

    /// Pings and waits for the answer.
    pub(crate) async fn ping(&mut self) {
        self.send(&json!({})).await;
        assert_eq!(self.receive().await, json!({}));
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_together(std::slice::from_ref(message)).await;
    }

    pub(crate) async fn send_together(&mut self, messages: &[Value]) {
        let mut out = Vec::new();
        for message in messages {
            write_text(&mut out, Some([1, 2, 3, 4]), |out| {
                out.extend_from_slice(message.to_string().as_bytes());
            });
        }
        self.send_bytes(&out).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next bytes, when no message is half read.
    pub(crate) async fn receive_bytes<const N: usize>(&mut self) -> [u8; N] {
        assert!(self.read.is_empty());
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// The next message.
    pub(crate) async fn receive(&mut self) -> Value {
        match self.next().await {
            Either::Left(message) => message,
            Either::Right(code) => panic!("closed with {code:?}"),
        }
    }

    /// Reads on until the close, and returns its code.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            if let Either::Right(code) = self.next().await {
                return code.expect("the close has a code");
            }
        }
    }

    pub(crate) async fn close(mut self) {
        self.send_bytes(b"\x88\x82\0\0\0\0\x03\xe8").await;
        assert_eq!(self.closed().await, 1000);
    }

    async fn next(&mut self) -> Either<Value, Option<u16>> {
        loop {
            let mut pong = None;
            match self.frames.read(&mut self.read).unwrap() {
                Some((Incoming::Text(text), taken)) => {
                    let message = serde_json::from_str(text).unwrap();
                    self.read.drain(..taken);
                    return Either::Left(message);
                }
                Some((Incoming::Close(code), _)) => return Either::Right(code),
                Some((incoming, taken)) => {
                    if let Incoming::Ping(payload) = incoming {
                        pong = self.answers_pings.then(|| payload.to_vec());
                    }
                    self.read.drain(..taken);
                }
                None => {
                    let read = self.stream.read_buf(&mut self.read).await.unwrap();
                    assert!(read > 0, "the connection ended without a close");
                }
            }
            if let Some(payload) = pong {
                let mut out = Vec::new();
                write_pong(&mut out, Some([9, 9, 9, 9]), &payload);
                self.send_bytes(&out).await;
            }
        }
    }
}
