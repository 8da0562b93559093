//! A tunnel through a proxy (`CONNECT`, RFC 9110 §9.3.6), and why there may be none.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::wire::Wire;
use crate::defaults::{UPGRADE_HEAD_BYTES, UPGRADE_HEADERS};
use crate::io_error;
use crate::proxy::Proxy;
use crate::tls::sentences;

/// Room to read into: the usual answer has some 50 bytes.
const ROOM_BYTES: usize = 512;

/// Why there is no way through a proxy. Prints as a sentence that says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// Its host has no address.
    NoAddress(io::Error),
    /// No connection to the proxy.
    NoConnection(io::Error),
    /// TLS with the proxy itself failed.
    Tls(io::Error),
    /// It refused with this status.
    Refused(u16),
    /// What answers is no HTTP proxy.
    NotAProxy,
    /// The connection broke before the answer was whole.
    Lost(io::Error),
}

impl fmt::Display for ProxyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress(error) => write!(
                f,
                "its name cannot be resolved: is it right? ({})",
                io_error::sentence(error)
            ),
            Self::NoConnection(error) => {
                write!(
                    f,
                    "it cannot be connected to: is it running, and is its port right? ({})",
                    io_error::sentence(error)
                )
            }
            Self::Tls(error) => match sentences::of_io(error) {
                Some(sentence) => write!(f, "with the proxy itself, {sentence}"),
                None => write!(
                    f,
                    "the connection to it was lost during the TLS handshake ({})",
                    io_error::sentence(error)
                ),
            },
            Self::Refused(status) => write!(f, "it answered with status {status}: {}", advice(*status)),
            Self::NotAProxy => f.write_str("it is not an HTTP proxy: is its port right?"),
            Self::Lost(error) => write!(
                f,
                "it closed the connection without an answer ({})",
                io_error::sentence(error)
            ),
        }
    }
}

fn advice(status: u16) -> &'static str {
    match status {
        407 => "it needs a user and a password: write them in its URL, http://USER:PASSWORD@HOST:PORT",
        401 | 403 => {
            "it does not allow connections to this service and port: ask its operator, or name the service \
             in NO_PROXY if it can be reached without the proxy"
        }
        400 | 404 | 405 | 501 => "it does not support tunnels (CONNECT): is it the right proxy?",
        429 => "it is busy: try again later",
        502..=504 => "it cannot reach the service: is the service's URL right, and is the service running?",
        500..=599 => "it has an error: try again later",
        _ => "it refused to open a tunnel to the service",
    }
}

/// Asks the proxy at the other end of `wire` for a tunnel to `target`, a host with its port, and returns it.
pub(crate) async fn through(
    mut wire: Box<dyn Wire>,
    proxy: &Proxy,
    target: &str,
) -> Result<Box<dyn Wire>, ProxyFailure> {
    wire.write_all(&request(proxy, target))
        .await
        .map_err(ProxyFailure::Lost)?;
    wire.flush().await.map_err(ProxyFailure::Lost)?;
    let mut answer = Vec::new();
    loop {
        if let Some(length) = read_answer(&answer)? {
            answer.drain(..length);
            break;
        }
        if answer.len() > UPGRADE_HEAD_BYTES {
            return Err(ProxyFailure::NotAProxy);
        }
        answer.reserve(ROOM_BYTES);
        if wire.read_buf(&mut answer).await.map_err(ProxyFailure::Lost)? == 0 {
            return Err(ProxyFailure::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    if answer.is_empty() {
        return Ok(wire);
    }
    // A service that sends first, as over HTTP/2.
    let unread = io::Cursor::new(answer);
    Ok(Box::new(Begun { unread, wire }))
}

fn request(proxy: &Proxy, target: &str) -> Vec<u8> {
    let mut request = format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: user-agent-client/{}\r\n",
        env!("CARGO_PKG_VERSION")
    )
    .into_bytes();
    if let Some(authorization) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// The length of the head of an answer that agrees; `None` if it isn't whole yet.
fn read_answer(bytes: &[u8]) -> Result<Option<usize>, ProxyFailure> {
    let mut headers = [httparse::EMPTY_HEADER; UPGRADE_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => match response.code {
            Some(200..=299) => Ok(Some(length)),
            status => Err(ProxyFailure::Refused(status.unwrap_or_default())),
        },
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(ProxyFailure::NotAProxy),
    }
}

/// A connection of which the first bytes are read already.
struct Begun {
    unread: io::Cursor<Vec<u8>>,
    wire: Box<dyn Wire>,
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let at = usize::try_from(self.unread.position()).unwrap_or(usize::MAX);
        let left = self.unread.get_ref().get(at..).unwrap_or_default();
        if left.is_empty() {
            self.unread = io::Cursor::default();
            return Pin::new(&mut self.wire).poll_read(cx, out);
        }
        let taken = left.len().min(out.remaining());
        out.put_slice(&left[..taken]);
        self.unread.set_position((at + taken) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
