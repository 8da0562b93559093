//! A TLS connection as a stream of bytes that owns no buffer while it waits.
//!
//! A read borrows the thread's scratch buffer for one poll, lets the socket fill it, decrypts in place and hands the
//! plaintext on; only what is left over is kept. Each write becomes one record, which the socket usually takes at once.
//!
//! What it deliberately does not know: what the bytes mean, and deadlines. A stalled peer leaves `poll_write` pending;
//! how long that may last is the caller's business.
//!
//! # Who is woken
//!
//! Reading can produce ciphertext (an alert), and sends whatever is waiting to be sent, but never waits for that:
//! `poll_read` is pending on the socket's readability alone. A socket remembers one waker for writing, and so reading
//! may replace that of a pending write. Therefore the stream remembers it as well, and wakes it when reading has
//! replaced it, so that it is registered again, or has sent what it waits for. So no task waits for a waker that
//! another one has replaced, when two tasks share the stream by `tokio::io::split`; and what a write left behind goes
//! out even if it was cancelled and from then on only reads are polled.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::records::{Incoming, Records};
use crate::defaults::{TLS_PLAINTEXT_BYTES, TLS_READ_BYTES};

/// The service's end of a TLS connection.
///
/// # Reading
///
/// The end of the stream, a read of nothing, means that the peer said close_notify. A connection that ends without it
/// may have been cut by an attacker in between: that is [`io::ErrorKind::UnexpectedEof`], after everything that came
/// before it was read. Bytes that break the protocol are [`io::ErrorKind::InvalidData`], and the peer is sent an alert.
///
/// # Writing
///
/// A write takes up to [`TLS_PLAINTEXT_BYTES`], as one record. While ciphertext of an earlier one waits for the socket,
/// a write is pending: that is all the memory a stalled peer costs. As for every buffered writer, only a flush says
/// that everything has reached the socket; without one the end of it may wait for the next poll, even on a socket that
/// has room (tokio makes a busy task pause there). A shutdown sends close_notify once and ends our direction; the peer
/// may still send. Dropping the stream sends nothing, and the peer sees a cut.
///
/// Writes are not vectored: rustls encrypts one slice, so gathering several would be a copy, and the HTTP libraries
/// do that copy themselves, knowing better, when they are told so.
///
/// # Cancel safety
///
/// `read` and `write` of tokio's extension traits lose nothing when they are dropped before they finish.
pub struct TlsStream<IO = TcpStream> {
    pub(super) io: IO,
    pub(super) records: Records,
    /// Whose write, flush or shutdown is pending.
    writer: Option<Waker>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> TlsStream<IO> {
    /// Does the handshake. The last bytes of it, a session ticket, have reached the socket when this returns.
    ///
    /// The peer costs at most [`TLS_RECORD_BYTES`](crate::defaults::TLS_RECORD_BYTES) of buffer, whatever it sends.
    ///
    /// # Errors
    ///
    /// As for reading; the peer is sent the alert first, if the socket takes it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection.
    pub(super) async fn accept(io: IO, config: Arc<ServerConfig>) -> io::Result<Self> {
        let records = Records::new(config).map_err(io::Error::other)?;
        let mut stream = Self {
            io,
            records,
            writer: None,
        };
        poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let sent = ready!(self.poll_send(cx));
            if let Incoming::Failed(error) = self.records.incoming() {
                return Poll::Ready(Err(broken(error)));
            }
            sent?;
            if !self.records.is_handshaking() {
                return Pin::new(&mut self.io).poll_flush(cx);
            }
            ready!(self.poll_receive(cx, &mut ReadBuf::new(&mut [])))?;
        }
    }

    /// Reads the socket once, and decrypts what came.
    fn poll_receive(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut scratch = Scratch::borrow();
        let held = self.records.held().len();
        let mut fresh = ReadBuf::new(&mut scratch.0[held..]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut fresh))?;
        let end = held + fresh.filled().len();
        if end == held {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        scratch.0[..held].copy_from_slice(self.records.held());
        self.records.receive(&mut scratch.0[..end], room);
        Poll::Ready(Ok(()))
    }

    /// Gives the socket the outgoing ciphertext; ready when it has taken all of it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.records.outgoing().is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, self.records.outgoing()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.records.sent(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What reading has to do for the other direction: see the head of this file.
    fn send_while_reading(&mut self, cx: &mut Context<'_>) {
        if self.records.outgoing().is_empty() {
            return;
        }
        // Pending: the socket knows this task now. Failed: there may still be something to read, and the next write
        // fails as well.
        let done = self.poll_send(cx).is_ready();
        // A write of this same task need not be woken to wait on: that would make a task that polls both spin.
        if let Some(writer) = self
            .writer
            .take_if(|writer| done || !writer.will_wake(cx.waker()))
        {
            writer.wake();
        }
    }

    /// Remembers whom to wake when reading comes between a pending write and the socket.
    fn remember<T>(&mut self, cx: &Context<'_>, outcome: &Poll<T>) {
        self.writer = outcome.is_pending().then(|| cx.waker().clone());
    }

    /// Encrypts at most one record of `bytes`, once the socket has taken all earlier ones.
    fn poll_encrypt(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        if self.records.is_closing() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let record = &bytes[..bytes.len().min(TLS_PLAINTEXT_BYTES)];
        self.records.encrypt(record).map_err(|error| broken(&error))?;
        // The record is accepted, so this cannot be pending; the next write, flush or read sends what is left, and
        // tells if the socket has failed.
        let _ = self.poll_send(cx);
        Poll::Ready(Ok(record.len()))
    }
}

impl<IO> TlsStream<IO> {
    /// The protocol that was agreed on by ALPN (RFC 7301); `None` when the peer offered none.
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        self.records.alpn_protocol()
    }

    /// What it runs over, for its addresses and options. Reading or writing there breaks the connection.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = room.remaining();
        loop {
            this.send_while_reading(cx);
            if before == 0 || this.records.read(room) || room.remaining() < before {
                return Poll::Ready(Ok(()));
            }
            match this.records.incoming() {
                Incoming::Open => ready!(this.poll_receive(cx, room))?,
                Incoming::Closed => return Poll::Ready(Ok(())),
                Incoming::Failed(error) => return Poll::Ready(Err(broken(error))),
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = if bytes.is_empty() {
            Poll::Ready(Ok(0))
        } else {
            this.poll_encrypt(cx, bytes)
        };
        this.remember(cx, &written);
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let sent = this.poll_send(cx);
        this.remember(cx, &sent);
        ready!(sent)?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.records.close();
        let sent = this.poll_send(cx);
        this.remember(cx, &sent);
        ready!(sent)?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

fn broken(error: &rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.clone())
}

/// The buffer that the connections of a thread read into, one poll each.
///
/// It is taken out while it is in use: a stream over another TLS stream then finds none and makes its own. What it
/// holds afterwards is never looked at.
struct Scratch(Vec<u8>);

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Scratch {
    fn borrow() -> Self {
        let mut buffer = SCRATCH.take();
        buffer.resize(TLS_READ_BYTES, 0);
        Self(buffer)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Only when the thread is ending is there no place to put it.
        let _ = SCRATCH.try_with(|place| place.set(std::mem::take(&mut self.0)));
    }
}
