//! What `listen` asks of its supervisor: packets on a Unix socket, with the descriptors of the command.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Descriptors of a request: standard input, output and error of the command, and its control socket.
pub(super) const DESCRIPTORS: usize = 4;

/// The longest request, in bytes. The kernel takes 128 KiB for the line of the command, as it does for any argument, and
/// what goes into the environment is shorter by far.
pub(super) const PACKET_BYTES: usize = 192 * 1024;

/// What the supervisor says when it has the lock.
const READY: &[u8] = b"ready";

/// What is added to a command's environment, and what is taken out of it.
///
/// **Invariant:** what is in it can be in an environment: no value has a NUL or is longer than [`VALUE_BYTES`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::cli::listen) struct Environment(Vec<(&'static str, Option<String>)>);

/// The longest value, in bytes. Chosen: above the longest id (1,000) and label, far below what a kernel takes (128 KiB).
const VALUE_BYTES: usize = 4_096;

impl Environment {
    /// Sets a variable. `None`, and what can't be a value, takes it out: the command must not read one that it has inherited.
    pub(in crate::cli::listen) fn set<T: Into<String>>(&mut self, name: &'static str, value: Option<T>) {
        let is_value = |value: &String| value.len() <= VALUE_BYTES && !value.contains('\0');
        self.0.push((name, value.map(Into::into).filter(is_value)));
    }

    #[cfg(test)]
    pub(in crate::cli::listen) fn get(&self, wanted: &str) -> Option<&str> {
        let variable = self.0.iter().find(|(name, _)| *name == wanted)?;
        variable.1.as_deref()
    }
}

/// A request in one packet: the line, then each variable as `NAME=VALUE`, or `NAME` to take it out; with a NUL between them,
/// which none of them can have.
pub(super) fn packet(line: &str, environment: &Environment) -> Vec<u8> {
    let mut packet = line.as_bytes().to_vec();
    for (name, value) in &environment.0 {
        packet.push(0);
        packet.extend(name.as_bytes());
        if let Some(value) = value {
            packet.push(b'=');
            packet.extend(value.as_bytes());
        }
    }
    packet
}

/// A request, as the supervisor reads it.
pub(super) struct Request {
    pub(super) line: String,
    pub(super) environment: Vec<(String, Option<String>)>,
    pub(super) descriptors: [OwnedFd; DESCRIPTORS],
}

impl Request {
    fn read(packet: &[u8], descriptors: Vec<OwnedFd>) -> Option<Self> {
        let text = std::str::from_utf8(packet).ok()?;
        let mut parts = text.split('\0');
        let line = parts.next()?.to_owned();
        let variable = |part: &str| match part.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (part.to_owned(), None),
        };
        Some(Self {
            line,
            environment: parts.map(variable).collect(),
            descriptors: descriptors.try_into().ok()?,
        })
    }
}

/// A socket for requests: the end of `listen`, and the supervisor's.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// Either end of the socket. Its type is that of streams, of which nothing is used but that the runtime knows when it is
/// ready: the socket keeps packets apart.
pub(super) struct Requests(UnixStream);

impl Requests {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self(UnixStream::from_std(socket)?))
    }

    /// Sends a request; not cancelled in its middle, because a packet is sent whole or not at all.
    pub(super) async fn send(&self, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            let packet = [IoSlice::new(packet)];
            Ok(sendmsg(&self.0, &packet, &mut control, SendFlags::NOSIGNAL).map(drop)?)
        };
        self.0.async_io(Interest::WRITABLE, send).await
    }

    /// The next request; `None` when the other end is gone. One that can't be read is passed over.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Request>> {
        loop {
            let (length, descriptors) = self.packet(buffer).await?;
            if length == 0 {
                return Ok(None);
            }
            if let Some(request) = Request::read(&buffer[..length], descriptors) {
                return Ok(Some(request));
            }
        }
    }

    /// Says that requests are read from now on.
    pub(super) async fn say_ready(&self) -> io::Result<()> {
        self.send(READY, &[]).await
    }

    /// Says why none will be read.
    pub(super) async fn say_why_not(&self, why: &io::Error) -> io::Result<()> {
        self.send(why.to_string().as_bytes(), &[]).await
    }

    /// Waits until requests are read.
    pub(super) async fn ready(&self) -> io::Result<()> {
        let mut said = [0; 256];
        match self.packet(&mut said).await?.0 {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length if &said[..length] == READY => Ok(()),
            length => Err(io::Error::other(String::from_utf8_lossy(&said[..length]))),
        }
    }

    async fn packet(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let receive = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut into = [IoSliceMut::new(buffer)];
            let received = recvmsg(&self.0, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            let mut descriptors = Vec::new();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(passed) = message {
                    descriptors.extend(passed);
                }
            }
            Ok((received.bytes, descriptors))
        };
        self.0.async_io(Interest::READABLE, receive).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    use super::*;

    /// PR-45: a request arrives as it was made, to the letter and with its descriptors, also the longest; a value that can't
    /// be in an environment takes its variable out and fails nothing.
    #[tokio::test]
    async fn a_request_arrives_as_it_was_made() {
        let (ours, theirs) = pair().unwrap();
        let (listen, supervisor) = (Requests::new(ours).unwrap(), Requests::new(theirs).unwrap());
        supervisor.say_ready().await.unwrap();
        listen.ready().await.unwrap();
        let mut environment = Environment::default();
        environment.set("PUSH_SUBSCRIPTION", Some("a = $(b)\n"));
        environment.set("PUSH_TOPIC", None::<String>);
        environment.set("PUSH_MESSAGE_ID", Some("a\0b"));
        environment.set("PUSH_URGENCY", Some("a".repeat(VALUE_BYTES + 1)));
        let (mut reader, mut writer) = io::pipe().unwrap();
        let descriptors = [writer.as_fd(); DESCRIPTORS];
        let longest = "x".repeat(128 * 1024);
        for line in ["cat; echo", "", &longest] {
            let packet = packet(line, &environment);
            listen.send(&packet, &descriptors).await.unwrap();
            let request = supervisor
                .receive(&mut vec![0; PACKET_BYTES])
                .await
                .unwrap()
                .unwrap();
            assert_eq!(request.line, line);
            let expected = [
                ("PUSH_SUBSCRIPTION".to_owned(), Some("a = $(b)\n".to_owned())),
                ("PUSH_TOPIC".to_owned(), None),
                ("PUSH_MESSAGE_ID".to_owned(), None),
                ("PUSH_URGENCY".to_owned(), None),
            ];
            assert_eq!(request.environment, expected);
            let [_, _, _, passed] = request.descriptors;
            std::fs::File::from(passed).write_all(b"hi").unwrap();
            let mut said = [0; 2];
            reader.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"hi");
        }
        writer.flush().unwrap();
        drop(listen);
        let end = supervisor.receive(&mut vec![0; PACKET_BYTES]).await.unwrap();
        assert!(end.is_none());
    }

    /// PR-45: why there is no supervisor is passed on.
    #[tokio::test]
    async fn why_it_is_not_ready() {
        let (ours, theirs) = pair().unwrap();
        let (listen, supervisor) = (Requests::new(ours).unwrap(), Requests::new(theirs).unwrap());
        let why = io::Error::other("no lock");
        supervisor.say_why_not(&why).await.unwrap();
        assert_eq!(listen.ready().await.unwrap_err().to_string(), "no lock");
        drop(supervisor);
        assert!(listen.ready().await.is_err());
    }
}
