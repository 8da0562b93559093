//! The TLS records of one connection, without its socket.
//!
//! It decrypts received records and encrypts what is to be sent. Bytes that cannot be passed on at once are kept here, in vectors
//! that are freed when they are empty. So an idle connection owns no buffer.
//!
//! It deliberately does not know sockets, wakers, and which task reads or writes.
//!
//! # Bounds
//!
//! * `held`: received ciphertext that is not a whole record yet. At most [`TLS_RECORD_BYTES`], also during the handshake.
//! * `plaintext`: decrypted and not read yet. At most what one read of the socket brings, [`TLS_READ_BYTES`].
//! * `outgoing`: ciphertext that the socket has not taken. One record, because the caller encrypts only when it is empty, and the
//!   alerts and key updates that rustls adds; rustls limits how many of these a peer can cause.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, ReadTraffic, UnbufferedStatus, WriteTraffic,
};
use tokio::io::ReadBuf;

#[cfg(doc)]
use crate::defaults::TLS_READ_BYTES;
use crate::defaults::{TLS_RECORD_BYTES, TLS_RECORD_OVERHEAD_BYTES};

/// The TLS state of one connection, and the bytes on their way through it.
pub(super) struct Records {
    /// Boxed, because futures that own the stream are moved, and this is over a kilobyte.
    session: Box<UnbufferedServerConnection>,
    /// Received and not used up yet: a part of a record, or records with a part of a handshake message.
    ///
    /// **Invariant:** rustls stores positions in these bytes. So each call gets all of them, from the first byte on.
    held: Vec<u8>,
    plaintext: Leftover,
    outgoing: Leftover,
    incoming: Incoming,
    /// Our close_notify is in `outgoing`, or was sent: nothing may be encrypted after it.
    closing: bool,
}

/// The state of the direction from the peer to us.
pub(super) enum Incoming {
    /// More may come.
    Open,
    /// The peer sent close_notify: nothing follows (RFC 8446 §6.1).
    Closed,
    /// The peer broke the protocol, or its bytes were tampered with; nothing more is read or written.
    Failed(Box<rustls::Error>),
}

impl Records {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            session: Box::new(UnbufferedServerConnection::new(config)?),
            held: Vec::new(),
            plaintext: Leftover::default(),
            outgoing: Leftover::default(),
            incoming: Incoming::Open,
            closing: false,
        })
    }

    /// The held bytes. The caller puts them before the newly received ones for [`Records::receive`].
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Decrypts `bytes` in place: the held ones, and behind them the newly received ones. Plaintext goes into `room`; the rest is
    /// kept for [`Records::read`].
    pub(super) fn receive(&mut self, bytes: &mut [u8], room: &mut ReadBuf<'_>) {
        let mut used = 0;
        let outcome = loop {
            let UnbufferedStatus { discard, state } = self.session.process_tls_records(&mut bytes[used..]);
            let progress = match state {
                Ok(ConnectionState::ReadTraffic(traffic)) => deliver(traffic, room, &mut self.plaintext),
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.outgoing),
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    // It is in `outgoing`, which the socket gets before anything encrypted later.
                    transmit.done();
                    Ok(Progress::Made)
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.incoming = Incoming::Closed;
                    Ok(Progress::Made)
                }
                Ok(
                    ConnectionState::BlockedHandshake
                    | ConnectionState::WriteTraffic(_)
                    | ConnectionState::Closed,
                ) => Ok(Progress::NeedsMore),
                Ok(state) => Err(rustls::Error::General(format!("unexpected state {state:?}"))),
                Err(error) => Err(error),
            };
            used += discard;
            match progress {
                Ok(Progress::Made) => {}
                Ok(Progress::NeedsMore) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match outcome {
            Ok(()) if matches!(self.incoming, Incoming::Closed) => self.held = Vec::new(),
            Ok(()) if bytes.len() - used > TLS_RECORD_BYTES => {
                self.fail(rustls::Error::PeerSentOversizedRecord);
            }
            Ok(()) => self.hold(&bytes[used..]),
            Err(error) => self.fail(error),
        }
    }

    /// Moves kept plaintext into `room`. Returns whether there was any.
    pub(super) fn read(&mut self, room: &mut ReadBuf<'_>) -> bool {
        let some = self.plaintext.rest().len().min(room.remaining());
        room.put_slice(&self.plaintext.rest()[..some]);
        self.plaintext.take(some);
        some > 0
    }

    /// Encrypts `plaintext` into `outgoing`: all of it or, with an error, nothing.
    pub(super) fn encrypt(&mut self, plaintext: &[u8]) -> Result<(), rustls::Error> {
        self.when_writable(|mut traffic, outgoing| {
            let mut space = plaintext.len() + TLS_RECORD_OVERHEAD_BYTES;
            loop {
                match outgoing.fill(space, |bytes| traffic.encrypt(plaintext, bytes)) {
                    Ok(()) => return Ok(()),
                    Err(EncryptError::InsufficientSize(size)) => space = size.required_size,
                    Err(EncryptError::EncryptExhausted) => return Err(rustls::Error::EncryptError),
                }
            }
        })
    }

    /// Queues our close_notify, once. Nothing can be encrypted afterwards.
    pub(super) fn close(&mut self) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        let queued = self.when_writable(|mut traffic, outgoing| {
            // If there is too little space, it stays queued in rustls, and `collect` takes it below.
            let _ = outgoing.fill(TLS_RECORD_OVERHEAD_BYTES, |bytes| {
                traffic.queue_close_notify(bytes)
            });
            Ok(())
        });
        // After a failure the alert was the last word: a close_notify would say that all was well.
        if queued.is_ok() {
            self.collect();
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    pub(super) fn alpn_protocol(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    pub(super) fn incoming(&self) -> &Incoming {
        &self.incoming
    }

    pub(super) fn outgoing(&self) -> &[u8] {
        self.outgoing.rest()
    }

    /// The socket has taken `count` bytes of the outgoing ciphertext.
    pub(super) fn sent(&mut self, count: usize) {
        self.outgoing.take(count);
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        matches!(self.incoming, Incoming::Open)
    }

    /// The capacity of all buffers, in bytes: 0 for an idle connection.
    #[cfg(test)]
    pub(super) fn owned_bytes(&self) -> usize {
        self.held.capacity() + self.plaintext.bytes.capacity() + self.outgoing.bytes.capacity()
    }

    /// Runs `write` when rustls lets application data be written.
    fn when_writable(
        &mut self,
        write: impl FnOnce(WriteTraffic<'_, ServerConnectionData>, &mut Leftover) -> Result<(), rustls::Error>,
    ) -> Result<(), rustls::Error> {
        if let Incoming::Failed(error) = &self.incoming {
            return Err((**error).clone());
        }
        loop {
            // `receive` has processed the held bytes before, so this call decrypts and discards nothing.
            let UnbufferedStatus { discard, state } = self.session.process_tls_records(&mut self.held);
            debug_assert_eq!(discard, 0, "received bytes are used up when they come");
            match state? {
                ConnectionState::WriteTraffic(traffic) => return write(traffic, &mut self.outgoing),
                ConnectionState::EncodeTlsData(data) => {
                    encode(data, &mut self.outgoing)?;
                }
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                _ => return Err(rustls::Error::HandshakeNotComplete),
            }
        }
    }

    fn hold(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.held = Vec::new();
            return;
        }
        self.held.clear();
        self.held.reserve_exact(rest.len());
        self.held.extend_from_slice(rest);
    }

    fn fail(&mut self, error: rustls::Error) {
        self.held = Vec::new();
        self.incoming = Incoming::Failed(Box::new(error));
        self.collect();
    }

    /// Moves what rustls wants to send, usually an alert, into `outgoing`.
    ///
    /// rustls gives out what it has to send before it looks at received bytes, so it gets none here.
    fn collect(&mut self) {
        while self.session.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(data)) = self.session.process_tls_records(&mut []).state
            else {
                return;
            };
            if encode(data, &mut self.outgoing).is_err() {
                return;
            }
        }
    }
}

enum Progress {
    Made,
    NeedsMore,
}

fn deliver(
    mut traffic: ReadTraffic<'_, '_, ServerConnectionData>,
    room: &mut ReadBuf<'_>,
    leftover: &mut Leftover,
) -> Result<Progress, rustls::Error> {
    while let Some(record) = traffic.next_record() {
        let payload = record?.payload;
        let (fits, rest) = payload.split_at(payload.len().min(room.remaining()));
        room.put_slice(fits);
        leftover.append(rest);
    }
    Ok(Progress::Made)
}

fn encode(
    mut data: EncodeTlsData<'_, ServerConnectionData>,
    outgoing: &mut Leftover,
) -> Result<Progress, rustls::Error> {
    let mut space = 0;
    loop {
        match outgoing.fill(space, |bytes| data.encode(bytes)) {
            Ok(()) => return Ok(Progress::Made),
            Err(EncodeError::InsufficientSize(size)) => space = size.required_size,
            Err(EncodeError::AlreadyEncoded) => return Err(rustls::Error::General("encoded twice".into())),
        }
    }
}

/// Bytes of one direction that wait to be taken. Owns no memory while it is empty.
#[derive(Default)]
struct Leftover {
    bytes: Vec<u8>,
    taken: usize,
}

impl Leftover {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    fn take(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.bytes.len() {
            *self = Self::default();
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends what `write` writes into `space` bytes; nothing if it fails.
    fn fill<E>(&mut self, space: usize, write: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<(), E> {
        let end = self.bytes.len();
        self.bytes.resize(end + space, 0);
        let written = write(&mut self.bytes[end..]);
        self.bytes
            .truncate(end + written.as_ref().map_or(0, |count| *count));
        if self.bytes.is_empty() {
            *self = Self::default();
        }
        written.map(|_| ())
    }
}
