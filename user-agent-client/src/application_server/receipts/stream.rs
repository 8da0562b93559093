//! One request whose answer doesn't end: receipts, one after the other.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, Bytes};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use url::{Position, Url};

use super::{Receipt, ReceiptError};
use crate::application_server::SendError;
use crate::application_server::connection;
use crate::defaults::{ANSWER_HEAD_BYTES, RECEIPT_BYTES};
use crate::events::{Event, Events, Read};
use crate::retry_after;
use crate::tls::Trust;

/// RFC 8030 knows server push only; this is the type of what comes instead of it.
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// An open stream. Dropping it closes the connection.
pub(super) struct Stream {
    connection: Driver,
    body: Incoming,
    events: Events,
    unread: Bytes,
}

type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why there is no stream.
pub(super) enum NoStream {
    /// Not now; with the time after which to try again, if the service said it.
    Later(Option<Duration>),
    /// There will never be one.
    Never(ReceiptError),
}

impl Stream {
    pub(super) async fn open(url: &Url, trust: &Trust) -> Result<Self, NoStream> {
        let wire = connection::open(url, trust).await.map_err(|error| match error {
            SendError::NobodyToTrust(why) => NoStream::Never(ReceiptError::NobodyToTrust(why)),
            _ => NoStream::Later(None),
        })?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(ANSWER_HEAD_BYTES)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|_| NoStream::Later(None))?;
        let mut connection: Driver = Box::pin(async move { drop(connection.await) });
        let request = request(url).ok_or(NoStream::Later(None))?;
        let mut answer = Box::pin(async move { sender.send_request(request).await });
        let answer = poll_fn(|cx| {
            let is_over = connection.as_mut().poll(cx).is_ready();
            match answer.as_mut().poll(cx) {
                Poll::Pending if is_over => Poll::Ready(None),
                answer => answer.map(Result::ok),
            }
        });
        let answer = answer.await.ok_or(NoStream::Later(None))?;
        judge(&answer)?;
        Ok(Self {
            connection,
            body: answer.into_body(),
            events: Events::of_at_most(RECEIPT_BYTES),
            unread: Bytes::new(),
        })
    }

    /// The next receipt; `None` when the stream is over, or says what no stream of receipts does.
    pub(super) async fn next(&mut self, base: &Url) -> Option<Receipt> {
        loop {
            while let Some((read, taken)) = self.events.read(&self.unread).ok()? {
                self.unread.advance(taken);
                // An event that is too long is skipped.
                if let Read::Event(event) = read
                    && let Some(receipt) = receipt(&event, base)
                {
                    return Some(receipt);
                }
            }
            self.unread = poll_fn(|cx| self.poll_data(cx)).await?;
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            // After the end of the connection, the body still holds what was read before.
            let is_over = self.connection.as_mut().poll(cx).is_ready();
            if is_over {
                self.connection = Box::pin(std::future::pending());
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(data));
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
                Poll::Pending if is_over => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn request(url: &Url) -> Option<Request<Full<Bytes>>> {
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let mut request = Request::new(Full::default());
    *request.uri_mut() = target.parse().ok()?;
    let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).ok()?;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static("user-agent-client"));
    headers.insert(ACCEPT, EVENT_STREAM);
    Some(request)
}

fn judge(answer: &Response<Incoming>) -> Result<(), NoStream> {
    let status = answer.status();
    match status.as_u16() {
        200 if is_event_stream(answer.headers()) => Ok(()),
        404 | 410 => Err(NoStream::Never(ReceiptError::Gone)),
        408 | 429 | 500..=599 => {
            let told = retry_after::read(answer.headers(), SystemTime::now());
            Err(NoStream::Later(told))
        }
        _ => Err(NoStream::Never(ReceiptError::NotOffered(status))),
    }
}

/// Whatever parameters the type has.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|media_type| media_type.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Reads a receipt. Other events, and receipts with an unknown status, are ignored.
fn receipt(event: &Event, base: &Url) -> Option<Receipt> {
    #[derive(Deserialize)]
    struct ReceiptEvent {
        message: String,
        status: u16,
    }
    let members =
        (event.kind == "receipt").then(|| serde_json::from_str::<ReceiptEvent>(&event.data).ok())??;
    Some(Receipt {
        message: base.join(&members.message).ok()?,
        is_acknowledged: match members.status {
            204 => true,
            410 => false,
            _ => return None,
        },
    })
}
