//! Which of several certificates a peer gets, and what an ACME server is shown.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::duplex;
use tokio_rustls::TlsConnector;

use super::{Acceptor, CertificateSource, Directory, ROOMY, VERSIONS};
use crate::defaults::TLS_DIRECTORY_PAIRS;
use crate::tls::acme::Renewer;
use crate::tls::challenges::ACME_TLS;
use crate::tls::{Options, TlsError};

/// Writes `stem.pem` and `stem.key` for these hosts, and gives the certificate.
fn issue(directory: &Path, stem: &str, hosts: &[&str]) -> CertificateDer<'static> {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let made = rcgen::generate_simple_self_signed(hosts).unwrap();
    fs::write(
        directory.join(format!("{stem}.key")),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    fs::write(directory.join(format!("{stem}.pem")), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// An acceptor with a self-signed certificate for peers that ask for no name in `named`.
fn acceptor(own: &Directory, named: &Directory) -> Result<Acceptor, TlsError> {
    let options = Options {
        directory: Some(named.0.clone()),
        ..Options::default()
    };
    Acceptor::with(own.self_signed(), options)
}

/// A peer that takes every certificate.
fn careless(version: &'static SupportedProtocolVersion) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_no_client_auth()
}

#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _end: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// What a peer is shown that asks for `host`, whether it likes it or not: the same with each version of TLS.
async fn shown(acceptor: &Acceptor, host: &str, alpn: &[&[u8]]) -> Option<CertificateDer<'static>> {
    let mut seen = Vec::new();
    for version in VERSIONS {
        let mut config = careless(version);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let (ours, theirs) = duplex(ROOMY);
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let (_ours, theirs) = tokio::join!(acceptor.accept(ours), connector.connect(name, theirs));
        seen.push(
            theirs
                .ok()
                .map(|theirs| theirs.get_ref().1.peer_certificates().unwrap()[0].clone()),
        );
    }
    assert_eq!(seen[0], seen[1]);
    seen.pop().flatten()
}

#[tokio::test]
async fn a_peer_gets_the_certificate_of_the_host_it_asks_for() {
    // RFC 6066 §3, RFC 9525 §6.3: the exact name before a wildcard, which stands for one label; a client that asks for something
    // else, or for an address, which is no name, gets the service's own.
    let (own, named) = (Directory::new(), Directory::new());
    let one = issue(&named.0, "one", &["one.example", "also-one.example"]);
    let wild = issue(&named.0, "wild", &["*.example.net"]);
    let exact = issue(&named.0, "zexact", &["push.example.net"]);
    let acceptor = acceptor(&own, &named).unwrap();
    let default = CertificateDer::from_pem_file(own.certificate()).unwrap();
    let rows = [
        ("one.example", &one),
        ("ONE.example", &one),
        ("also-one.example", &one),
        ("any.example.net", &wild),
        ("push.example.net", &exact),
        ("example.net", &default),
        ("deep.any.example.net", &default),
        ("two.example", &default),
        ("127.0.0.1", &default),
    ];
    for (host, expected) in rows {
        assert_eq!(
            shown(&acceptor, host, &[]).await.as_ref(),
            Some(expected),
            "{host}"
        );
    }
}

#[tokio::test]
async fn pairs_come_change_and_go() {
    // Each pair on its own: a broken one keeps what it was and is complained about, and the others are taken meanwhile.
    let (own, named) = (Directory::new(), Directory::new());
    let old = issue(&named.0, "one", &["one.example"]);
    let acceptor = acceptor(&own, &named).unwrap();
    assert!(!acceptor.reload().unwrap());

    let two = issue(&named.0, "two", &["two.example"]);
    fs::write(named.0.join("one.key"), "half").unwrap();
    let complaint = acceptor.reload().unwrap_err().to_string();
    assert!(complaint.contains("one.key"), "{complaint}");
    assert_eq!(shown(&acceptor, "one.example", &[]).await, Some(old));
    assert_eq!(shown(&acceptor, "two.example", &[]).await, Some(two));

    let new = issue(&named.0, "one", &["one.example"]);
    assert!(acceptor.reload().unwrap());
    assert_eq!(shown(&acceptor, "one.example", &[]).await, Some(new));

    fs::remove_file(named.0.join("two.pem")).unwrap();
    assert!(acceptor.reload().unwrap());
    let default = CertificateDer::from_pem_file(own.certificate()).unwrap();
    assert_eq!(shown(&acceptor, "two.example", &[]).await, Some(default));
    assert!(!acceptor.reload().unwrap());
}

#[test]
fn a_broken_directory_keeps_the_service_from_starting() {
    // At the start there is nothing to fall back to: a pair without its key is told, and a directory that is not there, and
    // one with too much in it.
    let (own, named) = (Directory::new(), Directory::new());
    issue(&named.0, "one", &["one.example"]);
    fs::remove_file(named.0.join("one.key")).unwrap();
    let refusal = acceptor(&own, &named).err().unwrap().to_string();
    assert!(refusal.contains("one.key"), "{refusal}");
    for number in 0..TLS_DIRECTORY_PAIRS {
        fs::write(named.0.join(format!("{number}.pem")), "").unwrap();
    }
    assert!(matches!(acceptor(&own, &named), Err(TlsError::TooMany(_))));
    fs::remove_dir_all(&named.0).unwrap();
    assert!(matches!(acceptor(&own, &named), Err(TlsError::Unreadable { .. })));
}

/// A service that orders certificates for `push.example`, from a server that does not exist.
fn ordering(directory: &Directory) -> (Renewer, Acceptor) {
    let renewer = directory.orderer();
    let options = Options {
        challenges: Some(renewer.challenges()),
        ..Options::default()
    };
    let acceptor = Acceptor::with(renewer.source(), options).unwrap();
    (renewer, acceptor)
}

#[tokio::test]
async fn a_self_signed_certificate_is_shown_until_one_is_issued() {
    // A node whose certificate is still ordered serves; what is issued is presented after a reload; what is torn later
    // changes nothing.
    let directory = Directory::new();
    let (renewer, acceptor) = ordering(&directory);
    let CertificateSource::Issued { file, .. } = renewer.source() else {
        panic!("it is issued");
    };
    let until_then =
        CertificateDer::from_pem_file(file.with_file_name("self-signed-certificate.pem")).unwrap();
    assert_eq!(shown(&acceptor, "push.example", &[]).await, Some(until_then));

    let issued = issue(&directory.0, "issued", &["push.example"]);
    let both = ["issued.key", "issued.pem"].map(|name| fs::read_to_string(directory.0.join(name)).unwrap());
    fs::write(&file, both.concat()).unwrap();
    assert!(PrivateKeyDer::from_pem_file(&file).is_ok());
    assert!(acceptor.reload().unwrap());
    assert_eq!(shown(&acceptor, "push.example", &[]).await, Some(issued.clone()));

    fs::write(&file, &both[0]).unwrap();
    assert!(acceptor.reload().is_err());
    fs::remove_file(&file).unwrap();
    assert!(acceptor.reload().is_err());
    assert_eq!(shown(&acceptor, "push.example", &[]).await, Some(issued));
}

#[tokio::test]
async fn only_an_acme_server_sees_the_proof() {
    // RFC 8737 §3: a handshake that offers acme-tls/1 alone is shown the proof for its host, or ends; it never becomes a
    // connection. Offered beside others it is not chosen.
    let directory = Directory::new();
    let (renewer, acceptor) = ordering(&directory);
    let proof = renewer.challenges().show_for_test("push.example");
    for version in [&TLS12, &TLS13] {
        let mut config = careless(version);
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        let (ours, theirs) = duplex(ROOMY);
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("push.example").unwrap();
        let (ours, theirs) = tokio::join!(acceptor.accept(ours), connector.connect(name, theirs));
        let refused = ours.err().unwrap().to_string();
        assert!(refused.contains("ACME server"), "{refused}");
        let theirs = theirs.unwrap();
        assert_eq!(theirs.get_ref().1.alpn_protocol(), Some(ACME_TLS));
    }
    let presented = shown(&acceptor, "push.example", &[b"h2"]).await;
    assert_ne!(shown(&acceptor, "push.example", &[ACME_TLS]).await, presented);
    assert_eq!(
        shown(&acceptor, "push.example", &[ACME_TLS, b"h2"]).await,
        presented
    );
    assert_eq!(shown(&acceptor, "other.example", &[ACME_TLS]).await, None);
    drop(proof);
    assert_eq!(shown(&acceptor, "push.example", &[ACME_TLS]).await, None);
}

#[tokio::test]
async fn acme_tls_is_refused_where_nothing_is_ordered() {
    // RFC 7301 §3.2: without orders the protocol is not offered, and the handshake fails.
    let (own, named) = (Directory::new(), Directory::new());
    let acceptor = acceptor(&own, &named).unwrap();
    assert_eq!(shown(&acceptor, "push.example", &[ACME_TLS]).await, None);
    assert!(shown(&acceptor, "push.example", &[b"http/1.1"]).await.is_some());
}
