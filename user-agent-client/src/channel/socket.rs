//! A channel's socket, with its unread and unwritten bytes.

use std::cell::Cell;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};

use crate::connection::Wire;
use crate::defaults::{READ_BYTES, UNWRITTEN_BYTES};

/// What is reserved for what is to be written: an acknowledgement or two.
const OUT_BYTES: usize = 512;

/// **Invariant:** while it waits for the service, it owns neither buffer unless there is something in it.
pub(super) struct Socket {
    wire: Box<dyn Wire>,
    unread: Vec<u8>,
    /// Bytes of it that are consumed.
    read: usize,
    unwritten: Vec<u8>,
    /// Bytes of it that are written.
    written: usize,
    /// TLS may hold some of what was written.
    unflushed: bool,
    /// Nothing can be written any more. What the service said before may still be there to be read: its close code, for
    /// one, which says whether to come back.
    mute: bool,
}

impl Socket {
    pub(super) fn new(wire: Box<dyn Wire>, unread: Vec<u8>) -> Self {
        Self {
            wire,
            unread,
            read: 0,
            unwritten: Vec::new(),
            written: 0,
            unflushed: false,
            mute: false,
        }
    }

    /// What was read from the socket and is not consumed.
    pub(super) fn unread(&mut self) -> &mut [u8] {
        &mut self.unread[self.read..]
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.read += bytes;
    }

    /// Lets `fill` append to what is to be written. `false` if the service leaves too much unread.
    pub(super) fn write(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.mute {
            return true;
        }
        if self.unwritten.capacity() == 0 {
            self.unwritten.reserve(OUT_BYTES);
        }
        fill(&mut self.unwritten);
        self.unwritten.len() - self.written <= UNWRITTEN_BYTES
    }

    /// Writes what the socket takes. Ready when it took all, or takes nothing any more.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.written < self.unwritten.len() {
            match Pin::new(&mut self.wire).poll_write(cx, &self.unwritten[self.written..]) {
                Poll::Ready(Ok(bytes @ 1..)) => {
                    self.written += bytes;
                    self.unflushed = true;
                }
                Poll::Ready(Ok(_) | Err(_)) => return self.fall_silent(),
                Poll::Pending => {
                    self.unwritten.drain(..mem::take(&mut self.written));
                    return Poll::Pending;
                }
            }
        }
        self.unwritten.clear();
        self.written = 0;
        if self.unflushed {
            match Pin::new(&mut self.wire).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return self.fall_silent(),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    fn fall_silent(&mut self) -> Poll<()> {
        self.mute = true;
        self.unflushed = false;
        self.written = 0;
        self.unwritten = Vec::new();
        Poll::Ready(())
    }

    /// Reads once. `false`: there is nothing more to be read, now or ever.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.unread.drain(..mem::take(&mut self.read));
        let (wire, unread) = (&mut self.wire, &mut self.unread);
        let filled = lend(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let read = Pin::new(wire).poll_read(cx, &mut buffer);
            unread.extend_from_slice(buffer.filled());
            read.map(|read| read.is_ok() && !buffer.filled().is_empty())
        });
        if filled.is_pending() && self.mute {
            return Poll::Ready(false);
        }
        if filled.is_pending() {
            self.give_back();
        }
        filled
    }

    /// What its buffers take of the heap.
    #[cfg(test)]
    pub(super) fn owned_bytes(&self) -> usize {
        self.unread.capacity() + self.unwritten.capacity()
    }

    /// Says that nothing more is to be written.
    pub(super) async fn shut_down(&mut self) {
        // A socket that is closed already can't be closed, and doesn't have to be.
        let _ = self.wire.shutdown().await;
    }

    /// Keeps no more memory than what is unread and unwritten takes.
    fn give_back(&mut self) {
        self.unread.drain(..mem::take(&mut self.read));
        self.unread.shrink_to_fit();
        self.unwritten.shrink_to_fit();
    }

    /// Drops what is unread and unwritten: the channel is over.
    pub(super) fn forget(&mut self) {
        self.read = 0;
        self.written = 0;
        self.unread = Vec::new();
        self.unwritten = Vec::new();
    }
}

/// Lends the thread's buffer to read into. Copying out of it costs less than what holding one for each channel would.
fn lend<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut buffer = BUFFER.take();
    buffer.resize(READ_BYTES, 0);
    let result = read(&mut buffer);
    BUFFER.set(buffer);
    result
}
