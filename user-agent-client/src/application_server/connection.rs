//! One HTTP/1.1 exchange on a connection of its own, clear or TLS; or one whose answer doesn't end.
//!
//! Has no deadline: its caller drops it.

use std::io;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::error::SendError;
use crate::channel::Wire;
use crate::defaults::{ANSWER_BODY_BYTES, ANSWER_HEAD_BYTES};
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
    if url.scheme() != "https" {
        let stream = connect(url).await.map_err(|error| unreachable(&error))?;
        return Ok(Box::new(stream));
    }
    let tls = trust
        .client_config()
        .map_err(|error| SendError::NobodyToTrust(error.to_string()))?;
    let host = url.host().ok_or(SendError::NotAPushResource)?;
    let stream = connect(url).await.map_err(|error| unreachable(&error))?;
    let stream = TlsConnector::from(tls)
        .connect(server_name(&host)?, stream)
        .await
        .map_err(|error| unreachable(&error))?;
    Ok(Box::new(stream))
}

async fn connect(url: &Url) -> io::Result<TcpStream> {
    let port = url.port_or_known_default().unwrap_or(443);
    let stream = match url.host() {
        Some(Host::Ipv4(ip)) => TcpStream::connect((ip, port)).await?,
        Some(Host::Ipv6(ip)) => TcpStream::connect((ip, port)).await?,
        Some(Host::Domain(name)) => TcpStream::connect((name, port)).await?,
        None => return Err(io::ErrorKind::InvalidInput.into()),
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn server_name(host: &Host<&str>) -> Result<ServerName<'static>, SendError> {
    match host {
        Host::Ipv4(ip) => Ok(ServerName::IpAddress((*ip).into())),
        Host::Ipv6(ip) => Ok(ServerName::IpAddress((*ip).into())),
        Host::Domain(name) => ServerName::try_from(*name)
            .map(|name| name.to_owned())
            .map_err(|_| SendError::NotAPushResource),
    }
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
        // A cut or endless explanation takes nothing from the status.
        let body = body.map(Collected::to_bytes).unwrap_or_default();
        Ok(Response::from_parts(head, body))
    });
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // Its end comes with the last bytes of the answer, or without an answer; the exchange knows which.
        _ = &mut connection => exchange.await,
    }
}

fn unreachable(error: &io::Error) -> SendError {
    SendError::Unreachable(error.to_string())
}

/// Hyper's errors say what happened in their sources; they quote nothing of the message.
pub(super) fn broken(error: &hyper::Error) -> SendError {
    if error.is_parse() || error.is_parse_too_large() {
        return SendError::Garbled;
    }
    let source = std::error::Error::source(error);
    SendError::Unreachable(source.map_or_else(|| error.to_string(), ToString::to_string))
}
