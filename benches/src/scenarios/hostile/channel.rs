//! A hand-made WebSocket: it sends what no library sends, at any rate.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_text};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::failure::{BenchResult, Failure, While as _};
use crate::user_agent::subscription_name;

/// The longest wait for an answer of the attacked service.
const PATIENCE: Duration = Duration::from_secs(5);

const MASK: [u8; 4] = [1, 2, 3, 4];

/// The largest message that a service sends: a body of 4,096 bytes in base64url, and its frame.
const FRAME_BYTES: u32 = 64 * 1024;

/// An open channel.
pub(super) struct Channel {
    stream: TcpStream,
    read: Vec<u8>,
    frames: FrameReader,
}

/// The address of the `nth` hostile connection; `None` for the address that all others have.
pub(super) fn source(nth: usize, addresses: Option<u16>) -> Option<IpAddr> {
    let place = nth % usize::from(addresses?);
    // No other part of this program uses this one: those have 2 to 251 in the second byte.
    Some(Ipv4Addr::new(127, 254, 0, place as u8 + 1).into())
}

/// Connects from that address. Closing it leaves nothing behind in the system, so that ports don't run out.
pub(super) async fn connect(to: SocketAddr, from: Option<IpAddr>) -> BenchResult<TcpStream> {
    let connecting = async {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        socket.set_zero_linger()?;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        std::io::Result::Ok(stream)
    };
    soon("connecting", connecting).await
}

async fn soon<T>(what: &str, future: impl Future<Output = std::io::Result<T>>) -> BenchResult<T> {
    let done = timeout(PATIENCE, future).await;
    done.doing(what)?.doing(what)
}

impl Channel {
    /// Connects and upgrades.
    pub(super) async fn open(to: SocketAddr, from: Option<IpAddr>) -> BenchResult<Self> {
        let mut stream = connect(to, from).await?;
        let upgrade = format!(
            "GET / HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        soon("upgrading", stream.write_all(upgrade.as_bytes())).await?;
        let mut read = Vec::new();
        loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                if !read.starts_with(b"HTTP/1.1 101") {
                    return Err(Failure::new("no WebSocket is given"));
                }
                read.drain(..end + 4);
                break;
            }
            if soon("upgrading", stream.read_buf(&mut read)).await? == 0 {
                return Err(Failure::new("the connection is closed"));
            }
        }
        Ok(Self {
            stream,
            read,
            frames: FrameReader::new(Reader::UserAgent, FRAME_BYTES),
        })
    }

    /// Sends hello, and returns its identity.
    pub(super) async fn hello(&mut self, identity: Option<&str>) -> BenchResult<String> {
        self.say(&json!({"messageType": "hello", "use_webpush": true, "uaid": identity}))
            .await?;
        let answer = self.answer("hello").await?;
        let identity = answer["uaid"].as_str().map(str::to_owned);
        identity.ok_or_else(|| Failure::new("a hello is refused"))
    }

    /// Makes the `nth` subscription, and returns its push resource.
    pub(super) async fn register(&mut self, nth: usize) -> BenchResult<String> {
        let name = subscription_name(nth).to_string();
        self.say(&json!({"messageType": "register", "channelID": name}))
            .await?;
        let answer = self.answer("register").await?;
        match answer["pushEndpoint"].as_str() {
            Some(url) if answer["status"] == 200 => Ok(url.to_owned()),
            _ => Err(Failure::new("a register is refused")),
        }
    }

    pub(super) async fn say(&mut self, message: &Value) -> BenchResult<()> {
        let mut out = Vec::new();
        append(&mut out, &message.to_string());
        soon("saying something", self.stream.write_all(&out)).await
    }

    /// Sends the same bytes again and again, and discards all that arrives, until the service ends the channel.
    /// `said` is called each time.
    pub(super) async fn flood(self, bytes: &[u8], mut said: impl FnMut()) {
        let (mut heard, mut mouth) = self.stream.into_split();
        let reading = async {
            let mut buffer = vec![0; 16 * 1024];
            while heard.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        };
        let writing = async {
            while mouth.write_all(bytes).await.is_ok() {
                said();
            }
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    }

    async fn answer(&mut self, kind: &str) -> BenchResult<Value> {
        loop {
            match self.frames.read(&mut self.read).doing("reading a frame")? {
                Some((Incoming::Text(text), taken)) => {
                    let message: Value = serde_json::from_str(text).doing("reading JSON")?;
                    self.read.drain(..taken);
                    if message["messageType"] == kind {
                        return Ok(message);
                    }
                }
                Some((Incoming::Close(_), _)) => return Err(Failure::new("the channel is closed")),
                Some((_, taken)) => drop(self.read.drain(..taken)),
                None => {
                    if soon("an answer", self.stream.read_buf(&mut self.read)).await? == 0 {
                        return Err(Failure::new("the connection is closed"));
                    }
                }
            }
        }
    }
}

/// Appends a message in a frame.
pub(super) fn append(out: &mut Vec<u8>, text: &str) {
    write_text(out, Some(MASK), |out| out.extend_from_slice(text.as_bytes()));
}

/// Appends a pong that answers nothing.
pub(super) fn append_pong(out: &mut Vec<u8>) {
    push_protocol::wire::frame::write_pong(out, Some(MASK), b"");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hostile connections come from the given number of addresses, and from no honest peer's address.
    #[test]
    fn addresses_are_shared_out() {
        let text = |nth| source(nth, Some(2)).unwrap().to_string();
        assert_eq!(
            [text(0), text(1), text(2)],
            ["127.254.0.1", "127.254.0.2", "127.254.0.1"]
        );
        assert_eq!(source(0, None), None);
    }
}
