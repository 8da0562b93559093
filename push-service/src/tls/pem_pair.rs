//! A certificate and its key in PEM files: how they are read, and how a change of the files is noticed.
//!
//! What it deliberately does not know: who writes the files, and what the certificate is presented for.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// A certificate chain and its key, in two PEM files.
///
/// Both may be the same file.
#[derive(Clone, Debug)]
pub(super) struct PemPair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl PemPair {
    /// Both in one file.
    pub(super) fn one_file(file: &Path) -> Self {
        Self {
            certificate: file.into(),
            key: file.into(),
        }
    }

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

    pub(super) fn stamp(&self) -> Stamp {
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
pub(super) struct Stamp {
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
