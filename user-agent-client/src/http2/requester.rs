//! Sends requests over the channel's connection, or, after a redirection to another origin, over a new one.

use bytes::Bytes;
use h2::client::Builder;
use http::Request;
use url::Url;

use super::answer::HttpAnswer;
use super::http1::Http1;
use super::not_begun;
use super::sender::{Sender, driven};
use crate::connection::{OpenError, connect};
use crate::defaults::HTTP2_HEAD_BYTES;
use crate::request_error::RequestError;
use crate::server_url::ServerUrl;
use crate::tls::Trust;

/// Why a redirection is not followed.
pub(super) const IN_CLEAR: &str =
    "it leads from https:// to http://, where others could read everything; tell the service's operator";
pub(super) const NO_SERVER: &str =
    "its Location is missing or not the URL of a push service; tell the service's operator";

/// Makes requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Requester {
    pub(super) requests: Sender,
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
    ) -> Result<HttpAnswer, RequestError> {
        if url.origin() == self.home.origin() {
            let exchange = self.requests.clone().exchange(request, body);
            return exchange.await.map_err(|_| RequestError::NoAnswer);
        }
        self.elsewhere(url, request, body).await
    }

    /// On a connection of its own, which ends with it.
    async fn elsewhere(
        &self,
        url: &Url,
        request: Request<()>,
        body: Option<Bytes>,
    ) -> Result<HttpAnswer, RequestError> {
        if self.home.scheme() == "https" && url.scheme() != "https" {
            return Err(RequestError::Redirection(IN_CLEAR));
        }
        let server = origin(url).and_then(|origin| ServerUrl::parse(&origin).ok());
        let server = server.ok_or(RequestError::Redirection(NO_SERVER))?;
        let unreachable =
            |error: OpenError| RequestError::Elsewhere(server.host().to_owned(), error.to_string());
        let connected = connect(server.destination(), &self.trust)
            .await
            .map_err(unreachable)?;
        if !connected.is_http2 {
            let http1 = Http1::on(connected.wire, &server, &self.trust).await;
            let exchange = Sender::Http1(http1.map_err(unreachable)?).exchange(request, body);
            return exchange.await.map_err(|_| RequestError::NoAnswer);
        }
        let (requests, connection) = Builder::new()
            .enable_push(false)
            .max_header_list_size(HTTP2_HEAD_BYTES)
            .handshake(connected.wire)
            .await
            .map_err(|error| unreachable(not_begun(error)))?;
        let exchange = Sender::Http2(requests).exchange(request, body);
        let answer = driven(async { drop(connection.await) }, exchange).await;
        answer.map_err(|_| RequestError::NoAnswer)
    }
}

/// The root of a URL's origin, as text.
pub(super) fn origin(url: &Url) -> Option<String> {
    let origin = url.origin();
    origin
        .is_tuple()
        .then(|| format!("{}/", origin.ascii_serialization()))
}
