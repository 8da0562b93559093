//! One HTTP/1.1 request on a connection of its own, in clear or over TLS. The answer may be a stream without an end.
//!
//! It has no deadline; the caller sets one.

use std::io;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use url::{Host, Url};

use super::error::SendError;
use crate::connection::{Destination, OpenError, Speaks, Wire, connect};
use crate::defaults::{ANSWER_BODY_BYTES, ANSWER_HEAD_BYTES};
use crate::io_error;
use crate::tls::Trust;

/// Sends `request` to the host of `url`, and returns the whole answer.
pub(super) async fn exchange(
    url: &Url,
    trust: &Trust,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, SendError> {
    over(open(url, trust).await?, request).await
}

/// Connects to the host of `url`.
pub(super) async fn open(url: &Url, trust: &Trust) -> Result<Box<dyn Wire>, SendError> {
    let host = match url.host().ok_or(SendError::NotAPushResource)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    ServerName::try_from(&*host).map_err(|_| SendError::NotAPushResource)?;
    let to = Destination {
        host: &host,
        port: url.port_or_known_default().unwrap_or(443),
        is_secure: url.scheme() == "https",
        speaks: Speaks::Http1,
    };
    let connected = connect(to, trust).await.map(|connected| connected.wire);
    connected.map_err(|error| match error {
        OpenError::Trust(error) => SendError::NobodyToTrust(error.to_string()),
        error => SendError::Unreachable(error.to_string()),
    })
}

async fn over(stream: Box<dyn Wire>, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, SendError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(ANSWER_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let mut connection = pin!(connection);
    let mut exchange = pin!(async move {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BODY_BYTES).collect().await;
        // The status counts even if the explanation is cut off or too long.
        let body = body.map(Collected::to_bytes).unwrap_or_default();
        Ok(Response::from_parts(head, body))
    });
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection has ended: the exchange returns the answer or an error.
        _ = &mut connection => exchange.await,
    }
}

/// What an error of hyper means. Its source is the error of the connection.
pub(super) fn broken(error: &hyper::Error) -> SendError {
    if error.is_parse() || error.is_parse_too_large() {
        return SendError::Garbled;
    }
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    SendError::Unreachable(match source {
        Some(error) => io_error::sentence(error),
        None => "it closed the connection before it had answered".to_owned(),
    })
}
