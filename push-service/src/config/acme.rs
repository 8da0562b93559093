//! The types of values that say how certificates are ordered.

use std::fmt;

use http::Uri;
use http::uri::Scheme;
use rustls_pki_types::DnsName;

use super::setting::{Raw, Setting, quoted};
use crate::defaults;
use crate::tls::acme::ChallengeKind;

/// A host name for which a certificate can be ordered: with a dot in it, in lower case, and no wildcard, which would take a
/// look into the DNS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain(String);

impl Domain {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A mail address, as far as anybody can tell without writing to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailAddress(String);

impl MailAddress {
    /// The address, without `mailto:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The URL of an ACME server's directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AcmeDirectory(String);

impl AcmeDirectory {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AcmeDirectory {
    fn default() -> Self {
        Self(defaults::ACME_DIRECTORY.to_owned())
    }
}

impl fmt::Display for AcmeDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Setting for Domain {
    fn takes() -> String {
        "a host name such as `push.example.net`, without wildcard".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        let name = raw.text()?.to_ascii_lowercase();
        let is_host = DnsName::try_from(name.as_str()).is_ok() && name.contains('.');
        // What ends in digits is an address, or would be taken for one.
        let is_address = name.rsplit('.').next()?.bytes().all(|byte| byte.is_ascii_digit());
        (is_host && !is_address).then_some(Self(name))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

impl Setting for MailAddress {
    fn takes() -> String {
        "a mail address such as `admin@example.net`".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        let text = raw.text()?;
        let (user, host) = text.rsplit_once('@')?;
        let is_plain = |c: char| c.is_ascii_graphic() && !"<>,;:".contains(c);
        (!user.is_empty() && !host.is_empty() && text.chars().all(is_plain)).then_some(Self(text))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

impl Setting for AcmeDirectory {
    fn takes() -> String {
        "the URL of an ACME server's directory, with `https://`".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        let text = raw.text()?;
        let url: Uri = text.parse().ok()?;
        let is_plain = url.authority().is_some_and(|host| !host.as_str().contains('@'));
        (url.scheme() == Some(&Scheme::HTTPS) && is_plain).then_some(Self(text))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

impl Setting for ChallengeKind {
    fn takes() -> String {
        let [tls, http] = Self::ALL;
        format!("`{tls}` or `{http}`")
    }

    fn parse(raw: &Raw) -> Option<Self> {
        let text = raw.text()?;
        Self::ALL.into_iter().find(|kind| kind.to_string() == text)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T: Setting>(text: &str) -> Option<T> {
        T::parse(&Raw::Text(text.to_owned()))
    }

    /// RFC 8555 §7.1.3: only names that an ACME server can look for by TLS or HTTP are taken; in lower case, as it answers.
    #[test]
    fn only_hosts_are_ordered_for() {
        assert_eq!(
            parse::<Domain>("Push.Example.net").unwrap().as_str(),
            "push.example.net"
        );
        for text in [
            "*.example.net",
            "localhost",
            "192.0.2.7",
            "https://a.b",
            "a b.c",
            "a..b",
            "",
        ] {
            assert_eq!(parse::<Domain>(text), None, "{text}");
        }
    }

    /// A directory is reached by HTTPS and needs no password; a contact looks like an address.
    #[test]
    fn server_and_contact_are_checked() {
        for text in [
            "http://acme.example/",
            "acme.example",
            "https://u:p@acme.example/",
            "",
        ] {
            assert_eq!(parse::<AcmeDirectory>(text), None, "{text}");
        }
        assert!(parse::<AcmeDirectory>(defaults::ACME_DIRECTORY).is_some());
        for (text, taken) in [
            ("a@b.c", true),
            ("mailto:a@b.c", false),
            ("a", false),
            ("@b", false),
        ] {
            assert_eq!(parse::<MailAddress>(text).is_some(), taken, "{text}");
        }
        assert_eq!(parse("http-01"), Some(ChallengeKind::Http01));
        assert_eq!(parse::<ChallengeKind>("dns-01"), None);
    }
}
