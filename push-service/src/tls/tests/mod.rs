//! The stream against tokio-rustls's client, and against peers that no library would give us.

mod acceptor;
mod certificates;
mod chopped;
mod expiry;
mod hostile;
#[cfg(target_os = "linux")]
mod memory;
mod named;
mod stream;
mod waking;

use std::fs;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as PeerStream;

use super::acme::{ChallengeKind, Renewer, Settings};
use super::{Acceptor, CertificateSource, TlsStream};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// More than any test leaves unread, unless it says so.
const ROOMY: usize = 1 << 20;

/// A directory that goes away with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("push-service-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn self_signed(&self) -> CertificateSource {
        CertificateSource::SelfSigned {
            directory: self.0.clone(),
            names: Vec::new(),
        }
    }

    fn certificate(&self) -> PathBuf {
        self.0.join("self-signed-certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("self-signed-key.pem")
    }

    /// Orders certificates for `push.example`, from a server that does not exist.
    fn orderer(&self) -> Renewer {
        let ca = self.0.join("ca.pem");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&ca, made.cert.pem()).unwrap();
        let settings = Settings {
            domains: vec!["push.example".to_owned()],
            challenge: ChallengeKind::TlsAlpn01,
            contact: None,
            directory: "https://acme.invalid/directory".to_owned(),
            ca: Some(ca),
            cache: self.0.join("acme"),
        };
        Renewer::new(settings).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn acceptor(directory: &Directory) -> Acceptor {
    Acceptor::new(directory.self_signed()).unwrap()
}

/// A peer's configuration that trusts the certificate in `file`.
fn peer_config(file: &Path, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// A handshake of `acceptor` with a peer of tokio-rustls, each over its end of a connection.
async fn handshake<A, B>(
    acceptor: &Acceptor,
    config: ClientConfig,
    ours: A,
    theirs: B,
) -> (TlsStream<A>, PeerStream<B>)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let connector = TlsConnector::from(Arc::new(config));
    let (ours, theirs) = tokio::join!(acceptor.accept(ours), connector.connect(localhost(), theirs));
    (ours.unwrap(), theirs.unwrap())
}

/// A connection through a pipe that holds `capacity` bytes each way.
async fn connected(
    version: &'static SupportedProtocolVersion,
    capacity: usize,
) -> (TlsStream<DuplexStream>, PeerStream<DuplexStream>) {
    let directory = Directory::new();
    let acceptor = acceptor(&directory);
    let config = peer_config(&directory.certificate(), &[version]);
    let (ours, theirs) = duplex(capacity);
    handshake(&acceptor, config, ours, theirs).await
}

/// Bytes that are nowhere the same, so that none can be missing or in another's place.
fn varied(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect()
}

/// Whether a future has to wait; what it would give otherwise is lost.
async fn is_pending<F: Future>(future: F) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}
