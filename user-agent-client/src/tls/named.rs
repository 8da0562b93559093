//! A service's own certificate, named by the user: what `openssl req -x509` makes.
//!
//! Such a certificate calls itself a CA, and web PKI takes no CA's certificate for a service's. Who names the very certificate that
//! a service shows wants it to be trusted, and a server that shows it proves in the handshake that it holds the key. So it is
//! accepted: byte for byte the same, in its time, and for the name that was asked for. It makes no other certificate trusted: one
//! that it signed counts as that of any CA in the file.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Web PKI, and these certificates.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) web_pki: Arc<WebPkiServerVerifier>,
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.web_pki
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // Its time was looked at before: a certificate that has expired is refused for that.
            Err(error) if is_ca_of_service(&error) && self.certificates.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.web_pki
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.web_pki
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.web_pki.supported_verify_schemes()
    }
}

fn is_ca_of_service(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(error)) = error else {
        return false;
    };
    matches!(error.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}
