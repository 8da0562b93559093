//! Requests over the channel's connection, and over one of their own to where the service sends us.

use std::future::Future as _;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::Request;
use url::Url;

use super::answer::{Answer, Answering, Head};
use super::not_begun;
use crate::channel::OpenError;
use crate::channel::connect::connect;
use crate::defaults::HTTP2_HEAD_BYTES;
use crate::request_error::RequestError;
use crate::server_url::ServerUrl;
use crate::tls::Trust;

/// Why a redirection is not followed.
pub(super) const IN_CLEAR: &str = "it leads from https:// to http://, where everybody on the way could read along; tell the service's operator";
pub(super) const NO_SERVER: &str =
    "its Location is missing, or no URL of a push service; tell the service's operator";

/// Makes requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Requester {
    pub(super) requests: SendRequest<Bytes>,
    /// The origin that the connection leads to.
    pub(super) home: Url,
    pub(super) trust: Trust,
}

impl Requester {
    /// One request and its answer, of which the body counts only if it refuses.
    pub(super) async fn exchange(
        &self,
        url: &Url,
        request: Request<()>,
        body: Option<Bytes>,
    ) -> Result<Answer, RequestError> {
        if url.origin() == self.home.origin() {
            return exchange(self.requests.clone(), request, body).await;
        }
        self.elsewhere(url, request, body).await
    }

    /// On a connection of its own, which ends with it.
    async fn elsewhere(
        &self,
        url: &Url,
        request: Request<()>,
        body: Option<Bytes>,
    ) -> Result<Answer, RequestError> {
        if self.home.scheme() == "https" && url.scheme() != "https" {
            return Err(RequestError::Redirection(IN_CLEAR));
        }
        let server = origin(url).and_then(|origin| ServerUrl::parse(&origin).ok());
        let server = server.ok_or(RequestError::Redirection(NO_SERVER))?;
        let unreachable =
            |error: OpenError| RequestError::Elsewhere(server.host().to_owned(), error.to_string());
        let wire = connect(&server, &self.trust).await.map_err(unreachable)?;
        let (requests, connection) = Builder::new()
            .enable_push(false)
            .max_header_list_size(HTTP2_HEAD_BYTES)
            .handshake(wire)
            .await
            .map_err(|error| unreachable(not_begun(error)))?;
        let (mut connection, mut exchange) = (pin!(connection), pin!(exchange(requests, request, body)));
        let mut is_over = false;
        std::future::poll_fn(|cx| {
            is_over = is_over || connection.as_mut().poll(cx).is_ready();
            match exchange.as_mut().poll(cx) {
                // Its end comes with the answer or without; the exchange knows which.
                Poll::Pending if is_over => Poll::Ready(Err(RequestError::NoAnswer)),
                answer => answer,
            }
        })
        .await
    }
}

async fn exchange(
    requests: SendRequest<Bytes>,
    request: Request<()>,
    body: Option<Bytes>,
) -> Result<Answer, RequestError> {
    const NO_ANSWER: RequestError = RequestError::NoAnswer;
    let mut requests = requests.ready().await.map_err(|_| NO_ANSWER)?;
    let (head, mut stream) = requests
        .send_request(request, body.is_none())
        .map_err(|_| NO_ANSWER)?;
    if let Some(body) = body {
        stream.send_data(body, true).map_err(|_| NO_ANSWER)?;
    }
    Answering::from(Head::Http2(head)).await.map_err(|_| NO_ANSWER)
}

/// The root of a URL's origin, as text.
pub(super) fn origin(url: &Url) -> Option<String> {
    let origin = url.origin();
    origin
        .is_tuple()
        .then(|| format!("{}/", origin.ascii_serialization()))
}
