//! A certificate and its key in PEM files: how they are read, and how a change of the files is noticed.
//!
//! What it deliberately does not know: who writes the files, and what the certificate is presented for.

use std::path::{Path, PathBuf};
use std::{fs, io};

use ring::digest::{Context, SHA256};
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

/// What the files of a pair hold.
pub(super) struct PemTexts {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// What tells that the files hold something else than before. Their size and time do not: tools that write a certificate
/// may keep both.
#[derive(PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl PemPair {
    /// Both in one file.
    pub(super) fn one_file(file: &Path) -> Self {
        Self {
            certificate: file.into(),
            key: file.into(),
        }
    }

    /// Reads both files.
    pub(super) fn load(&self) -> Result<PemTexts, TlsError> {
        Ok(PemTexts {
            certificate: read_file(&self.certificate)?,
            key: read_file(&self.key)?,
        })
    }

    /// Reads both files again. A pipe is refused: it gives its text once, and then lets the reader wait for a writer.
    pub(super) fn load_again(&self) -> Result<PemTexts, TlsError> {
        for file in [&self.certificate, &self.key] {
            let about = fs::metadata(file).map_err(|source| unreadable(file, source))?;
            if !about.is_file() {
                let why = "it is not a regular file, so it cannot be read again";
                return Err(unreadable(file, io::Error::new(io::ErrorKind::InvalidInput, why)));
            }
        }
        self.load()
    }

    /// Takes what was loaded from these files, and checks that both belong together.
    pub(super) fn parse(
        &self,
        texts: &PemTexts,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&texts.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.and_then(|chain| match chain.is_empty() {
            true => Err(pem::Error::NoItemsFound),
            false => Ok(chain),
        });
        let chain = chain.map_err(|source| not_pem(&self.certificate, "certificate", source))?;
        let key = PrivateKeyDer::from_pem_slice(&texts.key).map_err(|source| {
            if is_encrypted(&texts.key) {
                TlsError::Encrypted(self.key.clone())
            } else {
                not_pem(&self.key, "private key", source)
            }
        })?;
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

    /// Reads both, and checks that they belong together.
    pub(super) fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        self.parse(&self.load()?, provider)
    }
}

impl PemTexts {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        for text in [&self.certificate, &self.key] {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        Fingerprint(fingerprint)
    }
}

fn read_file(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| unreadable(file, source))
}

fn unreadable(file: &Path, source: io::Error) -> TlsError {
    TlsError::Unreadable {
        file: file.into(),
        source,
    }
}

fn not_pem(file: &Path, expected: &'static str, source: pem::Error) -> TlsError {
    TlsError::NotPem {
        file: file.into(),
        expected,
        source,
    }
}

/// Whether a key is there that needs a password: PKCS #8's form (RFC 5958 §3), or that of OpenSSL before it (RFC 1421
/// §4.6.1.1).
fn is_encrypted(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
}
