//! A certificate for trying the service before there is a real one.
//!
//! It is kept in files, so that a person who decided to trust it need not do so again after a restart; it is made anew when
//! it is about to expire, is not for all the names that it should be for, or cannot be read.
//!
//! What it deliberately does not know: who is presented with it.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, CertifiedKey, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{ServerName, UnixTime};

use super::TlsError;
use super::files::{self, EVERYONE_READS, OWNER_ONLY};
use super::pem_pair::PemPair;
use crate::defaults::{SELF_SIGNED_BACKDATED, SELF_SIGNED_RENEWAL, SELF_SIGNED_VALIDITY};
use crate::private;

/// The files' names: a user points `--ca` at the first.
const CERTIFICATE_FILE: &str = "self-signed-certificate.pem";
const KEY_FILE: &str = "self-signed-key.pem";

/// Names of this machine for itself.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Looks whether a self-signed certificate could be kept in this directory, and changes nothing.
///
/// # Errors
///
/// What is in the way.
pub fn check_self_signed(directory: &Path) -> Result<(), TlsError> {
    let refused = |file: &Path, source| TlsError::NotStored {
        file: file.into(),
        source,
    };
    private::may_make_files_in(directory).map_err(|error| refused(directory, error))?;
    for name in [KEY_FILE, CERTIFICATE_FILE] {
        let file = directory.join(name);
        if file.is_dir() {
            return Err(refused(&file, io::ErrorKind::IsADirectory.into()));
        }
    }
    Ok(())
}

/// Makes a self-signed certificate, if no kept one will do.
pub(super) struct SelfSigned {
    files: PemPair,
    names: Vec<String>,
    /// The same names, as a peer would check them.
    expected: Vec<ServerName<'static>>,
}

impl SelfSigned {
    /// For the names of this machine for itself, and `names`.
    pub(super) fn new(directory: &Path, names: &[String]) -> Result<Self, TlsError> {
        let mut all: Vec<String> = LOOPBACK_NAMES.map(String::from).into();
        for name in names {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        let expected = all
            .iter()
            .map(|name| ServerName::try_from(name.clone()).map_err(|_| TlsError::BadName(name.clone())))
            .collect::<Result<_, _>>()?;
        let files = PemPair {
            certificate: directory.join(CERTIFICATE_FILE),
            key: directory.join(KEY_FILE),
        };
        private::close_secret(&files.key);
        Ok(Self {
            files,
            names: all,
            expected,
        })
    }

    /// The files, with a certificate in them that will still do some time after `now`.
    pub(super) fn ensure(&self, provider: &CryptoProvider, now: SystemTime) -> Result<&PemPair, TlsError> {
        if !self.will_do(provider, now) {
            self.store(&self.generate(now).map_err(TlsError::NotGenerated)?)?;
            let file = self.files.certificate.display();
            tracing::info!(%file, "made a self-signed certificate; peers accept it only if they are told to trust it");
        }
        Ok(&self.files)
    }

    /// Whether a peer that trusts the stored certificate accepts it: today, until it should be renewed, for every name.
    fn will_do(&self, provider: &CryptoProvider, now: SystemTime) -> bool {
        let Ok(stored) = self.files.read(provider) else {
            return false;
        };
        let mut roots = RootCertStore::empty();
        let Ok(end) = stored.end_entity_cert().and_then(|der| {
            roots.add(der.clone().into_owned())?;
            ParsedCertificate::try_from(der)
        }) else {
            return false;
        };
        let algorithms = provider.signature_verification_algorithms.all;
        let accepted =
            |at| verify_server_cert_signed_by_trust_anchor(&end, &roots, &[], at, algorithms).is_ok();
        let since_epoch = since_epoch(now);
        accepted(UnixTime::since_unix_epoch(since_epoch))
            && accepted(UnixTime::since_unix_epoch(since_epoch + SELF_SIGNED_RENEWAL))
            && self
                .expected
                .iter()
                .all(|name| verify_server_name(&end, name).is_ok())
    }

    fn generate(&self, now: SystemTime) -> Result<CertifiedKey<KeyPair>, rcgen::Error> {
        let mut params = CertificateParams::new(self.names.clone())?;
        let now = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(now);
        params.not_before = now - SELF_SIGNED_BACKDATED;
        params.not_after = now + SELF_SIGNED_VALIDITY;
        params
            .distinguished_name
            .push(DnType::CommonName, "push-service, self-signed");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let signing_key = KeyPair::generate()?;
        Ok(CertifiedKey {
            cert: params.self_signed(&signing_key)?,
            signing_key,
        })
    }

    /// The key goes first: a crash in between leaves a pair that does not match, which the next start replaces.
    fn store(&self, made: &CertifiedKey<KeyPair>) -> Result<(), TlsError> {
        if let Some(directory) = self.files.key.parent() {
            private::create_directory(directory).map_err(|source| TlsError::NotStored {
                file: directory.into(),
                source,
            })?;
        }
        replace(&self.files.key, &made.signing_key.serialize_pem(), OWNER_ONLY)?;
        replace(&self.files.certificate, &made.cert.pem(), EVERYONE_READS)
    }
}

fn replace(file: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    files::replace(file, text, mode).map_err(|source| TlsError::NotStored {
        file: file.into(),
        source,
    })
}

fn since_epoch(time: SystemTime) -> Duration {
    // A clock before 1970 makes a certificate that is for 1970, which is what that clock calls today.
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
