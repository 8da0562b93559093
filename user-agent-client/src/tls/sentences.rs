//! What is wrong with a TLS handshake, in sentences that say what to do.
//!
//! Every kind of error has its own, because the errors of the TLS library print as its source code names them.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use rustls::{AlertDescription, CertificateError, ExtendedKeyPurpose};
use rustls_pki_types::{ServerName, UnixTime};

/// What the server did wrong.
pub(crate) fn handshake(error: &rustls::Error) -> String {
    use rustls::Error;
    const NOTHING_IN_COMMON: &str = "the service has no TLS version or cipher in common with this user agent: it must support TLS 1.2 \
         or 1.3";
    const BROKEN: &str =
        "TLS failed: the service, or a device on the way to it, breaks the protocol; try another network";
    let sentence = match error {
        Error::InvalidCertificate(error) => return certificate(error),
        Error::InvalidMessage(_) => {
            "the server does not speak TLS: is the port right, or should the URL begin with ws:// ?"
        }
        Error::NoCertificatesPresented => {
            "the service sent no certificate: it needs one for its name, or should the URL begin with ws:// \
             ?"
        }
        Error::AlertReceived(alert) => return alerted(*alert),
        Error::PeerIncompatible(_) => NOTHING_IN_COMMON,
        Error::NoApplicationProtocol => NO_HTTP,
        Error::InvalidCertRevocationList(_) => {
            "a list of revoked certificates in the TLS configuration cannot be used: use a newer one"
        }
        Error::FailedToGetCurrentTime => "TLS failed: this machine has no clock",
        Error::FailedToGetRandomBytes => "TLS failed: this machine gives no random numbers",
        Error::InconsistentKeys(_) => {
            "the key in the TLS configuration does not belong to its certificate: use a matching pair"
        }
        Error::General(_) | Error::Other(_) => {
            "TLS cannot be set up with this configuration: check the certificates in it"
        }
        _ => BROKEN,
    };
    sentence.to_owned()
}

/// As [`handshake`], if it was TLS that failed and not the connection under it.
pub(crate) fn of_io(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(handshake(error))
}

/// What is wrong with a certificate in a file.
pub(super) fn in_file(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => {
            "a certificate in it is damaged: copy it again".to_owned()
        }
        _ => "a certificate in it cannot be used as a CA's".to_owned(),
    }
}

pub(crate) const NO_HTTP: &str = "it speaks neither HTTP/2 nor HTTP/1.1";

fn alerted(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => {
            "it has no TLS version or cipher in common with this user agent; it must support TLS 1.2 or 1.3"
        }
        AlertDescription::NoApplicationProtocol => return NO_HTTP.to_owned(),
        AlertDescription::UnrecognisedName => "it has no certificate for this name: is the host right?",
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            "it requires a client certificate, which this user agent does not have"
        }
        AlertDescription::InternalError => "it has an error: try again later",
        alert => {
            return format!(
                "the service refused the TLS handshake (alert {}): is the port right?",
                u8::from(alert)
            );
        }
    };
    format!("the service refused the TLS handshake: {why}")
}

fn certificate(error: &CertificateError) -> String {
    let sentence = match error {
        CertificateError::UnknownIssuer => {
            "this machine does not trust the CA of the service's certificate: give this CA, or the \
             certificate itself, with `Trust::with_certificates`"
        }
        CertificateError::BadSignature => {
            "the service's certificate names a trusted CA, but another key signed it: is the CA in \
             `Trust::with_certificates` an old one?"
        }
        CertificateError::Expired => return out_of_time("has expired", None),
        CertificateError::ExpiredContext { not_after, .. } => {
            return out_of_time("expired", Some(*not_after));
        }
        CertificateError::NotValidYet => return out_of_time("is not valid yet", None),
        CertificateError::NotValidYetContext { not_before, .. } => {
            return out_of_time("is not valid before", Some(*not_before));
        }
        CertificateError::NotValidForName => {
            "the service's certificate is not for the name in its URL: use a name in the certificate, or \
             give the service a certificate for this name"
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            return other_name(expected, presented);
        }
        CertificateError::BadEncoding => return remade("is damaged"),
        CertificateError::Revoked => {
            "the CA has revoked the service's certificate: the service needs a new one; its key may be \
             stolen"
        }
        CertificateError::UnhandledCriticalExtension => {
            return remade("has a critical extension that is not supported");
        }
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => {
            "it is unknown whether the service's certificate was revoked: the TLS configuration needs a \
             newer list of revoked certificates"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            return purpose(error);
        }
        CertificateError::InvalidOcspResponse => {
            "the service's proof that its certificate is not revoked (OCSP) is not valid: the service must \
             renew it"
        }
        CertificateError::ApplicationVerificationFailure => {
            "the TLS configuration of this program refuses the service's certificate"
        }
        CertificateError::Other(error) => return other(error.0.downcast_ref()),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            return remade("has a signature or a key of a kind that is not supported");
        }
        // `UnsupportedSignatureAlgorithm` of earlier versions, and what later ones may add.
        _ => return remade("cannot be accepted"),
    };
    sentence.to_owned()
}

/// What web PKI has no name for in TLS.
fn other(error: Option<&webpki::Error>) -> String {
    use webpki::Error;
    match error {
        Some(Error::CaUsedAsEndEntity) => {
            "the service's certificate is a CA's, as `openssl req -x509` makes them. If you know that it is \
             the service's, give this certificate with `Trust::with_certificates`"
                .to_owned()
        }
        Some(Error::EndEntityUsedAsCa) => {
            "the service's certificate is signed by a certificate that is not a CA's: give the CA's \
             certificate with `Trust::with_certificates`"
                .to_owned()
        }
        Some(Error::NameConstraintViolation | Error::PathLenConstraintViolated) => {
            "the CA may not sign certificates for this name: the service needs another certificate".to_owned()
        }
        Some(Error::UnsupportedCertVersion) => remade("has an old version, not X.509 version 3"),
        Some(Error::UnsupportedCriticalExtension) => remade("has a critical extension that is not supported"),
        Some(Error::MalformedExtensions | Error::ExtensionValueInvalid | Error::InvalidSerialNumber) => {
            remade("is not valid X.509")
        }
        _ => remade("cannot be accepted"),
    }
}

/// The way out is another certificate.
fn remade(what: &str) -> String {
    format!(
        "the service's certificate {what}: make another one, for example with `{}`",
        command("HOST")
    )
}

/// A command that makes a certificate for this host. Named in [`Trust::with_certificates`](super::Trust::with_certificates), it is accepted.
fn command(host: &str) -> String {
    let kind = if host.parse::<std::net::IpAddr>().is_ok() {
        "IP"
    } else {
        "DNS"
    };
    format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN={host} \
         -addext subjectAltName={kind}:{host} -keyout key.pem -out cert.pem"
    )
}

fn out_of_time(what: &str, at: Option<UnixTime>) -> String {
    let at = at.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at.as_secs())));
    // The year of the last date that can be written.
    let at = at.filter(|at| *at < UNIX_EPOCH + Duration::from_secs(253_402_300_800));
    let at = at
        .map(|at| format!(" {}", httpdate::fmt_http_date(at)))
        .unwrap_or_default();
    format!(
        "the service's certificate {what}{at}: the service needs a new one, or this machine's clock is wrong"
    )
}

fn other_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    let expected = expected.to_str();
    let names: Vec<&str> = presented.iter().filter_map(|name| shown(name)).collect();
    if names.is_empty() {
        return format!(
            "the service's certificate names no host in its subjectAltName (the CN does not count): make one for {expected}, for \
             example with `{}`",
            command(&expected)
        );
    }
    format!(
        "the service's certificate is for {}, and not for {expected}: use a name in the certificate, or \
         give the service a certificate for this name",
        names.join(", ")
    )
}

/// A name as people write it, of `DnsName("push.example.net")` or `IpAddress(192.0.2.1)`.
fn shown(name: &str) -> Option<&str> {
    let name = name
        .strip_prefix("DnsName(")
        .or_else(|| name.strip_prefix("IpAddress("))?;
    let name = name.strip_suffix(')')?.trim_matches('"');
    // A certificate can say anything.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '*' | ':');
    name.chars().all(is_plain).then_some(name)
}

fn purpose(error: &CertificateError) -> String {
    let is_for_clients = match error {
        CertificateError::InvalidPurposeContext { presented, .. } => {
            presented.contains(&ExtendedKeyPurpose::ClientAuth)
        }
        _ => false,
    };
    let whose = if is_for_clients {
        "is for clients only"
    } else {
        "is not for servers"
    };
    format!(
        "the service's certificate {whose}: make one with the extended key usage serverAuth, or without any"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{
        CertRevocationListError, EncryptedClientHelloError, OtherError, PeerIncompatible, PeerMisbehaved,
    };

    use super::*;

    /// No sentence has what only the source code of a library calls so.
    fn is_plain(sentence: &str) -> bool {
        // The one name of ours.
        let sentence = sentence.replace("`Trust::with_certificates`", "");
        !["Error", "Context", "(\"", "{", "::", "Some(", "None"]
            .iter()
            .any(|word| sentence.contains(word))
    }

    fn other_errors() -> Vec<CertificateError> {
        use webpki::Error;
        [
            Error::CaUsedAsEndEntity,
            Error::EndEntityUsedAsCa,
            Error::NameConstraintViolation,
            Error::PathLenConstraintViolated,
            Error::UnsupportedCertVersion,
            Error::UnsupportedCriticalExtension,
            Error::MalformedExtensions,
            Error::ExtensionValueInvalid,
            Error::InvalidSerialNumber,
            Error::EmptyEkuExtension,
            Error::MaximumPathDepthExceeded,
        ]
        .into_iter()
        .map(|error| CertificateError::Other(OtherError(Arc::new(error))))
        .collect()
    }

    /// WS-CON-4: whatever is wrong with a certificate is a sentence with a way out, and no name of the library's.
    #[test]
    fn every_certificate_error_is_a_sentence() {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(1_445_412_480));
        let name = || ServerName::try_from("push.example.net").unwrap();
        let presented = |names: &[&str]| CertificateError::NotValidForNameContext {
            expected: name(),
            presented: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let wrong = |presented| CertificateError::InvalidPurposeContext {
            required: ExtendedKeyPurpose::ServerAuth,
            presented,
        };
        let rows = [
            (CertificateError::BadEncoding, "openssl req -x509"),
            (CertificateError::Expired, "needs a new one"),
            (
                CertificateError::ExpiredContext {
                    time,
                    not_after: time,
                },
                "expired Wed, 21 Oct 2015 07:28:00 GMT",
            ),
            (CertificateError::NotValidYet, "clock is wrong"),
            (
                CertificateError::NotValidYetContext {
                    time,
                    not_before: time,
                },
                "before Wed, 21 Oct 2015 07:28:00 GMT",
            ),
            (
                CertificateError::ExpiredContext {
                    time,
                    not_after: UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX)),
                },
                "needs a new one",
            ),
            (CertificateError::Revoked, "needs a new one"),
            (CertificateError::UnhandledCriticalExtension, "critical extension"),
            (CertificateError::UnknownIssuer, "`Trust::with_certificates`"),
            (CertificateError::UnknownRevocationStatus, "newer list"),
            (CertificateError::ExpiredRevocationList, "newer list"),
            (
                CertificateError::ExpiredRevocationListContext {
                    time,
                    next_update: time,
                },
                "newer list",
            ),
            (CertificateError::BadSignature, "an old one"),
            (
                CertificateError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: vec![1],
                    supported_algorithms: Vec::new(),
                },
                "not supported",
            ),
            (
                CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                    signature_algorithm_id: vec![1],
                    public_key_algorithm_id: vec![1],
                },
                "not supported",
            ),
            (CertificateError::NotValidForName, "not for the name in its URL"),
            (
                presented(&[
                    "DnsName(\"a.example\")",
                    "IpAddress(192.0.2.1)",
                    "DnsName(\"\u{1b}[2J\")",
                ]),
                "a.example, 192.0.2.1, and not for push.example.net",
            ),
            (presented(&[]), "-addext subjectAltName=DNS:push.example.net"),
            (CertificateError::InvalidPurpose, "serverAuth"),
            (wrong(vec![ExtendedKeyPurpose::ClientAuth]), "for clients"),
            (CertificateError::InvalidOcspResponse, "OCSP"),
            (CertificateError::ApplicationVerificationFailure, "configuration"),
        ];
        let rows = rows
            .into_iter()
            .chain(other_errors().into_iter().map(|error| (error, "certificate")));
        for (error, words) in rows {
            let sentence = handshake(&rustls::Error::InvalidCertificate(error));
            assert!(sentence.contains(words), "{sentence}");
            assert!(is_plain(&sentence), "{sentence}");
        }
    }

    /// WS-CON-4: and so is everything else that can go wrong in a handshake.
    #[test]
    fn every_tls_error_is_a_sentence() {
        use rustls::Error;
        let alerts = (0..=u8::MAX).map(|alert| Error::AlertReceived(AlertDescription::from(alert)));
        let others = [
            Error::InappropriateMessage {
                expect_types: Vec::new(),
                got_type: rustls::ContentType::Alert,
            },
            Error::InvalidEncryptedClientHello(EncryptedClientHelloError::InvalidConfigList),
            Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
            Error::NoCertificatesPresented,
            Error::UnsupportedNameType,
            Error::DecryptError,
            Error::EncryptError,
            Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
            Error::PeerMisbehaved(PeerMisbehaved::BadCertChainExtensions),
            Error::InvalidCertRevocationList(CertRevocationListError::BadSignature),
            Error::General("No such Error(\"x\")".into()),
            Error::FailedToGetCurrentTime,
            Error::FailedToGetRandomBytes,
            Error::HandshakeNotComplete,
            Error::PeerSentOversizedRecord,
            Error::NoApplicationProtocol,
            Error::BadMaxFragmentSize,
            Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch),
            Error::Other(OtherError(Arc::new(webpki::Error::BadDer))),
        ];
        for error in alerts.chain(others) {
            let sentence = handshake(&error);
            assert!(sentence.len() > 20 || sentence == NO_HTTP, "{sentence}");
            assert!(is_plain(&sentence), "{sentence}");
        }
    }
}
