//! HTTP/1.1 on one connection that is kept, by hand: it has to be cheaper than what it measures.

use push_protocol::headers::Relation;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::connector::{Connector, Wire};
use crate::failure::{BenchResult, Failure, While as _, within};

/// Room for what one request or answer usually takes.
const USUAL_BYTES: usize = 4_096;

/// Header fields of one answer, at most.
const FIELDS: usize = 32;

/// A connection, in clear or not.
pub(crate) struct Connection {
    stream: Box<dyn Wire>,
    out: Vec<u8>,
    read: Vec<u8>,
}

/// The head of an answer, as far as anybody here asks.
#[derive(PartialEq, Eq, Debug)]
struct Head {
    status: u16,
    bytes: usize,
    body_bytes: usize,
}

impl Connection {
    /// On a stream that was just connected.
    pub(crate) fn new(stream: impl Wire + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            out: Vec::with_capacity(USUAL_BYTES),
            read: Vec::with_capacity(USUAL_BYTES),
        }
    }

    /// Connects.
    pub(crate) async fn connect(connector: &Connector) -> BenchResult<Self> {
        Ok(Self::new(connector.for_requests().connect_from_here().await?))
    }

    /// Where to write the next request: empty.
    pub(crate) fn request(&mut self) -> &mut Vec<u8> {
        self.out.clear();
        &mut self.out
    }

    /// Sends the request, waits for the whole answer, and returns its status.
    pub(crate) async fn exchange(&mut self) -> BenchResult<u16> {
        within("an answer", async {
            self.send().await?;
            loop {
                if let Some(head) = head(&self.read)?
                    && self.read.len() >= head.bytes + head.body_bytes
                {
                    return Ok(head.status);
                }
                self.read_more().await?;
            }
        })
        .await
    }

    /// Sends the request, waits for the head of an answer that goes on and on, and returns its status. What follows it is
    /// [`Self::unread`].
    pub(crate) async fn begin(&mut self) -> BenchResult<u16> {
        within("an answer", async {
            self.send().await?;
            loop {
                if let Some(head) = head(&self.read)? {
                    self.taken(head.bytes);
                    return Ok(head.status);
                }
                self.read_more().await?;
            }
        })
        .await
    }

    /// The last answer, or what has come of it behind what was taken.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.read
    }

    /// So much of it is done with.
    pub(crate) fn taken(&mut self, bytes: usize) {
        self.read.drain(..bytes);
    }

    /// Waits for more of it.
    ///
    /// Cancel safe: nothing is lost.
    pub(crate) async fn read_more(&mut self) -> BenchResult<()> {
        let read = self.stream.read_buf(&mut self.read).await;
        if read.doing("waiting for an answer")? == 0 {
            return Err(Failure::new("the service ended an HTTP connection"));
        }
        Ok(())
    }

    /// The lines of a header field in the last answer.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        if response.parse(&self.read).is_err() {
            return Vec::new();
        }
        let named = fields
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        named
            .filter_map(|field| std::str::from_utf8(field.value).ok())
            .collect()
    }

    async fn send(&mut self) -> BenchResult<()> {
        self.read.clear();
        self.stream.write_all(&self.out).await.doing("sending a request")
    }
}

/// The target of the link of this relation, in the shape in which the service writes links.
pub(crate) fn linked<'a>(lines: &[&'a str], relation: Relation) -> Option<&'a str> {
    let parameters = format!("; rel=\"{}\"", relation.name());
    let target = |line: &&'a str| {
        line.strip_prefix('<')?
            .strip_suffix(&parameters)?
            .strip_suffix('>')
    };
    lines.iter().find_map(target)
}

/// The head, once it is there.
fn head(read: &[u8]) -> BenchResult<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(read).doing("reading an answer")?;
    let httparse::Status::Complete(bytes) = parsed else {
        return Ok(None);
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let head = |status| Head {
        status,
        bytes,
        body_bytes: length.unwrap_or(0),
    };
    Ok(response.code.map(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link is found by its relation, which may be the beginning of another one's name.
    #[test]
    fn links_are_found() {
        let (push, set) = (
            Relation::Push.link("http://h/p"),
            Relation::Set.link("http://h/s"),
        );
        let lines = [set.as_str(), push.as_str()];
        assert_eq!(linked(&lines, Relation::Push), Some("http://h/p"));
        assert_eq!(linked(&lines, Relation::Set), Some("http://h/s"));
        assert_eq!(linked(&lines, Relation::Receipt), None);
    }

    /// A head is read when it is whole, and says how long the body is that belongs to it.
    #[test]
    fn heads_are_read() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
        for cut in 0..whole.len() - 2 {
            assert_eq!(head(&whole[..cut]).unwrap(), None, "{cut}");
        }
        let expected = Head {
            status: 201,
            bytes: whole.len() - 2,
            body_bytes: 2,
        };
        assert_eq!(head(whole).unwrap(), Some(expected));
        assert!(head(b"SSH-2.0\r\n\r\n").is_err());
    }
}
