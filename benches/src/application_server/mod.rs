//! An application server on HTTP/1.1 with a connection that it keeps, by hand: it has to be cheaper than what it measures.

mod tokens;

use std::io::Write as _;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) use self::tokens::{Tokens, Vapid};
use crate::body::{BODY_BYTES, Bodies};
use crate::failure::{Failure, Outcome, While as _, within};

/// Longer than every measurement: nothing may expire on its way.
const TTL_SECS: u32 = 3_600;

/// A push resource, as far as each request to it is the same.
pub(crate) struct PushResource {
    /// Request line and header fields, without the last empty line.
    head: String,
    origin: String,
}

/// The body of a push message.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    /// Of these, the one with this number.
    Numbered(&'a Bodies, usize),
    /// This one.
    Made(&'a [u8]),
}

/// A connection to the service.
pub(crate) struct ApplicationServer {
    stream: TcpStream,
    out: Vec<u8>,
    read: Vec<u8>,
}

impl PushResource {
    /// Takes an absolute URL.
    pub(crate) fn new(url: &str) -> Outcome<Self> {
        let parts = url.split_once("://").and_then(|(scheme, rest)| {
            let (host, path) = rest.split_once('/')?;
            Some((scheme, host, path))
        });
        let (scheme, host, path) =
            parts.ok_or_else(|| Failure::new("a push resource is not an absolute URL"))?;
        let head = format!(
            "POST /{path} HTTP/1.1\r\nhost: {host}\r\nttl: {TTL_SECS}\r\nurgency: normal\r\n\
             content-encoding: aes128gcm\r\n"
        );
        Ok(Self {
            head,
            origin: format!("{scheme}://{host}"),
        })
    }

    /// For whom tokens must be.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }
}

impl Body<'_> {
    fn bytes(self) -> usize {
        match self {
            Self::Numbered(..) => BODY_BYTES,
            Self::Made(body) => body.len(),
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Numbered(bodies, number) => bodies.write(number as u64, out),
            Self::Made(body) => out.extend_from_slice(body),
        }
    }
}

impl ApplicationServer {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address)
            .await
            .doing(format_args!("connecting to {address}"))?;
        stream
            .set_nodelay(true)
            .doing(format_args!("connecting to {address}"))?;
        Ok(Self {
            stream,
            out: Vec::with_capacity(4 * BODY_BYTES),
            read: Vec::with_capacity(4 * BODY_BYTES),
        })
    }

    /// Sends a push message and waits for its 201.
    pub(crate) async fn push(
        &mut self,
        to: &PushResource,
        authorization: Option<&str>,
        body: Body<'_>,
    ) -> Outcome<()> {
        self.out.clear();
        self.out.extend_from_slice(to.head.as_bytes());
        if let Some(authorization) = authorization {
            for part in ["authorization: ", authorization, "\r\n"] {
                self.out.extend_from_slice(part.as_bytes());
            }
        }
        // A Vec takes every write.
        let _ = write!(self.out, "content-length: {}\r\n\r\n", body.bytes());
        body.write(&mut self.out);
        within("a push message", self.exchange()).await
    }

    async fn exchange(&mut self) -> Outcome<()> {
        self.stream
            .write_all(&self.out)
            .await
            .doing("sending a push message")?;
        self.read.clear();
        loop {
            let read = self.stream.read_buf(&mut self.read).await;
            if read.doing("waiting for an answer to a push message")? == 0 {
                return Err(Failure::new(
                    "the service ended an application server's connection",
                ));
            }
            if let Some(status) = answered(&self.read)? {
                return created(status, &self.read);
            }
        }
    }
}

/// The status, once the whole answer is there.
fn answered(read: &[u8]) -> Outcome<Option<u16>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response
        .parse(read)
        .doing("reading the answer to a push message")?;
    let httparse::Status::Complete(head) = parsed else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let is_whole = read.len() >= head + length.unwrap_or(0);
    Ok(response.code.filter(|_| is_whole))
}

fn created(status: u16, answer: &[u8]) -> Outcome<()> {
    if status == 201 {
        return Ok(());
    }
    let answer = String::from_utf8_lossy(answer);
    Err(Failure::new(format!(
        "a push message is answered {status}, not 201:\n{answer}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer is whole when its body is there, and only 201 will do.
    #[test]
    fn answers_are_read() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
        for cut in 0..whole.len() {
            assert_eq!(answered(&whole[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(answered(whole).unwrap(), Some(201));
        assert!(created(201, whole).is_ok());
        assert!(created(202, whole).is_err());
    }

    /// A push resource is taken apart into where to connect to and what to ask for.
    #[test]
    fn a_url_is_taken_apart() {
        let resource = PushResource::new("https://h:8/wpush/v2/T").unwrap();
        assert_eq!(resource.origin(), "https://h:8");
        assert!(
            resource
                .head
                .starts_with("POST /wpush/v2/T HTTP/1.1\r\nhost: h:8\r\n")
        );
        assert!(PushResource::new("/wpush/v2/T").is_err());
    }
}
