//! A user agent that monitors its set by Server-Sent Events over HTTP/1.1 (WHATWG HTML §9.2).
//!
//! Events have no way back: messages are acknowledged by `DELETE` over a second connection, which is opened with the first
//! message. Read in the shape in which the service writes it: an event is one line of JSON.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::sync::watch;

use super::Identity;
use super::set::target;
use crate::connector::Connector;
use crate::failure::{BenchResult, Failure, While as _};
use crate::http1::Connection;

/// A stream of events, and where messages are acknowledged.
pub(crate) struct UserAgent {
    stream: Stream,
    push_resource: Box<str>,
    /// Where acknowledgements go, and over what.
    connector: Connector,
    acknowledging: Option<Connection>,
}

struct Stream {
    connection: Connection,
    /// What was in chunks, and is no whole event yet.
    text: Vec<u8>,
}

/// A push message, as it is told.
#[derive(Deserialize)]
struct Message {
    message: Box<str>,
    push: Box<str>,
    body: Box<str>,
}

/// An event that means something.
enum Event {
    Message(Message),
    End,
}

impl UserAgent {
    /// Connects and begins to monitor. When this is done, the service has given it its seat.
    pub(super) async fn monitor(connector: &Connector, identity: &Identity) -> BenchResult<Self> {
        let connection = Connection::new(connector.connect().await?);
        let stream = Stream::open(connection, identity, "").await?;
        Ok(Self {
            stream: stream.ok_or_else(|| Failure::new("a monitor is answered at once"))?,
            push_resource: identity.push_resource.as_str().into(),
            connector: connector.clone(),
            acknowledging: None,
        })
    }

    /// Takes and acknowledges messages until `stop` changes. `arrived` sees whether a message is for its own subscription,
    /// and the body.
    pub(super) async fn listen(
        mut self,
        mut stop: watch::Receiver<bool>,
        mut arrived: impl FnMut(bool, &[u8]),
    ) -> BenchResult<()> {
        loop {
            let event = tokio::select! {
                event = self.stream.next() => event?,
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            };
            let Event::Message(message) = event else {
                return Err(Failure::new("the service ended a stream of events"));
            };
            let body = URL_SAFE_NO_PAD.decode(&*message.body).doing("reading a body")?;
            arrived(message.push == self.push_resource, &body);
            self.acknowledge(&message.message).await?;
        }
    }

    async fn acknowledge(&mut self, url: &str) -> BenchResult<()> {
        let connection = match &mut self.acknowledging {
            Some(connection) => connection,
            none => none.insert(Connection::connect(&self.connector).await?),
        };
        let (host, path) = target(url)?;
        // A Vec takes every write.
        let _ = write!(
            connection.request(),
            "DELETE {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"
        );
        match connection.exchange().await? {
            204 => Ok(()),
            status => Err(Failure::new(format!(
                "an acknowledgement is answered {status}, not 204"
            ))),
        }
    }
}

/// How many messages wait (RFC 8030 §6.1, `Prefer: wait=0`).
pub(super) async fn waiting(connector: &Connector, identity: &Identity) -> BenchResult<usize> {
    let connection = Connection::connect(connector).await?;
    let Some(mut stream) = Stream::open(connection, identity, "prefer: wait=0\r\n").await? else {
        return Ok(0);
    };
    let mut count = 0;
    while let Event::Message(_) = stream.next().await? {
        count += 1;
    }
    Ok(count)
}

impl Stream {
    /// `None` if there is nothing to be told.
    async fn open(
        mut connection: Connection,
        identity: &Identity,
        fields: &str,
    ) -> BenchResult<Option<Self>> {
        let (host, path) = target(identity.name.as_str())?;
        // A Vec takes every write.
        let _ = write!(
            connection.request(),
            "GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n{fields}\r\n"
        );
        match connection.begin().await? {
            200 => Ok(Some(Self {
                connection,
                text: Vec::new(),
            })),
            204 => Ok(None),
            status => Err(Failure::new(format!("a monitor is answered {status}, not 200"))),
        }
    }

    /// The next event.
    ///
    /// Cancel safe: nothing is lost.
    async fn next(&mut self) -> BenchResult<Event> {
        loop {
            while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let event = event(&self.text[..end])?;
                self.text.drain(..end + 2);
                if let Some(event) = event {
                    return Ok(event);
                }
            }
            match chunk(self.connection.unread())? {
                Some((start, end)) => {
                    self.text.extend_from_slice(&self.connection.unread()[start..end]);
                    self.connection.taken(end + 2);
                }
                None => self.connection.read_more().await?,
            }
        }
    }
}

/// Where the content of a chunk is (RFC 9112 §7.1), once all of it has come.
fn chunk(unread: &[u8]) -> BenchResult<Option<(usize, usize)>> {
    match httparse::parse_chunk_size(unread) {
        Ok(httparse::Status::Complete((start, bytes))) => {
            let end = start + bytes as usize;
            Ok((unread.len() >= end + 2).then_some((start, end)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(Failure::new("a stream of events is not in chunks")),
    }
}

/// `None` for a comment.
fn event(text: &[u8]) -> BenchResult<Option<Event>> {
    let (mut kind, mut data) = (&b""[..], &b""[..]);
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(value) = line.strip_prefix(b"event: ") {
            kind = value;
        } else if let Some(value) = line.strip_prefix(b"data: ") {
            data = value;
        }
    }
    match kind {
        b"message" => Ok(Some(Event::Message(
            serde_json::from_slice(data).doing("reading an event")?,
        ))),
        b"end" => Ok(Some(Event::End)),
        b"" => Ok(None),
        _ => Err(Failure::new("an event of an unknown kind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events are read in whatever pieces they come, and comments are passed over.
    #[test]
    fn events_are_read() {
        assert!(event(b":").unwrap().is_none());
        assert!(matches!(
            event(b"event: end\ndata: {}").unwrap(),
            Some(Event::End)
        ));
        let told = b"id: a\nevent: message\ndata: {\"message\":\"m\",\"push\":\"p\",\"headers\":{},\"body\":\"Cv8K\"}";
        let Some(Event::Message(message)) = event(told).unwrap() else {
            panic!("a message is expected");
        };
        assert_eq!(
            (&*message.message, &*message.push, &*message.body),
            ("m", "p", "Cv8K")
        );
        assert!(event(b"event: other\ndata: {}").is_err());
        let whole = b"3\r\nabc\r\n";
        for cut in 0..whole.len() {
            assert_eq!(chunk(&whole[..cut]).unwrap(), None, "{cut}");
        }
        assert_eq!(chunk(whole).unwrap(), Some((3, 6)));
    }
}
