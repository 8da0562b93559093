//! A monitor that gets its messages as Server-Sent Events, over any HTTP and through any proxy.
//!
//! The connection takes pieces from a short queue; while the queue is full the outlet waits. When nothing else is sent for a while,
//! a comment is, so that proxies keep the connection and a peer that is gone is noticed.
//!
//! It does not know which HTTP transfers the pieces.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use push_protocol::MessageId;
use push_protocol::wire::events::{write_alive, write_end, write_message, write_receipt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::PollSender;

use super::finish::Finish;
use super::parcel::{Parcel, Written};
use crate::defaults::EVENTS_ALIVE_EVERY;
use crate::resources::{CommonFields, events_head};

/// What the connection is to begin with, or the answer instead.
type Begun = oneshot::Sender<Result<Response<()>, Box<Response<Bytes>>>>;

pub(super) struct Events {
    /// Until the head is sent.
    begun: Option<Begun>,
    pieces: PollSender<Bytes>,
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    alive: Pin<Box<Sleep>>,
    last: Option<MessageId>,
    common: CommonFields,
}

impl Events {
    pub(super) fn new(
        begun: Begun,
        pieces: mpsc::Sender<Bytes>,
        last: Option<MessageId>,
        common: CommonFields,
    ) -> Self {
        let watched = pieces.clone();
        Self {
            begun: Some(begun),
            pieces: PollSender::new(pieces),
            gone: Box::pin(async move { watched.closed().await }),
            alive: Box::pin(sleep(EVENTS_ALIVE_EVERY)),
            last,
            common,
        }
    }

    pub(super) fn begin(&mut self) {
        if let Some(begun) = self.begun.take() {
            let _ = begun.send(Ok(events_head(&self.common)));
            // Over HTTP/2, nginx passes a head on with the first piece of the body only: a comment, if nothing waits.
            self.alive.as_mut().reset(Instant::now());
        }
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pieces.poll_reserve(cx).is_pending() {
            return Poll::Pending;
        }
        while self.alive.as_mut().poll(cx).is_ready() {
            // The comment takes the capacity that was reserved. A message waits for the next.
            let mut comment = Vec::new();
            write_alive(&mut comment);
            self.send(comment);
            if self.pieces.poll_reserve(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    pub(super) fn write(&mut self, parcel: &Parcel<'_>) -> Written {
        let mut event = Vec::new();
        match parcel {
            Parcel::Message {
                message,
                message_url,
                push_url,
            } => write_message(&mut event, message, message_url, push_url),
            // A reader cannot refuse a receipt: naming it as the last one confirms it and all before.
            Parcel::Receipt { message, .. }
                if self.last.is_some_and(|last| message.id.number <= last.number) =>
            {
                return Written::Known;
            }
            Parcel::Receipt {
                receipt, acknowledge, ..
            } => write_receipt(
                &mut event,
                token_of(acknowledge),
                &receipt.message_url,
                receipt.status.as_u16(),
                acknowledge,
            ),
        }
        self.send(event);
        Written::Yes
    }

    fn send(&mut self, event: Vec<u8>) {
        self.alive.as_mut().reset(Instant::now() + EVENTS_ALIVE_EVERY);
        // Fails only when the connection is gone, which is noticed elsewhere.
        let _ = self.pieces.send_item(event.into());
    }

    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.gone.as_mut().poll(cx)
    }

    pub(super) fn finish(mut self, finish: Finish, has_delivered: bool) {
        if let Some(begun) = self.begun.take() {
            let _ = begun.send(Err(Box::new(finish.response(has_delivered, &self.common))));
            return;
        }
        let (status, why) = finish.status(true);
        let mut event = Vec::new();
        write_end(&mut event, status.as_u16(), why);
        if let Some(pieces) = self.pieces.get_ref() {
            // A peer that does not read gets no end event.
            let _ = pieces.try_send(event.into());
        }
    }
}

/// The last segment of a URL: `Last-Event-ID` repeats it, and it cannot be guessed.
fn token_of(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, token)| token)
}
