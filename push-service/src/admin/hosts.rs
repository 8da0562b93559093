//! Which hosts a request may name: an IP address, `localhost`, or a name of the configuration.
//!
//! A web page can let a name of its own lead to this listener (DNS rebinding), and then read the answers as if they were its
//! own. Its browser still sends the page's name as the host.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::Version;
use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;

use crate::config::HostName;

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WrongHost {
    /// There is not exactly one `Host`, or it is not a host (RFC 9112 §3.2).
    Malformed,
    /// It is not one of ours.
    Foreign,
}

/// Whether every host that the request names is one of ours.
pub(super) fn check(request: &Parts, ours: &[HostName]) -> Result<(), WrongHost> {
    let mut fields = request.headers.get_all(HOST).iter();
    let named = match (fields.next(), fields.next()) {
        (None, _) if request.version < Version::HTTP_11 => None,
        (Some(host), None) => Some(Authority::try_from(host.as_bytes()).map_err(|_| WrongHost::Malformed)?),
        _ => return Err(WrongHost::Malformed),
    };
    // A request target with a host overrides the field (RFC 9112 §3.2.2), so both count.
    let is_ours = |authority: &Authority| is_ours(authority, ours);
    if named.iter().chain(request.uri.authority()).all(is_ours) {
        Ok(())
    } else {
        Err(WrongHost::Foreign)
    }
}

fn is_ours(authority: &Authority, ours: &[HostName]) -> bool {
    let host = authority.host();
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Some(address) = bracketed {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    host.parse::<Ipv4Addr>().is_ok() || is("localhost") || ours.iter().any(|known| is(known.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(version: Version, target: &str, hosts: &[&str]) -> Result<(), WrongHost> {
        let mut request = http::Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        check(&head, &[HostName::parse("push-admin.example").unwrap()])
    }

    /// Only addresses, `localhost` and configured names are answered, so that no page reads metrics through a name of its
    /// own.
    #[test]
    fn only_our_hosts_are_answered() {
        let (malformed, foreign) = (Err(WrongHost::Malformed), Err(WrongHost::Foreign));
        let rows: [(&[&str], _); 20] = [
            (&["127.0.0.1:9090"], Ok(())),
            (&["10.1.2.3"], Ok(())),
            (&["[::1]:9090"], Ok(())),
            (&["[2001:db8::1]"], Ok(())),
            (&["LocalHost:9090"], Ok(())),
            (&["localhost."], Ok(())),
            (&["Push-Admin.Example:9090"], Ok(())),
            (&["push-admin.example."], Ok(())),
            (&["evil.example"], foreign),
            (&["evil.example:9090"], foreign),
            (&["localhost.evil.example"], foreign),
            (&["127.0.0.1.evil.example"], foreign),
            (&["push-admin.example.evil.example"], foreign),
            (&["127.1"], foreign),
            (&["127.0.0.1@evil.example"], foreign),
            (&[""], malformed),
            (&["[::1"], malformed),
            (&["a b"], malformed),
            (&["localhost", "evil.example"], malformed),
            (&[], malformed),
        ];
        for (hosts, expected) in rows {
            assert_eq!(
                checked(Version::HTTP_11, "/metrics", hosts),
                expected,
                "{hosts:?}"
            );
        }
        assert_eq!(checked(Version::HTTP_10, "/metrics", &[]), Ok(()));
        assert_eq!(checked(Version::HTTP_10, "/metrics", &["evil.example"]), foreign);
        let absolute = "http://evil.example/metrics";
        assert_eq!(checked(Version::HTTP_11, absolute, &["localhost"]), foreign);
    }
}
