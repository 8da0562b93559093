//! A WebSocket one layer below [`crate::user_agent`]: frames byte by byte, as no library would send them.
//!
//! Also the cheapest user agent there is: a socket and no buffers, so that thousands of them fit into a test that
//! measures the other side.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::connector::{Connector, Stream};

/// Frame types (RFC 6455 §5.2).
pub mod opcode {
    /// A frame that goes on with the message of the one before.
    pub const CONTINUATION: u8 = 0x0;
    /// Text.
    pub const TEXT: u8 = 0x1;
    /// Bytes.
    pub const BINARY: u8 = 0x2;
    /// The end.
    pub const CLOSE: u8 = 0x8;
    /// Are you there?
    pub const PING: u8 = 0x9;
}

/// The bit of a frame's first byte that says that its message ends here.
const FINAL: u8 = 0x80;
/// The bit of a frame's second byte that says that it is masked, as a client's must be.
const MASKED: u8 = 0x80;

/// An upgraded connection that carries whatever bytes the test wants.
pub struct RawWebSocket {
    stream: Stream,
}

impl RawWebSocket {
    /// Connects and upgrades.
    pub async fn connect(connector: &Connector) -> io::Result<Self> {
        let mut stream = connector.connect("http/1.1").await?;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            connector.address
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        // Byte by byte, so that nothing of the frames behind it is taken.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
        }
        Ok(Self { stream })
    }

    /// Sends a whole, correct frame.
    pub async fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.send_bytes(&frame(FINAL | opcode, payload)).await
    }

    /// Sends any bytes.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next frame: its opcode and its payload.
    pub async fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let opcode = self.stream.read_u8().await? & 0x0f;
        let length = match self.stream.read_u8().await? & 0x7f {
            126 => usize::from(self.stream.read_u16().await?),
            127 => usize::try_from(self.stream.read_u64().await?).map_err(io::Error::other)?,
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await?;
        Ok((opcode, payload))
    }

    /// Reads on until the service closes, and returns its close code; 1006 when it gave none.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.receive().await {
                Ok((opcode::CLOSE, payload)) => {
                    return payload
                        .first_chunk()
                        .map_or(1005, |code| u16::from_be_bytes(*code));
                }
                Ok(_) => {}
                Err(_) => return 1006,
            }
        }
    }
}

/// The bytes of a client's frame with this first byte. The mask is zero, which masks nothing and is allowed.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(MASKED | short as u8),
        medium @ 126..=0xffff => {
            bytes.push(MASKED | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(MASKED | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}
