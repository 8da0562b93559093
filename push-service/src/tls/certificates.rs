//! The certificate that is presented now, and how it becomes another one while the service runs.
//!
//! Certificates live for weeks and services for months. So the files are looked at again and again: a changed pair is
//! presented to new connections, and a pair that is broken, or half written, changes nothing: the old one stays.
//!
//! What it deliberately does not know: who writes the files, and connections.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;
use super::self_signed::SelfSigned;

/// Where the certificate comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertificateSource {
    /// PEM files that somebody else writes and renews.
    Files {
        /// The chain, the server's own certificate first.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// For trying: made here, kept in a directory, and made anew before it expires.
    SelfSigned {
        /// Where `self-signed-certificate.pem` and `self-signed-key.pem` are kept.
        directory: PathBuf,
        /// Host names and addresses that it is for, besides `localhost`, `127.0.0.1` and `::1`.
        names: Vec<String>,
    },
}

/// What the source amounts to: two files, and perhaps the duty to write them.
enum Origin {
    Files(PemPair),
    SelfSigned(SelfSigned),
}

/// The certificate of a listener. It is presented whatever name the peer asks for.
pub(super) struct Certificates {
    origin: Origin,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// What the files were like when the current certificate was loaded from them.
    loaded: Mutex<Stamp>,
}

impl Certificates {
    /// Loads the certificate, making it first if it is to be self-signed.
    pub(super) fn load(source: CertificateSource, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let origin = match source {
            CertificateSource::Files { certificate, key } => Origin::Files(PemPair { certificate, key }),
            CertificateSource::SelfSigned { directory, names } => {
                Origin::SelfSigned(SelfSigned::new(&directory, &names)?)
            }
        };
        let files = origin.files(&provider)?;
        let stamp = files.stamp();
        let current = RwLock::new(Arc::new(files.read(&provider)?));
        Ok(Self {
            origin,
            provider,
            current,
            loaded: Mutex::new(stamp),
        })
    }

    /// Looks at the files again; says whether a new certificate is presented from now on. Blocks on the file system.
    ///
    /// # Errors
    ///
    /// The files have changed but cannot be used: the old certificate stays, and the next call tries again.
    pub(super) fn reload(&self) -> Result<bool, TlsError> {
        let files = self.origin.files(&self.provider)?;
        // Taken before the files are read: what is written in between makes the stamp differ next time.
        let stamp = files.stamp();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if *loaded == stamp {
            return Ok(false);
        }
        let fresh = Arc::new(files.read(&self.provider)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        *loaded = stamp;
        Ok(true)
    }
}

impl Origin {
    fn files(&self, provider: &CryptoProvider) -> Result<&PemPair, TlsError> {
        match self {
            Self::Files(files) => Ok(files),
            Self::SelfSigned(maker) => maker.ensure(provider, SystemTime::now()),
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Certificates").finish_non_exhaustive()
    }
}

/// A certificate chain and its key, in two PEM files.
#[derive(Debug)]
pub(super) struct PemPair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl PemPair {
    /// Reads both, and checks that they belong together.
    pub(super) fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let chain = read_pem(&self.certificate, "certificate", |text| {
            let chain: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
            if chain.is_empty() {
                Err(pem::Error::NoItemsFound)
            } else {
                Ok(chain)
            }
        })?;
        let key = read_pem(&self.key, "private key", PrivateKeyDer::from_pem_slice)?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let (certificate, key) = (self.certificate.clone(), self.key.clone());
            match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    TlsError::Mismatch { certificate, key }
                }
                source => TlsError::Unusable {
                    certificate,
                    key,
                    source,
                },
            }
        })
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            certificate: FileStamp::of(&self.certificate),
            key: FileStamp::of(&self.key),
        }
    }
}

fn read_pem<T>(
    file: &Path,
    expected: &'static str,
    parse: impl FnOnce(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, TlsError> {
    let text = fs::read(file).map_err(|source| TlsError::Unreadable {
        file: file.into(),
        source,
    })?;
    parse(&text).map_err(|source| TlsError::NotPem {
        file: file.into(),
        expected,
        source,
    })
}

/// What tells that the files are not the ones that were read.
#[derive(PartialEq, Eq)]
struct Stamp {
    certificate: Option<FileStamp>,
    key: Option<FileStamp>,
}

/// Of the file that a link leads to, so that a switched link (as of a mounted secret) counts as a change.
#[derive(PartialEq, Eq)]
struct FileStamp {
    modified: Option<SystemTime>,
    length: u64,
    number: u64,
}

impl FileStamp {
    fn of(file: &Path) -> Option<Self> {
        let about: io::Result<Metadata> = fs::metadata(file);
        about.ok().map(|about| Self {
            modified: about.modified().ok(),
            length: about.len(),
            number: file_number(&about),
        })
    }
}

fn file_number(about: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(about)
}
