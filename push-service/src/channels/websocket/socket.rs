//! A channel's socket: the channel reads into a buffer that the thread lends and writes from another. It owns only what is left over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use push_protocol::session::Moment;
use push_protocol::wire::frame::{FrameReader, Reader};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::WebSocketChannel;
use super::scratch::Scratch;
use crate::channels::Guard;
use crate::metrics::Closed;

impl<Io: AsyncRead + AsyncWrite + Unpin, G: Guard> WebSocketChannel<Io, G> {
    /// Reads while the channel is ready for more, at most once.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, now: Moment, scratch: &mut Scratch) -> bool {
        if self.end.is_some() {
            return self.read_last(cx, now, scratch);
        }
        let busy = self.read_on(cx, now, scratch);
        if self.end.is_some() {
            // Bytes after the frame that ended the channel may hold acknowledgements.
            self.unread_is_ready = !self.unread.is_empty();
        }
        busy
    }

    fn read_on(&mut self, cx: &mut Context<'_>, now: Moment, scratch: &mut Scratch) -> bool {
        if self.waits_for_storage() || !self.unwritten.is_empty() || self.driver.session.is_closed() {
            return false;
        }
        if !self.driver.has_room_for_acknowledgements() || self.slowed_until(now).is_some() {
            return false;
        }
        if std::mem::take(&mut self.unread_is_ready) {
            let mut unread = std::mem::take(&mut self.unread).into_vec();
            let rest = self.take_frames(&mut unread, now, scratch);
            self.keep_unread(unread.split_off(unread.len() - rest));
            return true;
        }
        let mut buffer = std::mem::take(&mut scratch.read);
        let busy = match self.read_once(cx, &mut buffer) {
            Poll::Pending => false,
            Poll::Ready(Ok(0) | Err(_)) => {
                self.begin_end(Closed::Lost, true, now);
                true
            }
            Poll::Ready(Ok(read)) => {
                self.take_bytes(&mut buffer[..read], now, scratch);
                true
            }
        };
        scratch.read = buffer;
        busy
    }

    pub(super) fn read_once(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    pub(super) fn take_bytes(&mut self, bytes: &mut [u8], now: Moment, scratch: &mut Scratch) {
        if self.unread.is_empty() {
            let rest = self.take_frames(bytes, now, scratch);
            self.keep_unread(bytes[bytes.len() - rest..].to_vec());
        } else {
            let mut unread = std::mem::take(&mut self.unread).into_vec();
            unread.extend_from_slice(bytes);
            let rest = self.take_frames(&mut unread, now, scratch);
            self.keep_unread(unread.split_off(unread.len() - rest));
        }
    }

    fn keep_unread(&mut self, rest: Vec<u8>) {
        if !rest.is_empty() {
            self.unread = rest.into();
        }
    }

    /// Takes whole frames until none is left or one has to wait, and returns how many bytes are left.
    pub(super) fn take_frames(&mut self, bytes: &mut [u8], now: Moment, scratch: &mut Scratch) -> usize {
        if self.end.is_some() {
            return self.take_last_frames(bytes, now, scratch);
        }
        let mut at = 0;
        // The reader is taken out for the time, because what it shows borrows from it.
        let mut frames = std::mem::replace(&mut self.frames, FrameReader::new(Reader::Service, 0));
        while !self.waits_for_storage()
            && !self.driver.session.is_closed()
            && self.end.is_none()
            && self.slowed_until(now).is_none()
        {
            match frames.read(&mut bytes[at..]) {
                Ok(Some((incoming, taken))) => {
                    at += taken;
                    self.take_frame(&incoming, now, scratch);
                    self.perform(now, scratch);
                }
                Ok(None) => break,
                Err(error) => {
                    self.driver.session.close(error.into(), &mut scratch.actions);
                    self.perform(now, scratch);
                    self.discard_the_rest();
                    break;
                }
            }
        }
        self.frames = frames;
        bytes.len() - at
    }

    /// Writes what this turn produced, once; owns only what the socket did not take.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, now: Moment, scratch: &mut Scratch) -> bool {
        if self.unwritten.is_empty() && scratch.out.is_empty() && !self.flushing {
            self.driver.keep_share(0);
            return false;
        }
        let had_rest = !self.unwritten.is_empty() || self.flushing;
        let unwritten = std::mem::take(&mut self.unwritten);
        let written = if unwritten.is_empty() {
            self.write_some(cx, &scratch.out)
                .map(|written| scratch.out[written..].into())
        } else {
            let all = [&unwritten, scratch.out.as_slice()].concat();
            self.write_some(cx, &all).map(|written| all[written..].into())
        };
        scratch.out.clear();
        match written {
            Ok(rest) => self.unwritten = rest,
            Err(_) => {
                self.flushing = false;
                // What it sent before is still to be read.
                self.begin_end(Closed::Lost, false, now);
                return true;
            }
        }
        let open = self.unwritten.is_empty() && !self.flushing;
        self.driver.keep_share(self.unwritten.len());
        self.driver.session.set_writable(open, now, &mut scratch.actions);
        open && had_rest
    }

    /// Writes and flushes as much as the socket takes now.
    fn write_some(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match Pin::new(&mut self.io).poll_write(cx, &bytes[written..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(more)) => written += more,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.flushing = match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => true,
        };
        Ok(written)
    }
}
