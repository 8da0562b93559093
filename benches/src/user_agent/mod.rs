//! A user agent on the WebSocket, by hand: it has to be cheaper than what it measures.
//!
//! One connection, in the order in which its life goes: [`UserAgent::connect`], [`UserAgent::hello`],
//! [`UserAgent::register`], [`UserAgent::listen`]. It acknowledges each message as Firefox does, one `ack` for each, and
//! leaves it to the caller what to think of them.

mod words;

use std::fmt::Write as _;

use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_pong, write_text};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::door::{Door, Wire};
use crate::failure::{Failure, Outcome, While as _};

/// The longest message that the service may send: a page of bodies comes as many messages, so this is generous.
const FRAME_BYTES: u32 = 1 << 20;

/// Read at once. Chosen: a dozen messages of the measured size.
const READ_BYTES: usize = 16 * 1024;

/// The smallest room that is worth reading into.
const LEAST_ROOM: usize = 4 * 1024;

/// RFC 6455 wants a new mask for each frame, to protect proxies from what a page chooses to send. There is neither here.
const MASK: Option<[u8; 4]> = Some([0x5a, 0xc3, 0x96, 0x3c]);

/// RFC 6455 §1.3: this key and its answer. A service that computes it for one key does for all.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const KEY_ANSWER: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A connected user agent.
pub(crate) struct UserAgent {
    wire: Box<dyn Wire>,
    frames: FrameReader,
    /// What was read and is not understood yet.
    unread: Vec<u8>,
    /// What is to be written.
    out: Vec<u8>,
}

impl UserAgent {
    /// Connects and upgrades.
    pub(crate) async fn connect(door: &Door) -> Outcome<Self> {
        let mut user_agent = Self {
            wire: door.connect().await?,
            frames: FrameReader::new(Reader::UserAgent, FRAME_BYTES),
            unread: Vec::new(),
            out: Vec::new(),
        };
        let host = door.address();
        let request = format!(
            "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\
             sec-websocket-protocol: push-notification\r\n\r\n"
        );
        user_agent.out.extend_from_slice(request.as_bytes());
        user_agent.write().await?;
        while !user_agent.is_upgraded()? {
            user_agent.fill().await?;
        }
        Ok(user_agent)
    }

    /// Says who it is, if it is anybody yet, and returns who it is from now on.
    pub(crate) async fn hello(&mut self, identity: Option<&str>) -> Outcome<String> {
        self.say(|text| words::hello(text, identity)).await?;
        self.reply(words::read_hello).await
    }

    /// Makes a subscription, restricted to `key` if one is given, and returns its push resource.
    pub(crate) async fn register(&mut self, channel: &str, key: Option<&str>) -> Outcome<String> {
        self.say(|text| words::register(text, channel, key)).await?;
        self.reply(|text| words::read_registered(text, channel)).await
    }

    /// Takes and acknowledges messages until `stop` changes. `arrived` sees the subscription and the body of each.
    ///
    /// Cancel safe: no; ask it to stop.
    pub(crate) async fn listen(
        &mut self,
        mut stop: watch::Receiver<bool>,
        mut arrived: impl FnMut(&str, &str),
    ) -> Outcome<()> {
        loop {
            self.take_messages(&mut arrived)?;
            self.write().await?;
            self.make_room();
            tokio::select! {
                read = self.wire.read_buf(&mut self.unread) => closed_if_none(read)?,
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }

    /// Asks for a sign of life and returns how many messages came before it. They are not acknowledged.
    pub(crate) async fn ping(&mut self) -> Outcome<usize> {
        self.say(|text| text.push_str("{}")).await?;
        let mut before = 0;
        while self.reply(|text| Ok(text != "{}")).await? {
            before += 1;
        }
        Ok(before)
    }

    async fn say(&mut self, compose: impl FnOnce(&mut String)) -> Outcome<()> {
        let mut text = String::new();
        compose(&mut text);
        write_text(&mut self.out, MASK, |out| out.extend_from_slice(text.as_bytes()));
        self.write().await
    }

    /// Waits for the next text.
    async fn reply<T>(&mut self, read: impl Fn(&str) -> Outcome<T>) -> Outcome<T> {
        loop {
            if let Some((incoming, taken)) = self.frames.read(&mut self.unread).doing("reading a frame")? {
                let replied = match incoming {
                    Incoming::Text(text) => Some(read(text)?),
                    Incoming::Close(code) => return Err(closed(code)),
                    _ => None,
                };
                self.unread.drain(..taken);
                if let Some(replied) = replied {
                    return Ok(replied);
                }
            } else {
                self.fill().await?;
            }
        }
    }

    /// Takes all whole messages that were read, and writes their acknowledgements into the buffer.
    fn take_messages(&mut self, arrived: &mut impl FnMut(&str, &str)) -> Outcome<()> {
        let mut at = 0;
        while let Some((incoming, taken)) = self
            .frames
            .read(&mut self.unread[at..])
            .doing("reading a frame")?
        {
            match incoming {
                Incoming::Text(text) => {
                    let message = words::read_notification(text)?;
                    arrived(message.channel, message.body);
                    write_text(&mut self.out, MASK, |out| words::ack(out, &message));
                }
                Incoming::Ping(payload) => write_pong(&mut self.out, MASK, payload),
                Incoming::Close(code) => return Err(closed(code)),
                Incoming::Binary | Incoming::Pong | Incoming::Fragment => {}
            }
            at += taken;
        }
        self.unread.drain(..at);
        Ok(())
    }

    fn is_upgraded(&mut self) -> Outcome<bool> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response
            .parse(&self.unread)
            .doing("reading the answer to an upgrade")?;
        let httparse::Status::Complete(length) = parsed else {
            return Ok(false);
        };
        let is_answer = |header: &httparse::Header<'_>| {
            header.name.eq_ignore_ascii_case("sec-websocket-accept") && header.value == KEY_ANSWER.as_bytes()
        };
        if response.code != Some(101) || !response.headers.iter().any(is_answer) {
            let code = response.code.unwrap_or_default();
            return Err(Failure::new(format!(
                "the WebSocket is refused with status {code}"
            )));
        }
        self.unread.drain(..length);
        Ok(true)
    }

    async fn fill(&mut self) -> Outcome<()> {
        self.make_room();
        closed_if_none(self.wire.read_buf(&mut self.unread).await)
    }

    /// An idle user agent keeps no large buffer: there are thousands of them in this process.
    fn make_room(&mut self) {
        if self.unread.is_empty() && self.unread.capacity() > READ_BYTES {
            self.unread = Vec::new();
        }
        if self.unread.capacity() - self.unread.len() < LEAST_ROOM {
            self.unread.reserve(LEAST_ROOM.max(self.unread.len()));
        }
    }

    async fn write(&mut self) -> Outcome<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.wire
            .write_all(&self.out)
            .await
            .doing("writing to the service")?;
        self.wire.flush().await.doing("writing to the service")?;
        self.out.clear();
        Ok(())
    }
}

/// The name of the `nth` subscription, as user agents make them: a UUID in lower case.
pub(crate) fn channel_name(nth: usize) -> String {
    let mut name = String::with_capacity(36);
    // A String takes every write.
    let _ = write!(name, "{nth:08x}-0000-4000-8000-{nth:012x}");
    name
}

fn closed_if_none(read: std::io::Result<usize>) -> Outcome<()> {
    match read.doing("reading from the service")? {
        0 => Err(Failure::new("the service ended a connection without a word")),
        _ => Ok(()),
    }
}

fn closed(code: Option<u16>) -> Failure {
    let code = code.unwrap_or(1005);
    Failure::new(format!("the service closed a channel with code {code}"))
}
