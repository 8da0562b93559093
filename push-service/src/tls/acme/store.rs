//! What outlives the process: the account at the ACME server, and the certificate with its key.
//!
//! Both files are named after the server, so that an operator who tries a staging server first gets a new account and a new
//! certificate from the real one. Certificate and key are one file, which is replaced in one step: no crash
//! leaves a key without its certificate. Only their owner may read them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use ring::digest::{SHA256, digest};
use rustls::client::verify_server_name;
use rustls::crypto::ring::default_provider;
use rustls::server::ParsedCertificate;
use rustls_pki_types::ServerName;

use crate::private;
use crate::tls::files::{self, OWNER_ONLY};
use crate::tls::pem_pair::PemPair;
use crate::tls::validity::{self, Validity};

/// The directory of everything that is kept. Its methods block on the file system.
#[derive(Clone, Debug)]
pub(super) struct Store {
    account: PathBuf,
    certificate: PathBuf,
}

impl Store {
    /// Of one server, in a directory that others may have files in as well. What is kept already is closed to other users.
    pub(super) fn open(directory: &Path, server: &str) -> Self {
        let store = Self::new(directory, server);
        private::close_secret(&store.account);
        private::close_secret(&store.certificate);
        store
    }

    fn new(directory: &Path, server: &str) -> Self {
        let digest = digest(&SHA256, server.as_bytes());
        let short: String = digest.as_ref()[..4]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            account: directory.join(format!("account-{short}.json")),
            certificate: directory.join(format!("certificate-{short}.pem")),
        }
    }

    /// The file with the certificate and its key, whether it is there or not.
    pub(super) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// The account; `None` if no usable one is kept.
    pub(super) fn account(&self) -> Option<AccountCredentials> {
        serde_json::from_slice(&fs::read(&self.account).ok()?).ok()
    }

    /// Keeps an account.
    pub(super) fn keep_account(&self, credentials: &AccountCredentials) -> io::Result<()> {
        let text = serde_json::to_string(credentials).map_err(io::Error::other)?;
        self.replace(&self.account, &text)
    }

    /// Forgets an account that the server does not know any more.
    pub(super) fn forget_account(&self) {
        // If it stays, it is refused and forgotten once more.
        let _ = fs::remove_file(&self.account);
    }

    /// Keeps a certificate's chain and its key, both in PEM, in the place of the one that was kept.
    ///
    /// # Errors
    ///
    /// It cannot be written, or is not for that key and all these hosts: the one that was kept stays.
    pub(super) fn keep_certificate(&self, chain: &str, key: &str, domains: &[String]) -> io::Result<()> {
        let arrived = self.certificate.with_extension("arrived");
        self.replace(&arrived, &format!("{key}{chain}"))?;
        if validity(&arrived, domains).is_none() {
            // It would be written over anyway.
            let _ = fs::remove_file(&arrived);
            return Err(io::Error::other(
                "the certificate that was issued is not for the key and the hosts of the order",
            ));
        }
        fs::rename(&arrived, &self.certificate)
    }

    /// How long the certificate is valid; `None` if no kept one can be presented for all these hosts.
    pub(super) fn validity(&self, domains: &[String]) -> Option<Validity> {
        validity(&self.certificate, domains)
    }

    fn replace(&self, file: &Path, text: &str) -> io::Result<()> {
        if let Some(directory) = file.parent()
            && !private::create_directory(directory)?
            && private::is_exposed(directory)
        {
            private::warn_of_directory(directory);
        }
        files::replace(file, text, OWNER_ONLY)
    }
}

fn validity(file: &Path, domains: &[String]) -> Option<Validity> {
    let certificate = PemPair::one_file(file).read(&default_provider()).ok()?;
    let end = certificate.end_entity_cert().ok()?;
    let parsed = ParsedCertificate::try_from(end).ok()?;
    let is_for_all = domains.iter().all(|domain| {
        ServerName::try_from(domain.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
    });
    is_for_all.then(|| validity::of(end))?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::*;

    /// A certificate is kept with its key where only its owner reads it, and counts only for the hosts that are in it.
    #[test]
    fn a_certificate_is_kept_with_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("acme"), "https://acme.example/directory");
        let hosts = ["push.example".to_owned(), "other.example".to_owned()];
        assert_eq!(store.validity(&hosts), None);
        let made = rcgen::generate_simple_self_signed(hosts.clone()).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        store.keep_certificate(&chain, &key, &hosts).unwrap();
        let validity = store.validity(&hosts).unwrap();
        assert!(validity.lifetime() > Duration::ZERO);
        assert!(store.validity(&hosts[..1]).is_some());
        assert_eq!(store.validity(&["third.example".to_owned()]), None);
        let mode = fs::metadata(store.certificate()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
        let kept_in = store.certificate().parent().unwrap();
        assert_eq!(fs::metadata(kept_in).unwrap().permissions().mode() & 0o777, 0o700);

        // One that others could read is closed to them at the next start.
        fs::set_permissions(store.certificate(), fs::Permissions::from_mode(0o644)).unwrap();
        let store = Store::open(kept_in, "https://acme.example/directory");
        let mode = fs::metadata(store.certificate()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);

        // What is worse does not take its place.
        let stranger = rcgen::generate_simple_self_signed(hosts.clone()).unwrap();
        let third = ["third.example".to_owned()];
        assert!(
            store
                .keep_certificate(&stranger.cert.pem(), &key, &hosts)
                .is_err()
        );
        assert!(store.keep_certificate("", &key, &hosts).is_err());
        assert!(store.keep_certificate(&chain, &key, &third).is_err());
        assert_eq!(store.validity(&hosts), Some(validity));

        let other = Store::open(
            &directory.path().join("acme"),
            "https://staging.example/directory",
        );
        assert_eq!(other.validity(&hosts), None);
    }

    /// A file that is no account, or was torn, is as good as none.
    #[test]
    fn a_torn_account_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), "https://acme.example/directory");
        assert!(store.account().is_none());
        fs::write(&store.account, "{\"id\":").unwrap();
        assert!(store.account().is_none());
        store.forget_account();
        assert!(!store.account.exists());
    }
}
