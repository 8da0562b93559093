//! A connection to a server, and what comes back on it: RESP2, as much of it as servers send to a client that did not ask
//! for more.
//!
//! It trusts the server, which the harness started: lengths have no bound here.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What a server answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// A simple string, `OK` for example.
    Status(String),
    /// An error, with its code in front.
    Error(String),
    /// A number.
    Integer(i64),
    /// A bulk string.
    Bytes(Vec<u8>),
    /// A null, of either kind.
    Nothing,
    /// An array.
    List(Vec<Reply>),
}

/// A connection of the harness.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects in clear, and logs in where there is a user.
    pub async fn open(address: SocketAddr, user: Option<(&str, &str)>) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream: BufReader::new(stream),
        };
        if let Some((name, password)) = user {
            match connection.call(&["AUTH", name, password]).await? {
                Reply::Status(_) => {}
                other => return Err(io::Error::other(format!("no login: {other:?}"))),
            }
        }
        Ok(connection)
    }

    /// Sends a command and reads one answer. Not cancel safe: the answer would be taken for the next command's.
    pub async fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<Reply> {
        self.send(words).await?;
        self.read().await
    }

    /// Sends a command and reads nothing.
    pub async fn send<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<()> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).await
    }

    /// Reads what comes next: an answer, or on a subscribed connection a message. Not cancel safe.
    ///
    /// # Errors
    ///
    /// When the connection ends or does not speak RESP2.
    pub async fn read(&mut self) -> io::Result<Reply> {
        let line = self.line().await?;
        let (kind, rest) = line
            .split_at_checked(1)
            .ok_or_else(|| malformed("an empty line"))?;
        Ok(match kind {
            "+" => Reply::Status(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(number(rest)?),
            "$" => match usize::try_from(number(rest)?) {
                Ok(length) => Reply::Bytes(self.bytes(length).await?),
                Err(_) => Reply::Nothing,
            },
            "*" => match usize::try_from(number(rest)?) {
                Ok(length) => Reply::List(self.list(length).await?),
                Err(_) => Reply::Nothing,
            },
            _ => return Err(malformed(&line)),
        })
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        Ok(bytes)
    }

    async fn list(&mut self, length: usize) -> io::Result<Vec<Reply>> {
        let mut list = Vec::new();
        for _ in 0..length {
            list.push(Box::pin(self.read()).await?);
        }
        Ok(list)
    }
}

impl Reply {
    /// The text of a string of either kind.
    ///
    /// # Panics
    ///
    /// When it is something else.
    pub fn text(&self) -> String {
        match self {
            Self::Status(text) => text.clone(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("a string was expected, not {other:?}"),
        }
    }

    /// The number.
    ///
    /// # Panics
    ///
    /// When it is something else.
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            other => panic!("a number was expected, not {other:?}"),
        }
    }

    /// The elements of an array.
    ///
    /// # Panics
    ///
    /// When it is something else.
    pub fn list(&self) -> &[Reply] {
        match self {
            Self::List(list) => list,
            other => panic!("an array was expected, not {other:?}"),
        }
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The answer of a command that succeeds with `OK`.
    ///
    /// # Panics
    ///
    /// When it did not.
    pub fn expect_ok(&self) {
        assert_eq!(*self, Self::Status("OK".to_owned()));
    }
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| malformed(text))
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP2: {line}"))
}
