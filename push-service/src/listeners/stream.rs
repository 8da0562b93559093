//! The bytes of a connection, in clear or over TLS.
//!
//! [`Stream`] is what a WebSocket channel lives on. [`HttpStream`] is the same while HTTP is spoken on it: it gives back
//! what was read too early, and ends a peer that does not take what is written to it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::http2_frames::Frames;
use crate::defaults::WRITE_STALL_WITHIN;
use crate::metrics::{Cut, Metrics};
use crate::tls::TlsStream;

/// A connection in clear or over TLS.
pub enum Stream {
    /// In clear: loopback, or behind a proxy that ends TLS.
    Tcp(TcpStream),
    /// Over TLS. Boxed, so that a connection in clear has no room for it.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Calls the same method of the stream inside, in clear or over TLS.
macro_rules! on_either {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tcp($inner) => {
                let $inner = Pin::new($inner);
                $call
            }
            Stream::Tls($inner) => {
                let $inner = Pin::new($inner);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_either!(self, inner => inner.poll_read(cx, into))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        on_either!(self, inner => inner.poll_write(cx, from))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_either!(self, inner => inner.poll_write_vectored(cx, from))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self, inner => inner.poll_shutdown(cx))
    }
}

/// A stream while HTTP is spoken on it.
pub(super) struct HttpStream {
    stream: Stream,
    /// Bytes that were taken from the stream to see what is spoken on it; read before all others.
    first: Bytes,
    /// What HTTP is at, so that a head that has begun also ends.
    head: Option<HeadWatch>,
    /// At which turn the bytes of a head came last.
    head_begun: Option<u32>,
    /// How the body of the request is framed whose head comes at this turn.
    framing: (u32, HeadScan),
    /// Runs while the rest of a head is waited for. Most heads come whole and need no timer.
    head_due: Option<Pin<Box<Sleep>>>,
    /// Runs while the peer takes nothing. Made when that happens, so that most connections never have one.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Lets another task see whether the peer takes nothing.
    watch: Option<WriteWatch>,
    /// Counts what comes, if it's HTTP/2.
    frames: Option<Frames>,
    is_cut: bool,
    metrics: Arc<Metrics>,
}

impl HttpStream {
    /// `first` are the bytes that were already taken from `stream`.
    pub(super) fn new(stream: Stream, first: Bytes, metrics: &Arc<Metrics>) -> Self {
        Self {
            stream,
            first,
            head: None,
            head_begun: None,
            framing: (0, HeadScan::default()),
            head_due: None,
            stalled: None,
            watch: None,
            frames: None,
            is_cut: false,
            metrics: Arc::clone(metrics),
        }
    }

    /// Tells `watch` whether the peer takes what is written.
    pub(super) fn watching_writes(self, watch: WriteWatch) -> Self {
        Self {
            watch: Some(watch),
            ..self
        }
    }

    /// Shows `frames` what comes, and reads no more once they say that the peer has to go.
    pub(super) fn counting_frames(self, frames: Frames) -> Self {
        Self {
            frames: Some(frames),
            ..self
        }
    }

    /// Ends the connection if a head that has begun isn't whole in time.
    pub(super) fn watching_heads(self, watch: HeadWatch) -> Self {
        Self {
            head: Some(watch),
            ..self
        }
    }

    /// The stream, and the bytes that were taken from it and not read yet.
    pub(super) fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.first)
    }

    /// Passes on what the stream said of writing, unless it has said "not now" for too long.
    fn unless_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut self.stream), cx);
        if let Some(watch) = &self.watch {
            watch.0.store(written.is_pending(), Ordering::Relaxed);
        }
        if let Poll::Ready(result) = written {
            self.stalled = None;
            return Poll::Ready(result);
        }
        let deadline = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL_WITHIN)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(self.cut_off(Cut::Stalled)))
    }

    /// Counts the connection's end once, however often its owner tries again before it goes.
    fn cut_off(&mut self, why: Cut) -> io::Error {
        if !std::mem::replace(&mut self.is_cut, true) {
            self.metrics.cut(why);
        }
        io::ErrorKind::TimedOut.into()
    }
}

/// Whether the peer takes nothing at the moment: the stream sets it, the connection's task reads it.
#[derive(Clone, Default)]
pub(super) struct WriteWatch(Arc<AtomicBool>);

impl WriteWatch {
    /// Whether the last write was put off.
    pub(super) fn is_stalled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a request's head is being read: set where requests are answered, read by the stream.
///
/// hyper's own timeout can't tell a slow head from an idle connection, so it bounds only the sum of both.
#[derive(Clone, Default)]
pub(super) struct HeadWatch {
    within: Duration,
    shared: Arc<HeadProgress>,
}

#[derive(Default)]
struct HeadProgress {
    /// Rises when a head is whole and when its request was answered: odd in between.
    turns: AtomicU32,
    /// Whether the stream has seen all of the head, and no `Content-Length` in it.
    has_no_length: AtomicBool,
}

impl HeadWatch {
    /// A head may take this long from its first bytes.
    pub(super) fn new(within: Duration) -> Self {
        Self {
            within,
            shared: Arc::default(),
        }
    }

    /// Told when a head is whole, and again when its request is answered.
    pub(super) fn turn(&self) {
        self.shared.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the head that is whole now certainly has no `Content-Length`. Asked after the first turn; one answer for
    /// each head.
    ///
    /// hyper drops that field if there is a transfer coding, and then nobody would know that there were two framings.
    pub(super) fn is_framed_once(&self) -> bool {
        self.shared.has_no_length.swap(false, Ordering::Relaxed)
    }
}

/// Looks through a head, as its bytes come, for one field.
#[derive(Default)]
struct HeadScan {
    /// The beginning of the line that comes.
    line: [u8; CONTENT_LENGTH.len()],
    /// How many bytes of that line have come.
    length: usize,
    has_lines: bool,
    has_length: bool,
    is_over: bool,
}

const CONTENT_LENGTH: &[u8] = b"content-length:";

impl HeadScan {
    fn came(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !self.is_over {
            let end = memchr(b'\n', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            if let Some(room) = self.line.get_mut(self.length..) {
                let kept = part.len().min(room.len());
                room[..kept].copy_from_slice(&part[..kept]);
            }
            self.length += part.len();
            let Some(end) = end else { return };
            self.line_ends();
            rest = &rest[end + 1..];
        }
    }

    /// Empty lines before the first one are not part of the head (RFC 9112 §2.2).
    fn line_ends(&mut self) {
        let line = &self.line[..self.length.min(self.line.len())];
        if line.is_empty() || line == b"\r" {
            self.is_over = self.has_lines;
        } else {
            self.has_lines = true;
            self.has_length |= line.eq_ignore_ascii_case(CONTENT_LENGTH);
        }
        self.length = 0;
    }
}

impl HttpStream {
    /// Bytes came: of a head, if no request is being answered.
    fn bytes_came(&mut self, bytes: &[u8]) {
        if let Some(frames) = &mut self.frames {
            frames.came(bytes);
        }
        if let Some(watch) = &self.head {
            let turn = watch.shared.turns.load(Ordering::Relaxed);
            self.head_begun = (turn % 2 == 0).then_some(turn);
            if self.head_begun.is_some() {
                let (scanned, scan) = &mut self.framing;
                if std::mem::replace(scanned, turn) != turn {
                    *scan = HeadScan::default();
                }
                scan.came(bytes);
                let has_no_length = scan.is_over && !scan.has_length;
                watch.shared.has_no_length.store(has_no_length, Ordering::Relaxed);
            }
        }
    }

    /// Nothing came: for as long as that is in the middle of a head, the time runs.
    fn watch_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(frames) = &mut self.frames {
            // An HTTP/2 peer gets GOAWAY first: the connection's task looks after each poll.
            frames.look_at_time(cx);
            return Poll::Pending;
        }
        let Some(watch) = &self.head else {
            return Poll::Pending;
        };
        if self.head_begun != Some(watch.shared.turns.load(Ordering::Relaxed)) {
            self.head_due = None;
            return Poll::Pending;
        }
        let within = watch.within;
        let due = self
            .head_due
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        ready!(due.as_mut().poll(cx));
        Poll::Ready(Err(self.cut_off(Cut::Slow)))
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(frames) = &self.frames {
            if frames.is_over() {
                return Poll::Pending;
            }
            if frames.is_turn_over() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let before = into.filled().len();
        if self.first.is_empty() {
            let read = Pin::new(&mut self.stream).poll_read(cx, into);
            if read.is_pending() {
                return self.watch_head(cx);
            }
            let is_end = matches!(read, Poll::Ready(Ok(()))) && into.filled().len() == before;
            if is_end && self.frames.as_ref().is_some_and(|frames| !frames.may_end()) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.bytes_came(&into.filled()[before..]);
            return read;
        }
        let length = self.first.len().min(into.remaining());
        into.put_slice(&self.first[..length]);
        self.first.advance(length);
        self.bytes_came(&into.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.unless_stalled(cx, |stream, cx| stream.poll_write(cx, from))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unless_stalled(cx, |stream, cx| stream.poll_write_vectored(cx, from))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_stalled(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.unless_stalled(cx, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9112 §6.1: a `Content-Length` in a head is seen, however the head is cut, and one in a value or a body is not.
    #[test]
    fn a_length_in_a_head_is_seen() {
        let rows: [(&[u8], bool); 8] = [
            (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", false),
            (
                b"\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 5\r\nHost: x\r\n\r\n",
                true,
            ),
            (b"POST / HTTP/1.1\nHost: x\ncONTENT-lENGTH:5\n\n", true),
            (b"POST / HTTP/1.1\r\nX: content-length:\r\n\r\n", false),
            (b"POST / HTTP/1.1\r\nContent-Length-X: 5\r\n\r\n", false),
            (
                b"POST / HTTP/1.1\r\nHost: x\r\n\r\ncontent-length: 5\r\n\r\n",
                false,
            ),
            (
                b"POST / HTTP/1.1\r\nA: b\r\nContent-Length: 5\r\nA: b\r\n\r\n",
                true,
            ),
            (b"content-length: 5\r\n\r\n", true),
        ];
        for (head, expected) in rows {
            for piece in [1, 2, 7, 16, head.len()] {
                let mut scan = HeadScan::default();
                head.chunks(piece).for_each(|bytes| scan.came(bytes));
                assert!(scan.is_over, "{head:?}");
                assert_eq!(scan.has_length, expected, "{head:?} in pieces of {piece}");
            }
        }
        let mut scan = HeadScan::default();
        scan.came(b"POST / HTTP/1.1\r\nHost: x\r\n");
        assert!(!scan.is_over);
    }
}
