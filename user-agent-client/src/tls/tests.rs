//! Certificates of every kind that a service may show, and files of them.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, date_time_ymd,
};

use super::*;

const HOST: &str = "push.example.net";

/// What a service shows, first its own, and the certificate that the user names.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    named: String,
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, HOST);
    params
}

/// As `openssl req -x509` makes it: signed by itself, and called a CA.
fn home_made(mut params: CertificateParams) -> Shown {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    Shown {
        chain: vec![certificate.der().clone()],
        named: certificate.pem(),
    }
}

fn ca(of: &str, is_ca: IsCa) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, of);
    params.is_ca = is_ca;
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Signed by a private CA, which is named.
fn signed(params: &CertificateParams) -> Shown {
    let ca = ca("CA", IsCa::Ca(BasicConstraints::Unconstrained));
    let certificate = params.signed_by(&KeyPair::generate().unwrap(), &ca).unwrap();
    Shown {
        chain: vec![certificate.der().clone()],
        named: ca.pem(),
    }
}

/// Signed by one that is no CA's, which the CA signed.
fn signed_by_an_unknown_issuer() -> Shown {
    let ca = ca("CA", IsCa::Ca(BasicConstraints::Unconstrained));
    let mut middle = CertificateParams::default();
    middle.distinguished_name.push(DnType::CommonName, "no CA");
    middle.is_ca = IsCa::ExplicitNoCa;
    let middle = CertifiedIssuer::signed_by(middle, KeyPair::generate().unwrap(), &ca).unwrap();
    let certificate = params(&[HOST])
        .signed_by(&KeyPair::generate().unwrap(), &middle)
        .unwrap();
    Shown {
        chain: vec![certificate.der().clone(), middle.der().clone()],
        named: ca.pem(),
    }
}

/// What the user agent says of it; `None` if it is accepted.
fn verdict(shown: &Shown, host: &'static str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &shown.named).unwrap();
    let verifier = named(&file, Arc::new(rustls::crypto::ring::default_provider())).unwrap();
    let host = ServerName::try_from(host).unwrap();
    let (own, others) = shown.chain.split_first().unwrap();
    let verified = verifier.verify_server_cert(own, others, &host, &[], UnixTime::now());
    verified.err().map(|error| sentences::handshake(&error))
}

/// WS-CON-4: the very certificate that was named is accepted, whatever it calls itself, in its time and for its name; and so is one
/// of a CA that was named. Everything else is a sentence.
#[test]
fn whom_a_named_certificate_makes_trusted() {
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = params(&[HOST]);
        change(&mut params);
        params
    };
    let past = || with(|params| params.not_after = date_time_ymd(2001, 2, 3));
    let future = || with(|params| params.not_before = date_time_ymd(4000, 2, 3));
    let clients = with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let critical = with(|params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions = vec![extension];
    });
    let named_by_somebody_else = Shown {
        chain: home_made(params(&[HOST])).chain,
        named: home_made(params(&[HOST])).named,
    };
    let torn = Shown {
        chain: vec![CertificateDer::from(vec![0x30, 0x03, 1, 2])],
        named: home_made(params(&[HOST])).named,
    };
    let stranger = Shown {
        chain: signed(&params(&[HOST])).chain,
        named: ca("another", IsCa::Ca(BasicConstraints::Unconstrained)).pem(),
    };
    let rows = [
        (home_made(params(&[HOST])), ""),
        (
            home_made(params(&["192.0.2.1"])),
            "is for 192.0.2.1, and not for push.example.net",
        ),
        (home_made(params(&["*.example.net", "a.example"])), ""),
        (home_made(params(&["a.example"])), "is for a.example"),
        (home_made(params(&[])), "names no host in its subjectAltName"),
        (home_made(past()), "expired Sat, 03 Feb 2001"),
        (home_made(future()), "before Thu, 03 Feb 4000"),
        (
            named_by_somebody_else,
            "give this certificate with `Trust::with_certificates`",
        ),
        (signed(&params(&[HOST])), ""),
        (signed(&past()), "expired Sat, 03 Feb 2001"),
        (signed(&future()), "before Thu, 03 Feb 4000"),
        (signed(&params(&["a.example"])), "is for a.example"),
        (signed(&clients), "for clients"),
        (signed(&critical), "critical extension"),
        (
            signed_by_an_unknown_issuer(),
            "signed by a certificate that is not a CA's",
        ),
        (stranger, "this machine does not trust the CA"),
        (torn, "is damaged"),
    ];
    for (at, (shown, words)) in rows.iter().enumerate() {
        match verdict(shown, HOST) {
            None => assert_eq!(*words, "", "row {at}"),
            Some(sentence) => assert!(
                !words.is_empty() && sentence.contains(words),
                "row {at}: {sentence}"
            ),
        }
    }
}

/// What is loaded is loaded once, and a clone has it too.
#[test]
fn loads_once() {
    let trust = Trust::insecure();
    let config = trust.client_config().unwrap();
    assert!(Arc::ptr_eq(&config, &trust.clone().client_config().unwrap()));
    assert_eq!(config.alpn_protocols, [b"http/1.1".to_vec()]);
    let given = Trust::with_config(Arc::clone(&config));
    assert!(Arc::ptr_eq(&config, &given.client_config().unwrap()));
    let http2 = given.http2_config().unwrap();
    assert_eq!(http2.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert!(Arc::ptr_eq(&http2, &given.clone().http2_config().unwrap()));
}

/// A file that is missing, empty or broken is said to be so; put right, it is taken without a restart.
#[test]
fn files_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let trust = Trust::with_certificates(&file);
    assert!(matches!(trust.client_config(), Err(TrustError::Unreadable(..))));
    for (text, sentence) in [
        ("", "there is no certificate in"),
        ("hello", "there is no certificate in"),
        (
            "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n",
            "cannot be read",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = trust.client_config().unwrap_err().to_string();
        assert!(error.contains(sentence) && error.contains("ca.pem"), "{error}");
    }
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&file, own.cert.pem()).unwrap();
    assert!(trust.client_config().is_ok());
}

/// A system without certificates is told how to get some.
#[test]
fn no_system_certificates() {
    let error = TrustError::NoSystemCertificates(Some("no such file".into())).to_string();
    for word in [
        "ca-certificates",
        "SSL_CERT_FILE",
        "`Trust::with_certificates`",
        "no such file",
    ] {
        assert!(error.contains(word), "{error}");
    }
}

/// A file without an end is not read to its end.
#[test]
fn a_file_of_certificates_has_a_longest_length() {
    let error = Trust::with_certificates("/dev/zero").client_config().unwrap_err();
    let sentence = error.to_string();
    assert!(
        sentence.contains("/dev/zero") && sentence.contains("longer than 4 MiB"),
        "{sentence}"
    );
}
