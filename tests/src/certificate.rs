//! The certificate that a node of a test shows, and the trust that the clients of the test put in it.
//!
//! Clients trust this one certificate and nothing else, so a node that shows another one is found out.

use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use rustls_pki_types::CertificateDer;

/// A certificate in two PEM files, and how to trust it.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The PEM file that `tls.certificate` names.
    pub certificate: PathBuf,
    /// The PEM file that `tls.key` names.
    pub key: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Makes a certificate for `address` and `localhost`, in two files of `directory`.
    pub fn make(address: IpAddr, directory: &Path) -> Self {
        let names = vec![address.to_string(), "localhost".to_owned()];
        let pair = KeyPair::generate().expect("a key pair");
        let made = CertificateParams::new(names)
            .expect("names that stand in certificates")
            .self_signed(&pair)
            .expect("a certificate");
        let certificate = directory.join("certificate.pem");
        let key = directory.join("key.pem");
        std::fs::write(&certificate, made.pem()).expect("the certificate file is written");
        write_secret(&key, &pair.serialize_pem());
        Self {
            certificate,
            key,
            der: made.der().clone(),
        }
    }

    /// The TLS settings of a client that trusts this certificate only and offers these protocols (ALPN).
    pub fn trusted_by_client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        trusting(self.der.clone(), protocols)
    }
}

/// The TLS settings of a client that trusts this authority only and offers these protocols (ALPN).
pub(crate) fn trusting(authority: CertificateDer<'static>, protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority).expect("a trust anchor");
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Writes a file that only its owner reads, so that the service does not warn of it.
pub(crate) fn write_secret(file: &Path, text: &str) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.expect("the file is written");
}
