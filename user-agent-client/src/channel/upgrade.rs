//! The upgrade from HTTP/1.1 (RFC 6455 §4.1): the request, and the checks of its answer.

use std::io;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::random;
use crate::connection::{OpenError, Wire};
use crate::defaults::{EXPLANATION_BYTES, EXPLANATION_WITHIN, UPGRADE_HEAD_BYTES, UPGRADE_HEADERS};
use crate::explanation::explanation;
use crate::retry_after;
use crate::server_url::ServerUrl;

/// RFC 6455 §1.3.
const ACCEPT_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Room to read into: the usual answer has some 200 bytes, and a first message may come with it.
const ROOM_BYTES: usize = 1_024;

/// The first byte of a TLS server's answer to plain HTTP: an alert (RFC 8446 §5.1).
const TLS_ALERT: u8 = 21;

/// Asks for a WebSocket, and returns what the service said after it agreed.
pub(super) async fn upgrade(wire: &mut dyn Wire, url: &ServerUrl) -> Result<Vec<u8>, OpenError> {
    let key = random::key();
    wire.write_all(request(url, &key).as_bytes())
        .await
        .map_err(OpenError::Lost)?;
    wire.flush().await.map_err(OpenError::Lost)?;
    let accept = accept(&key);
    let mut answer = Vec::new();
    let mut interim_bytes = 0;
    loop {
        match read_answer(&answer, &accept)? {
            Some(Answered::Interim(bytes)) => {
                answer.drain(..bytes);
                interim_bytes += bytes;
                continue;
            }
            Some(Answered::Upgraded(bytes)) => {
                answer.drain(..bytes);
                answer.shrink_to_fit();
                return Ok(answer);
            }
            Some(Answered::Refused(refusal)) => {
                answer.drain(..refusal.bytes);
                let said = explained(wire, answer, refusal.length).await;
                return Err(OpenError::Refused {
                    status: refusal.status,
                    retry_after: refusal.retry_after,
                    said,
                });
            }
            None if interim_bytes + answer.len() > UPGRADE_HEAD_BYTES => {
                return Err(OpenError::NotWebSocket("its answer is too long"));
            }
            None => {}
        }
        answer.reserve(ROOM_BYTES);
        if wire.read_buf(&mut answer).await.map_err(OpenError::Lost)? == 0 {
            return Err(OpenError::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// The subprotocol is offered because Firefox does (WS-CON-2).
fn request(url: &ServerUrl, key: &str) -> String {
    format!(
        "GET {} HTTP/1.1\r\n\
         Host: {}\r\n\
         User-Agent: user-agent-client/{}\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\n\
         Sec-WebSocket-Protocol: push-notification\r\n\r\n",
        url.path_and_query(),
        url.authority(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// The answer to a key (RFC 6455 §4.2.2).
pub(super) fn accept(key: &str) -> String {
    let digest = sha1_smol::Sha1::from(format!("{key}{ACCEPT_SUFFIX}")).digest();
    STANDARD.encode(digest.bytes())
}

/// An answer, and how many bytes it took.
#[derive(PartialEq, Eq, Debug)]
enum Answered {
    /// The answer is still to come (RFC 9110 §15.2).
    Interim(usize),
    Upgraded(usize),
    Refused(Refusal),
}

#[derive(PartialEq, Eq, Debug)]
struct Refusal {
    bytes: usize,
    status: u16,
    retry_after: Option<Duration>,
    length: Length,
}

/// How long the body of an answer is (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Length {
    Bytes(usize),
    Chunked,
    ToTheEnd,
}

/// What the body of a refusal says, as far as it comes in time.
async fn explained(wire: &mut dyn Wire, mut body: Vec<u8>, length: Length) -> Option<Box<str>> {
    let reading = async {
        while body.len() < EXPLANATION_BYTES && !length.is_whole(&body) {
            body.reserve(ROOM_BYTES);
            if !matches!(wire.read_buf(&mut body).await, Ok(1..)) {
                break;
            }
        }
    };
    // What has come by then says enough, or nothing.
    let _ = timeout(EXPLANATION_WITHIN, reading).await;
    body.truncate(EXPLANATION_BYTES);
    match length {
        Length::Bytes(bytes) => body.truncate(bytes),
        Length::Chunked => body = unchunked(&body),
        Length::ToTheEnd => {}
    }
    explanation(&HeaderMap::new(), &body).map(Into::into)
}

impl Length {
    fn is_whole(self, body: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => body.len() >= bytes,
            // Any chunk will do that has the last one's shape: only an explanation is looked for.
            Self::Chunked => body.ends_with(b"0\r\n\r\n"),
            Self::ToTheEnd => false,
        }
    }
}

/// What the chunks hold, as far as they can be read (RFC 9112 §7.1).
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Ok(httparse::Status::Complete((head, size))) = httparse::parse_chunk_size(body) {
        let rest = &body[head..];
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        content.extend_from_slice(&rest[..size]);
        // Behind a chunk stands the end of a line.
        match rest.get(size + 2..) {
            Some(next) if size > 0 => body = next,
            Some(_) | None => break,
        }
    }
    content
}

/// Reads an answer; `None` if it isn't whole yet.
fn read_answer(bytes: &[u8], accept: &str) -> Result<Option<Answered>, OpenError> {
    if bytes.first() == Some(&TLS_ALERT) {
        return Err(OpenError::NotWebSocket(
            "it expects TLS: the URL must begin with wss://",
        ));
    }
    let mut headers = [httparse::EMPTY_HEADER; UPGRADE_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(OpenError::NotWebSocket("its answer has too many header fields"));
        }
        Err(_) => return Err(OpenError::NotWebSocket("its answer is not HTTP/1.1")),
    };
    let headers = Headers(response.headers);
    match response.code {
        Some(101) => headers.check(accept).map(|()| Some(Answered::Upgraded(length))),
        Some(100..=199) => Ok(Some(Answered::Interim(length))),
        status => Ok(Some(Answered::Refused(Refusal {
            bytes: length,
            status: status.unwrap_or_default(),
            retry_after: headers.retry_after(SystemTime::now()),
            length: headers.length(),
        }))),
    }
}

/// The header fields of an answer.
struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    /// RFC 6455 §4.1, the client's checks of the answer, but for the subprotocol, which may be any (WS-CON-2).
    fn check(&self, accept: &str) -> Result<(), OpenError> {
        let wrong = |what| Err(OpenError::NotWebSocket(what));
        if !self.has_token("upgrade", "websocket") || !self.has_token("connection", "upgrade") {
            return wrong("it switched to another protocol than WebSocket");
        }
        if !self.values("sec-websocket-accept").eq([accept]) {
            return wrong("its Sec-WebSocket-Accept is wrong, so it did not read this request");
        }
        if self
            .values("sec-websocket-extensions")
            .any(|value| !value.is_empty())
        {
            return wrong("it uses a WebSocket extension that was not offered");
        }
        Ok(())
    }

    fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        retry_after::parse(self.values("retry-after").next()?, now)
    }

    fn length(&self) -> Length {
        if self.has_token("transfer-encoding", "chunked") {
            return Length::Chunked;
        }
        let length = self.values("content-length").next();
        let length = length.and_then(|length| length.parse().ok());
        length.map_or(Length::ToTheEnd, Length::Bytes)
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(token))
    }

    /// The values of a header field that are text.
    fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .filter_map(|header| std::str::from_utf8(header.value).ok())
            .map(str::trim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §1.3: the RFC's own example.
    #[test]
    fn the_rfcs_key() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
