//! Answers of HTTP that are under way: head, body, and the explanation in a refusal.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::{HeaderMap, Response, StatusCode};
use tokio::time::timeout;

use super::http1;
use super::no_answer::NoAnswer;
use crate::defaults::{EXPLANATION_BYTES, EXPLANATION_WITHIN};
use crate::explanation::explanation;

/// An answer without its body.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The explanation in a refusal, in one line without capabilities.
    pub(super) said: Option<Box<str>>,
}

/// The body of an answer. If it is dropped before its end, the rest is refused.
pub(super) enum Body {
    Http2(RecvStream),
    Http1(Box<http1::Body>),
}

impl Body {
    /// The next piece; `None` at the end. `Err`: it broke off.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, NoAnswer>>> {
        match self {
            Self::Http2(stream) => Poll::Ready(match ready!(stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // It fails only for a stream that was reset in the meantime.
                    let _ = stream.flow_control().release_capacity(data.len());
                    Some(Ok(data))
                }
                Some(Err(error)) => Some(Err(error.into())),
                None => None,
            }),
            Self::Http1(body) => body.poll_data(cx),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Http2(stream) => stream.is_end_stream(),
            Self::Http1(body) => body.is_empty(),
        }
    }

    /// The explanation in the body, as far as it comes in time.
    pub(super) async fn explanation(mut self, headers: &HeaderMap) -> Option<Box<str>> {
        if self.is_empty() {
            return None;
        }
        let mut body = Vec::new();
        let reading = async {
            while body.len() < EXPLANATION_BYTES
                && let Some(Ok(data)) = poll_fn(|cx| self.poll_data(cx)).await
            {
                let room = EXPLANATION_BYTES - body.len();
                body.extend_from_slice(&data[..data.len().min(room)]);
            }
        };
        let _ = timeout(EXPLANATION_WITHIN, reading).await;
        explanation(headers, &body).map(Into::into)
    }
}

/// The head of an answer on its way, with its body.
pub(super) enum Head {
    Http2(ResponseFuture),
    Http1(http1::Head),
}

impl Future for Head {
    type Output = Result<Response<Body>, NoAnswer>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Http2(head) => {
                let answer = ready!(Pin::new(head).poll(cx))?;
                Poll::Ready(Ok(answer.map(Body::Http2)))
            }
            Self::Http1(head) => {
                let answer = ready!(head.as_mut().poll(cx))?;
                Poll::Ready(Ok(answer.map(|body| Body::Http1(Box::new(body)))))
            }
        }
    }
}

/// An answer on its way, of which the body counts only if it refuses.
pub(super) struct PendingAnswer(Stage);

enum Stage {
    Head(Head),
    Body(Pin<Box<dyn Future<Output = Result<HttpAnswer, NoAnswer>> + Send>>),
}

impl From<Head> for PendingAnswer {
    fn from(head: Head) -> Self {
        Self(Stage::Head(head))
    }
}

impl Future for PendingAnswer {
    type Output = Result<HttpAnswer, NoAnswer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let answer = match &mut self.0 {
                Stage::Head(head) => ready!(Pin::new(head).poll(cx))?,
                Stage::Body(reading) => return reading.as_mut().poll(cx),
            };
            let (head, body) = answer.into_parts();
            let mut answer = HttpAnswer {
                status: head.status,
                headers: head.headers,
                said: None,
            };
            if !is_refusal(answer.status) || body.is_empty() {
                return Poll::Ready(Ok(answer));
            }
            self.0 = Stage::Body(Box::pin(async move {
                answer.said = body.explanation(&answer.headers).await;
                Ok(answer)
            }));
        }
    }
}

pub(super) fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}
