//! The first bytes of a connection: whether a PROXY header comes first, and which protocol is spoken.
//!
//! Looks without taking, because a TLS handshake and an HTTP parser each want their own first byte. Only a beginning
//! that is too short to judge is taken, since a second look would show the same bytes at once and the task would spin.

use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// How every HTTP/2 connection begins (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What was seen of a connection's first bytes.
#[derive(Debug, Default)]
pub(super) struct Opening {
    seen: Vec<u8>,
    /// How many of them are taken from the socket; the others are still in it.
    taken: usize,
}

impl Opening {
    /// Everything seen so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.seen
    }

    /// Waits until there is more to see than before, up to `limit` bytes in all. Takes what was seen before.
    pub(super) async fn see_more(&mut self, socket: &mut TcpStream, limit: usize) -> io::Result<()> {
        socket.read_exact(&mut self.seen[self.taken..]).await?;
        self.taken = self.seen.len();
        self.seen.resize(limit.max(self.taken + 1), 0);
        let more = socket.peek(&mut self.seen[self.taken..]).await?;
        self.seen.truncate(self.taken + more);
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Takes the first `length` of the bytes seen and forgets them: the connection begins after them.
    pub(super) async fn skip(&mut self, socket: &mut TcpStream, length: usize) -> io::Result<()> {
        if self.taken < length {
            socket.read_exact(&mut self.seen[self.taken..length]).await?;
        }
        self.taken = self.taken.saturating_sub(length);
        self.seen.drain(..length);
        Ok(())
    }

    /// The bytes that were taken: the parser that reads the connection gets them first.
    pub(super) fn into_taken(mut self) -> Vec<u8> {
        self.seen.truncate(self.taken);
        self.seen
    }

    /// Whether HTTP/2 is spoken: with the first byte that differs from its preface it is not.
    pub(super) async fn is_http2(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        loop {
            let length = self.seen.len().min(HTTP2_PREFACE.len());
            if self.seen[..length] != HTTP2_PREFACE[..length] {
                return Ok(false);
            }
            if length == HTTP2_PREFACE.len() {
                return Ok(true);
            }
            self.see_more(socket, HTTP2_PREFACE.len()).await?;
        }
    }
}
