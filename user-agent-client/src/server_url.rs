//! Where a push service is.
//!
//! A service's URL is kept unchanged, because its path may be a secret that gives access to the service.
//! So it prints without its path, and errors quote only the host of a refused text.

use std::fmt;
use std::str::FromStr;

use http::uri::{Authority, PathAndQuery};
use rustls_pki_types::ServerName;

use crate::connection::{Destination, Speaks};
use crate::defaults::SERVER_URL_BYTES;
use crate::proxy::is_here;

/// How a user agent and its push service talk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Transport {
    /// The WebSocket that Firefox speaks: `wss:`, `ws:`.
    WebSocket,
    /// RFC 8030 over HTTP/2 with server push: `https:`, and `http:` on this machine.
    Http2,
}

/// The URL of a push service: `wss://host:port/path` or `https://host:port/path`, or `ws:` in clear. `http:` is HTTP/2 in
/// clear, for a service on this machine only (RFC 8030 §8: everything over TLS).
///
/// Prints without path and query; [`as_str`](Self::as_str) gives all of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    text: Box<str>,
    transport: Transport,
    secure: bool,
    /// An IPv6 address stands without its brackets here.
    host: Box<str>,
    port: u16,
    path_and_query: Box<str>,
}

impl ServerUrl {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`ServerUrlError`] for every other scheme, and for URLs without a host, or with user information or a fragment.
    pub fn parse(text: &str) -> Result<Self, ServerUrlError> {
        let text = text.trim();
        if text.len() > SERVER_URL_BYTES {
            return Err(ServerUrlError::TooLong);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(ServerUrlError::NoScheme(guess(text)));
        };
        let (transport, secure) = match scheme.to_ascii_lowercase().as_str() {
            "wss" => (Transport::WebSocket, true),
            "ws" => (Transport::WebSocket, false),
            "https" => (Transport::Http2, true),
            "http" => (Transport::Http2, false),
            "quic" => return Err(ServerUrlError::Quic(guess(rest))),
            _ => return Err(ServerUrlError::OtherScheme(guess(rest))),
        };
        if rest.contains('#') {
            return Err(ServerUrlError::Fragment);
        }
        let (authority, path_and_query) = split(rest);
        if authority.contains('@') {
            return Err(ServerUrlError::UserInformation);
        }
        let (host, port) = host_and_port(authority)?;
        if transport == Transport::Http2 && !secure && !is_here(host) {
            return Err(ServerUrlError::Clear(guess_with("https", rest)));
        }
        let path_and_query = request_target(path_and_query)?;
        Ok(Self {
            text: text.into(),
            transport,
            secure,
            host: host.into(),
            port: port.unwrap_or(default_port(secure)),
            path_and_query,
        })
    }

    /// All of it, compared character by character. It may hold a secret.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same place over this transport: `wss:` for `https:` and the other way round.
    ///
    /// # Errors
    ///
    /// [`ServerUrlError::Clear`] for HTTP/2 in clear to another machine.
    pub fn over(self, transport: Transport) -> Result<Self, ServerUrlError> {
        if self.transport == transport {
            return Ok(self);
        }
        let scheme = scheme(transport, self.secure);
        let rest = self.text.split_once("://").map_or(&*self.text, |(_, rest)| rest);
        Self::parse(&format!("{scheme}://{rest}"))
    }

    /// How it is talked to.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// A name or an address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also if the URL leaves it out.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Over TLS.
    // WS-CON-4.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// What is asked for: path and query unchanged, `/` if there is no path. It may be a secret.
    // WS-CON-1.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// Whether both lead to one service as far as a name can tell. A service that moves to another port, to TLS or to
    /// another secret keeps its subscriptions.
    // WS-CLS-3 is about other services.
    pub fn is_same_service(&self, other: &Self) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
    }

    /// Where connections to it lead.
    pub(crate) fn destination(&self) -> Destination<'_> {
        Destination {
            host: &self.host,
            port: self.port,
            is_secure: self.secure,
            speaks: match self.transport {
                Transport::WebSocket => Speaks::Http1,
                Transport::Http2 => Speaks::Http2,
            },
        }
    }

    /// The `Host` of a request (RFC 9110 §7.2): without the default port.
    pub(crate) fn authority(&self) -> String {
        let host = Bracketed(&self.host);
        if self.port == default_port(self.secure) {
            host.to_string()
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

/// [`parse`](ServerUrl::parse).
impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        Self::parse(text)
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = scheme(self.transport, self.secure);
        write!(f, "{scheme}://{}/", self.authority())?;
        f.write_str(if self.path_and_query.len() > 1 { "…" } else { "" })
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

/// Why a text is no service's URL. Prints as a sentence that says what to write instead.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ServerUrlError {
    /// No `://`; and what was probably meant.
    NoScheme(Option<String>),
    /// HTTP/2 in clear to another machine: others on the way could read the capabilities.
    Clear(Option<String>),
    /// The QUIC channel, which is not there yet.
    Quic(Option<String>),
    /// Another scheme.
    OtherScheme(Option<String>),
    /// No host, or what can't be one.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// `user:password@`.
    UserInformation,
    /// `#fragment`.
    Fragment,
    /// A path that no request can carry.
    Path,
    /// Longer than [`SERVER_URL_BYTES`].
    TooLong,
}

impl std::error::Error for ServerUrlError {}

impl fmt::Display for ServerUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sentence, instead) = match self {
            Self::NoScheme(instead) => (
                "the service's URL must begin with wss:// or https:// (or ws:// without TLS)",
                instead,
            ),
            Self::Clear(instead) => (
                "http:// is only for a push service on this machine: on a network others could read \
                 everything; use https://",
                instead,
            ),
            Self::Quic(instead) => (
                "push over QUIC (quic://) is not supported yet: use the service's WebSocket (wss://)",
                instead,
            ),
            Self::OtherScheme(instead) => (
                "the URL of a push service must begin with wss:// or https:// (or ws:// without TLS)",
                instead,
            ),
            Self::Host => (
                "the service's URL needs a host, such as wss://push.example.net/",
                &None,
            ),
            Self::Port => (
                "the port in the service's URL must be a number from 1 to 65535",
                &None,
            ),
            Self::UserInformation => (
                "the service's URL must not contain a user or a password: push services have none",
                &None,
            ),
            Self::Fragment => (
                "the service's URL must not contain a # or anything after it",
                &None,
            ),
            Self::Path => (
                "the path of the service's URL contains a character that must be written as %XX",
                &None,
            ),
            Self::TooLong => ("the service's URL is too long", &None),
        };
        f.write_str(sentence)?;
        match instead {
            Some(instead) => write!(f, ": did you mean {instead} ?"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Transport {
    /// `websocket` or `http2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebSocket => "websocket",
            Self::Http2 => "http2",
        })
    }
}

/// `websocket` or `http2`, as it is printed.
impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(text: &str) -> Result<Self, UnknownTransport> {
        match text {
            "websocket" => Ok(Self::WebSocket),
            "http2" => Ok(Self::Http2),
            _ => Err(UnknownTransport),
        }
    }
}

/// A text names no [`Transport`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct UnknownTransport;

impl std::error::Error for UnknownTransport {}

impl fmt::Display for UnknownTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a transport is websocket or http2")
    }
}

fn scheme(transport: Transport, secure: bool) -> &'static str {
    match (transport, secure) {
        (Transport::WebSocket, true) => "wss",
        (Transport::WebSocket, false) => "ws",
        (Transport::Http2, true) => "https",
        (Transport::Http2, false) => "http",
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Authority, and path with query.
fn split(rest: &str) -> (&str, &str) {
    match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    }
}

fn request_target(text: &str) -> Result<Box<str>, ServerUrlError> {
    // RFC 9112 §3.2.1: an empty path is `/`.
    let slash = if text.starts_with('/') { "" } else { "/" };
    let target = format!("{slash}{text}");
    match target.parse::<PathAndQuery>() {
        Ok(_) if target.is_ascii() => Ok(target.into()),
        _ => Err(ServerUrlError::Path),
    }
}

fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), ServerUrlError> {
    let digits = match authority.rsplit_once(':') {
        // A colon in brackets belongs to an address.
        Some((_, port)) if !port.contains(']') => Some(port),
        _ => None,
    };
    let host = digits.map_or(authority, |digits| {
        &authority[..authority.len() - digits.len() - 1]
    });
    let port = match digits {
        None | Some("") => None,
        Some(digits) => {
            let port = digits
                .parse()
                .ok()
                .filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
            Some(port.filter(|port| *port != 0).ok_or(ServerUrlError::Port)?)
        }
    };
    let is_authority = host.parse::<Authority>().is_ok();
    let bare = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
        Some(_) => return Err(ServerUrlError::Host),
        None => host,
    };
    if !is_authority || ServerName::try_from(bare).is_err() {
        return Err(ServerUrlError::Host);
    }
    Ok((bare, port))
}

/// What was probably meant, if that has a host: without its path, which may be a secret.
fn guess(text: &str) -> Option<String> {
    let (authority, _) = split(text);
    let (host, _) = host_and_port(authority).ok()?;
    guess_with(if is_here(host) { "ws" } else { "wss" }, text)
}

fn guess_with(scheme: &str, text: &str) -> Option<String> {
    let (authority, _) = split(text);
    let (host, port) = host_and_port(authority)
        .ok()
        .filter(|_| !authority.contains('@'))?;
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{}{port}/", Bracketed(host)))
}

/// A host as it stands in a URL.
struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            address if address.contains(':') => write!(f, "[{address}]"),
            name => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WS-CON-1, WS-CON-4: host, port and path of what is taken; the path unchanged.
    #[test]
    fn takes_websocket_urls() {
        let rows = [
            ("wss://push.example.net/", true, "push.example.net", 443, "/"),
            ("wss://push.example.net", true, "push.example.net", 443, "/"),
            (
                " WSS://Push.Example.net:8443/ ",
                true,
                "Push.Example.net",
                8443,
                "/",
            ),
            (
                "ws://127.0.0.1:8080/%2e/a//B?c=%20",
                false,
                "127.0.0.1",
                8080,
                "/%2e/a//B?c=%20",
            ),
            ("ws://[::1]:81/..", false, "::1", 81, "/.."),
            ("ws://[::1]", false, "::1", 80, "/"),
            ("ws://localhost?x", false, "localhost", 80, "/?x"),
            ("wss://localhost:/", true, "localhost", 443, "/"),
        ];
        for (text, secure, host, port, path) in rows {
            let url = ServerUrl::parse(text).unwrap();
            assert_eq!(url.as_str(), text.trim());
            assert_eq!(
                (url.is_secure(), url.host(), url.port(), url.path_and_query()),
                (secure, host, port, path)
            );
        }
    }

    /// R30-TLS-1: `https:` and, on this machine, `http:` are HTTP/2; the one can be asked for as the other, secret and all.
    #[test]
    fn takes_http_urls() {
        use Transport::{Http2, WebSocket};
        let rows = [
            (
                "https://push.example.net/s?q",
                true,
                443,
                "wss://push.example.net/s?q",
            ),
            (
                "HTTPS://push.example.net:8443",
                true,
                8443,
                "wss://push.example.net:8443",
            ),
            ("http://127.0.0.1:8080/", false, 8080, "ws://127.0.0.1:8080/"),
            ("http://[::1]/", false, 80, "ws://[::1]/"),
            ("http://LocalHost:81/", false, 81, "ws://LocalHost:81/"),
        ];
        for (text, secure, port, as_websocket) in rows {
            let url = ServerUrl::parse(text).unwrap();
            let was = (url.transport(), url.is_secure(), url.port());
            assert_eq!(was, (Http2, secure, port), "{text}");
            assert!(
                url.to_string()
                    .starts_with(if secure { "https://" } else { "http://" })
            );
            assert_eq!(url.clone().over(Http2).unwrap(), url);
            let url = url.over(WebSocket).unwrap();
            assert_eq!(
                (url.as_str(), url.transport(), url.port()),
                (as_websocket, WebSocket, port)
            );
            assert_eq!(url.over(Http2).unwrap().transport(), Http2);
        }
        let far = ServerUrl::parse("ws://push.example.net/").unwrap();
        assert!(matches!(far.over(Http2), Err(ServerUrlError::Clear(_))));
    }

    /// What is refused is refused with a sentence that says what to write, and without what may be secret.
    #[test]
    fn refuses_with_advice() {
        let rows = [
            ("push.example.net", "did you mean wss://push.example.net/ ?"),
            (
                "push.example.net:8443/secret",
                "did you mean wss://push.example.net:8443/ ?",
            ),
            ("localhost:8080", "did you mean ws://localhost:8080/ ?"),
            (
                "http://push.example.net/secret",
                "http:// is only for a push service on this machine",
            ),
            (
                "http://push.example.net:8080/secret",
                "did you mean https://push.example.net:8080/ ?",
            ),
            ("http://127.evil.example/", "on this machine"),
            ("http://192.0.2.1/", "on this machine"),
            (
                "quic://[2001:db8::1]:4433",
                "did you mean wss://[2001:db8::1]:4433/ ?",
            ),
            ("quic://127.0.0.1:8080/", "did you mean ws://127.0.0.1:8080/ ?"),
            ("ftp://secret@host", "must begin with wss://"),
            ("", "must begin with wss://"),
            ("wss://", "needs a host"),
            ("wss:///secret", "needs a host"),
            ("wss://bü.example/", "needs a host"),
            ("wss://[::1/", "needs a host"),
            ("wss://[secret]/", "needs a host"),
            ("wss://a b/", "needs a host"),
            ("wss://host:0/", "from 1 to 65535"),
            ("wss://host:+1/", "from 1 to 65535"),
            ("wss://host:65536/", "from 1 to 65535"),
            ("wss://user:secret@host/", "a user or a password"),
            ("wss://host/#secret", "must not contain a #"),
            ("wss://host/secret path", "%XX"),
            ("wss://host/secret/ü", "%XX"),
            ("wss://host/secret\r\nhost: x", "%XX"),
        ];
        for (text, advice) in rows {
            let error = ServerUrl::parse(text).unwrap_err();
            let sentence = error.to_string();
            assert!(sentence.contains(advice), "{text}: {sentence}");
            assert!(
                !sentence.contains("secret") && !format!("{error:?}").contains("secret"),
                "{text}"
            );
        }
        let long = format!("wss://host/{}", "x".repeat(SERVER_URL_BYTES));
        assert_eq!(ServerUrl::parse(&long), Err(ServerUrlError::TooLong));
    }

    /// A secret path is printed nowhere.
    #[test]
    fn hides_its_path() {
        let url = ServerUrl::parse("wss://[2001:db8::1]:8443/secret?secret").unwrap();
        assert_eq!(url.to_string(), "wss://[2001:db8::1]:8443/…");
        assert_eq!(format!("{url:?}"), "ServerUrl(wss://[2001:db8::1]:8443/…)");
        let url = ServerUrl::parse("wss://push.example.net:443/").unwrap();
        assert_eq!(url.to_string(), "wss://push.example.net/");
    }

    /// WS-CLS-3: another host is another service; another port, scheme or secret is not.
    #[test]
    fn tells_services_apart() {
        let url = |text| ServerUrl::parse(text).unwrap();
        let service = url("wss://push.example.net/old");
        assert!(service.is_same_service(&url("ws://PUSH.example.net:8080/new")));
        assert!(!service.is_same_service(&url("wss://push.example.org/old")));
    }

    /// What is printed can be read again.
    #[test]
    fn a_transport_is_read_as_it_is_printed() {
        for transport in [Transport::WebSocket, Transport::Http2] {
            assert_eq!(transport.to_string().parse(), Ok(transport));
        }
        assert_eq!("quic".parse::<Transport>(), Err(UnknownTransport));
        let url: ServerUrl = "wss://push.example.net/s".parse().unwrap();
        assert_eq!(url.as_str(), "wss://push.example.net/s");
    }
}
