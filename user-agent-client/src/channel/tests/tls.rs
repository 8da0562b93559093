//! Over TLS: whom to trust, and what is said about who isn't.

use std::path::PathBuf;
use std::sync::Arc;

use push_protocol::session::user_agent::{ChannelEnd, Farewell, Say, Wish};
use push_protocol::wire::websocket::Reply;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{HandshakeKind, ServerConfig};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::{Channel, Incoming};
use super::rig::{agree, read_request};
use crate::connection::OpenError;
use crate::server_url::ServerUrl;
use crate::tls::Trust;

/// A service with a certificate of a private CA.
struct Service {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    url: ServerUrl,
    folder: TempDir,
}

impl Service {
    async fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("CA of {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &ca).unwrap();
        Self::with(&certificate, &key, &ca.pem()).await
    }

    async fn with(certificate: &Certificate, key: &KeyPair, named: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), named).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            url: ServerUrl::parse(&format!("wss://127.0.0.1:{port}/secret")).unwrap(),
            folder,
        }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Serves one user agent: says hello, and listens until it leaves.
    async fn serve(&self) -> Option<HandshakeKind> {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut stream = self.acceptor.accept(stream).await.ok()?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        agree(&mut stream).await;
        stream.write_all(b"\x81\x02{}").await.unwrap();
        let mut said = [0; 8];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(said[0], 0x81);
        stream.write_all(b"\x88\x02\x03\xe9").await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        stream.get_ref().1.handshake_kind()
    }

    async fn refusal(&self, trust: &Trust) -> OpenError {
        let (opened, served) = tokio::join!(Channel::open(&self.url, trust), self.serve());
        assert_eq!(served, None);
        opened.unwrap_err()
    }
}

async fn talk(url: &ServerUrl, trust: &Trust) {
    let mut channel = Channel::open(url, trust).await.unwrap();
    assert_eq!(channel.next().await, Incoming::Reply(Reply::SignOfLife));
    channel.say(&Say::Hello(None, Wish::default()));
    assert_eq!(
        channel.next().await,
        Incoming::Ended(ChannelEnd::Closed(Some(1001)))
    );
    channel.close(Farewell::Leaving).await;
}

/// WS-CON-4: a private CA is trusted if it is given, and a service that was met before is met again for less.
#[tokio::test]
async fn a_private_ca() {
    let service = Service::new("127.0.0.1").await;
    for trust in [Trust::with_certificates(service.ca()), Trust::insecure()] {
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let ((), served) = tokio::join!(talk(&service.url, &trust), service.serve());
            assert_eq!(served, Some(kind));
        }
    }
}

/// WS-CON-4: a service's own certificate that calls itself a CA, as `openssl req -x509` makes it, is trusted if it is the very one
/// that was named; another one of the same name is not.
#[tokio::test]
async fn a_certificate_of_its_own() {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let make = || {
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap(), key)
    };
    let (own, key) = make();
    let service = Service::with(&own, &key, &own.pem()).await;
    let trust = Trust::with_certificates(service.ca());
    let ((), served) = tokio::join!(talk(&service.url, &trust), service.serve());
    assert_eq!(served, Some(HandshakeKind::Full));

    let stranger = service.folder.path().join("stranger.pem");
    std::fs::write(&stranger, make().0.pem()).unwrap();
    let error = service
        .refusal(&Trust::with_certificates(stranger))
        .await
        .to_string();
    assert!(
        error.contains("give this certificate with `Trust::with_certificates`"),
        "{error}"
    );
}

/// WS-CON-4: a certificate of a stranger, or for another name, is refused with a sentence.
#[tokio::test]
async fn strangers() {
    let service = Service::new("127.0.0.1").await;
    let other = Service::new("push.example.org").await;
    let again = Service::new("127.0.0.1").await;
    let rows = [
        (
            &service,
            Trust::with_certificates(other.ca()),
            "give this CA, or the certificate itself, with `Trust::with_certificates`",
        ),
        (&service, Trust::with_certificates(again.ca()), "an old one"),
        (
            &other,
            Trust::with_certificates(other.ca()),
            "is for push.example.org, and not for 127.0.0.1",
        ),
    ];
    for (service, trust, words) in rows {
        let error = service.refusal(&trust).await;
        assert_eq!(error.to_channel_end(), ChannelEnd::Unreachable);
        assert!(error.to_string().contains(words), "{error}");
    }
    let missing = Trust::with_certificates("/nowhere/ca.pem");
    let error = Channel::open(&service.url, &missing).await.unwrap_err();
    assert_eq!(error.to_channel_end(), ChannelEnd::Unreachable);
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}

/// WS-CON-4: the wrong scheme is recognised, in either direction.
#[tokio::test]
async fn the_wrong_scheme() {
    let service = Service::new("127.0.0.1").await;
    let in_clear = ServerUrl::parse(&service.url.as_str().replace("wss:", "ws:")).unwrap();
    let trust = Trust::insecure();
    let (opened, _) = tokio::join!(Channel::open(&in_clear, &trust), service.serve());
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("wss://"), "{error}");

    let clear = async {
        let (mut stream, _) = service.listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let mut rest = Vec::new();
        // It hangs up with an alert, or without.
        let _ = stream.read_to_end(&mut rest).await;
    };
    let (opened, ()) = tokio::join!(Channel::open(&service.url, &trust), clear);
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("ws://"), "{error}");
}

/// A service that hangs up during the handshake is out of reach, as one that isn't there.
#[tokio::test]
async fn hangs_up() {
    let service = Service::new("127.0.0.1").await;
    let trust = Trust::insecure();
    let (opened, ()) = tokio::join!(Channel::open(&service.url, &trust), async {
        drop(service.listener.accept().await.unwrap());
    });
    assert_eq!(opened.unwrap_err().to_channel_end(), ChannelEnd::Unreachable);
    // And one that goes when it has heard the request is lost.
    let (opened, ()) = tokio::join!(Channel::open(&service.url, &trust), async {
        let (stream, _) = service.listener.accept().await.unwrap();
        let mut stream = service.acceptor.accept(stream).await.unwrap();
        read_request(&mut stream).await;
    });
    assert_eq!(opened.unwrap_err().to_channel_end(), ChannelEnd::Lost);
}
