//! One WebSocket to a push service (RFC 6455): JSON in, JSON out, and what keeps it alive.
//!
//! Low level: a user agent's task is built on it, and so is a program that holds thousands of user agents. It guarantees
//! that
//!
//! - **nothing is lost to a cancelled future**: what is not read is read later, what is not written stays in the buffer;
//! - **a service has a bounded part of its memory**: the answer to the upgrade, a message, what waits to be written;
//! - **an idle channel owns no buffer**: it reads into one that belongs to the thread, and keeps only what is not whole.
//!
//! What it deliberately does not know: what to say, when to give up, and when to come back. Apart from
//! [`close`](Channel::close) it has no clock: deadlines are the caller's.

mod random;
mod socket;
#[cfg(test)]
pub(crate) mod tests;
mod upgrade;

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use push_protocol::session::CloseReason;
use push_protocol::session::user_agent::{ChannelEnd, Farewell, Say};
use push_protocol::wire::frame::{
    self, FrameError, FrameReader, Reader, close_reason, write_close, write_ping, write_pong,
};
use push_protocol::wire::websocket::{Reply, close_code, close_text, parse_reply, write_say};
use socket::Socket;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::{OpenError, Wire, connect};
use crate::defaults::{CLOSE_WITHIN, MESSAGE_BYTES};
use crate::explanation::one_line;
use crate::server_url::ServerUrl;
use crate::tls::Trust;

/// What the service did.
#[derive(PartialEq, Eq, Debug)]
pub enum Incoming {
    /// It said something.
    Reply(Reply),
    /// It said something that means nothing: no JSON object, or a binary message.
    // WS-CON-3.
    Nonsense,
    /// It is there: a ping, whose answer is on its way already, an answer to ours, or a part of a message.
    // WS-CON-8.
    SignOfLife,
    /// The channel has ended. Every further call returns this.
    Ended(ChannelEnd),
}

/// An open WebSocket to a service.
///
/// Dropped without [`close`](Self::close), it just breaks the connection, which no service minds.
pub struct Channel {
    socket: Socket,
    frames: FrameReader,
    end: End,
    /// A close frame was written: there is no second one (RFC 6455 §5.5.1).
    said_farewell: bool,
    /// The reason in the service's close frame.
    explanation: Option<Box<str>>,
}

/// ```text
///  Open ──a close frame, or none that can be read──► Parting ──our answer is written, if that goes at once──► Over
///    └───────────────the connection broke, or the service reads nothing─────────────────────────────────────► Over
/// ```
#[derive(Clone, Copy)]
enum End {
    Open,
    Parting(ChannelEnd),
    Over(ChannelEnd),
}

impl Channel {
    /// Connects, with TLS for `wss:`, and upgrades. It takes as long as it takes: the deadline is the caller's.
    ///
    /// The name of a host is looked up on a thread of the runtime's, and all of its addresses are tried, each a quarter
    /// of a second after the one before it or when that failed (RFC 8305).
    ///
    /// Cancel safe: a connection that was begun is dropped.
    ///
    /// # Errors
    ///
    /// [`OpenError`], whose [`to_channel_end`](OpenError::to_channel_end) is for the session and which prints as a sentence for people.
    pub async fn open(url: &ServerUrl, trust: &Trust) -> Result<Self, OpenError> {
        // In a box, so that the future of the caller stays small.
        let connected = Box::pin(connect(url.destination(), trust)).await?;
        Self::on(connected.wire, url).await
    }

    /// Upgrades a connection that is there already, whether or not that is one to the host in `url`.
    ///
    /// Cancel safe: the connection is dropped.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn upgrade(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        url: &ServerUrl,
    ) -> Result<Self, OpenError> {
        Self::on(Box::new(stream), url).await
    }

    async fn on(mut wire: Box<dyn Wire>, url: &ServerUrl) -> Result<Self, OpenError> {
        let unread = upgrade::upgrade(&mut *wire, url).await?;
        Ok(Self {
            socket: Socket::new(wire, unread),
            frames: FrameReader::new(Reader::UserAgent, MESSAGE_BYTES),
            end: End::Open,
            said_farewell: false,
            explanation: None,
        })
    }

    /// Writes this into the buffer; [`next`](Self::next) and [`flush`](Self::flush) send it. A service that leaves more
    /// than [`UNWRITTEN_BYTES`](crate::defaults::UNWRITTEN_BYTES) unread ends the channel. On one that is over, nothing
    /// happens.
    pub fn say(&mut self, say: &Say) {
        self.write(|out| write_say(out, random::mask(), say));
    }

    /// Writes a ping into the buffer, as [`say`](Self::say) does. Its answer is a [`SignOfLife`](Incoming::SignOfLife).
    pub fn ping(&mut self) {
        self.write(|out| write_ping(out, Some(random::mask()), &[]));
    }

    /// Sends what is in the buffer. No need to call it before [`next`](Self::next), which does the same before it waits.
    ///
    /// If the connection broke it returns at once, and [`next`](Self::next) tells: it hands over first what the service
    /// said before.
    ///
    /// Cancel safe: what is not sent stays in the buffer. It may wait forever for a service that doesn't read, and
    /// nothing is read in the meantime.
    pub async fn flush(&mut self) {
        poll_fn(|cx| self.socket.poll_flush(cx)).await;
    }

    /// The next thing that the service did. Sends what is in the buffer before it waits, pongs included.
    ///
    /// Cancel safe: nothing is taken from the channel that is not returned.
    pub async fn next(&mut self) -> Incoming {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next), for a caller that waits for several things at a time.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        loop {
            if let Some(incoming) = self.try_next() {
                return Poll::Ready(incoming);
            }
            // Whether or not all of it went: the service may be waiting for us to read.
            let _ = self.socket.poll_flush(cx);
            if let End::Parting(ended) = self.end {
                self.over(ended);
            } else {
                match self.socket.poll_fill(cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => self.over(ChannelEnd::Lost),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
    }

    /// The next thing among what was read already: no I/O. So a burst can be handled as one.
    pub fn try_next(&mut self) -> Option<Incoming> {
        match self.end {
            End::Open => {}
            End::Parting(_) => return None,
            End::Over(ended) => return Some(Incoming::Ended(ended)),
        }
        let (incoming, bytes) = match self.frames.read(self.socket.unread()) {
            Ok(None) => return None,
            Ok(Some(read)) => read,
            Err(error) => return self.garbled(error),
        };
        let mut pong = None;
        let happened = match incoming {
            frame::Incoming::Text(text) => Ok(parse_reply(text).map_or(Incoming::Nonsense, Incoming::Reply)),
            frame::Incoming::Binary => Ok(Incoming::Nonsense),
            frame::Incoming::Ping(payload) => {
                pong = Some(Pong::to(payload));
                Ok(Incoming::SignOfLife)
            }
            frame::Incoming::Pong | frame::Incoming::Fragment => Ok(Incoming::SignOfLife),
            frame::Incoming::Close(code) => Err(code),
        };
        if happened.is_err() {
            let said = one_line(close_reason(&self.socket.unread()[..bytes]));
            self.explanation = (!said.is_empty()).then(|| said.into());
        }
        self.socket.consume(bytes);
        if let Some(pong) = pong {
            self.write(|out| write_pong(out, Some(random::mask()), pong.payload()));
        }
        match happened {
            Ok(incoming) => Some(incoming),
            Err(code) => self.part(ChannelEnd::Closed(code), code.unwrap_or(1000), ""),
        }
    }

    /// Why the service closed the channel, in its words, for people; `None` if it said nothing, or that was taken before.
    pub fn take_explanation(&mut self) -> Option<Box<str>> {
        self.explanation.take()
    }

    /// Takes leave: sends what is in the buffer and a close frame, and waits for the service's answer, for at most
    /// [`CLOSE_WITHIN`], or not at all after [`Farewell::TimedOut`]. Messages that come in the meantime are not taken;
    /// they come again.
    ///
    /// Cancel safe: the connection is dropped. Needs the runtime's timer.
    pub async fn close(mut self, farewell: Farewell) {
        let (code, patience) = match farewell {
            Farewell::Leaving => (1000, CLOSE_WITHIN),
            Farewell::ProtocolError => (1002, CLOSE_WITHIN),
            Farewell::TimedOut => (1001, Duration::ZERO),
        };
        self.say_farewell(code, "");
        let leaving = async {
            self.flush().await;
            while !matches!(self.next().await, Incoming::Ended(_)) {}
            self.socket.shut_down().await;
        };
        // A service that does not answer in time is not waited for.
        let _ = tokio::time::timeout(patience, leaving).await;
    }

    fn write(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        if matches!(self.end, End::Open) && !self.socket.write(fill) {
            self.over(ChannelEnd::Lost);
        }
    }

    fn say_farewell(&mut self, code: u16, reason: &str) {
        if !std::mem::replace(&mut self.said_farewell, true) {
            self.write(|out| write_close(out, Some(random::mask()), code, reason));
        }
    }

    /// The service can't be understood, and is told so.
    fn garbled(&mut self, error: FrameError) -> Option<Incoming> {
        let reason = CloseReason::from(error);
        self.part(ChannelEnd::Garbled, close_code(reason), close_text(reason))
    }

    /// Leaves our last word in the buffer, which needs I/O: nothing more is to be had without.
    fn part(&mut self, ended: ChannelEnd, code: u16, reason: &str) -> Option<Incoming> {
        self.say_farewell(code, reason);
        // Also if that was one word too many: what the service said counts for more.
        self.end = End::Parting(ended);
        None
    }

    fn over(&mut self, ended: ChannelEnd) {
        self.end = End::Over(ended);
        self.socket.forget();
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            End::Open => f.write_str("Channel(open)"),
            End::Parting(ended) | End::Over(ended) => write!(f, "Channel({ended:?})"),
        }
    }
}

/// What a ping carried (RFC 6455 §5.5.3), while the buffer that it came in is put away.
struct Pong {
    bytes: [u8; 125],
    length: usize,
}

impl Pong {
    fn to(payload: &[u8]) -> Self {
        let mut bytes = [0; 125];
        bytes[..payload.len()].copy_from_slice(payload);
        Self {
            bytes,
            length: payload.len(),
        }
    }

    fn payload(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
