//! Requests over HTTP/1.1, for servers and proxies that offer no HTTP/2: a connection for each that is under way.
//!
//! There is no server push and no ping. A connection whose answer was read to its end is kept for the next request. No task
//! runs for it: the future of an answer, or of more of a body, drives its connection, and the channel drives the idle
//! ones.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::no_answer::NoAnswer;
use crate::connection::{OpenError, Wire, connect};
use crate::defaults::{ANSWER_HEAD_BYTES, HTTP1_IDLE};
use crate::server_url::{ServerUrl, Transport};
use crate::tls::Trust;

/// A server that speaks HTTP/1.1. Clones share its connections.
#[derive(Clone)]
pub(super) struct Http1(Arc<Shared>);

struct Shared {
    server: ServerUrl,
    trust: Trust,
    idle: Mutex<Vec<Connection>>,
}

/// A connection.
struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// The future that drives it; `None` when the connection is closed.
    driver: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// The head of an answer on its way, with its body.
pub(super) type Head = Pin<Box<dyn Future<Output = Result<Response<Body>, NoAnswer>> + Send>>;

/// A body on its way.
pub(super) struct Body {
    incoming: Incoming,
    connection: Option<Connection>,
    home: Http1,
}

impl Http1 {
    /// Begins with a connection that is there already.
    pub(super) async fn on(
        wire: Box<dyn Wire>,
        server: &ServerUrl,
        trust: &Trust,
    ) -> Result<Self, OpenError> {
        let begun = Connection::on(wire).await;
        let connection = begun.map_err(|_| OpenError::NotHttp2("it speaks neither HTTP/2 nor HTTP/1.1"))?;
        Ok(Self(Arc::new(Shared {
            server: server.clone(),
            trust: trust.clone(),
            idle: Mutex::new(vec![connection]),
        })))
    }

    /// Begins a request, on a connection that is idle or on another one.
    pub(super) fn ask(&self, request: Request<()>, body: Option<Bytes>) -> Head {
        Box::pin(self.clone().response(request, body))
    }

    /// Drives the idle connections, and forgets those that the server closed.
    pub(super) fn poll_idle(&self, cx: &mut Context<'_>) {
        self.idle().retain_mut(|connection| !connection.poll_over(cx));
    }

    async fn response(self, request: Request<()>, body: Option<Bytes>) -> Result<Response<Body>, NoAnswer> {
        let request = self.to_send(request, body)?;
        let idle = self.idle().pop();
        if let Some(connection) = idle {
            let again = (*request.method() != Method::POST).then(|| request.clone());
            match (self.on_connection(connection, request).await, again) {
                (Ok(answer), _) => return Ok(answer),
                // The server may have closed it in this moment. These requests may be repeated without harm.
                (Err(_), Some(again)) => return self.on_new_connection(again).await,
                (Err(error), None) => return Err(error),
            }
        }
        self.on_new_connection(request).await
    }

    async fn on_new_connection(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, NoAnswer> {
        // The transport that offers HTTP/1.1 only.
        let server = self.0.server.clone().over(Transport::WebSocket);
        let server = server.map_err(|_| NoAnswer::ONLY_THIS_REQUEST)?;
        let connected = connect(server.destination(), &self.0.trust).await;
        let connected = connected.map_err(|error| {
            tracing::info!(%error, "cannot open a further connection to the service");
            NoAnswer::ONLY_THIS_REQUEST
        })?;
        self.on_connection(Connection::on(connected.wire).await?, request)
            .await
    }

    async fn on_connection(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Body>, NoAnswer> {
        poll_fn(|cx| {
            let is_over = connection.poll_over(cx);
            match connection.sender.poll_ready(cx) {
                Poll::Pending if is_over => Poll::Ready(Err(NoAnswer::ONLY_THIS_REQUEST)),
                ready => ready.map_err(|_| NoAnswer::ONLY_THIS_REQUEST),
            }
        })
        .await?;
        let mut answer = Box::pin(connection.sender.send_request(request));
        let answer = poll_fn(|cx| {
            let is_over = connection.poll_over(cx);
            match answer.as_mut().poll(cx) {
                Poll::Pending if is_over => Poll::Ready(Err(NoAnswer::ONLY_THIS_REQUEST)),
                answer => answer.map_err(|_| NoAnswer::ONLY_THIS_REQUEST),
            }
        })
        .await?;
        Ok(answer.map(|incoming| Body {
            incoming,
            connection: Some(connection),
            home: self.clone(),
        }))
    }

    /// The same request in the form of RFC 9112 §3.2.1.
    fn to_send(&self, request: Request<()>, body: Option<Bytes>) -> Result<Request<Full<Bytes>>, NoAnswer> {
        let mut request = request.map(|()| Full::new(body.unwrap_or_default()));
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        *request.uri_mut() = target.parse().map_err(|_| NoAnswer::ONLY_THIS_REQUEST)?;
        let host =
            HeaderValue::try_from(self.0.server.authority()).map_err(|_| NoAnswer::ONLY_THIS_REQUEST)?;
        request.headers_mut().insert(HOST, host);
        Ok(request)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    async fn on(wire: Box<dyn Wire>) -> Result<Self, NoAnswer> {
        let builder = || {
            let mut builder = http1::Builder::new();
            builder.max_buf_size(ANSWER_HEAD_BYTES);
            builder
        };
        let (sender, connection) = builder()
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|_| NoAnswer::ONLY_THIS_REQUEST)?;
        Ok(Self {
            sender,
            driver: Some(Box::pin(async move { drop(connection.await) })),
        })
    }

    /// Drives it. Returns whether it is closed.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
        self.driver.is_none()
    }
}

impl Body {
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, NoAnswer>>> {
        loop {
            // After the end of the connection, the body still holds what was read before.
            let is_over = self
                .connection
                .as_mut()
                .is_none_or(|connection| connection.poll_over(cx));
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(NoAnswer::ONLY_THIS_REQUEST))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if is_over => return Poll::Ready(Some(Err(NoAnswer::ONLY_THIS_REQUEST))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.incoming.is_end_stream()
    }
}

/// A connection whose answer was read to its end can be asked again.
impl Drop for Body {
    fn drop(&mut self) {
        let Some(connection) = self
            .connection
            .take()
            .filter(|connection| connection.driver.is_some())
        else {
            return;
        };
        let mut idle = self.home.idle();
        if self.incoming.is_end_stream() && idle.len() < HTTP1_IDLE {
            idle.push(connection);
        }
    }
}
