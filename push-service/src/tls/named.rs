//! Further certificates, in a directory, chosen by the name that a peer asks for (SNI, RFC 6066 §3).
//!
//! Each is a pair of files, `NAME.pem` and `NAME.key`, whatever the name: a peer gets the pair whose certificate is for
//! the host it wants, by its exact name before a wildcard. Pairs come, change and go while the service runs, each on its
//! own: a broken one keeps what it was, and does not delay the others.
//!
//! What it deliberately does not know: what is presented to a peer that asks for no name, or for none of these.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::TlsError;
use super::pem_pair::{Fingerprint, PemPair};
use crate::defaults::TLS_DIRECTORY_PAIRS;

/// The pairs of a directory, as they were loaded.
pub(super) struct Directory {
    path: PathBuf,
    pairs: Vec<LoadedPair>,
}

/// A pair, and what its files held when it was loaded.
struct LoadedPair {
    files: PemPair,
    fingerprint: Fingerprint,
    certificate: Arc<CertifiedKey>,
}

/// What a look at the directory found.
pub(super) struct Looked {
    /// Whether anything is presented differently from now on.
    pub(super) changed: bool,
    /// What is wrong with the first broken pair.
    pub(super) complaint: Option<TlsError>,
}

impl Directory {
    /// A directory of which nothing was loaded yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            pairs: Vec::new(),
        }
    }

    /// Loads what is new or changed, and forgets what is gone.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed, or holds too many pairs: everything stays as it was.
    pub(super) fn look(&mut self, provider: &CryptoProvider) -> Result<Looked, TlsError> {
        let listed = self.list()?;
        let mut before: HashMap<PathBuf, LoadedPair> = self
            .pairs
            .drain(..)
            .map(|pair| (pair.files.certificate.clone(), pair))
            .collect();
        let mut looked = Looked {
            changed: false,
            complaint: None,
        };
        for files in listed {
            let old = before.remove(&files.certificate);
            match load(&files, old.as_ref(), provider) {
                Ok(None) => self.pairs.extend(old),
                Ok(Some((certificate, fingerprint))) => {
                    looked.changed = true;
                    self.pairs.push(LoadedPair {
                        files,
                        fingerprint,
                        certificate,
                    });
                }
                Err(error) => {
                    looked.complaint.get_or_insert(error);
                    self.pairs.extend(old);
                }
            }
        }
        looked.changed |= !before.is_empty();
        Ok(looked)
    }

    /// The certificates by the names that they are for; of two for one name, that of the first file.
    pub(super) fn named(&self) -> Named {
        let mut named = HashMap::new();
        for pair in &self.pairs {
            for name in names(&pair.certificate) {
                named.entry(name).or_insert_with(|| Arc::clone(&pair.certificate));
            }
        }
        Named(named)
    }

    /// The pairs that are there now, in the order of their names.
    fn list(&self) -> Result<Vec<PemPair>, TlsError> {
        let unreadable = |source| TlsError::Unreadable {
            file: self.path.clone(),
            source,
        };
        let mut listed = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let certificate = entry.map_err(unreadable)?.path();
            if certificate.extension().is_none_or(|extension| extension != "pem") {
                continue;
            }
            if listed.len() == TLS_DIRECTORY_PAIRS {
                return Err(TlsError::TooMany(self.path.clone()));
            }
            let key = certificate.with_extension("key");
            listed.push(PemPair { certificate, key });
        }
        listed.sort_by(|one, other| one.certificate.cmp(&other.certificate));
        Ok(listed)
    }
}

/// The pair in these files; `None` if they hold what `old` was loaded from.
fn load(
    files: &PemPair,
    old: Option<&LoadedPair>,
    provider: &CryptoProvider,
) -> Result<Option<(Arc<CertifiedKey>, Fingerprint)>, TlsError> {
    let texts = files.load_again()?;
    let fingerprint = texts.fingerprint();
    if old.is_some_and(|old| old.fingerprint == fingerprint) {
        return Ok(None);
    }
    let certificate = Arc::new(files.parse(&texts, provider)?);
    Ok(Some((certificate, fingerprint)))
}

/// Certificates by name, wildcards (`*.example.net`) among them.
#[derive(Default)]
pub(super) struct Named(HashMap<String, Arc<CertifiedKey>>);

impl Named {
    /// The certificate for a host (RFC 9525 §6.3): a wildcard stands for exactly its first label.
    pub(super) fn find(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        if self.0.is_empty() {
            return None;
        }
        let host = host.to_ascii_lowercase();
        let wild = || {
            let (_, parent) = host.split_once('.')?;
            self.0.get(&format!("*.{parent}"))
        };
        self.0.get(&host).or_else(wild).map(Arc::clone)
    }

    /// Every certificate that may be presented; one for several names comes several times.
    pub(super) fn all(&self) -> impl Iterator<Item = &CertifiedKey> {
        self.0.values().map(Arc::as_ref)
    }
}

/// The host names in a certificate, in lower case.
fn names(certificate: &CertifiedKey) -> Vec<String> {
    let Ok(end) = certificate.end_entity_cert() else {
        return Vec::new();
    };
    match EndEntityCert::try_from(end) {
        Ok(parsed) => parsed.valid_dns_names().map(str::to_ascii_lowercase).collect(),
        Err(_) => Vec::new(),
    }
}
