//! From an accepted socket to a TLS stream: what is offered, and with which certificate.
//!
//! TLS 1.3 and 1.2 with the suites that RFC 9325 recommends, HTTP/2 and HTTP/1.1 by ALPN. Sessions are resumed by tickets,
//! which the peer keeps; nothing is remembered here per session. Neither renegotiation nor compression exists in rustls
//! (RFC 9325 §3.3, §3.5), and early data, which could be replayed, is not taken.
//!
//! What it deliberately does not know: listeners, deadlines, and what is spoken inside.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedCipherSuite};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::certificates::Certificates;
use super::challenges::{ACME_TLS, Challenges};
use super::tickets::Tickets;
use super::{CertificateSource, TicketSecrets, TlsError, TlsStream, ValidUntil};

/// HTTP/2 (RFC 9113 §3.2) and HTTP/1.1, in the order of our preference.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// All suites that are spoken, in our order: forward secret and authenticated ones (RFC 9325 §4.2; TLS 1.3 has no others).
/// None of them is one that HTTP/2 prohibits (RFC 9113 §9.2.2, appendix A).
pub(super) const SUITES: [SupportedCipherSuite; 9] = [
    ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
    ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
    ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ring::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// What can be said about an acceptor beside its certificate.
#[derive(Debug)]
pub struct Options {
    /// From which the keys of session tickets are derived.
    pub tickets: TicketSecrets,
    /// A directory with further certificates, `NAME.pem` and `NAME.key`, for peers that ask for the hosts in them.
    pub directory: Option<PathBuf>,
    /// What an ACME server is shown that looks whether a host is ours.
    pub challenges: Option<Arc<Challenges>>,
}

/// Sessions are resumed by this process only, and there is one certificate for all.
impl Default for Options {
    fn default() -> Self {
        Self {
            tickets: TicketSecrets::of_this_process(),
            directory: None,
            challenges: None,
        }
    }
}

/// Does the handshakes of a listener. A clone is another handle to the same certificate and ticket keys.
#[derive(Clone)]
pub struct Acceptor {
    pub(super) config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

impl Acceptor {
    /// Reads the certificate, or makes a self-signed one; the same for every host. Blocks on the file system; meant for the start.
    ///
    /// # Errors
    ///
    /// Whatever keeps the certificate from being used, in words for the operator.
    pub fn new(source: CertificateSource) -> Result<Self, TlsError> {
        Self::with(source, Options::default())
    }

    /// The same, and says more.
    ///
    /// # Errors
    ///
    /// As [`Acceptor::new`].
    pub fn with(source: CertificateSource, options: Options) -> Result<Self, TlsError> {
        // Named here and never taken from the process: another library may have installed another one, or none.
        let provider = Arc::new(CryptoProvider {
            cipher_suites: SUITES.into(),
            ..ring::default_provider()
        });
        let alpn = alpn(options.challenges.is_some());
        let certificates = Certificates::load(
            source,
            options.directory,
            options.challenges,
            Arc::clone(&provider),
        );
        let certificates = Arc::new(certificates?);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = alpn;
        config.ticketer = Arc::new(Tickets::new(options.tickets).map_err(TlsError::Setup)?);
        // One: a user agent comes back with one connection, and each more is bytes and time in every handshake.
        config.send_tls13_tickets = 1;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            config: Arc::new(config),
            certificates,
        })
    }

    /// Does the handshake. It has no deadline of its own: a peer may take for ever, so wrap it in
    /// [`tokio::time::timeout`].
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] when the peer does not speak TLS, or none that we do; it is told by an alert.
    /// [`io::ErrorKind::UnexpectedEof`] when it leaves; otherwise what the socket says. A visit of an ACME server, which ends
    /// with the handshake, is one too.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection, and nothing else.
    pub async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(&self, io: IO) -> io::Result<TlsStream<IO>> {
        let mut stream = TlsStream::accept(io, Arc::clone(&self.config)).await?;
        if stream.alpn_protocol() == Some(ACME_TLS) {
            // The handshake was all of it: nothing may be exchanged afterwards (RFC 8737 §3).
            let _ = stream.shutdown().await;
            return Err(io::Error::other(
                "an ACME server checked a challenge on this connection",
            ));
        }
        Ok(stream)
    }

    /// Looks at the certificate's files again; says whether it was replaced. Connections that are open keep the one
    /// they were made with. Blocks on the file system.
    ///
    /// # Errors
    ///
    /// The files have changed but cannot be used. The old certificate stays.
    pub fn reload(&self) -> Result<bool, TlsError> {
        self.certificates.reload()
    }

    /// Until when the certificates are valid that new connections get.
    pub fn valid_until(&self) -> ValidUntil {
        self.certificates.valid_until()
    }

    /// Reloads the certificate when its files change, until it is dropped. It looks `every` so often, and at once when
    /// `asked` is notified; then it says what it found in any case. Otherwise files that cannot be used are logged once.
    ///
    /// # Panics
    ///
    /// If `every` is zero.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn keep_certificate_fresh(&self, every: Duration, asked: &Notify) -> Infallible {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_complaint = None;
        loop {
            let is_asked = tokio::select! {
                _ = ticks.tick() => false,
                () = asked.notified() => true,
            };
            let acceptor = self.clone();
            let Ok(outcome) = spawn_blocking(move || acceptor.reload()).await else {
                continue; // It panicked, or the runtime is ending; the old certificate stays either way.
            };
            let complaint = outcome.as_ref().err().map(ToString::to_string);
            match outcome {
                Ok(true) => tracing::info!("the certificate was reloaded: new connections get the new one"),
                Ok(false) if is_asked => {
                    tracing::info!("the certificate files have not changed");
                }
                Err(error) if is_asked || complaint != last_complaint => {
                    tracing::warn!(%error, "the certificate files have changed, but cannot be used; the old certificate stays \
                         in use");
                }
                Ok(false) | Err(_) => {}
            }
            last_complaint = complaint;
        }
    }
}

/// What is offered by ALPN: what ACME servers speak only where they may come.
fn alpn(acme: bool) -> Vec<Vec<u8>> {
    let validation = acme.then(|| ACME_TLS.to_vec());
    ALPN.into_iter().map(Vec::from).chain(validation).collect()
}
