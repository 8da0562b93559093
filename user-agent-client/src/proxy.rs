//! Which connections go through a proxy, and through which one.
//!
//! The proxy is named explicitly, or by the environment variables that curl reads. Only the command reads the environment: a program
//! hands in its values. A proxy is asked for a tunnel (`CONNECT`, RFC 9110 §9.3.6), so it sees where a connection
//! leads, and of what is encrypted nothing else.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// Which connections go through a proxy. Cheap to clone. By default none does.
///
/// Prints without users and passwords.
#[derive(Clone, Default)]
pub struct Proxies(Option<Arc<Rules>>);

struct Rules {
    matcher: Matcher,
    /// Connections to this machine don't leave it.
    spares_loopback: bool,
}

/// A proxy, with the credentials for it.
pub(crate) struct Proxy {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    /// Over TLS.
    pub(crate) is_secure: bool,
    pub(crate) authorization: Option<HeaderValue>,
}

impl Proxies {
    /// No connection goes through a proxy.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every connection goes through this one: `http://HOST:PORT` or `https://HOST:PORT`, with `USER:PASSWORD@` if it wants
    /// that.
    ///
    /// # Errors
    ///
    /// [`ProxyError`], without what may be secret.
    pub fn all(url: &str) -> Result<Self, ProxyError> {
        let matcher = Matcher::builder().all(checked(url, None)?).build();
        Ok(Self(Some(Arc::new(Rules {
            matcher,
            spares_loopback: false,
        }))))
    }

    /// As curl reads these variables, in small letters before capital ones: `https_proxy` for `https:` and `wss:`, `http_proxy`
    /// for `http:` and `ws:`, `all_proxy` for both, and `no_proxy` for the names, domains, addresses and networks (or `*`)
    /// that are reached directly. An empty variable counts as unset. What is on this machine is always reached directly
    /// (as Go does); and `HTTP_PROXY` does not count where `REQUEST_METHOD` is set, because a web server may have made it
    /// of a header field.
    ///
    /// # Errors
    ///
    /// [`ProxyError`], which names the variable.
    pub fn of_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, set(name)?)));
        let proxy = |found: Option<(&'static str, String)>| match found {
            Some((name, url)) => checked(&url, Some(name)),
            None => Ok(String::new()),
        };
        let is_cgi = set("REQUEST_METHOD").is_some();
        let http = first(["http_proxy", "HTTP_PROXY"]).filter(|(name, _)| *name == "http_proxy" || !is_cgi);
        let (http, https) = (proxy(http)?, proxy(first(["https_proxy", "HTTPS_PROXY"]))?);
        let all = proxy(first(["all_proxy", "ALL_PROXY"]))?;
        if [&http, &https, &all].iter().all(|proxy| proxy.is_empty()) {
            return Ok(Self::none());
        }
        let no = first(["no_proxy", "NO_PROXY"])
            .map(|(_, list)| list)
            .unwrap_or_default();
        let matcher = Matcher::builder().all(all).http(http).https(https).no(no).build();
        Ok(Self(Some(Arc::new(Rules {
            matcher,
            spares_loopback: true,
        }))))
    }

    /// The proxy for a connection to this host, by name or address without brackets.
    pub(crate) fn of(&self, is_secure: bool, host: &str, port: u16) -> Option<Proxy> {
        let rules = self.0.as_ref()?;
        if rules.spares_loopback && is_here(host) {
            return None;
        }
        let scheme = if is_secure { "https" } else { "http" };
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let target: Uri = format!("{scheme}://{host}:{port}/").parse().ok()?;
        Proxy::of(&rules.matcher.intercept(&target)?)
    }
}

impl Proxy {
    fn of(intercept: &Intercept) -> Option<Self> {
        let uri = intercept.uri();
        let is_secure = uri.scheme_str() == Some("https");
        let host = uri.host()?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Some(Self {
            host: bare.unwrap_or(host).into(),
            port: uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            is_secure,
            authorization: intercept.basic_auth().cloned(),
        })
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Proxies(…)"
        } else {
            "Proxies(none)"
        })
    }
}

/// Why a text names no proxy. Prints as a sentence that says what to write instead, without the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProxyError {
    variable: Option<&'static str>,
    wrong: Wrong,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wrong {
    /// SOCKS, which is not spoken.
    Socks,
    /// Another scheme.
    Scheme,
    /// No host, no port, or a character that has to be written otherwise.
    Url,
}

impl std::error::Error for ProxyError {}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(variable) = self.variable {
            write!(f, "{variable}: ")?;
        }
        f.write_str(match self.wrong {
            Wrong::Socks => {
                "a SOCKS proxy is not supported; name an HTTP proxy, http://HOST:PORT, or no proxy at all with `Proxies::none`"
            }
            Wrong::Scheme => "the URL of a proxy must begin with http:// or https://, as in http://HOST:PORT",
            Wrong::Url => {
                "this is not the URL of a proxy: write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT; \
                 in user and password write @, : and / as %40, %3A and %2F"
            }
        })
    }
}

/// The URL of a proxy that can be used, as it is written.
fn checked(url: &str, variable: Option<&'static str>) -> Result<String, ProxyError> {
    let wrong = |wrong| ProxyError { variable, wrong };
    let url = url.trim();
    let scheme = url
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        None | Some("http" | "https") => {}
        Some(scheme) if scheme.starts_with("socks") => return Err(wrong(Wrong::Socks)),
        Some(_) => return Err(wrong(Wrong::Scheme)),
    }
    // The matcher ignores a URL that it can't read.
    let matcher = Matcher::builder().all(url).build();
    let target = Uri::from_static("https://push.example.net/");
    let proxy = matcher
        .intercept(&target)
        .and_then(|intercept| Proxy::of(&intercept));
    let is_host = |proxy: Proxy| rustls_pki_types::ServerName::try_from(&*proxy.host).is_ok();
    if proxy.is_some_and(is_host) && has_port_or_none(url) {
        Ok(url.to_owned())
    } else {
        Err(wrong(Wrong::Url))
    }
}

/// Whether the port can be one, and nothing before it can be read in two ways.
fn has_port_or_none(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let Some(authority) = uri.authority() else {
        return false;
    };
    let (user, at) = authority
        .as_str()
        .rsplit_once('@')
        .unwrap_or(("", authority.as_str()));
    let port = at.strip_prefix(authority.host());
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    let is_good = port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    is_good && !user.contains('@')
}

/// Whether the host is this machine.
pub(crate) fn is_here(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, ProxyError> {
        Proxies::of_variables(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxy_of(proxies: &Proxies, is_secure: bool, host: &str) -> Option<String> {
        let port = if is_secure { 443 } else { 80 };
        let proxy = proxies.of(is_secure, host, port)?;
        Some(format!("{}:{}", proxy.host, proxy.port))
    }

    /// The variables that curl knows, and which of them counts.
    #[test]
    fn variables() {
        type Row<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, Option<&'a str>);
        let rows: [Row<'_>; 10] = [
            (&[], None, None),
            (&[("HTTPS_PROXY", "http://p:1")], Some("p:1"), None),
            (
                &[("https_proxy", "p:1"), ("HTTPS_PROXY", "q:2")],
                Some("p:1"),
                None,
            ),
            (&[("https_proxy", " "), ("HTTPS_PROXY", "q:2")], Some("q:2"), None),
            (&[("HTTP_PROXY", "http://p")], None, Some("p:80")),
            (
                &[("HTTP_PROXY", "http://p"), ("REQUEST_METHOD", "GET")],
                None,
                None,
            ),
            (
                &[("http_proxy", "http://p"), ("REQUEST_METHOD", "GET")],
                None,
                Some("p:80"),
            ),
            (&[("ALL_PROXY", "https://p")], Some("p:443"), Some("p:443")),
            (
                &[
                    ("all_proxy", "http://[2001:db8::1]:3128"),
                    ("HTTPS_PROXY", "http://q:2/"),
                ],
                Some("q:2"),
                Some("2001:db8::1:3128"),
            ),
            (&[("NO_PROXY", "*"), ("ALL_PROXY", "http://p:1")], None, None),
        ];
        for (variables, secure, clear) in rows {
            let proxies = proxies(variables).unwrap();
            let host = "push.example.net";
            assert_eq!(proxy_of(&proxies, true, host).as_deref(), secure, "{variables:?}");
            assert_eq!(proxy_of(&proxies, false, host).as_deref(), clear, "{variables:?}");
        }
    }

    /// Names, domains, addresses and networks are reached directly; so is this machine, unless a proxy is named explicitly.
    #[test]
    fn some_are_reached_directly() {
        let list = " example.net,.example.org, 192.0.2.0/24 ,2001:db8::/32,198.51.100.7,host ";
        let from_environment = proxies(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", list)]).unwrap();
        let rows = [
            ("example.net", true),
            ("push.Example.NET", true),
            ("notexample.net", false),
            ("example.org", true),
            ("push.example.org", true),
            ("192.0.2.99", true),
            ("192.0.3.1", false),
            ("2001:db8::7", true),
            ("2001:db9::7", false),
            ("198.51.100.7", true),
            ("host", true),
            ("other", false),
            ("localhost", true),
            ("LOCALHOST", true),
            ("127.0.0.2", true),
            ("::1", true),
        ];
        for (host, is_direct) in rows {
            assert_eq!(
                from_environment.of(true, host, 443).is_none(),
                is_direct,
                "{host}"
            );
        }
        let explicit = Proxies::all("http://p:1").unwrap();
        for (host, _) in rows {
            assert!(explicit.of(false, host, 80).is_some(), "{host}");
        }
    }

    /// What can't be used is refused with advice, and without what may be a password.
    #[test]
    fn refuses_with_advice() {
        let rows = [
            ("socks5://user:secret@p:1", "SOCKS"),
            ("SOCKS5H://p:1", "SOCKS"),
            ("ftp://secret@p", "http://HOST:PORT"),
            ("http://", "not the URL of a proxy"),
            ("", "not the URL of a proxy"),
            ("http://user:sec@ret@p:1", "%40"),
            ("http://user:secret@p:99999", "not the URL of a proxy"),
            ("http://p:0", "not the URL of a proxy"),
            ("http://secret p", "not the URL of a proxy"),
        ];
        for (url, words) in rows {
            let error = Proxies::all(url).err();
            let sentence = error.unwrap_or_else(|| panic!("{url} is taken")).to_string();
            assert!(sentence.contains(words), "{sentence}");
            assert!(!sentence.contains("secret"), "{sentence}");
        }
        let sentence = proxies(&[("ALL_PROXY", "socks5://p")]).unwrap_err().to_string();
        assert!(sentence.starts_with("ALL_PROXY: "), "{sentence}");
    }

    /// RFC 7617 §2: user and password as they are meant, and never printed.
    #[test]
    fn users_have_passwords() {
        let proxies = Proxies::all("http://Aladdin:open%20sesame@p:1").unwrap();
        let proxy = proxies.of(true, "push.example.net", 443).unwrap();
        let authorization = proxy.authorization.unwrap();
        assert_eq!(authorization, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(authorization.is_sensitive());
        assert_eq!(
            format!("{proxies:?} {:?}", Proxies::none()),
            "Proxies(…) Proxies(none)"
        );
    }
}
