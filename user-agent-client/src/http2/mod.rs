//! RFC 8030 over one HTTP/2 connection: subscribing, monitoring by server push, acknowledging. Where there is no server push,
//! messages come as Server-Sent Events, and where there is no HTTP/2, over HTTP/1.1.
//!
//! ```text
//!  POST …/subscribe ──201──► the set ──GET, which stays open──► PUSH_PROMISE … 200 ──► message ──► DELETE, 204
//! ```
//!
//! The counterpart of the WebSocket's [`channel`](crate::channel), under the same session, which decides everything. It
//! guarantees that
//!
//! - **nothing is lost to a cancelled future**, as there;
//! - **a service has a bounded part of our memory**: so many pushed streams, so much of each body, so many answers that it
//!   owes;
//! - **messages of one subscription come in the order in which they were promised**;
//! - **no capability leaves its origin**: promises of another one are refused, redirections don't lead out of TLS.
//!
//! What a service says of lengths is never believed. What the channel deliberately does not know: what to say, when to come
//! back, and what a message is for. It has a clock only for what a service owes: an answer to an acknowledgement, the rest
//! of a message.

// PR-20.

mod acknowledgements;
mod answer;
mod event_polling;
mod events;
mod http1;
mod incoming;
mod monitor;
mod no_answer;
mod polling;
mod pushes;
mod requester;
mod requests;
mod sender;
mod subscribe;
#[cfg(test)]
pub(crate) mod tests;
mod unsubscribe;
mod wishes;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection};
use h2::{Ping, PingPong};
use http::header::USER_AGENT;
use http::{HeaderValue, Method, Request};
use push_protocol::session::user_agent::{ChannelEnd, Durable, Farewell, Identity, Say, Wish};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use url::Url;

use self::acknowledgements::Acknowledgements;
pub use self::events::Form;
use self::http1::Http1;
pub use self::incoming::{Incoming, Pushed};
use self::monitor::Monitor;
use self::pushes::Pushes;
use self::requester::{Requester, origin};
use self::requests::Requests;
use self::sender::Sender;
use self::wishes::Wishes;
use crate::connection::{Connected, OpenError, Wire, connect};
use crate::defaults::{CLOSE_WITHIN, HTTP2_HEAD_BYTES, PUSHED_BYTES, PUSHED_STREAMS};
use crate::server_url::ServerUrl;
use crate::tls::Trust;

/// An open connection to a service.
///
/// Dropped without [`close`](Self::close), it just breaks the connection, which no service minds.
pub struct Channel {
    /// `None` over HTTP/1.1.
    http2: Option<Http2>,
    requester: Requester,
    is_pinged: bool,
    /// Said hello, and not heard that the service is there.
    is_greeting: bool,
    /// The push service resource.
    service: Url,
    set: Option<Identity>,
    /// The service is believed when it doesn't know our set: then that is given up, once. One that does so again and again gets no
    /// more out of it.
    may_leave_set: bool,
    /// How messages are asked for.
    form: Form,
    /// The other form was tried.
    has_changed_form: bool,
    /// It is known that messages can't be pushed.
    is_without_push: bool,
    monitor: Option<Monitor>,
    wishes: Wishes,
    pushes: Pushes,
    acknowledgements: Acknowledgements,
    requests: Requests,
    /// The service said goodbye: until then it may finish what it began with.
    leaves_at: Option<Instant>,
    /// Only while the service owes something.
    timer: Option<Pin<Box<Sleep>>>,
    /// What the service says about its last refusal.
    explanation: Option<Box<str>>,
    end: End,
}

/// A connection that speaks HTTP/2.
struct Http2 {
    connection: Connection<Box<dyn Wire>, Bytes>,
    pings: PingPong,
}

/// ```text
///  Open ──monitoring ended, GOAWAY──► Parting ──no message is on its way any more──► Over
///    └──the connection broke, or the service owes us for too long──► Broken ──► Over
/// ```
#[derive(Clone, Copy)]
enum End {
    Open,
    Parting(ChannelEnd),
    /// What came before is handed over first.
    Broken(ChannelEnd),
    Over(ChannelEnd),
}

impl Channel {
    /// Connects, with TLS for `https:`. `set` is what is going to be monitored, if there is something: the connection leads
    /// to where that is, which need not be where subscriptions are made. `form` is how messages are asked for first; where the
    /// server offers no HTTP/2, as events. It takes as long as it takes: the deadline is the caller's.
    ///
    /// Cancel safe: a connection that was begun is dropped.
    ///
    /// # Errors
    ///
    /// [`OpenError`], whose [`to_channel_end`](OpenError::to_channel_end) is for the session and which prints as a sentence for people.
    pub async fn open(
        url: &ServerUrl,
        trust: &Trust,
        set: Option<&Identity>,
        form: Form,
    ) -> Result<Self, OpenError> {
        let elsewhere = set.and_then(|set| server_of(set, url));
        let server = elsewhere.as_ref().unwrap_or(url);
        // In a box, so that the future of the caller stays small.
        let Connected { wire, is_http2 } = Box::pin(connect(server.destination(), trust)).await?;
        if is_http2 {
            return Self::on(wire, url, server, trust, form).await;
        }
        let http1 = Http1::on(wire, server, trust).await?;
        Self::with(None, Sender::Http1(http1), url, server, trust, form)
    }

    /// Begins on a connection that is there already, whether or not that is one to the host in `url`.
    ///
    /// Cancel safe: the connection is dropped.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn begin(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        url: &ServerUrl,
        trust: &Trust,
    ) -> Result<Self, OpenError> {
        Self::on(Box::new(stream), url, url, trust, Form::Push).await
    }

    async fn on(
        wire: Box<dyn Wire>,
        url: &ServerUrl,
        server: &ServerUrl,
        trust: &Trust,
        form: Form,
    ) -> Result<Self, OpenError> {
        let (requests, mut connection) = Builder::new()
            .enable_push(true)
            .max_concurrent_streams(PUSHED_STREAMS)
            .initial_window_size(PUSHED_BYTES as u32)
            .max_header_list_size(HTTP2_HEAD_BYTES)
            .handshake(wire)
            .await
            .map_err(not_begun)?;
        let pings = connection.ping_pong().expect("it is taken once");
        let http2 = Http2 { connection, pings };
        Self::with(Some(http2), Sender::Http2(requests), url, server, trust, form)
    }

    fn with(
        http2: Option<Http2>,
        requests: Sender,
        url: &ServerUrl,
        server: &ServerUrl,
        trust: &Trust,
        form: Form,
    ) -> Result<Self, OpenError> {
        const NO_URL: OpenError = OpenError::NotHttp2("its URL is not valid for HTTP");
        let at_home = home(server).ok_or(NO_URL)?;
        let service = home(url).and_then(|home| subscribe::push_service_resource(url, &home));
        let form = if http2.is_some() { form } else { Form::Events };
        Ok(Self {
            http2,
            requester: Requester {
                requests,
                home: at_home,
                trust: trust.clone(),
            },
            is_pinged: false,
            is_greeting: false,
            service: service.ok_or(NO_URL)?,
            set: None,
            may_leave_set: false,
            form,
            has_changed_form: false,
            is_without_push: false,
            monitor: None,
            wishes: Wishes::default(),
            pushes: Pushes::default(),
            acknowledgements: Acknowledgements::default(),
            requests: Requests::default(),
            leaves_at: None,
            timer: None,
            explanation: None,
            end: End::Open,
        })
    }

    /// If the service says now that it doesn't know our set, that is believed: a subscription in another set is taken, and that set
    /// becomes ours.
    pub fn believe(&mut self) {
        self.may_leave_set = true;
    }

    /// Acknowledges the messages with these paths, which an earlier connection could not.
    pub fn acknowledge(&mut self, paths: &[Box<str>]) {
        for path in paths {
            self.acknowledgements.push(path);
        }
    }

    /// Of a channel that is over: the paths of messages whose acknowledgement was not answered. The next channel
    /// [acknowledges](Self::acknowledge) them.
    pub fn unacknowledged(&mut self) -> Vec<Box<str>> {
        self.acknowledgements.take()
    }

    /// Says this as soon as [`next`](Self::next) is waited for. `known` is where subscriptions are, for those that end. On a
    /// channel that is over, nothing happens.
    pub fn say(&mut self, say: &Say, known: &Durable) {
        match say {
            Say::Hello(set, wish) => self.greet(set.clone(), *wish),
            Say::Bring(wish) => self.bring(*wish),
            Say::Register {
                name,
                application_server,
            } => self.requests.push(requests::Request::Register {
                name: *name,
                application_server: *application_server,
            }),
            Say::Unregister(name) => {
                let registration = known.registrations.get(name);
                self.requests.push(requests::Request::Unregister {
                    name: *name,
                    resource: registration.and_then(|registration| registration.resource.clone()),
                });
            }
            // RFC 8030 has one kind of acknowledgement, whatever the application did with the message.
            Say::Acknowledge { message, .. } => self.acknowledgements.push(&message.id),
        }
    }

    /// What the service says about the refusal that [`next`](Self::next) returned last, in one line without capabilities; `None`
    /// if it said nothing, or that was taken before.
    pub fn take_explanation(&mut self) -> Option<Box<str>> {
        self.explanation.take()
    }

    /// Sends a ping as soon as [`next`](Self::next) is waited for; where messages come as events, another request for the set,
    /// which proves more. Its answer is a [`SignOfLife`](Incoming::SignOfLife).
    pub fn ping(&mut self) {
        if self.pings_by_asking() {
            return;
        }
        self.ping_connection();
    }

    fn ping_connection(&mut self) {
        if let Some(http2) = &mut self.http2 {
            // Refused only if there is one whose answer is waited for: that one does it, too.
            let _ = http2.pings.send_ping(Ping::opaque());
        }
        self.is_pinged = true;
    }

    /// The next thing that the service did. Sends what was said before it waits, and answers pings.
    ///
    /// Cancel safe: nothing is taken from the channel that is not returned. Needs the runtime's timer.
    pub async fn next(&mut self) -> Incoming {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`next`](Self::next), for a caller that waits for several things at a time.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        loop {
            if let End::Over(ended) = self.end {
                return Poll::Ready(Incoming::Ended(ended));
            }
            self.poll_connection(cx);
            let now = Instant::now();
            if let Poll::Ready(incoming) = self.poll_parts(cx, now) {
                return Poll::Ready(incoming);
            }
            match self.end {
                End::Broken(ended) => self.over(ended),
                End::Parting(ended) if self.is_finished() => self.over(ended),
                End::Open | End::Parting(_) | End::Over(_) => ready!(self.poll_timer(cx, now)),
            }
        }
    }

    /// Takes leave: acknowledgements are sent and answered, then the connection is closed; for at most [`CLOSE_WITHIN`], or
    /// not at all after [`Farewell::TimedOut`]. Messages that come in the meantime are not taken; they come again.
    ///
    /// Cancel safe: the connection is dropped. Needs the runtime's timer.
    pub async fn close(mut self, farewell: Farewell) {
        let patience = match farewell {
            Farewell::Leaving | Farewell::ProtocolError => CLOSE_WITHIN,
            Farewell::TimedOut => Duration::ZERO,
        };
        let leaving = async {
            poll_fn(|cx| self.poll_acknowledged(cx)).await;
            // Without requests and streams the connection says goodbye and ends.
            let Self {
                http2,
                requester,
                monitor,
                wishes,
                pushes,
                requests,
                ..
            } = self;
            drop((requester, monitor, wishes, pushes, requests));
            if let Some(http2) = http2 {
                let _ = http2.connection.await;
            }
        };
        // A service that does not answer in time is not waited for.
        let _ = tokio::time::timeout(patience, leaving).await;
    }

    /// There is no hello: a set is monitored, and the answer to a ping says that the service is there; over HTTP/1.1, the
    /// beginning of events.
    fn greet(&mut self, set: Option<Identity>, wish: Wish) {
        self.is_greeting = true;
        self.set = set;
        self.wishes.wish = wish;
        if self.set.is_some() {
            self.begin_monitoring();
        }
        if self.http2.is_some() || self.monitor.is_none() {
            self.ping_connection();
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            End::Open => f.write_str("Channel(open)"),
            End::Parting(ended) | End::Broken(ended) | End::Over(ended) => write!(f, "Channel({ended:?})"),
        }
    }
}

/// Where a set is, as a server to connect to: none in clear, if the service is not.
fn server_of(set: &Identity, service: &ServerUrl) -> Option<ServerUrl> {
    let server = ServerUrl::parse(&origin(&Url::parse(set.as_str()).ok()?)?).ok()?;
    (server.is_secure() || !service.is_secure()).then_some(server)
}

/// The root of a server, to which URLs are compared.
fn home(server: &ServerUrl) -> Option<Url> {
    let scheme = if server.is_secure() { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{}/", server.authority())).ok()
}

/// A request without a body. `None` for what can't be asked for.
fn request(method: Method, url: &str) -> Option<Request<()>> {
    const US: HeaderValue =
        HeaderValue::from_static(concat!("user-agent-client/", env!("CARGO_PKG_VERSION")));
    let request = Request::builder().method(method).uri(url);
    request.header(USER_AGENT, US).body(()).ok()
}

fn not_begun(error: h2::Error) -> OpenError {
    match error.into_io() {
        Some(error) => OpenError::Lost(error),
        None => OpenError::NotHttp2("its answer cannot be understood"),
    }
}
