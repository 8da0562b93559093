//! Which certificate is presented, and when another one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::ring;
use rustls::version::TLS13;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::duplex;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use super::{Acceptor, CertificateSource, Directory, ROOMY, acceptor, peer_config};
use crate::defaults::SELF_SIGNED_VALIDITY;
use crate::tls::TlsError;
use crate::tls::self_signed::SelfSigned;

/// The certificate that a new connection is shown, by a peer that trusts `file` and asks for `name`.
async fn presented(acceptor: &Acceptor, file: &Path, name: &str) -> Option<CertificateDer<'static>> {
    let connector = TlsConnector::from(Arc::new(peer_config(file, &[&TLS13])));
    let (ours, theirs) = duplex(ROOMY);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (_ours, theirs) = tokio::join!(acceptor.accept(ours), connector.connect(name, theirs));
    theirs
        .ok()
        .map(|theirs| theirs.get_ref().1.peer_certificates().unwrap()[0].clone())
}

/// A directory with `certificate.pem` and `key.pem` in it, as an operator would have.
fn files(directory: &Directory) -> (CertificateSource, PathBuf, PathBuf) {
    let (certificate, key) = (directory.0.join("certificate.pem"), directory.0.join("key.pem"));
    issue(&certificate, &key);
    let source = CertificateSource::Files {
        certificate: certificate.clone(),
        key: key.clone(),
    };
    (source, certificate, key)
}

fn issue(certificate: &Path, key: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(certificate, made.cert.pem()).unwrap();
    fs::write(key, made.signing_key.serialize_pem()).unwrap();
}

fn certificate_in(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

fn refusal(source: CertificateSource) -> TlsError {
    Acceptor::new(source).err().unwrap()
}

#[tokio::test]
async fn a_changed_certificate_is_for_new_connections() {
    // When both files have changed, a reload presents the new certificate; when nothing has, it does nothing.
    let directory = Directory::new();
    let (source, certificate, key) = files(&directory);
    let acceptor = Acceptor::new(source).unwrap();
    let first = certificate_in(&certificate);
    assert_eq!(
        presented(&acceptor, &certificate, "localhost").await,
        Some(first.clone())
    );
    assert!(!acceptor.reload().unwrap());
    issue(&certificate, &key);
    assert!(acceptor.reload().unwrap());
    let second = presented(&acceptor, &certificate, "localhost").await.unwrap();
    assert!(second != first && second == certificate_in(&certificate));
    assert!(!acceptor.reload().unwrap());
}

#[tokio::test]
async fn a_broken_file_changes_nothing() {
    // With a file broken, missing or of another issue the old certificate stays, and a mended pair is taken.
    let directory = Directory::new();
    let (source, certificate, key) = files(&directory);
    let old = directory.0.join("old.pem");
    fs::copy(&certificate, &old).unwrap();
    let acceptor = Acceptor::new(source).unwrap();
    fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nhalf").unwrap();
    assert!(matches!(acceptor.reload(), Err(TlsError::NotPem { .. })));
    fs::remove_file(&certificate).unwrap();
    assert!(matches!(acceptor.reload(), Err(TlsError::Unreadable { .. })));
    issue(&certificate, &directory.0.join("another-key.pem"));
    assert!(matches!(acceptor.reload(), Err(TlsError::Mismatch { .. })));
    assert_eq!(
        presented(&acceptor, &old, "localhost").await,
        Some(certificate_in(&old))
    );
    fs::rename(directory.0.join("another-key.pem"), &key).unwrap();
    assert!(acceptor.reload().unwrap());
    assert_eq!(
        presented(&acceptor, &certificate, "localhost").await,
        Some(certificate_in(&certificate))
    );
}

#[tokio::test(start_paused = true)]
async fn the_files_are_looked_at_again_and_again() {
    // The task that keeps the certificate fresh takes a changed pair without being asked.
    let directory = Directory::new();
    let (source, certificate, key) = files(&directory);
    let (acceptor, unasked) = (Acceptor::new(source).unwrap(), Notify::new());
    issue(&certificate, &key);
    let taken = async {
        let expected = Some(certificate_in(&certificate));
        while presented(&acceptor, &certificate, "localhost").await != expected {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        never = acceptor.keep_certificate_fresh(Duration::from_secs(60), &unasked) => match never {},
        () = taken => {}
    }
}

#[tokio::test(start_paused = true)]
async fn the_files_are_looked_at_when_that_is_asked_for() {
    // A changed pair is taken at once, and not only at the next look.
    let directory = Directory::new();
    let (source, certificate, key) = files(&directory);
    let acceptor = Acceptor::new(source).unwrap();
    let (asked, hour) = (Notify::new(), Duration::from_secs(3_600));
    let is_presented = async || {
        let expected = Some(certificate_in(&certificate));
        while presented(&acceptor, &certificate, "localhost").await != expected {
            tokio::task::yield_now().await;
        }
    };
    issue(&certificate, &key);
    let taken = async {
        // The first look needs no request. Time stands still, so there is no second one without a request.
        is_presented().await;
        issue(&certificate, &key);
        asked.notify_one();
        is_presented().await;
    };
    tokio::select! {
        never = acceptor.keep_certificate_fresh(hour, &asked) => match never {},
        () = taken => {}
    }
}

#[test]
fn a_certificate_is_compared_by_its_content() {
    // A pair of the same size and time is another pair if it holds something else; the same pair written again is not.
    let directory = Directory::new();
    let (source, certificate, key) = files(&directory);
    let pad = |file: &Path| {
        let mut text = fs::read(file).unwrap();
        text.resize(4_096, b'\n');
        // Written in place: the inode stays too.
        fs::write(file, text).unwrap();
        let open = fs::File::options().write(true).open(file).unwrap();
        open.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
            .unwrap();
    };
    for file in [&certificate, &key] {
        pad(file);
    }
    let acceptor = Acceptor::new(source).unwrap();
    assert!(!acceptor.reload().unwrap());
    issue(&certificate, &key);
    for file in [&certificate, &key] {
        pad(file);
    }
    assert!(acceptor.reload().unwrap());
    fs::write(&certificate, fs::read(&certificate).unwrap()).unwrap();
    assert!(!acceptor.reload().unwrap());
}

#[test]
fn an_encrypted_key_is_named_as_such() {
    // Both forms that openssl writes: the sentence names the file, and says what to do.
    let directory = Directory::new();
    let (source, certificate, key) = files(&directory);
    let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIH0MF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAk\n\
                 -----END ENCRYPTED PRIVATE KEY-----\n";
    let traditional = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0F3C\n\nMIH0MF8G\n\
                       -----END EC PRIVATE KEY-----\n";
    for text in [pkcs8, traditional] {
        fs::write(&key, text).unwrap();
        let refused = refusal(source.clone());
        assert!(matches!(refused, TlsError::Encrypted(_)), "{refused}");
        let sentence = refused.to_string();
        for part in [
            "the key is encrypted",
            &key.display().to_string(),
            "openssl pkey -in",
        ] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
    // One file for both, as some tools write it.
    fs::write(&key, [fs::read(&certificate).unwrap(), pkcs8.into()].concat()).unwrap();
    let both = CertificateSource::Files {
        certificate: key.clone(),
        key,
    };
    assert!(matches!(refusal(both), TlsError::Encrypted(_)));
}

#[test]
fn what_is_wrong_is_said_with_the_files_name() {
    // Each refusal names the file that the operator has to mend.
    let directory = Directory::new();
    let (source, certificate, key) = files(&directory);
    let says = |source: CertificateSource, file: &Path| {
        let text = refusal(source).to_string();
        assert!(text.contains(&file.display().to_string()), "{text}");
    };
    fs::write(&key, "no key").unwrap();
    says(source.clone(), &key);
    let other = directory.0.join("other.pem");
    issue(&other, &key);
    says(source.clone(), &certificate);
    assert!(matches!(refusal(source.clone()), TlsError::Mismatch { .. }));
    fs::write(&certificate, fs::read(&key).unwrap()).unwrap();
    says(source.clone(), &certificate);
    fs::remove_file(&certificate).unwrap();
    says(source, &certificate);
}

#[tokio::test]
async fn a_self_signed_certificate_is_for_this_machine_and_its_names() {
    // A peer that trusts the file accepts the service as localhost, by loopback address and by each given name only.
    let directory = Directory::new();
    let names = vec![
        "push.example".to_owned(),
        "192.0.2.7".to_owned(),
        "localhost".to_owned(),
    ];
    let acceptor = Acceptor::new(CertificateSource::SelfSigned {
        directory: directory.0.clone(),
        names,
    })
    .unwrap();
    for name in ["localhost", "127.0.0.1", "::1", "push.example", "192.0.2.7"] {
        assert!(
            presented(&acceptor, &directory.certificate(), name)
                .await
                .is_some(),
            "{name}"
        );
    }
    assert!(
        presented(&acceptor, &directory.certificate(), "other.example")
            .await
            .is_none()
    );
}

#[test]
fn a_self_signed_certificate_lasts() {
    // It is the same after a restart, and its key can be read by its owner alone.
    let directory = Directory::new();
    drop(acceptor(&directory));
    let first = certificate_in(&directory.certificate());
    drop(acceptor(&directory));
    assert_eq!(certificate_in(&directory.certificate()), first);
    assert_eq!(
        fs::metadata(directory.key()).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_self_signed_certificate_is_replaced_when_it_will_not_do() {
    // It is made anew before it expires, when it lacks a name, and when it cannot be read; not before.
    let directory = Directory::new();
    let provider = ring::default_provider();
    let now = SystemTime::now();
    let maker = SelfSigned::new(&directory.0, &[]).unwrap();
    let made = |maker: &SelfSigned, at: SystemTime| {
        maker.ensure(&provider, at).unwrap();
        certificate_in(&directory.certificate())
    };
    let first = made(&maker, now);
    let day = Duration::from_secs(86_400);
    assert_eq!(made(&maker, now + SELF_SIGNED_VALIDITY - 2 * day), first);
    let second = made(&maker, now + SELF_SIGNED_VALIDITY - day / 2);
    assert_ne!(second, first);
    // Not yet valid now.
    let third = made(&maker, now);
    assert_ne!(third, second);
    let named = SelfSigned::new(&directory.0, &["push.example".to_owned()]).unwrap();
    let fourth = made(&named, now);
    assert_ne!(fourth, third);
    assert_eq!(made(&maker, now), fourth, "more names than needed do no harm");
    fs::write(directory.key(), "torn").unwrap();
    assert_ne!(made(&maker, now), fourth);
}

#[test]
fn a_name_that_is_none_is_refused() {
    // A certificate is not made for something that no peer can ask for.
    let directory = Directory::new();
    let names = vec!["not a name".to_owned()];
    let source = CertificateSource::SelfSigned {
        directory: directory.0.clone(),
        names,
    };
    assert!(matches!(refusal(source), TlsError::BadName(name) if name == "not a name"));
}
