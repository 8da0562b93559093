//! An HTTP/2 peer that sends whatever frames a test wants, in any order and number.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::rig::Node;

/// Kinds of frames (RFC 9113 §6).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0x0;
    pub(in super::super) const HEADERS: u8 = 0x1;
    pub(in super::super) const PRIORITY: u8 = 0x2;
    pub(in super::super) const RST_STREAM: u8 = 0x3;
    pub(in super::super) const SETTINGS: u8 = 0x4;
    pub(in super::super) const PING: u8 = 0x6;
    pub(in super::super) const GOAWAY: u8 = 0x7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 0x8;
    pub(in super::super) const CONTINUATION: u8 = 0x9;
}

/// Flags of frames.
pub(super) mod flag {
    pub(in super::super) const ACK: u8 = 0x1;
    pub(in super::super) const END_STREAM: u8 = 0x1;
    pub(in super::super) const END_HEADERS: u8 = 0x4;
}

/// Error codes (RFC 9113 §7).
pub(super) const ENHANCE_YOUR_CALM: u32 = 0xb;

/// The field block of `GET http://x/`. Leaves the table of fields as it is.
pub(super) const GET: &[u8] = b"\x82\x86\x84\x01\x01x";

/// A frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// The bytes of a frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A setting (RFC 9113 §6.5.1).
pub(super) fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A request that is whole.
pub(super) fn get(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, stream, GET)
}

/// The peer's end of a connection.
pub(super) struct RawPeer {
    heard: OwnedReadHalf,
    said: OwnedWriteHalf,
}

impl RawPeer {
    /// Connects and says the preface; these settings follow.
    pub(super) async fn connect(node: &Node, settings: &[u8]) -> Self {
        let mut peer = Self::silent(node).await;
        peer.say(frame(kind::SETTINGS, 0, 0, settings)).await;
        peer
    }

    /// Connects and says nothing but the preface's first part.
    pub(super) async fn silent(node: &Node) -> Self {
        let socket = TcpStream::connect(node.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (heard, said) = socket.into_split();
        let mut peer = Self { heard, said };
        peer.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        peer
    }

    /// Sends bytes to a service that still listens.
    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.said.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends bytes. False when the service has closed the connection.
    pub(super) async fn try_say(&mut self, bytes: &[u8]) -> bool {
        self.said.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` when the connection is closed.
    pub(super) async fn hear(&mut self) -> Option<Frame> {
        read(&mut self.heard).await
    }

    /// Reads on to the next frame of this kind; `None` when the connection is closed before.
    pub(super) async fn hear_a(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.hear().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Sends a PING and waits for its answer: all before was read by then. False when the connection is closed instead.
    pub(super) async fn round_trip(&mut self) -> bool {
        let ping = frame(kind::PING, 0, 0, b"--------");
        self.try_say(&ping).await && self.hear_a(kind::PING).await.is_some()
    }

    /// Reads until the service closes; the last error code that it gave, with its words.
    pub(super) async fn dismissal(&mut self) -> Option<(u32, String)> {
        dismissal(&mut self.heard).await
    }

    /// Sends these bytes again and again until the service closes, and reads meanwhile. Returns what
    /// [`RawPeer::dismissal`] does.
    pub(super) async fn flood(self, bytes: &[u8]) -> Option<(u32, String)> {
        let (mut heard, mut said) = (self.heard, self.said);
        let flooding = async { while said.write_all(bytes).await.is_ok() {} };
        tokio::join!(flooding, dismissal(&mut heard)).1
    }
}

async fn read(heard: &mut OwnedReadHalf) -> Option<Frame> {
    let mut head = [0; 9];
    heard.read_exact(&mut head).await.ok()?;
    let [high, middle, low, kind, _flags, a, b, c, d] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
    heard.read_exact(&mut payload).await.ok()?;
    Some(Frame {
        kind,
        stream: u32::from_be_bytes([a, b, c, d]),
        payload,
    })
}

async fn dismissal(heard: &mut OwnedReadHalf) -> Option<(u32, String)> {
    let mut dismissed = None;
    while let Some(frame) = read(heard).await {
        if frame.kind == kind::GOAWAY {
            let code = frame.payload[4..8].try_into().map(u32::from_be_bytes);
            let words = String::from_utf8_lossy(&frame.payload[8..]);
            dismissed = Some((code.unwrap(), words.into_owned()));
        }
    }
    dismissed
}
