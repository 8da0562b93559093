//! HTTP/2 on one connection: its requests run side by side, within bounds that the peer cannot stretch.
//!
//! Speaks through `h2` itself, because only that can push. Knows nothing of what a request asks for,
//! but that some go on: they monitor.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{Method, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::http2_frames::{FrameWatch, Frames};
use super::permits::Permit;
use super::stream::{HttpStream, WriteWatch};
use super::{Context, Peer, http2_events};
use crate::budgets::Payer;
use crate::channels::{MonitorLink, can_push};
use crate::config::Limits;
use crate::defaults::{
    HEADER_FIELDS, HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_FINISH_WITHIN, HTTP2_GOODBYE_WITHIN,
    HTTP2_HEADS_BYTES, HTTP2_RESET_STREAMS, HTTP2_STREAM_WINDOW_BYTES,
};
use crate::metrics::{Cut, Refused};
use crate::resources::{self, Answer, BrokenBody, CommonFields, Form, IsOverBudget, RequestBody, date};
use crate::tasks::{Owner, Task, Watched};

/// Serves the connection to its end. Told to go, or draining, it says GOAWAY twice (R30-LB-3) and finishes the requests under
/// way. One that monitors is told to go when its last monitor is over.
pub(super) async fn serve(stream: HttpStream, peer: Peer, permit: &Permit, context: &Arc<Context>) {
    let limits = &context.limits;
    let (writes, frames) = (WriteWatch::default(), FrameWatch::new());
    let stream = stream
        .watching_writes(writes.clone())
        .counting_frames(Frames::new(frames.clone(), limits.header_within));
    let handshake = builder(limits).handshake::<_, Bytes>(stream);
    let (ended, left) = match timeout(limits.header_within, handshake).await {
        Ok(Ok(connection)) => {
            let serving = Serving::new(connection, writes, frames);
            serving.run(context, peer, permit.payer()).await
        }
        Ok(Err(error)) => (Err(error), JoinSet::new()),
        Err(_elapsed) => return context.metrics.cut(Cut::Slow),
    };
    if let Err(error) = ended {
        if let Some(why) = reason(&error) {
            context.metrics.cut(why);
        }
        tracing::debug!(%error, "an HTTP/2 connection ended early");
    }
    finish(left, context).await;
}

/// Even if the peer no longer reads the answers: an acknowledgement that arrived whole counts (PR-18).
async fn finish(mut requests: JoinSet<()>, context: &Context) {
    let finished = async { while requests.join_next().await.is_some() {} };
    tokio::select! {
        _ = timeout(HTTP2_FINISH_WITHIN, finished) => {}
        () = context.end.cancelled() => {}
    }
}

/// Why `h2` has cut a connection off, if it was that.
fn reason(error: &h2::Error) -> Option<Cut> {
    if !(error.is_go_away() && error.is_library()) {
        return None;
    }
    match error.reason() {
        Some(Reason::ENHANCE_YOUR_CALM) => Some(Cut::Limit),
        _ => Some(Cut::Protocol),
    }
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.http2_streams)
        .initial_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(HTTP2_RESET_STREAMS)
        .max_local_error_reset_streams(Some(HTTP2_RESET_STREAMS));
    builder
}

/// A connection that is served.
struct Serving {
    connection: Connection<HttpStream, Bytes>,
    /// What its monitors know of it.
    link: Arc<MonitorLink>,
    pings: Option<PingPong>,
    writes: WriteWatch,
    frames: FrameWatch,
    is_cut: bool,
    /// How many requests monitor.
    monitors: Arc<AtomicUsize>,
    /// Bytes of header fields that may still be under way.
    heads: Arc<Semaphore>,
}

/// What a connection comes with.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment, and a box would cost each request an allocation"
)]
enum Event {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    /// A monitor has found that the node leaves.
    Leave,
    /// The peer has to go.
    Cut(Cut),
    Ended(Result<(), h2::Error>),
}

impl Serving {
    fn new(mut connection: Connection<HttpStream, Bytes>, writes: WriteWatch, frames: FrameWatch) -> Self {
        frames.serve();
        Self {
            pings: connection.ping_pong(),
            link: MonitorLink::new(),
            connection,
            writes,
            frames,
            is_cut: false,
            monitors: Arc::default(),
            heads: Arc::new(Semaphore::new(HTTP2_HEADS_BYTES)),
        }
    }

    /// Returns how the connection ended, and the requests in progress.
    async fn run(
        mut self,
        context: &Arc<Context>,
        peer: Peer,
        payer: Payer,
    ) -> (Result<(), h2::Error>, JoinSet<()>) {
        // Dropping the set ends its requests: none outlives the node.
        let owner = Owner::current();
        let (mut requests, mut given_up) = (JoinSet::new(), JoinSet::new());
        let mut is_cut = false;
        // A request that its peer has taken back is still worked on: bounded here, because h2 counts it no more.
        let most_requests = context.limits.http2_streams as usize + HTTP2_RESET_STREAMS;
        let idle = sleep(context.limits.idle_for);
        tokio::pin!(idle);
        let (mut leaving, mut is_told) = (false, false);
        loop {
            let was_leaving = leaving;
            tokio::select! {
                event = poll_fn(|cx| self.poll(cx, leaving)), if requests.len() < most_requests => match event {
                    Event::Request(request, respond) => match self.room_for(&request) {
                        None => {
                            let common = context.handlers.resources.common_fields(request.headers());
                            drop(request);
                            refuse_fields(respond, &common, context);
                        }
                        Some(room) => {
                            let (context, link) = (Arc::clone(context), Arc::clone(&self.link));
                            let (frames, monitors) = (self.frames.clone(), Arc::clone(&self.monitors));
                            let answer = async move {
                                let exchange = Exchange {
                                    context: &context,
                                    link: &link,
                                    frames: &frames,
                                    monitors: &monitors,
                                    peer,
                                    payer,
                                };
                                exchange.answer(request, room, respond).await;
                            };
                            requests.spawn(Watched::new(Task::Request, owner.clone(), answer));
                        }
                    },
                    Event::Leave => leaving = true,
                    Event::Cut(why) => {
                        context.metrics.cut(why);
                        self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                        // No answer will be read, and monitors end; but complete requests are carried out.
                        self.link.end();
                        given_up = std::mem::take(&mut requests);
                        is_cut = true;
                        leaving = true;
                    }
                    Event::Ended(ended) => return (ended, if is_cut { given_up } else { requests }),
                },
                Some(_) = requests.join_next() => {
                    leaving |= context.go.is_cancelled() && !self.monitors();
                    let patience = if leaving { HTTP2_GOODBYE_WITHIN } else { context.limits.idle_for };
                    idle.as_mut().reset(Instant::now() + patience);
                }
                () = &mut idle, if requests.is_empty() => {
                    if leaving {
                        return (Ok(()), requests);
                    }
                    leaving = true;
                }
                () = context.go.cancelled(), if !is_told => {
                    is_told = true;
                    leaving |= !self.monitors();
                }
                () = context.leave.cancelled(), if !leaving => leaving = true,
                () = context.end.cancelled() => return (Ok(()), JoinSet::new()),
            }
            if leaving && !was_leaving {
                self.connection.graceful_shutdown();
                idle.as_mut().reset(Instant::now() + HTTP2_GOODBYE_WITHIN);
            }
        }
    }

    /// Whether a request monitors.
    fn monitors(&self) -> bool {
        self.monitors.load(Ordering::Relaxed) > 0
    }

    /// Room for the request's header fields, if there are not too many, beside those of all others under way.
    fn room_for<T>(&self, request: &Request<T>) -> Option<OwnedSemaphorePermit> {
        /// What each field counts beside its bytes (RFC 9113 §6.5.2).
        const FIELD_BYTES: usize = 32;
        let fields = request.headers();
        if fields.len() > HEADER_FIELDS {
            return None;
        }
        let sizes = fields
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
        let target = request
            .uri()
            .path_and_query()
            .map_or(0, |target| target.as_str().len());
        let size = u32::try_from(sizes.sum::<usize>() + target).ok()?;
        Arc::clone(&self.heads).try_acquire_many_owned(size).ok()
    }

    fn poll(&mut self, cx: &mut TaskContext<'_>, leaving: bool) -> Poll<Event> {
        loop {
            let link = self.link.pushes();
            let polled = link.begin_poll(cx.waker());
            self.frames.renew_credit(link.take_answered());
            let accepted = self.connection.poll_accept(cx);
            if self.frames.goes_away() {
                link.peer_leaves();
            }
            match accepted {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    polled.end(self.connection.max_concurrent_send_streams(), false);
                    return Poll::Ready(Event::Request(request, respond));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Event::Ended(Err(error))),
                Poll::Ready(None) => return Poll::Ready(Event::Ended(Ok(()))),
                Poll::Pending => {}
            }
            if let Some(why) = self.frames.cut().filter(|_| !self.is_cut) {
                self.is_cut = true;
                return Poll::Ready(Event::Cut(why));
            }
            if !leaving && link.is_leaving() {
                return Poll::Ready(Event::Leave);
            }
            let allowed = self.connection.max_concurrent_send_streams();
            let is_written = !self.writes.is_stalled();
            let wants_ping = polled.end(allowed, is_written);
            if !wants_ping && !leaving && link.is_leaving() {
                return Poll::Ready(Event::Leave);
            }
            if !self.ping(cx, wants_ping) {
                self.frames.next_turn();
                return Poll::Pending;
            }
        }
    }

    /// Sends a PING if one is wanted, and looks for the answer to the one before. Says whether the connection has to be
    /// polled again, so that it's sent.
    fn ping(&mut self, cx: &mut TaskContext<'_>, wants_ping: bool) -> bool {
        let Some(pings) = &mut self.pings else {
            return false;
        };
        let sent = wants_ping && pings.send_ping(Ping::opaque()).is_ok();
        if let Poll::Ready(Ok(_)) = pings.poll_pong(cx) {
            self.link.pushes().ponged();
            return true;
        }
        sent
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.link.end();
    }
}

/// Refuses a request at once, so that its fields don't wait for a task. No credit: reading them was for nothing.
fn refuse_fields(respond: SendResponse<Bytes>, common: &CommonFields, context: &Context) {
    context.metrics.refused(Refused::Malformed);
    let mut refused = resources::bad_http(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The header is too large; send fewer or shorter fields.",
    );
    common.join(&mut refused);
    log_unsent(send(refused, false, respond));
}

/// A request that monitors, as long as it does.
struct Monitors<'a>(&'a AtomicUsize);

impl<'a> Monitors<'a> {
    fn count(monitors: &'a AtomicUsize) -> Self {
        monitors.fetch_add(1, Ordering::Relaxed);
        Self(monitors)
    }
}

impl Drop for Monitors<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What it takes to answer a request.
struct Exchange<'a> {
    context: &'a Context,
    link: &'a Arc<MonitorLink>,
    frames: &'a FrameWatch,
    monitors: &'a AtomicUsize,
    peer: Peer,
    /// Who pays for the connection.
    payer: Payer,
}

impl Exchange<'_> {
    /// `room` is what the header fields take: given back when they are.
    async fn answer(
        &self,
        request: Request<RecvStream>,
        room: OwnedSemaphorePermit,
        mut respond: SendResponse<Bytes>,
    ) {
        let (head, body) = request.into_parts();
        let mut body = Http2Body(body);
        let handlers = &self.context.handlers;
        let payer = self.context.payer_of(self.peer, self.payer, &head.headers);
        let monitoring = match handlers.resources.answer(&head, &mut body, payer).await {
            Answer::Whole(response) => {
                if response.extensions().get::<IsOverBudget>().is_some() && self.peer == Peer::Client {
                    // One connection may make hundreds of requests at a time, and all would be refused.
                    self.link.pushes().leave();
                }
                return self.finish(response, head.method == Method::HEAD, respond);
            }
            Answer::Monitor(monitoring) => monitoring,
        };
        // It may last for days.
        drop((head, body, room));
        let _counted = Monitors::count(self.monitors);
        match monitoring.form {
            Form::Push if can_push(&mut respond, self.link) => {
                handlers
                    .channels
                    .monitor_by_push(&monitoring, respond, self.link)
                    .await;
            }
            Form::Push => self.finish(handlers.resources.cannot_push(&monitoring), false, respond),
            Form::Events { .. } => {
                match handlers
                    .channels
                    .monitor_by_events(&monitoring, Some(self.link))
                    .await
                {
                    Ok(events) => log_unsent(http2_events::send(events, respond, self.frames).await),
                    Err(response) => self.finish(*response, false, respond),
                }
            }
        }
    }

    /// Who has taken its request back gets no answer, and no credit for it.
    fn finish(&self, response: Response<Bytes>, head_only: bool, respond: SendResponse<Bytes>) {
        let sent = send(response, head_only, respond);
        if sent.is_ok() {
            self.frames.renew_credit(1);
        }
        log_unsent(sent);
    }
}

fn log_unsent(sent: Result<(), h2::Error>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "an HTTP/2 request ended before its answer");
    }
}

fn send(
    response: Response<Bytes>,
    head_only: bool,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(DATE, date());
    if !body.is_empty() || head_only {
        head.headers.insert(CONTENT_LENGTH, body.len().into());
    }
    let ends_here = body.is_empty() || head_only;
    let mut stream = respond.send_response(Response::from_parts(head, ()), ends_here)?;
    if ends_here {
        return Ok(());
    }
    // An answer is a few hundred bytes: what the peer's window does not take yet waits in h2.
    stream.send_data(body, true)
}

/// A request's body, which gives its window back as it is read.
struct Http2Body(RecvStream);

impl RequestBody for Http2Body {
    fn poll_chunk(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        self.0.poll_data(cx).map(|chunk| {
            let chunk = chunk?.map_err(|_| BrokenBody);
            if let Ok(data) = &chunk {
                // Fails only when the stream is gone, and then there is no window to give back.
                let _ = self.0.flow_control().release_capacity(data.len());
            }
            Some(chunk)
        })
    }
}
