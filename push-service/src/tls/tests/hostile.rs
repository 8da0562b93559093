//! Records that no library sends: made by hand, with the keys of a finished handshake.

use std::io::ErrorKind;

use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::version::TLS13;
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{Directory, ROOMY, TlsStream, acceptor, handshake, is_pending, peer_config};
use crate::defaults::TLS_RECORD_BYTES;

/// A KeyUpdate that asks for one in return (RFC 8446 §4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 1];

/// A peer that encrypts whatever it is told to.
struct Forger {
    io: DuplexStream,
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Forger {
    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        let record = self.encrypter.encrypt(message, self.sequence).unwrap();
        self.sequence += 1;
        record.encode()
    }

    async fn send(&mut self, typ: ContentType, payload: &[u8]) {
        let record = self.record(typ, payload);
        self.io.write_all(&record).await.unwrap();
    }
}

async fn with_forger() -> (TlsStream<DuplexStream>, Forger) {
    let directory = Directory::new();
    let acceptor = acceptor(&directory);
    let mut config = peer_config(&directory.certificate(), &[&TLS13]);
    config.enable_secret_extraction = true;
    let (ours, theirs) = duplex(ROOMY);
    let (ours, theirs) = handshake(&acceptor, config, ours, theirs).await;
    let (io, session) = theirs.into_inner();
    let suite = session.negotiated_cipher_suite().unwrap().tls13().unwrap();
    let (sequence, secrets) = session.dangerous_extract_secrets().unwrap().tx;
    let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
    | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
    | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
    else {
        panic!("a cipher that is not offered");
    };
    (
        ours,
        Forger {
            io,
            encrypter: suite.aead_alg.encrypter(key, iv),
            sequence,
        },
    )
}

async fn read_error(ours: &mut TlsStream<DuplexStream>) -> ErrorKind {
    ours.read(&mut [0; 64]).await.unwrap_err().kind()
}

#[tokio::test]
async fn a_write_may_come_between_the_halves_of_a_key_update() {
    // While half of a handshake message waits for the rest, writes go out; then the keys are updated as asked.
    let (mut ours, mut forger) = with_forger().await;
    forger.send(ContentType::Handshake, &KEY_UPDATE[..2]).await;
    assert!(is_pending(ours.read(&mut [0; 8])).await);
    ours.write_all(b"in between").await.unwrap();
    assert!(is_pending(ours.read(&mut [0; 8])).await);
    forger.send(ContentType::Handshake, &KEY_UPDATE[2..]).await;
    assert!(is_pending(ours.read(&mut [0; 8])).await);
    ours.write_all(b"afterwards").await.unwrap();
    ours.flush().await.unwrap();
    assert_eq!(ours.records.owned_bytes(), 0);
    // The old keys are no longer good.
    forger.send(ContentType::ApplicationData, b"old keys").await;
    assert_eq!(read_error(&mut ours).await, ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_tampered_record_is_the_end() {
    // What came before a tampered record is read, even in one piece with it; then there is an error each time, the peer
    // is told, and nothing more can be written.
    let (mut ours, mut forger) = with_forger().await;
    let mut bytes = forger.record(ContentType::ApplicationData, b"good");
    bytes.extend_from_slice(&forger.record(ContentType::ApplicationData, b"bad!"));
    *bytes.last_mut().unwrap() ^= 1;
    forger.io.write_all(&bytes).await.unwrap();
    let mut read = [0; 64];
    assert_eq!(ours.read(&mut read).await.unwrap(), 4);
    assert_eq!(&read[..4], b"good");
    assert_eq!(read_error(&mut ours).await, ErrorKind::InvalidData);
    assert_eq!(read_error(&mut ours).await, ErrorKind::InvalidData);
    assert_eq!(
        ours.write(b"no").await.unwrap_err().kind(),
        ErrorKind::InvalidData
    );
    ours.shutdown().await.unwrap();
    let mut told = Vec::new();
    forger.io.read_to_end(&mut told).await.unwrap();
    let alert = 5 + 2 + 1 + 16;
    let ticket = 5 + usize::from(u16::from_be_bytes([told[3], told[4]]));
    assert_eq!(
        told.len(),
        ticket + alert,
        "the ticket of the handshake, one alert, and no close_notify"
    );
    assert_eq!(ours.records.owned_bytes(), 0);
}

#[tokio::test]
async fn an_endless_message_after_the_handshake_is_bounded() {
    // A handshake message that never ends is refused when one record's worth of it is held.
    let (mut ours, mut forger) = with_forger().await;
    forger.send(ContentType::Handshake, &[24, 0, 0xff, 0xff]).await;
    let refused = loop {
        forger.send(ContentType::Handshake, &[0; 1_000]).await;
        let mut read = [0; 8];
        if !is_pending(ours.read(&mut read)).await {
            break read_error(&mut ours).await;
        }
        assert!(ours.records.held().len() <= TLS_RECORD_BYTES);
    };
    assert_eq!(refused, ErrorKind::InvalidData);
    assert!(ours.records.held().is_empty());
}

#[tokio::test]
async fn a_flood_of_key_updates_is_refused() {
    // A peer that asks for new keys over and over, and says nothing else, is refused, and makes nothing pile up.
    let (mut ours, mut forger) = with_forger().await;
    // The keys change with each, so a forger without the next ones sends them in one record.
    let flood = KEY_UPDATE.repeat(100);
    forger.send(ContentType::Handshake, &flood).await;
    assert_eq!(read_error(&mut ours).await, ErrorKind::InvalidData);
    assert_eq!(ours.records.owned_bytes(), 0);
}

#[tokio::test]
async fn a_second_hello_is_refused() {
    // A handshake message that has no place after the handshake ends the connection.
    let (mut ours, mut forger) = with_forger().await;
    forger.send(ContentType::Handshake, &[1, 0, 0, 0]).await;
    assert_eq!(read_error(&mut ours).await, ErrorKind::InvalidData);
}
