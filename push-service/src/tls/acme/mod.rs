//! Certificates that come by themselves: ordered from an ACME server (RFC 8555), and again before they end.
//!
//! ```text
//! Renewer ── when? ──► Orders ──► the server          schedule here; order, https
//!    │                   ├─ shows proofs              ../challenges ◄── TLS handshakes, GET /.well-known/acme-challenge/
//!    │                   └─ keeps account, certificate store
//!    └─ reloads the acceptor
//! ```
//!
//! Guarantees: a certificate is never replaced by something worse; a server is not asked more often than it and its usual
//! limits allow, whatever goes wrong; nothing here keeps the service from starting or serving.
//!
//! What it deliberately does not know: other nodes. Those that share [`Settings::cache`] find each other's certificates
//! there; the server's look must reach the node that ordered.

mod https;
mod order;
mod store;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use self::https::Https;
use self::order::{OrderError, Orders};
use self::store::Store;
use super::challenges::Challenges;
use super::validity::Validity;
use super::{Acceptor, CertificateSource, TlsError};
use crate::defaults::{
    ACME_LOOK_EVERY, ACME_ORDER_WITHIN, ACME_PATIENCE_LONGEST, ACME_PAUSE_FIRST, ACME_PAUSE_LONGEST,
};
use crate::random;

/// What is ordered, from whom, and where it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The hosts that the certificate is for; the first is not special.
    pub domains: Vec<String>,
    /// How the server looks whether they are ours.
    pub challenge: ChallengeKind,
    /// The mail address that the server may write to; it is told when the account is made.
    pub contact: Option<String>,
    /// The URL of the server's directory (RFC 8555 §7.1.1).
    pub directory: String,
    /// A PEM file with the authorities that the server's own certificate is checked against; otherwise this machine's.
    pub ca: Option<PathBuf>,
    /// The directory where account, certificate and keys are kept.
    pub cache: PathBuf,
}

/// How a server looks whether a host is ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChallengeKind {
    /// By a handshake on port 443 (RFC 8737).
    TlsAlpn01,
    /// By a request on port 80 (RFC 8555 §8.3).
    Http01,
}

impl ChallengeKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::TlsAlpn01, Self::Http01];
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
        })
    }
}

/// Has certificates issued, one after the other.
pub struct Renewer {
    settings: Settings,
    store: Store,
    https: Https,
    challenges: Arc<Challenges>,
    /// From 0 to 1: how much earlier than others this node renews.
    luck: f64,
}

impl Renewer {
    /// Reads the authorities to trust. Blocks on the file system; connects to no server.
    ///
    /// # Errors
    ///
    /// They cannot be read, or there are none.
    pub fn new(settings: Settings) -> Result<Self, TlsError> {
        let https = Https::new(trusting(settings.ca.as_deref())?);
        Ok(Self {
            store: Store::open(&settings.cache, &settings.directory),
            settings,
            https,
            challenges: Arc::default(),
            luck: luck(),
        })
    }

    /// What has to be shown to the server when it looks for the proofs of an order.
    pub fn challenges(&self) -> Arc<Challenges> {
        Arc::clone(&self.challenges)
    }

    /// Where the certificate will be.
    pub fn source(&self) -> CertificateSource {
        CertificateSource::Issued {
            file: self.store.certificate().to_owned(),
            names: self.settings.domains.clone(),
        }
    }

    /// Orders a certificate if it has none, or if its own is about to end; lets `acceptor` present it.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn keep_renewing(self, acceptor: Acceptor) -> Infallible {
        let mut failures = 0;
        loop {
            if let Some(wait) = self.not_yet().await {
                sleep(wait).await;
                continue;
            }
            let ordered = timeout(ACME_ORDER_WITHIN, self.order()).await;
            match ordered.unwrap_or(Err(OrderError::TooLong)) {
                Ok(()) => {
                    failures = 0;
                    present(&acceptor).await;
                    // Also if it is due again at once, because clocks differ or it is good for minutes.
                    sleep(ACME_PAUSE_FIRST).await;
                }
                Err(error) => {
                    let pause = pause(failures, luck(), self.https.take_patience());
                    complain(&error, pause);
                    failures += 1;
                    sleep(pause).await;
                }
            }
        }
    }

    /// For how long there is nothing to do; `None` if a certificate is to be ordered now.
    async fn not_yet(&self) -> Option<Duration> {
        let (store, domains) = (self.store.clone(), self.settings.domains.clone());
        let kept = spawn_blocking(move || store.validity(&domains)).await.ok()??;
        let due = renew_at(&kept, self.luck);
        let left = due.duration_since(SystemTime::now()).ok()?;
        // Looked at again before that: another node may have renewed it, and clocks are set.
        (!left.is_zero()).then(|| left.min(ACME_LOOK_EVERY))
    }

    async fn order(&self) -> Result<(), OrderError> {
        tracing::info!(
            domains = self.settings.domains.join(", "),
            server = self.settings.directory,
            "ordering a certificate; until it arrives, a self-signed one is used"
        );
        // What was asked for in an order that came to an end is over.
        self.https.take_patience();
        let orders = Orders {
            settings: &self.settings,
            store: &self.store,
            https: &self.https,
            challenges: &self.challenges,
        };
        orders.order().await
    }
}

impl fmt::Debug for Renewer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Renewer")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

async fn present(acceptor: &Acceptor) {
    let acceptor = acceptor.clone();
    match spawn_blocking(move || acceptor.reload()).await {
        Ok(Ok(_)) => tracing::info!("the ACME server issued a certificate: new connections get it"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the ACME server issued a certificate, but it cannot be used");
        }
        Err(_) => {} // The runtime is ending.
    }
}

fn complain(error: &OrderError, pause: Duration) {
    let again = SystemTime::now() + pause;
    tracing::warn!(
        %error,
        again_in_seconds = pause.as_secs(),
        again_at = httpdate::fmt_http_date(again),
        "no certificate was issued; the old one stays in use until the next attempt"
    );
}

/// When to renew: with a third of its life left, and up to a thirtieth of it earlier, so that nodes that share a
/// certificate, or all services of the world that began on the same day, do not come at once.
fn renew_at(kept: &Validity, luck: f64) -> SystemTime {
    let lifetime = kept.lifetime();
    kept.not_after - lifetime / 3 - (lifetime / 30).mul_f64(luck)
}

/// How long to wait after so many failures before: twice as long each time, up to a quarter more by luck, and no less than
/// the server asks for.
fn pause(failures: u32, luck: f64, asked: Option<Duration>) -> Duration {
    let doubled = ACME_PAUSE_FIRST.saturating_mul(1 << failures.min(16));
    let pause = doubled.min(ACME_PAUSE_LONGEST);
    let asked = asked.unwrap_or_default().min(ACME_PATIENCE_LONGEST);
    pause.max(asked) + (pause / 4).mul_f64(luck)
}

fn luck() -> f64 {
    random::u64() as f64 / u64::MAX as f64
}

/// The TLS settings of a peer of the server.
fn trusting(ca: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    let authorities = match ca {
        Some(file) => authorities(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(authorities);
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = std::fs::read(file).map_err(|source| TlsError::Unreadable {
        file: file.into(),
        source,
    })?;
    let listed = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>();
    listed.map_err(|source| TlsError::NotPem {
        file: file.into(),
        expected: "certificate",
        source,
    })
}
