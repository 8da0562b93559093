//! HTTP/2 one layer below any library: frames as no library would send them, in any number.
//!
//! Knows as much of field blocks as it takes to write one; of those that come it reads nothing.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Kinds of frames (RFC 9113 §6).
pub mod kind {
    /// Content.
    pub const DATA: u8 = 0x0;
    /// A field block begins.
    pub const HEADERS: u8 = 0x1;
    /// A word about the order of streams, which is ignored today.
    pub const PRIORITY: u8 = 0x2;
    /// A stream ends at once.
    pub const RST_STREAM: u8 = 0x3;
    /// What the peer may do.
    pub const SETTINGS: u8 = 0x4;
    /// A promise.
    pub const PUSH_PROMISE: u8 = 0x5;
    /// Are you there?
    pub const PING: u8 = 0x6;
    /// No new streams.
    pub const GOAWAY: u8 = 0x7;
    /// The peer may send more.
    pub const WINDOW_UPDATE: u8 = 0x8;
    /// A field block goes on.
    pub const CONTINUATION: u8 = 0x9;
}

/// Flags of frames.
pub mod flag {
    /// The frame answers another one.
    pub const ACK: u8 = 0x1;
    /// The stream ends with this frame.
    pub const END_STREAM: u8 = 0x1;
    /// The field block ends with this frame.
    pub const END_HEADERS: u8 = 0x4;
}

/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
pub const INITIAL_WINDOW_SIZE: u16 = 0x4;

/// The error code for a peer that only causes work (RFC 9113 §7).
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

/// The field block of `GET http://x/`. Leaves the table of fields as it is.
pub const GET: &[u8] = b"\x82\x86\x84\x01\x01x";

/// How a connection begins (RFC 9113 §3.4). SETTINGS have to follow.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is heard of a frame.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Its kind.
    pub kind: u8,
    /// Whose stream it is.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// Connects in clear and says the preface with these settings. The two halves are for two tasks.
pub async fn connect(address: SocketAddr, settings: &[u8]) -> std::io::Result<(FrameReader, OwnedWriteHalf)> {
    let settings = frame(kind::SETTINGS, 0, 0, settings);
    begin(address, &[PREFACE, &settings].concat()).await
}

async fn begin(address: SocketAddr, said_first: &[u8]) -> std::io::Result<(FrameReader, OwnedWriteHalf)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (heard, mut said) = stream.into_split();
    said.write_all(said_first).await?;
    Ok((FrameReader(heard), said))
}

/// The half of a connection that frames come by.
pub struct FrameReader(OwnedReadHalf);

impl FrameReader {
    /// The next frame; `None` when the connection is over.
    pub async fn hear(&mut self) -> Option<Heard> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let [high, middle, low, kind, _flags, a, b, c, d] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Heard {
            kind,
            stream: u32::from_be_bytes([a, b, c, d]),
            payload,
        })
    }

    /// Reads until the service closes; the last error code that it gave, with its words.
    pub async fn dismissal(&mut self) -> Option<(u32, String)> {
        let mut dismissed = None;
        while let Some(heard) = self.hear().await {
            if heard.kind == kind::GOAWAY {
                let code = heard.payload[4..8].try_into().map(u32::from_be_bytes);
                let words = String::from_utf8_lossy(&heard.payload[8..]);
                dismissed = Some((code.expect("four bytes"), words.into_owned()));
            }
        }
        dismissed
    }
}

/// Both halves, for one who speaks and listens in turn.
pub struct RawPeer {
    ear: FrameReader,
    mouth: OwnedWriteHalf,
}

impl RawPeer {
    /// Connects and says the preface with these settings.
    ///
    /// # Panics
    ///
    /// When no service listens, as everything here that needs one.
    pub async fn connect(address: SocketAddr, settings: &[u8]) -> Self {
        let (ear, mouth) = connect(address, settings).await.expect("the service listens");
        Self { ear, mouth }
    }

    /// Connects and says nothing but the preface's first part.
    pub async fn silent(address: SocketAddr) -> Self {
        let (ear, mouth) = begin(address, PREFACE).await.expect("the service listens");
        Self { ear, mouth }
    }

    /// Sends bytes to a service that still listens.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let said = self.mouth.write_all(bytes.as_ref()).await;
        said.expect("the service listens");
    }

    /// Sends bytes. False when the service has closed the connection.
    pub async fn try_say(&mut self, bytes: &[u8]) -> bool {
        self.mouth.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` when the connection is closed.
    pub async fn hear(&mut self) -> Option<Heard> {
        self.ear.hear().await
    }

    /// Reads on to the next frame of this kind; `None` when the connection is closed before.
    pub async fn hear_a(&mut self, kind: u8) -> Option<Heard> {
        loop {
            let heard = self.hear().await?;
            if heard.kind == kind {
                return Some(heard);
            }
        }
    }

    /// Sends a PING and waits for its answer: all before was read by then. False when the connection is closed instead.
    pub async fn round_trip(&mut self) -> bool {
        let ping = frame(kind::PING, 0, 0, b"--------");
        self.try_say(&ping).await && self.hear_a(kind::PING).await.is_some()
    }

    /// What [`FrameReader::dismissal`] says.
    pub async fn dismissal(&mut self) -> Option<(u32, String)> {
        self.ear.dismissal().await
    }

    /// Sends these bytes again and again until the service closes, and reads meanwhile. Returns what
    /// [`FrameReader::dismissal`] does.
    pub async fn flood(self, bytes: &[u8]) -> Option<(u32, String)> {
        let (mut ear, mut mouth) = (self.ear, self.mouth);
        let flooding = async { while mouth.write_all(bytes).await.is_ok() {} };
        tokio::join!(flooding, ear.dismissal()).1
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A setting (RFC 9113 §6.5.1).
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A request that is whole, for `http://x/`.
pub fn get(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, stream, GET)
}

/// The field block of a request for this path, without compression (RFC 7541 §6.2.2).
pub fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "x"),
        (":path", path),
    ];
    let mut block = Vec::new();
    for (name, value) in pseudo.iter().chain(fields) {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// A string literal (RFC 7541 §5.2): its length with a prefix of seven bits.
fn text(block: &mut Vec<u8>, text: &str) {
    match text.len() {
        short @ 0..127 => block.push(short as u8),
        long => {
            block.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                block.push((rest % 128) as u8 | 0x80);
                rest /= 128;
            }
            block.push(rest as u8);
        }
    }
    block.extend_from_slice(text.as_bytes());
}
