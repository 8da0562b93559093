//! The service's end, by hand.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use push_protocol::wire::frame::{FrameReader, Incoming as Frame, Reader};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex};

use super::super::upgrade::accept;
use super::super::{Channel, Incoming};
use crate::connection::OpenError;
use crate::server_url::ServerUrl;

/// Bytes on the way, each direction.
pub(super) const ROOM: usize = 1 << 20;

pub(super) fn url() -> ServerUrl {
    ServerUrl::parse("ws://push.example.net/secret").unwrap()
}

/// Reads a request to its end.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0);
    }
    String::from_utf8(request).unwrap()
}

pub(super) fn field<'a>(request: &'a str, name: &str) -> &'a str {
    let value = request.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap().trim_start_matches(": ")
}

/// What agrees to `request`.
pub(super) fn agreement(request: &str, more: &str) -> String {
    let accept = accept(field(request, "Sec-WebSocket-Key"));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

pub(super) async fn agree<Io: AsyncRead + AsyncWrite + Unpin>(stream: &mut Io) {
    let request = read_request(stream).await;
    stream
        .write_all(agreement(&request, "").as_bytes())
        .await
        .unwrap();
    stream.flush().await.unwrap();
}

/// An open channel, with `room` bytes in each direction, and the service's end of it.
pub(super) async fn open(room: usize) -> (Channel, DuplexStream) {
    let (ours, mut theirs) = duplex(room);
    let url = url();
    let (channel, ()) = tokio::join!(Channel::upgrade(ours, &url), agree(&mut theirs));
    (channel.unwrap(), theirs)
}

/// What comes of it when the service's answer is made by `answer` and the service leaves then.
pub(super) async fn answered(answer: impl FnOnce(&str) -> Vec<u8>) -> Result<Channel, OpenError> {
    let (ours, mut theirs) = duplex(ROOM);
    let url = url();
    let service = async {
        let request = read_request(&mut theirs).await;
        theirs.write_all(&answer(&request)).await.unwrap();
        drop(theirs);
    };
    tokio::join!(Channel::upgrade(ours, &url), service).0
}

/// `next`, given up if it doesn't come at once.
pub(super) async fn next_now(channel: &mut Channel) -> Option<Incoming> {
    let mut next = pin!(channel.next());
    poll_fn(|cx| {
        Poll::Ready(match next.as_mut().poll(cx) {
            Poll::Ready(incoming) => Some(incoming),
            Poll::Pending => None,
        })
    })
    .await
}

/// What a user agent said, as the service understands it.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Said {
    Text(String),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// The whole frames in `bytes`, and nothing beside them.
pub(super) fn understood(mut bytes: &mut [u8]) -> Vec<Said> {
    let mut reader = FrameReader::new(Reader::Service, 1 << 20);
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (said, taken) = match reader.read(bytes).unwrap().unwrap() {
            (Frame::Text(text), taken) => (Said::Text(text.into()), taken),
            (Frame::Ping(payload), taken) => (Said::Ping(payload.into()), taken),
            (Frame::Pong, taken) => (Said::Pong, taken),
            (Frame::Close(code), taken) => (Said::Close(code), taken),
            (other, _) => panic!("{other:?}"),
        };
        all.push(said);
        bytes = &mut bytes[taken..];
    }
    all
}

/// Everything that is said until the user agent hangs up.
pub(super) async fn all_said(mut service: DuplexStream) -> Vec<Said> {
    let mut bytes = Vec::new();
    service.read_to_end(&mut bytes).await.unwrap();
    understood(&mut bytes)
}
