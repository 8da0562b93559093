//! What can be wrong with the certificate that an operator gave us: which file, why, and what to do.

use std::path::PathBuf;
use std::{error, fmt, io};

use rustls_pki_types::pem;

use crate::defaults::TLS_DIRECTORY_PAIRS;

/// TLS cannot be served as configured. All of these are for the operator.
#[derive(Debug)]
pub enum TlsError {
    /// The file could not be read.
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not PEM, or holds nothing of the kind it should.
    NotPem {
        /// Which.
        file: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What was found.
        source: pem::Error,
    },
    /// The private key in this file needs a password.
    Encrypted(PathBuf),
    /// The key, or the certificate, is of a kind that cannot be used.
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The directory holds more than [`TLS_DIRECTORY_PAIRS`].
    TooMany(PathBuf),
    /// The key belongs to another certificate.
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// There is no authority that an ACME server's certificate could be checked against.
    NoAuthorities,
    /// A name for the self-signed certificate is neither a host name nor an IP address.
    BadName(String),
    /// The self-signed certificate could not be made.
    NotGenerated(rcgen::Error),
    /// The self-signed certificate could not be stored.
    NotStored {
        /// Which file or directory.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cryptography that this was built with cannot be set up.
    Setup(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, source } => {
                write!(
                    out,
                    "cannot read {}: {source}. Is the path right, and may this user read it?",
                    file.display()
                )
            }
            Self::NotPem {
                file,
                expected,
                source,
            } => {
                write!(
                    out,
                    "{} does not hold a usable {expected} in PEM form ({source})",
                    file.display()
                )
            }
            Self::Encrypted(file) => {
                let file = file.display();
                write!(
                    out,
                    "the key is encrypted: {file} needs a password, and the service cannot ask for one. Write a copy that needs \
                     none, which only the service's user can read, and configure that one: \
                     `umask 077; openssl pkey -in {file} -out NEW.key`"
                )
            }
            Self::Unusable {
                certificate,
                key,
                source,
            } => write!(
                out,
                "{} and {} cannot be used: {source}. Supported are ECDSA P-256 and P-384, Ed25519, and RSA from 2048 bits",
                certificate.display(),
                key.display()
            ),
            Self::TooMany(directory) => write!(
                out,
                "{} holds more than {TLS_DIRECTORY_PAIRS} certificates",
                directory.display()
            ),
            Self::Mismatch { certificate, key } => write!(
                out,
                "the key in {} does not belong to the first certificate in {}. Is the server's own \
                 certificate the first one, and were both files renewed together?",
                key.display(),
                certificate.display()
            ),
            Self::NoAuthorities => out.write_str(
                "this machine has no CA certificates to verify the ACME server with: install \
                 ca-certificates, or set tls.acme.ca",
            ),
            Self::BadName(name) => {
                write!(
                    out,
                    "\"{name}\" is neither a host name nor an IP address, so no certificate can be made for it"
                )
            }
            Self::NotGenerated(source) => write!(out, "cannot make a self-signed certificate: {source}"),
            Self::NotStored { file, source } => write!(
                out,
                "cannot store the self-signed certificate: {}: {source}. May this user write there?",
                file.display()
            ),
            Self::Setup(source) => write!(out, "cannot set up TLS: {source}"),
        }
    }
}

impl error::Error for TlsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } | Self::NotStored { source, .. } => Some(source),
            Self::NotPem { source, .. } => Some(source),
            Self::Unusable { source, .. } | Self::Setup(source) => Some(source),
            Self::NotGenerated(source) => Some(source),
            Self::Encrypted(_)
            | Self::Mismatch { .. }
            | Self::BadName(_)
            | Self::TooMany(_)
            | Self::NoAuthorities => None,
        }
    }
}
