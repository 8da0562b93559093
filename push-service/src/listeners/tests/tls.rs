//! The same over TLS: ALPN chooses.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::http2::push;
use super::rig::{HELLO, Node, Setting, UPGRADE, frame};
use crate::config::Limits;
use crate::defaults::{COST_CONNECTION, COST_HANDSHAKE};
use crate::tls::{Acceptor, CertificateSource};

/// A node with a certificate that is made for the test, and removed after it.
struct Secured {
    node: Node,
    directory: PathBuf,
}

impl Secured {
    async fn start(name: &str) -> Self {
        Self::start_with(name, Limits::default()).await
    }

    async fn start_with(name: &str, limits: Limits) -> Self {
        let directory = std::env::temp_dir().join(format!("push-listeners-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let source = CertificateSource::SelfSigned {
            directory: directory.clone(),
            names: Vec::new(),
        };
        let setting = Setting {
            tls: Some(Acceptor::new(source).unwrap()),
            proxies: vec!["127.0.0.1"],
            limits,
            ..Setting::default()
        };
        let node = Node::with(setting).await;
        Self { node, directory }
    }

    /// Says `first` in clear, then speaks TLS and offers these protocols.
    async fn connect(&self, first: &str, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let certificate = self.directory.join("self-signed-certificate.pem");
        roots
            .add(CertificateDer::from_pem_file(certificate).unwrap())
            .unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut socket = TcpStream::connect(self.node.address).await?;
        socket.write_all(first.as_bytes()).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// RFC 9113 §3.2: ALPN `h2` is HTTP/2, `http/1.1` and nothing are HTTP/1.1; a PROXY header stands before TLS.
#[tokio::test]
async fn alpn_chooses_the_version() {
    let secured = Secured::start("alpn").await;
    let proxied = "PROXY TCP4 203.0.113.1 127.0.0.1 4711 443\r\n";
    for first in ["", proxied] {
        let stream = secured.connect(first, &["h2", "http/1.1"]).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        assert_eq!(push(&requests, &secured.node.path, 4096).await.status(), 201);
        driver.abort();

        for alpn in [&["http/1.1"][..], &[]] {
            let mut stream = secured.connect(first, alpn).await.unwrap();
            let goodbye = frame(8, "");
            let said = [UPGRADE.as_bytes(), &frame(1, HELLO), &goodbye].concat();
            stream.write_all(&said).await.unwrap();
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard).await;
            let heard = String::from_utf8_lossy(&heard);
            assert!(heard.starts_with("HTTP/1.1 101 "), "{heard}");
            assert!(heard.contains(r#""messageType":"hello""#), "{heard}");
        }
    }
}

/// A peer that begins the handshake and goes silent is closed.
#[tokio::test(start_paused = true)]
async fn a_slow_handshake_ends_the_connection() {
    let secured = Secured::start("slow").await;
    for beginning in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01", b"PROXY TC"] {
        let mut peer = secured.node.peer().await;
        peer.say(beginning).await;
        peer.hear_all().await;
    }
}

/// Who does not speak TLS to a TLS port is closed, not answered in clear HTTP.
#[tokio::test]
async fn clear_http_is_refused() {
    let secured = Secured::start("clear").await;
    for request in [UPGRADE, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PROXY nonsense\r\n"] {
        let mut peer = secured.node.peer().await;
        peer.say(request).await;
        assert!(!peer.hear_all().await.contains("http"));
    }
}

/// PR-42: a TLS handshake costs tokens before it begins: without them the connection is closed.
#[tokio::test]
async fn a_handshake_is_paid_for() {
    let limits = Limits {
        work_per_address: 1,
        work_per_address_burst: 5 * (COST_CONNECTION + COST_HANDSHAKE),
        ..Limits::default()
    };
    let secured = Secured::start_with("paid", limits).await;
    let proxied = "PROXY TCP4 203.0.113.1 127.0.0.1 4711 443\r\n";
    for _ in 0..5 {
        secured.connect(proxied, &[]).await.unwrap();
    }
    assert!(secured.connect(proxied, &[]).await.is_err());
    let other = "PROXY TCP4 203.0.113.2 127.0.0.1 4711 443\r\n";
    secured.connect(other, &[]).await.unwrap();
}
