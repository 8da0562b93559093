//! A monitor whose messages are pushed (RFC 9113 §8.4): for each a promised request, and its response on a stream of its own.
//!
//! Messages are promised one after the other, each when `h2` has the whole body of the one before: so the order of the promises is
//! the order of the messages (PR-20), and a peer that opens no window costs one body.
//!
//! It does not know what is wanted, or what a refusal means for a message: the session does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::{SendPushedResponse, SendResponse};
use h2::{Reason, SendStream};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, DATE, HeaderName, LINK};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use push_protocol::headers::Relation;
use push_protocol::wire::events::content_fields;
use push_protocol::{MessageId, PushMessage};

use super::finish::Finish;
use super::link::{NoSlot, PushLink, StreamSlot};
use super::parcel::{Parcel, Written};
use crate::resources::{CommonFields, date, guard_pushed};

pub(super) struct Pushes {
    respond: SendResponse<Bytes>,
    link: Arc<PushLink>,
    /// The request's number in the link.
    request: u64,
    common: CommonFields,
    /// For the next message.
    slot: Option<StreamSlot>,
    /// The message whose body `h2` does not have completely yet.
    current: Option<Pushed>,
    /// Messages that `h2` has, and that the peer may not have yet.
    in_flight: VecDeque<InFlight>,
    /// Refused by the peer since [`Pushes::take_refused`].
    refused: Vec<MessageId>,
}

struct Pushed {
    id: MessageId,
    stream: SendStream<Bytes>,
    rest: Bytes,
    slot: StreamSlot,
}

struct InFlight {
    id: MessageId,
    _slot: StreamSlot,
    /// What the link has to confirm, if it was asked.
    asked: Option<u64>,
}

impl Pushes {
    pub(super) fn new(respond: SendResponse<Bytes>, link: Arc<PushLink>, common: CommonFields) -> Self {
        Self {
            respond,
            request: link.request(),
            link,
            common,
            slot: None,
            current: None,
            in_flight: VecDeque::new(),
            refused: Vec::new(),
        }
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_flushed(cx).is_pending() {
            return Poll::Pending;
        }
        if self.slot.is_some() {
            return Poll::Ready(());
        }
        match self.link.take(self.request) {
            Ok(slot) => {
                self.slot = Some(slot);
                return Poll::Ready(());
            }
            // The messages in flight may stay unacknowledged for long: a PING tells which of them have arrived.
            Err(NoSlot::InUse) => self.ask(),
            Err(NoSlot::NotYet | NoSlot::Never) => {}
        }
        Poll::Pending
    }

    /// Asks for a sign that everything so far has arrived.
    fn ask(&mut self) {
        if self.in_flight.back().is_some_and(|last| last.asked.is_none()) {
            let asked = self.link.ask();
            let not_asked = self.in_flight.iter_mut().rev();
            for pushed in not_asked.take_while(|pushed| pushed.asked.is_none()) {
                pushed.asked = Some(asked);
            }
        }
    }

    /// What is known to have arrived since the last call. Receipts are asked for, messages need not be.
    pub(super) fn take_confirmed(&mut self) -> Vec<MessageId> {
        let confirmed = self.link.arrived();
        let mut arrived = Vec::new();
        while self
            .in_flight
            .front()
            .is_some_and(|first| first.asked.is_some_and(|asked| asked <= confirmed))
        {
            arrived.extend(self.in_flight.pop_front().map(|pushed| pushed.id));
        }
        arrived
    }

    /// Cancels the message whose body `h2` does not have completely yet.
    pub(super) fn cancel(&mut self) -> Option<MessageId> {
        let mut pushed = self.current.take()?;
        pushed.stream.send_reset(Reason::CANCEL);
        Some(pushed.id)
    }

    /// What the peer refused since the last call.
    pub(super) fn take_refused(&mut self) -> Vec<MessageId> {
        std::mem::take(&mut self.refused)
    }

    /// These were acknowledged, so they have arrived.
    pub(super) fn removed(&mut self, messages: &[MessageId]) {
        self.in_flight.retain(|pushed| !messages.contains(&pushed.id));
    }

    pub(super) fn write(&mut self, parcel: &Parcel<'_>) -> Written {
        // The slot may have been taken before the peer sent GOAWAY.
        let Some(slot) = self.slot.take().filter(|_| !self.link.is_over()) else {
            return Written::No;
        };
        let pushed = match parcel {
            Parcel::Message {
                message,
                message_url,
                push_url,
            } => self.push_message(message, message_url, push_url, slot),
            Parcel::Receipt { message, receipt, .. } => {
                self.push_receipt(message.id, &receipt.message_url, receipt.status, slot)
            }
        };
        match pushed {
            Ok(()) => Written::Yes,
            Err(error) => {
                tracing::debug!(%error, "HTTP/2 refused a server push; the message stays stored");
                Written::No
            }
        }
    }

    fn push_message(
        &mut self,
        message: &PushMessage,
        message_url: &str,
        push_url: &str,
        mut slot: StreamSlot,
    ) -> Result<(), h2::Error> {
        let link = field(&Relation::Push.link(push_url));
        let mut fields = HeaderMap::with_capacity(12);
        for (name, value) in content_fields(message) {
            fields.insert(HeaderName::from_static(name), field(&value));
        }
        fields.insert(LINK, link.clone());
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        fields.insert(CONTENT_LENGTH, message.content.body.len().into());
        let body = message.content.body.clone();
        // R30-MON-6: in the promised request as well, so that the monitor of a set can tell subscriptions apart.
        let promised = self.promise(message_url, Some(link), &mut slot)?;
        let Ok(stream) = respond(promised, StatusCode::OK, fields, body.is_empty()) else {
            // The peer has already reset the promised stream. It takes others.
            self.refused.push(message.id);
            return Ok(());
        };
        let mut pushed = Pushed {
            id: message.id,
            stream,
            rest: body,
            slot,
        };
        if pushed.rest.is_empty() {
            self.keep_in_flight(pushed.id, pushed.slot);
        } else {
            pushed.stream.reserve_capacity(pushed.rest.len());
            self.current = Some(pushed);
        }
        Ok(())
    }

    fn push_receipt(
        &mut self,
        id: MessageId,
        url: &str,
        status: StatusCode,
        mut slot: StreamSlot,
    ) -> Result<(), h2::Error> {
        let promised = self.promise(url, None, &mut slot)?;
        match respond(promised, status, HeaderMap::new(), true) {
            Ok(_) => {
                self.keep_in_flight(id, slot);
                self.ask();
            }
            Err(_) => self.refused.push(id),
        }
        Ok(())
    }

    fn promise(
        &mut self,
        url: &str,
        link: Option<HeaderValue>,
        slot: &mut StreamSlot,
    ) -> Result<SendPushedResponse<Bytes>, h2::Error> {
        let mut request = Request::new(());
        *request.uri_mut() = url.parse().expect("an origin, a path and a token are a URL");
        if let Some(link) = link {
            request.headers_mut().insert(LINK, link);
        }
        let promised = self.respond.push_request(request);
        if promised.is_ok() {
            slot.is_promised();
        }
        promised
    }

    fn keep_in_flight(&mut self, id: MessageId, slot: StreamSlot) {
        self.in_flight.push_back(InFlight {
            id,
            _slot: slot,
            asked: None,
        });
    }

    /// Hands the rest of the body over as the peer's windows open.
    pub(super) fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pushed) = &mut self.current else {
            return Poll::Ready(());
        };
        if let Poll::Ready(_reset) = pushed.stream.poll_reset(cx) {
            self.refuse_current();
            return Poll::Ready(());
        }
        loop {
            match pushed.stream.poll_capacity(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(0))) => {}
                Poll::Ready(Some(Ok(room))) => {
                    let piece = pushed.rest.split_to(room.min(pushed.rest.len()));
                    let is_last = pushed.rest.is_empty();
                    if pushed.stream.send_data(piece, is_last).is_err() {
                        self.refuse_current();
                        return Poll::Ready(());
                    }
                    if is_last {
                        break;
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => {
                    self.refuse_current();
                    return Poll::Ready(());
                }
            }
        }
        if let Some(Pushed { id, slot, .. }) = self.current.take() {
            self.keep_in_flight(id, slot);
        }
        Poll::Ready(())
    }

    /// Whether `h2` has everything; if `arrived`, whether the peer has it.
    pub(super) fn is_flushed(&self, arrived: bool) -> bool {
        self.current.is_none() && (!arrived || self.in_flight.is_empty())
    }

    /// Whether no further message may be promised, and `h2` has the last one.
    pub(super) fn is_over(&self) -> bool {
        self.current.is_none() && self.link.is_over()
    }

    /// Whether everything has arrived. Asks for a sign of what has not, so that its slots are not given to others while the
    /// peer still counts them.
    pub(super) fn is_settled(&mut self) -> bool {
        self.ask();
        self.is_flushed(true)
    }

    fn refuse_current(&mut self) {
        self.refused.extend(self.current.take().map(|pushed| pushed.id));
    }

    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.respond.poll_reset(cx).map(drop)
    }

    pub(super) fn finish(mut self, finish: Finish, has_delivered: bool) {
        self.cancel();
        let (mut head, body) = finish.response(has_delivered, &self.common).into_parts();
        head.headers.insert(DATE, date());
        if !body.is_empty() {
            head.headers.insert(CONTENT_LENGTH, body.len().into());
        }
        let sent = self
            .respond
            .send_response(Response::from_parts(head, ()), body.is_empty());
        // A peer that has reset its request gets no answer, and no credit for it.
        let Ok(mut stream) = sent else { return };
        self.link.answered();
        if !body.is_empty() {
            drop(stream.send_data(body, true));
        }
    }
}

fn respond(
    mut promised: SendPushedResponse<Bytes>,
    status: StatusCode,
    mut fields: HeaderMap,
    is_all: bool,
) -> Result<SendStream<Bytes>, h2::Error> {
    fields.insert(DATE, date());
    guard_pushed(&mut fields);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    promised.send_response(response, is_all)
}

/// The text was parsed as a header field, or made here, so it is a valid one.
fn field(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
