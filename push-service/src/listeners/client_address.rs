//! The client's address, when a trusted proxy made the connection.
//!
//! Knows no limits: only which hop to believe. What an untrusted peer writes into a header counts for nothing.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

use crate::config::IpNetwork;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of our own proxies.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNetwork>);

impl TrustedProxies {
    /// Peers from these networks are believed.
    pub fn new(networks: Vec<IpNetwork>) -> Self {
        Self(networks)
    }

    /// Whether `address` is one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client of a request that came from a trusted proxy: the right-most hop in `Forwarded`, or else in
    /// `X-Forwarded-For`, that is not a trusted proxy itself. `None` if the proxies did not say, or the hop hides its
    /// address.
    pub fn client_of(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let hop = if headers.contains_key(FORWARDED) {
            self.right_most(headers, &FORWARDED, forwarded_for)
        } else {
            self.right_most(headers, &X_FORWARDED_FOR, node)
        };
        hop.flatten()
    }

    fn right_most(
        &self,
        headers: &HeaderMap,
        name: &HeaderName,
        read: impl Fn(&str) -> Option<IpAddr>,
    ) -> Option<Option<IpAddr>> {
        let lines = headers.get_all(name).iter().rev();
        let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        hops.map(|hop| read(hop.trim()))
            .find(|hop| hop.is_none_or(|address| !self.contain(address)))
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
    let bare = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next()?,
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => host,
            _ => text,
        },
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"];
        TrustedProxies::new(networks.into_iter().filter_map(IpNetwork::parse).collect())
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
            assert_eq!(proxies().contain(address.parse().unwrap()), trusted, "{address}");
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
            ("x-forwarded-for", &["198.51.100.1, nonsense, 10.0.0.2"], None),
            ("x-forwarded-for", &["10.0.0.2"], None),
            (
                "forwarded",
                &["for=203.0.113.5;proto=https, for=10.0.0.2"],
                Some("203.0.113.5"),
            ),
            ("forwarded", &["For=\"[2001:db8::1]:4711\""], Some("2001:db8::1")),
            ("forwarded", &["for=_hidden"], None),
            ("forwarded", &["proto=https"], None),
        ];
        for (name, lines, client) in rows {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(name, line.parse().unwrap());
            }
            let expected = client.map(|text| text.parse().unwrap());
            assert_eq!(proxies().client_of(&headers), expected, "{name}: {lines:?}");
        }
    }
}
