//! The client's address, when a trusted proxy made the connection.
//!
//! Knows no limits: only which hop to believe. What an untrusted peer writes into a header counts for nothing.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

use crate::config::{ForwardedHeader, IpNetwork};

/// The networks of our own proxies, and the header field in which they name their clients.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNetwork>,
    field: ForwardedHeader,
}

impl TrustedProxies {
    /// Peers from these networks are believed, in this field and in no other.
    pub fn new(networks: Vec<IpNetwork>, field: ForwardedHeader) -> Self {
        Self { networks, field }
    }

    /// Whether `address` is one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// The field in which they name their clients.
    pub(super) fn field(&self) -> &HeaderName {
        self.field.name()
    }

    /// The client of a request that `proxy` sent: the right-most entry of the field that is not a trusted proxy.
    ///
    /// An entry that cannot be read counts as the trusted proxy that wrote it: the one to its right, or `proxy`. So a client
    /// that hides its address has a budget, and it is not the budget of another client.
    ///
    /// `None` if the field is missing or has only trusted proxies: the request is the proxy's own, such as a health check.
    pub fn client_of(&self, headers: &HeaderMap, proxy: IpAddr) -> Option<IpAddr> {
        let read: fn(&str) -> Option<IpAddr> = if self.field() == FORWARDED {
            forwarded_for
        } else {
            node
        };
        let mut last_trusted = proxy;
        let lines = headers.get_all(self.field()).iter().rev();
        for entry in lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
            // Bytes in an entry of the client's own must not spoil those of the proxies, so each is read by itself.
            match std::str::from_utf8(entry)
                .ok()
                .and_then(|entry| read(entry.trim()))
            {
                Some(address) if self.contain(address) => last_trusted = address,
                Some(address) => return Some(address),
                None => return Some(last_trusted),
            }
        }
        None
    }
}

/// The `for` parameter of one element of `Forwarded` (RFC 7239 §4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| node(value.trim().trim_matches('"')))?
    })
}

/// A node's address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']')? {
            (address, "") => (address, None),
            (address, rest) => (address, Some(rest.strip_prefix(':')?)),
        },
        None => match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => (address, Some(port)),
            _ => (text, None),
        },
    };
    // Digits, or a name that hides the port (RFC 7239 §6).
    let is_port = |port: &str| port.starts_with('_') || port.parse::<u16>().is_ok();
    let address: IpAddr = address.parse().ok().filter(|_| port.is_none_or(is_port))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.9.9.9";

    fn proxies(field: &str) -> TrustedProxies {
        let networks = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"];
        let field = ForwardedHeader::parse(field).unwrap();
        TrustedProxies::new(networks.into_iter().filter_map(IpNetwork::parse).collect(), field)
    }

    fn client_of(field: &str, headers: &[(&str, &[u8])]) -> Option<IpAddr> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        proxies(field).client_of(&map, PROXY.parse().unwrap())
    }

    /// A proxy is known by its network, also when its IPv4 address comes mapped into IPv6.
    #[test]
    fn proxies_are_known_by_their_network() {
        for (address, trusted) in [
            ("::ffff:10.1.2.3", true),
            ("192.0.2.7", true),
            ("192.0.2.6", false),
            ("fdff::1", true),
        ] {
            let proxies = proxies("x-forwarded-for");
            assert_eq!(proxies.contain(address.parse().unwrap()), trusted, "{address}");
        }
    }

    /// The client is the right-most hop that is not ours; what it wrote itself, further left, is not believed.
    #[test]
    fn the_right_most_stranger_is_the_client() {
        let rows: [(&str, &[&str], Option<&str>); 10] = [
            ("x-forwarded-for", &["203.0.113.5"], Some("203.0.113.5")),
            (
                "x-forwarded-for",
                &["198.51.100.1, 203.0.113.5, 10.0.0.2"],
                Some("203.0.113.5"),
            ),
            (
                "x-forwarded-for",
                &["198.51.100.1", "203.0.113.5", "10.0.0.2"],
                Some("203.0.113.5"),
            ),
            ("x-forwarded-for", &["203.0.113.5:4711"], Some("203.0.113.5")),
            ("x-forwarded-for", &["10.0.0.2"], None),
            ("x-forwarded-for", &[], None),
            ("x-real-ip", &["203.0.113.5"], Some("203.0.113.5")),
            (
                "forwarded",
                &["for=203.0.113.5;proto=https, for=10.0.0.2"],
                Some("203.0.113.5"),
            ),
            ("forwarded", &["For=\"[2001:db8::1]:4711\""], Some("2001:db8::1")),
            ("forwarded", &["for=\"203.0.113.5:_port\""], Some("203.0.113.5")),
        ];
        for (name, lines, client) in rows {
            let headers: Vec<_> = lines.iter().map(|line| (name, line.as_bytes())).collect();
            let expected = client.map(|text| text.parse().unwrap());
            assert_eq!(client_of(name, &headers), expected, "{name}: {lines:?}");
        }
    }

    /// An entry that cannot be read is the last trusted hop: it neither escapes the limits nor is another client.
    #[test]
    fn an_unreadable_entry_is_the_last_trusted_hop() {
        let rows: [(&str, &[u8], &str); 14] = [
            ("x-forwarded-for", b"", PROXY),
            ("x-forwarded-for", b"unknown", PROXY),
            ("x-forwarded-for", b"198.51.100.1, nonsense", PROXY),
            ("x-forwarded-for", b"198.51.100.1, nonsense, 10.0.0.2", "10.0.0.2"),
            ("x-forwarded-for", b"198.51.100.1,", PROXY),
            ("x-forwarded-for", b"198.51.100.1, , 10.0.0.2", "10.0.0.2"),
            ("x-forwarded-for", b"203.0.113.5:http", PROXY),
            ("x-forwarded-for", b"[2001:db8::1]x", PROXY),
            ("x-forwarded-for", b"\xff\xfe", PROXY),
            ("forwarded", b"", PROXY),
            ("forwarded", b"for=unknown", PROXY),
            ("forwarded", b"for=_hidden, for=10.0.0.2", "10.0.0.2"),
            ("forwarded", b"proto=https", PROXY),
            ("forwarded", b"198.51.100.1", PROXY),
        ];
        for (name, line, hop) in rows {
            assert_eq!(
                client_of(name, &[(name, line)]),
                Some(hop.parse().unwrap()),
                "{name}: {line:?}"
            );
        }
    }

    /// Only the configured field counts, and bytes that the client wrote do not spoil what the proxy appended.
    #[test]
    fn what_the_client_wrote_changes_nothing() {
        let true_client: IpAddr = "203.0.113.5".parse().unwrap();
        let forged: [(&str, &[u8]); 5] = [
            ("forwarded", b"for=198.51.100.1"),
            ("forwarded", b"for=unknown"),
            ("x-real-ip", b"198.51.100.1"),
            ("x-forwarded-for", b"198.51.100.1"),
            ("x-forwarded-for", b"\xff\", "),
        ];
        for forged in forged {
            let headers = [forged, ("x-forwarded-for", b"203.0.113.5".as_slice())];
            assert_eq!(
                client_of("x-forwarded-for", &headers),
                Some(true_client),
                "{forged:?}"
            );
        }
        let one_line = [("x-forwarded-for", b"\xff, 203.0.113.5, 10.0.0.2".as_slice())];
        assert_eq!(client_of("x-forwarded-for", &one_line), Some(true_client));
        let quoted = [("forwarded", b"for=\"198.51.100.1, for=203.0.113.5".as_slice())];
        assert_eq!(client_of("forwarded", &quoted), Some(true_client));
    }
}
