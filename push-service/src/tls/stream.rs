//! A TLS connection as a stream of bytes that owns no buffer while it is idle.
//!
//! A read borrows a buffer of the thread for one poll. The socket fills it, rustls decrypts in place, and the plaintext is
//! copied to the reader; only plaintext that the reader has no room for is kept. Each write becomes one record, which the
//! socket usually takes at once.
//!
//! It deliberately does not know what the bytes mean, and has no deadlines: `poll_write` stays pending while a peer reads
//! nothing, and the caller decides for how long.
//!
//! # Which task is woken
//!
//! Two tasks may share the stream (`tokio::io::split`): one reads, one writes. `poll_read` also sends ciphertext that waits, for
//! example an alert, but never waits for that: it is pending only until the socket is readable.
//!
//! A socket stores one waker for writing. When the reading task sends, its waker replaces that of the writing task. So this
//! stream stores the writing task's waker as well (`writer`), and wakes that task after a read that replaced the waker, or
//! that sent the rest of the write. The writing task then polls again, and registers again if it still has to wait.
//!
//! The rest of a write is sent even if the write was cancelled and only reads are polled afterwards.

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
/// A read of 0 bytes means that the peer sent close_notify. A connection that ends without it may have been cut by an
/// attacker: then everything that came before is read first, and the next read is [`io::ErrorKind::UnexpectedEof`]. Bytes that
/// break the protocol are [`io::ErrorKind::InvalidData`], and the peer gets an alert.
///
/// # Writing
///
/// A write takes up to [`TLS_PLAINTEXT_BYTES`] and makes one record of them. A write is pending while ciphertext of an earlier
/// record waits for the socket, so a peer that reads nothing costs the memory of one record. Only a flush tells that everything
/// has reached the socket. Without a flush the end of a record may wait for the next poll, even if the socket has room, because
/// tokio makes a busy task pause. A shutdown sends close_notify once and ends our direction; the peer may still send. Dropping
/// the stream sends nothing, and the peer sees a connection that was cut.
///
/// Writes are not vectored: rustls encrypts one slice, so several slices would have to be copied into one. The HTTP libraries do
/// that copy themselves when the stream is not vectored.
///
/// # Cancel safety
///
/// `read` and `write` of tokio's extension traits lose nothing when they are dropped before they finish.
pub struct TlsStream<IO = TcpStream> {
    pub(super) io: IO,
    pub(super) records: Records,
    /// The waker of the task whose write, flush or shutdown is pending.
    writer: Option<Waker>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> TlsStream<IO> {
    /// Does the handshake. Its last bytes, a session ticket, have reached the socket when this returns.
    ///
    /// Whatever the peer sends, at most [`TLS_RECORD_BYTES`](crate::defaults::TLS_RECORD_BYTES) are buffered.
    ///
    /// # Errors
    ///
    /// Those of reading. The alert is sent first, if the socket takes it.
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

    /// Sends ciphertext that waits, on behalf of a read, and wakes the writing task if needed: see the header of this file.
    fn send_while_reading(&mut self, cx: &mut Context<'_>) {
        if self.records.outgoing().is_empty() {
            return;
        }
        // If it is pending, the socket has stored this task's waker. If it failed, there may still be something to read, and the
        // next write fails as well.
        let done = self.poll_send(cx).is_ready();
        // If this task writes too, its waker is not called while the write still waits: a task that polls both would spin.
        if let Some(writer) = self
            .writer
            .take_if(|writer| done || !writer.will_wake(cx.waker()))
        {
            writer.wake();
        }
    }

    /// Stores the waker of a pending write, so that a read that replaces it in the socket can call it.
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
        // The record is accepted, so this call may not return pending or an error. The next write, flush or read sends the rest,
        // and returns an error if the socket has failed.
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
/// It is taken out of its place while it is in use. A stream over another TLS stream finds the place empty, and makes a buffer of
/// its own. The content of the buffer means nothing after the poll.
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
        // Fails only while the thread ends.
        let _ = SCRATCH.try_with(|place| place.set(std::mem::take(&mut self.0)));
    }
}
