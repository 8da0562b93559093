//! `healthcheck`: one GET over plain TCP, for probes in containers that have no curl.
//!
//! Knows just enough HTTP to read a status line.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use super::{FAILED, MISCONFIGURED, OK, complain};
use crate::defaults;

const READY: &str = "/readyz";

/// As much of an answer as is read: enough for the reason.
const ANSWER_BYTES: u64 = 4096;

/// Asks the first admin listener.
pub(super) fn ask_admin(listeners: &[SocketAddr]) -> u8 {
    match listeners.first() {
        Some(listener) if listener.port() != 0 => {
            let address = reachable(*listener);
            report(ask(&[address], &address.to_string(), READY))
        }
        _ => complain(
            "no URL to ask",
            &"listen.admin has no fixed port: set one, or pass --url",
            MISCONFIGURED,
        ),
    }
}

/// Asks a URL; without a path, for readiness.
pub(super) fn ask_url(url: &str) -> u8 {
    let Some((authority, path)) = parse(url) else {
        return complain(
            "this URL cannot be used",
            &format!("{url}: use http://HOST:PORT[/PATH]"),
            MISCONFIGURED,
        );
    };
    report(
        authority
            .to_socket_addrs()
            .and_then(|addresses| ask(&addresses.collect::<Vec<_>>(), &authority, &path)),
    )
}

/// `HOST:PORT` and the path of an `http` URL.
fn parse(url: &str) -> Option<(String, String)> {
    let url: http::Uri = url.parse().ok()?;
    let authority = url.authority().filter(|_| url.scheme_str() == Some("http"))?;
    let path = url.path_and_query().map_or(READY, |path| path.as_str());
    let path = if path == "/" { READY } else { path };
    let port = url.port_u16().unwrap_or(80);
    Some((format!("{}:{port}", authority.host()), path.to_owned()))
}

/// Where a listener on all addresses can be asked from the same machine.
pub(super) fn reachable(mut listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listener.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listener.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listener
}

/// The whole answer to one GET, cut at [`ANSWER_BYTES`].
fn ask(addresses: &[SocketAddr], host: &str, path: &str) -> io::Result<String> {
    let mut stream = connect(addresses, defaults::HEALTHCHECK_WITHIN)?;
    stream.set_read_timeout(Some(defaults::HEALTHCHECK_WITHIN))?;
    stream.set_write_timeout(Some(defaults::HEALTHCHECK_WITHIN))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// To the first address that lets in.
pub(super) fn connect(addresses: &[SocketAddr], within: Duration) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, within) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn report(answer: io::Result<String>) -> u8 {
    match answer {
        Ok(answer) if is_ok(&answer) => OK,
        Ok(answer) => complain("not healthy", &reason(&answer), FAILED),
        Err(error) => complain("no answer", &error, FAILED),
    }
}

fn is_ok(answer: &str) -> bool {
    let status = answer
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1));
    status == Some("200")
}

/// The body, or the status line if there is no body.
fn reason(answer: &str) -> &str {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    match body.trim() {
        "" => head.lines().next().unwrap_or("an empty answer"),
        body => body,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that answers one request with `answer`, and hands back what was asked.
    fn server(answer: &'static str) -> (SocketAddr, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (address, asked)
    }

    /// The exit code follows the status, and readiness is what is asked for.
    #[test]
    fn the_exit_code_follows_the_status() {
        let rows = [
            ("HTTP/1.1 200 OK\r\n\r\nready\n", OK),
            (
                "HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready: draining\n",
                FAILED,
            ),
            ("HTTP/1.1 404 Not Found\r\n\r\n", FAILED),
            ("220 mail.example ESMTP 200\r\n", FAILED),
            ("", FAILED),
        ];
        for (answer, code) in rows {
            let (address, asked) = server(answer);
            assert_eq!(ask_admin(&[address]), code, "{answer}");
            assert!(
                asked
                    .join()
                    .unwrap()
                    .starts_with("GET /readyz HTTP/1.1\r\nHost: ")
            );
        }
    }

    /// A listener on all addresses is asked on loopback.
    #[test]
    fn a_listener_on_all_addresses_is_asked_on_loopback() {
        let rows = [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("10.0.0.1:9090", "10.0.0.1:9090"),
        ];
        for (listener, asked) in rows {
            assert_eq!(reachable(listener.parse().unwrap()).to_string(), asked);
        }
    }

    /// A URL names the listener and the path; without a path, readiness is asked.
    #[test]
    fn urls_are_read() {
        let rows = [
            ("http://127.0.0.1:9090", Some(("127.0.0.1:9090", "/readyz"))),
            ("http://127.0.0.1:9090/", Some(("127.0.0.1:9090", "/readyz"))),
            ("http://[::1]:9090/healthz", Some(("[::1]:9090", "/healthz"))),
            ("http://localhost", Some(("localhost:80", "/readyz"))),
            ("https://localhost:9090", None),
            ("127.0.0.1:9090", None),
            ("", None),
        ];
        for (url, expected) in rows {
            let parsed = parse(url);
            let parsed = parsed
                .as_ref()
                .map(|(authority, path)| (authority.as_str(), path.as_str()));
            assert_eq!(parsed, expected, "{url}");
        }
    }

    /// A listener that does not answer and a configuration without one are told apart.
    #[test]
    fn silence_is_no_health() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(ask_url(&format!("http://{closed}")), FAILED);
        assert_eq!(ask_admin(&[]), MISCONFIGURED);
        assert_eq!(ask_url("nonsense"), MISCONFIGURED);
    }
}
