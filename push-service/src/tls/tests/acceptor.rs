//! Handshakes: what is agreed on, what is resumed, and what a peer that does none can cost.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};

use super::{Directory, ROOMY, TlsStream, VERSIONS, acceptor, connected, handshake, is_pending, peer_config};
use crate::defaults::TLS_RECORD_BYTES;
use crate::tls::records::Records;
use crate::tls::{Acceptor, Options, TicketSecrets};

#[tokio::test]
async fn the_protocol_is_agreed_on() {
    // Of what the peer offers HTTP/2 is preferred; a peer that offers nothing gets no protocol and is served all the
    // same.
    let directory = Directory::new();
    let acceptor = acceptor(&directory);
    let cases: [(&[&str], Option<&str>); 4] = [
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["spdy/3", "http/1.1"], Some("http/1.1")),
        (&[], None),
    ];
    for version in VERSIONS {
        for (offered, agreed) in cases {
            let mut config = peer_config(&directory.certificate(), &[version]);
            config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
            let (ours, theirs) = duplex(ROOMY);
            let (ours, theirs) = handshake(&acceptor, config, ours, theirs).await;
            assert_eq!(ours.alpn_protocol(), agreed.map(str::as_bytes));
            assert_eq!(theirs.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes));
        }
    }
}

#[tokio::test]
async fn a_peer_that_comes_back_resumes_its_session() {
    // The second connection of a peer is resumed from its ticket, and carries messages like the first.
    let directory = Directory::new();
    let acceptor = acceptor(&directory);
    for version in VERSIONS {
        let config = peer_config(&directory.certificate(), &[version]);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (ours, theirs) = duplex(ROOMY);
            let (mut ours, mut theirs) = handshake(&acceptor, config.clone(), ours, theirs).await;
            ours.write_all(b"hello").await.unwrap();
            ours.flush().await.unwrap();
            theirs.read_exact(&mut [0; 5]).await.unwrap();
            kinds.push(theirs.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
    }
}

/// A node with these secrets, and the certificate of the directory.
fn node(directory: &Directory, secrets: &[u8]) -> Acceptor {
    let tickets = TicketSecrets::new(secrets.iter().map(|&secret| [secret; 32]));
    Acceptor::with(
        directory.self_signed(),
        Options {
            tickets,
            ..Options::default()
        },
    )
    .unwrap()
}

/// How a peer is received that meets `first` and then `then`.
async fn received(first: &Acceptor, then: &Acceptor, config: &ClientConfig) -> HandshakeKind {
    let mut kind = HandshakeKind::Full;
    for acceptor in [first, then] {
        let (ours, theirs) = duplex(ROOMY);
        let (mut ours, mut theirs) = handshake(acceptor, config.clone(), ours, theirs).await;
        ours.write_all(b"hello").await.unwrap();
        ours.flush().await.unwrap();
        theirs.read_exact(&mut [0; 5]).await.unwrap();
        kind = theirs.get_ref().1.handshake_kind().unwrap();
    }
    kind
}

#[tokio::test]
async fn nodes_resume_each_others_sessions() {
    // With a secret in common, in whatever place of their lists, any node resumes what another began; without one, a full
    // handshake follows and the peer notices nothing else.
    let directory = Directory::new();
    let rows: [(&[u8], &[u8], HandshakeKind); 5] = [
        (&[1], &[1], HandshakeKind::Resumed),
        (&[2, 1], &[1, 2], HandshakeKind::Resumed),
        (&[1], &[2, 1], HandshakeKind::Resumed),
        (&[1], &[2], HandshakeKind::Full),
        (&[2, 1], &[1], HandshakeKind::Full),
    ];
    for (first, then, expected) in rows {
        let (first_node, then_node) = (node(&directory, first), node(&directory, then));
        let config = peer_config(&directory.certificate(), &[&TLS13]);
        let kind = received(&first_node, &then_node, &config).await;
        assert_eq!(kind, expected, "{first:?} {then:?}");
    }
}

#[tokio::test]
async fn tickets_of_tls12_stay_with_their_process() {
    // RFC 9325 §3.4: a ticket of TLS 1.2 holds the keys of its connection; another node, or a thief of the secrets, does
    // not open it.
    let directory = Directory::new();
    let (first, then) = (node(&directory, &[1]), node(&directory, &[1]));
    let config = peer_config(&directory.certificate(), &[&TLS12]);
    assert_eq!(received(&first, &then, &config).await, HandshakeKind::Full);
    assert_eq!(received(&then, &then, &config).await, HandshakeKind::Resumed);
}

#[test]
fn only_recommended_suites_are_spoken() {
    // RFC 9325 §4.2, RFC 9113 §9.2.2: with TLS 1.2, only ephemeral key exchanges with AEAD ciphers, of which appendix A of
    // RFC 9113 lists none; and TLS 1.3.
    let directory = Directory::new();
    let acceptor = acceptor(&directory);
    let suites = &acceptor.config.crypto_provider().cipher_suites;
    assert_eq!(suites.len(), 9);
    for suite in suites {
        let name = format!("{:?}", suite.suite());
        let is_aead = ["_GCM_SHA256", "_GCM_SHA384", "_CHACHA20_POLY1305_SHA256"]
            .iter()
            .any(|end| name.ends_with(end));
        let is_ephemeral = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        assert!(is_aead && is_ephemeral, "{name}");
    }
    assert_eq!(acceptor.config.max_early_data_size, 0);
}

#[tokio::test]
async fn one_ticket_is_sent() {
    // A handshake of TLS 1.3 ends with one ticket.
    let (mut ours, mut theirs) = connected(&TLS13, ROOMY).await;
    ours.write_all(b"!").await.unwrap();
    ours.flush().await.unwrap();
    theirs.read_u8().await.unwrap();
    assert_eq!(theirs.get_ref().1.tls13_tickets_received(), 1);
}

#[tokio::test]
async fn http2_runs_over_it() {
    // A request and an answer of 300 KB each go over HTTP/2, over TLS, over a real socket.
    let directory = Directory::new();
    let acceptor = acceptor(&directory);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = peer_config(&directory.certificate(), &[&TLS13]);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (ours, theirs) = tokio::join!(async { listener.accept().await.unwrap().0 }, async {
        TcpStream::connect(address).await.unwrap()
    });
    let (ours, theirs) = handshake(&acceptor, config, ours, theirs).await;
    let server = tokio::spawn(echo_http2(ours));
    let (sender, connection) = h2::client::handshake(theirs).await.unwrap();
    let driver = tokio::spawn(connection);
    let body = Bytes::from(super::varied(300_000));
    assert!(exchange_http2(sender, body.clone()).await == body);
    driver.await.unwrap().unwrap();
    server.await.unwrap();
}

async fn echo_http2(stream: TlsStream) {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .handshake::<_, Bytes>(stream)
        .await
        .unwrap();
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request.unwrap();
        tokio::spawn(async move {
            let body = collect_http2(request.into_body()).await;
            let mut answer = respond.send_response(http::Response::new(()), false).unwrap();
            answer.send_data(body, true).unwrap();
        });
    }
}

async fn exchange_http2(sender: h2::client::SendRequest<Bytes>, body: Bytes) -> Bytes {
    let mut sender = sender.ready().await.unwrap();
    let request = http::Request::post("https://localhost/").body(()).unwrap();
    let (answer, mut send) = sender.send_request(request, false).unwrap();
    send.send_data(body, true).unwrap();
    collect_http2(answer.await.unwrap().into_body()).await
}

async fn collect_http2(mut body: h2::RecvStream) -> Bytes {
    let mut all = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.unwrap();
        body.flow_control().release_capacity(part.len()).unwrap();
        all.extend_from_slice(&part);
    }
    all.into()
}

#[tokio::test]
async fn garbage_is_refused_at_once() {
    // Bytes that are not TLS end the handshake with an error, and the peer is told by an alert before the close.
    let directory = Directory::new();
    let (ours, mut theirs) = duplex(ROOMY);
    theirs
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let error = acceptor(&directory).accept(ours).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let mut told = Vec::new();
    theirs.read_to_end(&mut told).await.unwrap();
    const ALERT: u8 = 21;
    assert_eq!((told[0], told.len()), (ALERT, 7));
}

#[tokio::test]
async fn a_peer_that_leaves_ends_the_handshake() {
    // A peer that connects and goes away, saying nothing or half a record, leaves an error and nothing else.
    let directory = Directory::new();
    let acceptor = acceptor(&directory);
    for said in [&b""[..], &[22, 3, 1, 2, 0, 1, 0]] {
        let (ours, mut theirs) = duplex(ROOMY);
        theirs.write_all(said).await.unwrap();
        drop(theirs);
        assert_eq!(
            acceptor.accept(ours).await.err().unwrap().kind(),
            ErrorKind::UnexpectedEof
        );
    }
}

#[tokio::test]
async fn an_endless_hello_is_bounded() {
    // A ClientHello that goes on and on, in records of any size, is refused when one record's worth of it is held.
    let directory = Directory::new();
    for fragment in [1, 100, 16_000] {
        let mut records = Records::new(Arc::clone(&acceptor(&directory).config)).unwrap();
        let mut hello = vec![1, 0, 0xff, 0xff]; // A ClientHello of 65,535 bytes.
        hello.resize(65_539, 0);
        let (mut largest, mut refused) = (0, false);
        for part in hello.chunks(fragment) {
            let mut bytes = records.held().to_vec();
            bytes.extend_from_slice(&[22, 3, 1]);
            bytes.extend_from_slice(&(part.len() as u16).to_be_bytes());
            bytes.extend_from_slice(part);
            records.receive(&mut bytes, &mut tokio::io::ReadBuf::new(&mut []));
            largest = largest.max(records.held().len());
            refused |= !records.is_open();
            if refused {
                break;
            }
        }
        assert!(
            refused && largest <= TLS_RECORD_BYTES,
            "{largest} bytes in fragments of {fragment}"
        );
        assert!(records.held().is_empty());
    }
}

#[tokio::test]
async fn a_handshake_may_be_dropped() {
    // A handshake that its caller gives up at a deadline closes the connection.
    let directory = Directory::new();
    let (ours, mut theirs) = duplex(ROOMY);
    theirs.write_all(&[22, 3, 1]).await.unwrap();
    assert!(is_pending(acceptor(&directory).accept(ours)).await);
    assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_message_may_come_with_the_last_of_the_handshake() {
    // What the peer sends right behind its part of the handshake is there for the first read.
    let directory = Directory::new();
    for version in VERSIONS {
        let acceptor = acceptor(&directory);
        let config = peer_config(&directory.certificate(), &[version]);
        let (ours, theirs) = duplex(ROOMY);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let peer = tokio::spawn(async move {
            let mut theirs = connector.connect(super::localhost(), theirs).await.unwrap();
            theirs.write_all(b"early").await.unwrap();
            theirs.flush().await.unwrap();
            theirs
        });
        let mut ours = acceptor.accept(ours).await.unwrap();
        let mut read = [0; 5];
        ours.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"early");
        drop(peer.await.unwrap());
    }
}
