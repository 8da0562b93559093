//! Which certificates are trusted, and which way connections go: through which proxies, or to one server only.
//!
//! Certificates are loaded when the first TLS connection needs them, once: the system has some 150, and a user agent in
//! clear needs none. What it deliberately does not know: what is spoken on connections.

mod named;
pub(crate) mod sentences;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use self::named::Named;
use crate::defaults::{CERTIFICATES_BYTES, TLS_SESSIONS};
use crate::proxy::Proxies;

/// Which certificates to trust, and through which [proxies](Proxies) to go: by default without a proxy. Clones share what is loaded, and the TLS sessions
/// that make coming back cheaper.
#[derive(Clone)]
pub struct Trust {
    shared: Arc<Shared>,
    proxies: Proxies,
    place: Option<Arc<Place>>,
}

/// The server that all connections lead to.
pub(crate) struct Place {
    /// **Invariant:** a name that TLS takes, or an address without brackets.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    pub(crate) is_secure: bool,
}

struct Shared {
    kind: TrustKind,
    loaded: OnceLock<Arc<ClientConfig>>,
    /// The same, but for HTTP/2.
    http2: OnceLock<Arc<ClientConfig>>,
}

enum TrustKind {
    System,
    SystemAnd(PathBuf),
    Anybody,
    Given(Arc<ClientConfig>),
}

impl Trust {
    /// The certificates of the system.
    pub fn system() -> Self {
        Self::new(TrustKind::System)
    }

    /// The certificates of the system, and those in this PEM file: a private CA, or a service's own certificate, also if that
    /// calls itself a CA, as `openssl req -x509` makes it.
    pub fn with_certificates(file: impl AsRef<Path>) -> Self {
        Self::new(TrustKind::SystemAnd(file.as_ref().into()))
    }

    /// Every certificate is accepted, so anyone on the path can read and change everything. Only for tests.
    pub fn insecure() -> Self {
        Self::new(TrustKind::Anybody)
    }

    /// As `config` says: for client certificates, pinned keys, other session caches. It has to speak
    /// HTTP/1.1: its ALPN protocols are `http/1.1` or none. For HTTP/2 a copy that names `h2` before it is used.
    pub fn with_config(config: Arc<ClientConfig>) -> Self {
        Self::new(TrustKind::Given(config))
    }

    /// Goes through these proxies.
    #[must_use]
    pub fn through(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
    }

    /// All connections lead to this server, whatever host and scheme a URL has, as with curl's `--connect-to`: for a test of one server
    /// behind a public name. TLS verifies the name of this server. Requests still name the host of their URL.
    /// `host` is a name, or an address without brackets; `is_secure` asks for TLS.
    #[must_use]
    pub fn connecting_to(self, host: &str, port: u16, is_secure: bool) -> Self {
        let place = Place {
            host: host.into(),
            port,
            is_secure,
        };
        Self {
            place: Some(Arc::new(place)),
            ..self
        }
    }

    pub(crate) fn place(&self) -> Option<&Place> {
        self.place.as_deref()
    }

    pub(crate) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// What TLS connections are made with. The first call reads files, for some milliseconds; those after it read none.
    ///
    /// # Errors
    ///
    /// [`TrustError`] if there are no certificates, or they can't be read. The next call tries again.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        if let Some(config) = self.shared.loaded.get() {
            return Ok(Arc::clone(config));
        }
        let config = self.shared.kind.load()?;
        Ok(Arc::clone(self.shared.loaded.get_or_init(|| config)))
    }

    /// [`client_config`](Self::client_config) for connections that speak HTTP/2 (RFC 9113 §3.2), or HTTP/1.1 where the server
    /// offers no HTTP/2.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn http2_config(&self) -> Result<Arc<ClientConfig>, TrustError> {
        if let Some(config) = self.shared.http2.get() {
            return Ok(Arc::clone(config));
        }
        let mut config = ClientConfig::clone(&*self.client_config()?);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::clone(self.shared.http2.get_or_init(|| Arc::new(config))))
    }

    fn new(kind: TrustKind) -> Self {
        Self {
            shared: Arc::new(Shared {
                kind,
                loaded: OnceLock::new(),
                http2: OnceLock::new(),
            }),
            proxies: Proxies::none(),
            place: None,
        }
    }
}

impl Default for Trust {
    /// [`Trust::system`].
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shared.kind {
            TrustKind::System => f.write_str("Trust(system)"),
            TrustKind::SystemAnd(file) => write!(f, "Trust(system and {})", file.display()),
            TrustKind::Anybody => f.write_str("Trust(anybody)"),
            TrustKind::Given(_) => f.write_str("Trust(given)"),
        }
    }
}

/// Why it is not known whom to trust. Prints as a sentence that says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrustError {
    /// The system has no certificates; and why, if it said so.
    NoSystemCertificates(Option<String>),
    /// The file can't be read.
    Unreadable(PathBuf, String),
    /// The file holds no certificate.
    NoCertificate(PathBuf),
    /// TLS itself can't be set up.
    Tls(rustls::Error),
}

impl std::error::Error for TrustError {}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSystemCertificates(why) => {
                f.write_str(
                    "this system has no CA certificates: install them (the package is often called \
                     ca-certificates), set SSL_CERT_FILE to a file of them, or give the service's own with \
                     `Trust::with_certificates`",
                )?;
                why.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
            }
            Self::Unreadable(file, why) => {
                write!(f, "the certificates in {} cannot be read: {why}", file.display())
            }
            Self::NoCertificate(file) => write!(
                f,
                "there is no certificate in {}: it must have a line -----BEGIN CERTIFICATE-----",
                file.display()
            ),
            Self::Tls(error) => f.write_str(&sentences::handshake(error)),
        }
    }
}

impl TrustKind {
    fn load(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Tls)?;
        let mut config = match self {
            Self::Given(config) => return Ok(Arc::clone(config)),
            Self::System => builder.with_root_certificates(system()?),
            Self::SystemAnd(file) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(named(file, provider)?)),
            Self::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        }
        .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS);
        // The service speaks HTTP/2 on the same port, where the upgrade is another one.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn system() -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let why = add_system(&mut roots);
    if roots.is_empty() {
        return Err(TrustError::NoSystemCertificates(why));
    }
    Ok(roots)
}

/// A machine for one purpose may have this one CA and no others.
fn named(file: &Path, provider: Arc<CryptoProvider>) -> Result<Named, TrustError> {
    let mut roots = RootCertStore::empty();
    add_system(&mut roots);
    let certificates = add_file(&mut roots, file)?;
    let web_pki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    // It fails only without certificates.
    let web_pki = web_pki.map_err(|_| TrustError::NoCertificate(file.into()))?;
    Ok(Named {
        web_pki,
        certificates,
    })
}

/// Adds the certificates of the system, without malformed ones; returns what went wrong, if anything did.
fn add_system(roots: &mut RootCertStore) -> Option<String> {
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    found.errors.first().map(ToString::to_string)
}

fn add_file(roots: &mut RootCertStore, file: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let unreadable = |why: String| TrustError::Unreadable(file.into(), why);
    let mut text = Vec::new();
    let read = File::open(file).and_then(|open| open.take(CERTIFICATES_BYTES + 1).read_to_end(&mut text));
    let length = read.map_err(|error| unreadable(error.to_string()))?;
    if length as u64 > CERTIFICATES_BYTES {
        let mib = CERTIFICATES_BYTES >> 20;
        return Err(unreadable(format!(
            "it is longer than {mib} MiB: is it a file of certificates?"
        )));
    }
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate
            .map_err(|_| unreadable("a certificate in it is cut or damaged: copy it again".into()))?;
        roots
            .add(certificate.clone())
            .map_err(|error| unreadable(sentences::in_file(&error)))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(TrustError::NoCertificate(file.into()));
    }
    Ok(certificates)
}

/// Accepts every certificate, but only from who holds its key: that much a handshake has to prove.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
