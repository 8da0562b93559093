//! The origin of a service's URLs (RFC 6454): scheme, host and port.

mod punycode;

use std::fmt;
use std::net::Ipv6Addr;

/// The longest host name (RFC 1035 §2.3.4, as text).
const MAX_HOST_BYTES: usize = 253;

/// The origin of every resource URL, and so what a VAPID token must name as its audience.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    ascii: Box<str>,
    unicode: Option<Box<str>>,
}

impl Origin {
    /// Reads a public URL: `http` or `https`, a host, perhaps a port, and nothing after it but a slash.
    ///
    /// An internationalised host name is written in its ASCII form (`xn--…`): turning Unicode into it takes tables that
    /// are larger than this crate, and only an operator ever needs it.
    ///
    /// # Errors
    ///
    /// What the operator has to change.
    pub fn parse(url: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = url.split_once("://").ok_or(OriginError::NotAbsolute)?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return Err(OriginError::OtherScheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(OriginError::HasPath);
        }
        let (host, port) = split_port(authority)?;
        let port = port.filter(|port| *port != default_port);
        let host = ascii_host(host)?;
        let serialise = |host: &str| match port {
            Some(port) => format!("{scheme}://{host}:{port}").into_boxed_str(),
            None => format!("{scheme}://{host}").into_boxed_str(),
        };
        Ok(Self {
            ascii: serialise(&host),
            unicode: unicode_host(&host).map(|host| serialise(&host)),
        })
    }

    /// The ASCII serialisation (RFC 6454 §6.2): `https://push.example.net`, `http://127.0.0.1:8080`.
    pub fn as_str(&self) -> &str {
        &self.ascii
    }

    /// Whether `text` is this origin's ASCII or Unicode serialisation (RFC 6454 §6.1, which RFC 8292 §2 asks for).
    /// Compared character by character: no path, no trailing slash, no default port.
    pub fn matches(&self, text: &str) -> bool {
        text == &*self.ascii || self.unicode.as_deref() == Some(text)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ascii)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

/// Why a URL is no public URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OriginError {
    /// There is no `://`.
    NotAbsolute,
    /// The scheme is neither `http` nor `https`.
    OtherScheme,
    /// The host is missing, or no name or address that a URL can hold.
    BadHost,
    /// The host is not ASCII.
    UnicodeHost,
    /// The port is no number from 1 to 65535.
    BadPort,
    /// There is a path, a query or a fragment.
    HasPath,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "not an absolute URL: write it as https://push.example.net",
            Self::OtherScheme => "the scheme must be https or http",
            Self::BadHost => "the host must be a name or an address, without user or password",
            Self::UnicodeHost => "the host must be in its ASCII form, which begins with xn--",
            Self::BadPort => "the port must be a number from 1 to 65535",
            Self::HasPath => "must end after host and port: push resources live at the root of their origin",
        })
    }
}

impl std::error::Error for OriginError {}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), OriginError> {
    let host_end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority[host_end..].find(':') else {
        return Ok((authority, None));
    };
    let (host, port) = authority.split_at(host_end + colon);
    let digits = &port[1..];
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(OriginError::BadPort);
    }
    match digits.parse() {
        Ok(port) if port != 0 => Ok((host, Some(port))),
        _ => Err(OriginError::BadPort),
    }
}

fn ascii_host(host: &str) -> Result<String, OriginError> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_| OriginError::BadHost)?;
        return Ok(format!("[{address}]"));
    }
    if !host.is_ascii() {
        return Err(OriginError::UnicodeHost);
    }
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if host.is_empty() || host.len() > MAX_HOST_BYTES || !host.bytes().all(is_name) {
        return Err(OriginError::BadHost);
    }
    Ok(host.to_ascii_lowercase())
}

/// The host with its `xn--` labels decoded; `None` if there are no such labels, or one does not decode.
fn unicode_host(ascii: &str) -> Option<String> {
    let label = |label: &str| {
        let decoded = label.strip_prefix("xn--").and_then(punycode::decode);
        decoded.unwrap_or_else(|| label.to_owned())
    };
    let unicode = ascii.split('.').map(label).collect::<Vec<_>>().join(".");
    (unicode != ascii).then_some(unicode)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V-CLM-1: scheme, host in lower case, and the port only where it is not the scheme's.
    #[test]
    fn an_origin_has_one_serialisation() {
        let rows = [
            ("https://push.example.net", "https://push.example.net"),
            ("HTTPS://Push.Example.NET:443/", "https://push.example.net"),
            ("https://push.example.test:8443", "https://push.example.test:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://127.0.0.1:80/", "http://127.0.0.1"),
            ("https://h:80", "https://h:80"),
            ("https://[2001:DB8:0:0::1]:8443", "https://[2001:db8::1]:8443"),
            ("https://[::1]", "https://[::1]"),
            ("https://a_b.internal", "https://a_b.internal"),
        ];
        for (url, expected) in rows {
            let origin = Origin::parse(url).unwrap();
            assert_eq!(origin.as_str(), expected, "{url}");
            assert!(origin.matches(expected), "{url}");
        }
    }

    /// V-CLM-1: an audience with a path, a trailing slash, another port, scheme or host is another origin.
    #[test]
    fn nothing_but_the_origin_matches() {
        let origin = Origin::parse("https://push.example.net").unwrap();
        for other in [
            "",
            "https://push.example.net/",
            "https://push.example.net/wpush",
            "https://push.example.net:443",
            "https://push.example.net:8443",
            "http://push.example.net",
            "https://PUSH.example.net",
            "https://push.example.net.",
            "push.example.net",
            "https://user@push.example.net",
        ] {
            assert!(!origin.matches(other), "{other}");
        }
    }

    /// V-CLM-1: RFC 8292 asks for the Unicode serialisation, deployed senders write the ASCII one: both are ours.
    #[test]
    fn an_internationalised_host_has_two_serialisations() {
        let origin = Origin::parse("https://push.xn--bcher-kva.example:8443").unwrap();
        assert_eq!(origin.as_str(), "https://push.xn--bcher-kva.example:8443");
        assert!(origin.matches("https://push.xn--bcher-kva.example:8443"));
        assert!(origin.matches("https://push.bücher.example:8443"));
        assert!(!origin.matches("https://push.bucher.example:8443"));
        assert!(!Origin::parse("https://xn--\u{7f}.example").is_ok_and(|o| o.matches("")));
    }

    /// `public_url`: what cannot be an origin is refused before a port opens, with what to change.
    #[test]
    fn what_is_no_origin_is_refused() {
        let rows = [
            ("", OriginError::NotAbsolute),
            ("push.example.net", OriginError::NotAbsolute),
            ("wss://push.example.net", OriginError::OtherScheme),
            ("https://", OriginError::BadHost),
            ("https://a b", OriginError::BadHost),
            ("https://user@host", OriginError::BadHost),
            ("https://[::g]", OriginError::BadHost),
            ("https://::1", OriginError::BadPort),
            ("https://bücher.example", OriginError::UnicodeHost),
            ("https://host:", OriginError::BadPort),
            ("https://host:0", OriginError::BadPort),
            ("https://host:65536", OriginError::BadPort),
            ("https://host:+80", OriginError::BadPort),
            ("https://host:80:80", OriginError::BadPort),
            ("https://host/push", OriginError::HasPath),
            ("https://host//", OriginError::HasPath),
            ("https://host?x", OriginError::HasPath),
            ("https://host#x", OriginError::HasPath),
        ];
        for (url, expected) in rows {
            assert_eq!(Origin::parse(url), Err(expected), "{url}");
        }
    }
}
