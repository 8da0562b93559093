//! An application server on HTTP/1.1 with a connection that it keeps.

mod tokens;

use std::io::Write as _;

use push_protocol::headers::Relation;

pub(crate) use self::tokens::{Tokens, Vapid};
use crate::body::{BODY_BYTES, Bodies};
use crate::connector::Connector;
use crate::failure::{BenchResult, Failure};
use crate::http1::{Connection, linked};

/// Longer than every measurement: nothing may expire on its way.
const TTL_SECS: u32 = 3_600;

/// A push resource, as far as each request to it is the same.
pub(crate) struct PushResource {
    /// Request line and header fields, without the last empty line.
    head: String,
    origin: String,
    /// Whether receipts are asked for, and so what a message is to be answered.
    expected: u16,
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
    connection: Connection,
}

impl PushResource {
    /// Takes an absolute URL.
    pub(crate) fn new(url: &str) -> BenchResult<Self> {
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
            expected: 201,
        })
    }

    /// With a receipt for each message, told at this receipt subscription, or at a new one (RFC 8030 §5.1).
    pub(crate) fn with_receipts(mut self, subscription: Option<&str>) -> Self {
        self.head.push_str("prefer: respond-async\r\n");
        if let Some(subscription) = subscription {
            let link = Relation::Receipt.link(subscription);
            self.head.push_str(&format!("link: {link}\r\n"));
        }
        self.expected = 202;
        self
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
    pub(crate) async fn connect(connector: &Connector) -> BenchResult<Self> {
        let connection = Connection::connect(connector).await?;
        Ok(Self { connection })
    }

    /// Sends a push message and waits for its 201, or its 202 if a receipt follows.
    pub(crate) async fn push(
        &mut self,
        to: &PushResource,
        authorization: Option<&str>,
        body: Body<'_>,
    ) -> BenchResult<()> {
        let out = self.connection.request();
        out.extend_from_slice(to.head.as_bytes());
        if let Some(authorization) = authorization {
            for part in ["authorization: ", authorization, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        // A Vec takes every write.
        let _ = write!(out, "content-length: {}\r\n\r\n", body.bytes());
        body.write(out);
        let status = self.connection.exchange().await?;
        accepted(status, to.expected, self.connection.unread())
    }

    /// The message resource of the last message.
    pub(crate) fn location(&self) -> BenchResult<&str> {
        let location = self.connection.fields("location").into_iter().next();
        location.ok_or_else(|| Failure::new("a push message gets no Location"))
    }

    /// Where the receipt of the last message will be told.
    pub(crate) fn receipts(&self) -> BenchResult<&str> {
        let link = linked(&self.connection.fields("link"), Relation::Receipt);
        link.ok_or_else(|| Failure::new("a push message gets no receipt subscription"))
    }
}

fn accepted(status: u16, expected: u16, answer: &[u8]) -> BenchResult<()> {
    if status == expected {
        return Ok(());
    }
    let answer = String::from_utf8_lossy(answer);
    Err(Failure::new(format!(
        "a push message is answered {status}, not {expected}:\n{answer}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only 201 will do, and only 202 where a receipt was asked for.
    #[test]
    fn other_answers_are_failures() {
        for (status, expected, is_good) in [
            (201, 201, true),
            (202, 201, false),
            (202, 202, true),
            (201, 202, false),
        ] {
            assert_eq!(
                accepted(status, expected, b"").is_ok(),
                is_good,
                "{status} for {expected}"
            );
        }
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
