//! Sends requests over the version of HTTP that the connection speaks.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{PushPromises, SendRequest};
use http::Request;

use super::answer::{Head, HttpAnswer, PendingAnswer};
use super::http1::Http1;
use super::no_answer::NoAnswer;
use crate::defaults::{ACKNOWLEDGEMENTS, HTTP1_ACKNOWLEDGEMENTS};

/// Sends requests. Cheap to clone.
#[derive(Clone)]
pub(super) enum Sender {
    Http2(SendRequest<Bytes>),
    Http1(Http1),
}

impl Sender {
    /// Whether messages may be pushed to us.
    pub(super) fn can_push(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// How many acknowledgements may be under way.
    pub(super) fn acknowledgements(&self) -> usize {
        match self {
            Self::Http2(_) => ACKNOWLEDGEMENTS,
            Self::Http1(_) => HTTP1_ACKNOWLEDGEMENTS,
        }
    }

    /// Whether a request may be begun: always over HTTP/1.1, where each has a connection.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        match self {
            Self::Http2(requests) => requests.poll_ready(cx),
            Self::Http1(_) => Poll::Ready(Ok(())),
        }
    }

    /// Forgets connections that the server closed.
    pub(super) fn poll_idle(&self, cx: &mut Context<'_>) {
        if let Self::Http1(http1) = self {
            http1.poll_idle(cx);
        }
    }

    /// Begins a request without a body, if one can be begun.
    pub(super) fn ask(&mut self, request: Request<()>) -> Option<Head> {
        match self {
            Self::Http2(requests) => Some(Head::Http2(requests.send_request(request, true).ok()?.0)),
            Self::Http1(http1) => Some(Head::Http1(http1.ask(request, None))),
        }
    }

    /// [`ask`](Self::ask), with what is promised before the answer comes.
    pub(super) fn monitor(&self, request: Request<()>) -> Option<(Head, Option<PushPromises>)> {
        match self {
            Self::Http2(requests) => {
                // A clone has no request of its own that waits for a stream.
                let (mut answer, _) = requests.clone().send_request(request, true).ok()?;
                let promises = answer.push_promises();
                Some((Head::Http2(answer), Some(promises)))
            }
            Self::Http1(http1) => Some((Head::Http1(http1.ask(request, None)), None)),
        }
    }

    /// One request and its answer, of which the body counts only if it refuses.
    pub(super) async fn exchange(
        self,
        request: Request<()>,
        body: Option<Bytes>,
    ) -> Result<HttpAnswer, NoAnswer> {
        let head = match self {
            Self::Http2(requests) => {
                let mut requests = requests.ready().await?;
                let (head, mut stream) = requests.send_request(request, body.is_none())?;
                if let Some(body) = body {
                    stream.send_data(body, true)?;
                }
                Head::Http2(head)
            }
            Self::Http1(http1) => Head::Http1(http1.ask(request, body)),
        };
        PendingAnswer::from(head).await
    }
}

/// Drives a connection (`carrier`) until the exchange on it has ended. If the connection ends and the exchange does not, there is no
/// answer.
pub(super) async fn driven<T>(
    carrier: impl Future<Output = ()>,
    exchange: impl Future<Output = Result<T, NoAnswer>>,
) -> Result<T, NoAnswer> {
    let (mut carrier, mut exchange) = (std::pin::pin!(carrier), std::pin::pin!(exchange));
    let mut is_over = false;
    std::future::poll_fn(|cx| {
        is_over = is_over || carrier.as_mut().poll(cx).is_ready();
        match Pin::new(&mut exchange).poll(cx) {
            Poll::Pending if is_over => Poll::Ready(Err(NoAnswer::ONLY_THIS_REQUEST)),
            answer => answer,
        }
    })
    .await
}
