//! One connection's TLS records, without its socket.
//!
//! Ciphertext goes in and plaintext comes out, and the other way round; what cannot be taken at once is kept here, in
//! vectors that are freed as soon as they are empty. So an idle connection owns no buffer at all.
//!
//! What it deliberately does not know: sockets, wakers, and who reads or writes.
//!
//! # Bounds
//!
//! * `held`, ciphertext that is not a whole record yet: [`TLS_RECORD_BYTES`], during the handshake as after it.
//! * `plaintext`, decrypted and not yet read: what one read of the socket brought, [`TLS_READ_BYTES`].
//! * `outgoing`, ciphertext that the socket has not taken: the caller encrypts only when it is empty, so one record,
//!   and the alerts and key updates that rustls adds (it limits how many of those a peer can provoke).

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
    /// Received, and not used up yet: a partial record, or records that carry a part of a handshake message.
    ///
    /// **Invariant:** rustls remembers places in these bytes, so it is always shown all of them, from the first.
    held: Vec<u8>,
    plaintext: Leftover,
    outgoing: Leftover,
    incoming: Incoming,
    /// Our close_notify is in `outgoing` or further: nothing may be encrypted after it.
    closing: bool,
}

/// What the peer's direction has come to.
pub(super) enum Incoming {
    /// More may come.
    Open,
    /// The peer said close_notify: what came before it is all there is (RFC 8446 §6.1).
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

    /// The bytes that must stand before the next ones given to [`Records::receive`].
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Takes what was held and what the socket brought after it, decrypting in place. Plaintext goes into `room`, and
    /// what finds none there is kept for [`Records::read`].
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

    /// Moves plaintext that is waiting into `room`; says whether there was any.
    pub(super) fn read(&mut self, room: &mut ReadBuf<'_>) -> bool {
        let some = self.plaintext.rest().len().min(room.remaining());
        room.put_slice(&self.plaintext.rest()[..some]);
        self.plaintext.take(some);
        some > 0
    }

    /// Encrypts `plaintext` into the outgoing ciphertext: all of it, or none when this fails.
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
            // What finds no space stays queued in rustls, and is collected below.
            let _ = outgoing.fill(TLS_RECORD_OVERHEAD_BYTES, |bytes| {
                traffic.queue_close_notify(bytes)
            });
            Ok(())
        });
        // After a failure an alert has said why, and a close_notify would deny it.
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

    /// What an idle connection must not have: buffers, full or empty, in bytes.
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
            // The held bytes have been gone through already, so nothing is discarded and nothing decrypted here.
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

    /// Moves what rustls still wants to say, an alert mostly, into the outgoing ciphertext.
    ///
    /// While it has something to say it says that before it looks at any received byte, so it is shown none.
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

/// Bytes in one direction that wait to be taken; without memory of its own when there are none.
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

    /// Appends what `write` puts into `space` bytes, and nothing when it fails.
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
