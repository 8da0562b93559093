//! HTTP/1.1 on one connection, until it ends or becomes a channel.
//!
//! After a 101, hyper gives the raw stream back and is gone: an idle channel keeps nothing of it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::permits::Permit;
use super::stream::{HeadWatch, HttpStream};
use super::{Context, Peer, handshake};
use crate::budgets::{Budgets, Payer};
use crate::channels::EventStream;
use crate::defaults::{COST_CHANNEL, COST_REQUEST, UNWANTED_BODY_BYTES, UNWANTED_BODY_WITHIN};
use crate::metrics::Refused;
use crate::resources::{self, Answer, BrokenBody, Form, IsOverBudget, Monitoring, RequestBody};

/// Serves the connection to its end. Told to go, it ends after the next answer; draining, after the request under way.
pub(super) async fn serve(stream: HttpStream, peer: Peer, permit: Permit, context: &Context) {
    let head = HeadWatch::new(context.limits.header_within);
    let exchange = Exchange {
        context,
        peer,
        payer: permit.payer(),
        head: head.clone(),
        permit: Mutex::new(permit),
        upgraded: AtomicBool::new(false),
    };
    let mut connection = Builder::new()
        .timer(TokioTimer::new())
        // Counts from the answer before, so it is the time to rest; a head that has begun is the stream's to watch.
        .header_read_timeout(context.limits.idle_for.max(context.limits.header_within))
        .max_buf_size(context.limits.header_bytes)
        // Answers are small: joined, they cost less than a list of their parts.
        .writev(false)
        // Work that was accepted is finished and answered, even if the sender has closed its half.
        .half_close(true)
        .serve_connection(
            TokioIo::new(stream.watching_heads(head)),
            service_fn(|request| exchange.answer(request)),
        );
    let mut leaving = false;
    let ended = loop {
        tokio::select! {
            ended = &mut connection => break ended,
            () = context.leave.cancelled(), if !leaving => {
                leaving = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = context.end.cancelled() => return,
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP/1.1 connection ended early");
        return;
    }
    if exchange.upgraded.load(Ordering::Relaxed) {
        let parts = connection.into_parts();
        let (stream, unread) = parts.io.into_inner().into_parts();
        let leftover = joined(parts.read_buf, unread);
        let permit = exchange
            .permit
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        // In a task of its own: this one, with all that HTTP needed, ends here.
        let channels = &context.handlers.channels;
        channels.open(stream, &leftover, permit);
    }
}

/// What hyper read too much, and what it did not come to read.
fn joined(read: Bytes, unread: Bytes) -> Bytes {
    if unread.is_empty() {
        return read;
    }
    [read, unread].concat().into()
}

/// One connection's requests.
struct Exchange<'a> {
    context: &'a Context,
    peer: Peer,
    /// Who pays for the connection.
    payer: Payer,
    head: HeadWatch,
    permit: Mutex<Permit>,
    upgraded: AtomicBool,
}

impl Exchange<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        self.head.turn();
        let is_framed_once = self.head.is_framed_once();
        let (head, body) = request.into_parts();
        let mut body = Http1Body::new(body);
        let payer = self.context.payer_of(self.peer, self.payer, &head.headers);
        let early = match self.refused(&head, &body) {
            Some(refused) => {
                // Refused in any case; later, if the address has no tokens.
                let _ = self.budgets().pay(payer, COST_REQUEST).await;
                Some(refused)
            }
            None => self.upgrade(&head, payer).await,
        };
        let mut response = match early {
            Some(mut response) => {
                // What becomes a channel speaks HTTP no more.
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    let resources = &self.context.handlers.resources;
                    resources.common_fields(&head.headers).join(&mut response);
                }
                response.map(Body::whole)
            }
            None => match self
                .context
                .handlers
                .resources
                .answer(&head, &mut body, payer)
                .await
            {
                Answer::Whole(response) => {
                    if is_worth_reading_on(&response, &head.headers) {
                        body.skip_rest(&head.headers).await;
                    }
                    response.map(Body::whole)
                }
                Answer::Monitor(monitoring) => self.monitor(&monitoring).await,
            },
        };
        let has_unread_body = !body.is_over();
        // hyper drops a Content-Length that comes with a transfer coding. A proxy in front that used that length may have
        // put other peers' requests where we would read the next one (RFC 9112 §6.1, §11.2).
        let may_be_smuggled = head.headers.contains_key(TRANSFER_ENCODING) && !is_framed_once;
        let goes = self.context.go.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        // With an unread body, what is still to come of it would be read as the next request.
        if has_unread_body || may_be_smuggled || goes {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.head.turn();
        Ok(response)
    }

    /// Over HTTP/1.1 messages come as events, or not at all (R30-V-2).
    async fn monitor(&self, monitoring: &Monitoring) -> Response<Body> {
        let handlers = &self.context.handlers;
        if monitoring.form == Form::Push {
            return handlers.resources.cannot_push(monitoring).map(Body::whole);
        }
        match handlers.channels.monitor_by_events(monitoring, None).await {
            Ok(events) => {
                let EventStream { head, pieces, .. } = events;
                head.map(|()| Body::Events(pieces))
            }
            Err(response) => (*response).map(Body::whole),
        }
    }

    /// The answer to what hyper lets pass and HTTP/1.1 does not (RFC 9112 §3.2, §6.1; RFC 6455 §4.1).
    fn refused(&self, head: &Parts, body: &Http1Body) -> Option<Response<Bytes>> {
        let hosts = head.headers.get_all(HOST).iter().count();
        let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
        let (status, why) = if head.version == Version::HTTP_11 && hosts != 1 {
            (
                StatusCode::BAD_REQUEST,
                "A request must have exactly one Host header field.",
            )
        } else if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            (
                StatusCode::NOT_IMPLEMENTED,
                "The transfer coding is not supported; only chunked is.",
            )
        } else if handshake::is_asked_for(&head.headers) && !body.is_over() {
            (
                StatusCode::BAD_REQUEST,
                "A request for a WebSocket must not have a body.",
            )
        } else {
            return None;
        };
        self.context.metrics.refused(Refused::Malformed);
        Some(resources::bad_http(status, why))
    }

    /// The answer to a request that wants to become a channel, at a path where that can be.
    async fn upgrade(&self, head: &Parts, payer: Payer) -> Option<Response<Bytes>> {
        if !handshake::is_asked_for(&head.headers) {
            return None;
        }
        let path = resources::unescaped(head.uri.path());
        if resources::is_resource(&path) {
            return None;
        }
        if !self.context.handlers.channel_path.admits(&path) {
            self.context.metrics.refused(Refused::Forbidden);
            return Some(resources::not_found());
        }
        if let Err(over) = self.budgets().pay(payer, COST_CHANNEL).await {
            return Some(self.context.handlers.resources.refused(&over.into()));
        }
        if !self.count_for_client(head) {
            self.context.metrics.refused(Refused::TooManyConnections);
            return Some(resources::too_many_connections());
        }
        let response = handshake::answer(head);
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        self.upgraded.store(upgraded, Ordering::Relaxed);
        Some(response)
    }

    /// A trusted proxy's connection becomes its client's own when it becomes a channel.
    fn count_for_client(&self, head: &Parts) -> bool {
        let client = match self.peer {
            Peer::Client => None,
            Peer::Proxy(proxy) => self.context.trusted_proxies.client_of(&head.headers, proxy),
        };
        client.is_none_or(|client| {
            let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
            permit.count_for(self.context.payer(client))
        })
    }

    fn budgets(&self) -> &Budgets {
        self.context.handlers.resources.budgets()
    }
}

/// What an answer says.
enum Body {
    Whole(Full<Bytes>),
    Events(mpsc::Receiver<Bytes>),
}

impl Body {
    fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Self::Events(pieces) => pieces.poll_recv(cx).map(|piece| Some(Ok(Frame::data(piece?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// A request's body, which knows whether all of it was read: hyper's own does not say so of a chunked one.
struct Http1Body {
    incoming: Incoming,
    is_over: bool,
}

impl Http1Body {
    fn new(incoming: Incoming) -> Self {
        Self {
            is_over: incoming.is_end_stream(),
            incoming,
        }
    }

    /// Whether the next request follows.
    fn is_over(&self) -> bool {
        self.is_over || self.incoming.is_end_stream()
    }

    /// Reads the rest of a body whose request was answered without it, so that the connection can be kept. Within bounds:
    /// what is longer, or does not come soon, ends the connection.
    async fn skip_rest(&mut self, headers: &HeaderMap) {
        let length = headers.get(CONTENT_LENGTH).and_then(|line| line.to_str().ok());
        let length = length.and_then(|length| length.parse::<usize>().ok());
        if self.is_over() || length.is_some_and(|length| length > UNWANTED_BODY_BYTES) {
            return;
        }
        let rest = async {
            let mut skipped = 0;
            while let Some(Ok(chunk)) = poll_fn(|cx| Pin::new(&mut *self).poll_chunk(cx)).await {
                skipped += chunk.len();
                if skipped > UNWANTED_BODY_BYTES {
                    return;
                }
            }
        };
        // Either way: the connection ends if there is more.
        let _ = timeout(UNWANTED_BODY_WITHIN, rest).await;
    }
}

/// Whether the connection is to be kept after this answer. Not if its peer has spent its budget, or sends too slowly; and a
/// peer that waits for a 100 would be asked for a body that is not wanted (RFC 9110 §10.1.1).
fn is_worth_reading_on(response: &Response<Bytes>, headers: &HeaderMap) -> bool {
    response.status() != StatusCode::REQUEST_TIMEOUT
        && response.extensions().get::<IsOverBudget>().is_none()
        && !headers.contains_key(EXPECT)
}

impl RequestBody for Http1Body {
    fn poll_chunk(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        Poll::Ready(match frame {
            // Trailers are no content.
            Some(Ok(frame)) => Some(Ok(frame.into_data().unwrap_or_default())),
            Some(Err(_)) => Some(Err(BrokenBody)),
            None => {
                self.is_over = true;
                None
            }
        })
    }
}
