//! HTTP/2 one layer below any library: frames as no library would send them, in any number.
//!
//! Knows as much of field blocks as it takes to write one; of those that come it reads nothing.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::door::Door;

/// Kinds of frames (RFC 9113 §6).
pub mod kind {
    /// Content.
    pub const DATA: u8 = 0x0;
    /// A field block begins.
    pub const HEADERS: u8 = 0x1;
    /// A word about the order of streams, which nobody heeds any more.
    pub const PRIORITY: u8 = 0x2;
    /// A stream ends at once.
    pub const RST_STREAM: u8 = 0x3;
    /// What the peer may do.
    pub const SETTINGS: u8 = 0x4;
    /// A promise.
    pub const PUSH_PROMISE: u8 = 0x5;
    /// Are you there?
    pub const PING: u8 = 0x6;
    /// The peer may send more.
    pub const WINDOW_UPDATE: u8 = 0x8;
    /// A field block goes on.
    pub const CONTINUATION: u8 = 0x9;
}

/// Flags of frames.
pub mod flag {
    /// The stream ends with this frame.
    pub const END_STREAM: u8 = 0x1;
    /// The field block ends with this frame.
    pub const END_HEADERS: u8 = 0x4;
}

/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
pub const INITIAL_WINDOW_SIZE: u16 = 0x4;

/// What is heard of a frame.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Its kind.
    pub kind: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// Connects in clear and says the preface with these settings. The two halves are for two tasks.
pub async fn connect(door: &Door, settings: &[u8]) -> std::io::Result<(Ear, OwnedWriteHalf)> {
    let stream = TcpStream::connect(door.address).await?;
    stream.set_nodelay(true)?;
    let (heard, mut said) = stream.into_split();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = frame(kind::SETTINGS, 0, 0, settings);
    said.write_all(&[&preface[..], &settings].concat()).await?;
    Ok((Ear(heard), said))
}

/// The half of a connection that frames come by.
pub struct Ear(OwnedReadHalf);

impl Ear {
    /// The next frame; `None` when the connection is over.
    pub async fn hear(&mut self) -> Option<Heard> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Heard {
            kind: head[3],
            payload,
        })
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
