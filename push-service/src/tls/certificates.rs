//! The certificate that is presented now, and how it becomes another one while the service runs.
//!
//! Certificates live for weeks and services for months. So the files are looked at again and again: a changed pair is
//! presented to new connections, and a pair that is broken, or half written, changes nothing: the old one stays.
//!
//! ```text
//! a peer that asks for …             is shown
//! acme-tls/1, as an ACME server      the proof for the name (RFC 8737), or nothing
//! a name in the directory            that pair                          named
//! anything else, or no name          the certificate of the service
//! ```
//!
//! What it deliberately does not know: who writes the files, and connections.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::challenges::{ACME_TLS, Challenges};
use super::named::{Directory, Named};
use super::pem_pair::{Fingerprint, PemPair};
use super::self_signed::SelfSigned;
use super::{TlsError, validity};

/// Where the certificate comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertificateSource {
    /// PEM files that another program writes and renews.
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
    /// Issued by an ACME server, by [`Renewer`](super::acme::Renewer); until it is there, a self-signed one.
    Issued {
        /// Where [`Renewer`](super::acme::Renewer) keeps it, with its key; the self-signed one is made beside it.
        file: PathBuf,
        /// The host names that it is for.
        names: Vec<String>,
    },
}

/// The files of the source, and what makes them if the service has to.
enum Origin {
    Files(PemPair),
    SelfSigned(SelfSigned),
    Issued {
        issued: PemPair,
        until_then: SelfSigned,
        /// Whether the issued one was ever good: then nothing made here takes its place again.
        seen: AtomicBool,
    },
}

/// The certificates of a listener.
pub(super) struct Certificates {
    origin: Origin,
    provider: Arc<CryptoProvider>,
    challenges: Option<Arc<Challenges>>,
    presented: RwLock<Presented>,
    loaded: Mutex<Loaded>,
}

/// What peers are shown now.
struct Presented {
    default: Arc<CertifiedKey>,
    named: Named,
}

/// Until when the certificates are valid that peers are shown now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ValidUntil {
    /// The one of the service; `None` if its time can't be read.
    pub service: Option<SystemTime>,
    /// Of those in the directory the one that ends first; `None` if the directory has no pair.
    pub directory: Option<SystemTime>,
}

/// Reads all pairs of a directory of further certificates. Blocks on the file system.
///
/// # Errors
///
/// The directory cannot be listed, or the first pair in it that cannot be used.
pub fn check_directory(directory: PathBuf) -> Result<(), TlsError> {
    let looked = Directory::new(directory).look(&ring::default_provider())?;
    looked.complaint.map_or(Ok(()), Err)
}

/// What tells whether there is anything new.
struct Loaded {
    /// What the files held from which the default certificate was loaded.
    default: Fingerprint,
    directory: Option<Directory>,
}

impl Certificates {
    /// Loads the certificate, making it first if it is to be self-signed, and those of the directory.
    pub(super) fn load(
        source: CertificateSource,
        directory: Option<PathBuf>,
        challenges: Option<Arc<Challenges>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let origin = Origin::new(source)?;
        let files = origin.files(&provider)?;
        let texts = files.load()?;
        let fingerprint = texts.fingerprint();
        let default = Arc::new(files.parse(&texts, &provider)?);
        let mut directory = directory.map(Directory::new);
        let mut named = Named::default();
        if let Some(directory) = &mut directory {
            // Nothing is there to fall back to yet, so what is broken must be mended first.
            if let Some(error) = directory.look(&provider)?.complaint {
                return Err(error);
            }
            named = directory.named();
        }
        Ok(Self {
            origin,
            provider,
            challenges,
            presented: RwLock::new(Presented { default, named }),
            loaded: Mutex::new(Loaded {
                default: fingerprint,
                directory,
            }),
        })
    }

    /// Looks at the files again; says whether another certificate is presented from now on. Blocks on the file system.
    ///
    /// # Errors
    ///
    /// Files have changed but cannot be used: what they were before stays, and the next call tries again. The others are
    /// taken all the same.
    pub(super) fn reload(&self) -> Result<bool, TlsError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let default = self.reload_default(&mut loaded.default);
        let directory = self.reload_directory(loaded.directory.as_mut());
        Ok(default? | directory?)
    }

    /// Until when what is presented is valid.
    pub(super) fn valid_until(&self) -> ValidUntil {
        let presented = self.presented.read().unwrap_or_else(PoisonError::into_inner);
        ValidUntil {
            service: not_after(&presented.default),
            directory: presented.named.all().filter_map(not_after).min(),
        }
    }

    fn reload_default(&self, loaded: &mut Fingerprint) -> Result<bool, TlsError> {
        let files = self.origin.files(&self.provider)?;
        let texts = files.load_again()?;
        let fingerprint = texts.fingerprint();
        if *loaded == fingerprint {
            return Ok(false);
        }
        let fresh = Arc::new(files.parse(&texts, &self.provider)?);
        let mut presented = self.presented.write().unwrap_or_else(PoisonError::into_inner);
        presented.default = fresh;
        *loaded = fingerprint;
        Ok(true)
    }

    fn reload_directory(&self, directory: Option<&mut Directory>) -> Result<bool, TlsError> {
        let Some(directory) = directory else {
            return Ok(false);
        };
        let looked = directory.look(&self.provider)?;
        if looked.changed {
            let named = directory.named();
            let mut presented = self.presented.write().unwrap_or_else(PoisonError::into_inner);
            presented.named = named;
        }
        looked.complaint.map_or(Ok(looked.changed), Err)
    }
}

impl Origin {
    fn new(source: CertificateSource) -> Result<Self, TlsError> {
        Ok(match source {
            CertificateSource::Files { certificate, key } => Self::Files(PemPair { certificate, key }),
            CertificateSource::SelfSigned { directory, names } => {
                Self::SelfSigned(SelfSigned::new(&directory, &names)?)
            }
            CertificateSource::Issued { file, names } => Self::Issued {
                until_then: SelfSigned::new(file.parent().unwrap_or(Path::new(".")), &names)?,
                issued: PemPair::one_file(&file),
                seen: AtomicBool::new(false),
            },
        })
    }

    fn files(&self, provider: &CryptoProvider) -> Result<&PemPair, TlsError> {
        match self {
            Self::Files(files) => Ok(files),
            Self::SelfSigned(maker) => maker.ensure(provider, SystemTime::now()),
            Self::Issued {
                issued,
                until_then,
                seen,
            } => {
                let is_good = issued.read(provider).is_ok();
                if seen.fetch_or(is_good, Ordering::Relaxed) || is_good {
                    return Ok(issued);
                }
                until_then.ensure(provider, SystemTime::now())
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(challenges) = self.challenges.as_ref().filter(|_| is_validation(&hello)) {
            return challenges.certificate(hello.server_name()?);
        }
        let presented = self.presented.read().unwrap_or_else(PoisonError::into_inner);
        let named = hello.server_name().and_then(|name| presented.named.find(name));
        Some(named.unwrap_or_else(|| Arc::clone(&presented.default)))
    }
}

fn not_after(certificate: &CertifiedKey) -> Option<SystemTime> {
    let end = certificate.end_entity_cert().ok()?;
    validity::of(end).map(|validity| validity.not_after)
}

/// Whether it is an ACME server that wants to see a proof: it offers that protocol and no other (RFC 8737 §3).
fn is_validation(hello: &ClientHello<'_>) -> bool {
    let Some(mut offered) = hello.alpn() else {
        return false;
    };
    offered.next() == Some(ACME_TLS) && offered.next().is_none()
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Certificates").finish_non_exhaustive()
    }
}
