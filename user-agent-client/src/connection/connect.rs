//! From a host and a port to a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::OpenError;
use super::tunnel::{self, ProxyFailure};
use super::wire::Wire;
use crate::defaults::{ADDRESSES, NEXT_ADDRESS_AFTER};
use crate::proxy::Proxy;
use crate::tls::Trust;

/// Where a connection leads, and what is spoken on it.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    /// A name or an address, an IPv6 address without brackets. **Invariant:** a name that TLS takes.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// Over TLS.
    pub(crate) is_secure: bool,
    pub(crate) speaks: Speaks,
}

/// The protocol that TLS agrees on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// A connection, and what is spoken on it.
pub(crate) struct Connected {
    pub(crate) wire: Box<dyn Wire>,
    /// Else HTTP/1.1.
    #[cfg_attr(
        not(feature = "user-agent"),
        expect(dead_code, reason = "application servers speak HTTP/1.1")
    )]
    pub(crate) is_http2: bool,
}

/// Connects, to where `trust` says all connections lead or else to `to`, through a proxy if `trust` knows one for this destination, and with TLS if that is secure. Where HTTP/2 was asked for,
/// the server may offer only HTTP/1.1.
pub(crate) async fn connect(to: Destination<'_>, trust: &Trust) -> Result<Connected, OpenError> {
    let to = match trust.place() {
        Some(place) => Destination {
            host: &place.host,
            port: place.port,
            is_secure: place.is_secure,
            speaks: to.speaks,
        },
        None => to,
    };
    // Before connecting, because it can fail and may take long.
    let config = match (to.is_secure, to.speaks) {
        (true, Speaks::Http1) => Some(trust.client_config()?),
        (true, Speaks::Http2) => Some(trust.http2_config()?),
        (false, _) => None,
    };
    match trust.proxies().of(to.is_secure, to.host, to.port) {
        None => finish(connect_tcp(to.host, to.port).await?, to, config).await,
        Some(proxy) => {
            let name = at(&proxy.host, proxy.port);
            tracing::debug!(proxy = name, "connecting through a proxy");
            let tunnel = tunnel(&proxy, to, trust).await;
            finish(
                tunnel.map_err(|failure| OpenError::Proxy(name.into(), failure))?,
                to,
                config,
            )
            .await
        }
    }
}

/// TLS with the destination itself.
async fn finish<Io: Wire + 'static>(
    stream: Io,
    to: Destination<'_>,
    config: Option<Arc<ClientConfig>>,
) -> Result<Connected, OpenError> {
    let Some(config) = config else {
        return Ok(Connected {
            wire: Box::new(stream),
            is_http2: to.speaks == Speaks::Http2,
        });
    };
    let stream = secured(stream, to.host, config).await.map_err(OpenError::Tls)?;
    // A server that names no protocol speaks HTTP/1.1 (RFC 9113 §3.2).
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Connected {
        wire: Box::new(stream),
        is_http2,
    })
}

async fn tunnel(proxy: &Proxy, to: Destination<'_>, trust: &Trust) -> Result<Box<dyn Wire>, ProxyFailure> {
    let stream = connect_tcp(&proxy.host, proxy.port).await;
    let stream = stream.map_err(|error| match error {
        OpenError::NoAddress(_, error) => ProxyFailure::NoAddress(error),
        OpenError::NoConnection(_, error) | OpenError::Lost(error) => ProxyFailure::NoConnection(error),
        other => ProxyFailure::NoConnection(io::Error::other(other)),
    })?;
    let wire: Box<dyn Wire> = if proxy.is_secure {
        let config = trust.client_config();
        let config = config.map_err(|error| ProxyFailure::Tls(io::Error::other(error)))?;
        Box::new(
            secured(stream, &proxy.host, config)
                .await
                .map_err(ProxyFailure::Tls)?,
        )
    } else {
        Box::new(stream)
    };
    // RFC 9112 §3.2.3: the port is always there.
    tunnel::through(wire, proxy, &at(to.host, to.port)).await
}

async fn secured<Io: Wire>(stream: Io, host: &str, config: Arc<ClientConfig>) -> io::Result<TlsStream<Io>> {
    let name = ServerName::try_from(host).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    TlsConnector::from(config).connect(name.to_owned(), stream).await
}

async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, OpenError> {
    let addresses = lookup_host((host, port)).await;
    let addresses = addresses.map_err(|error| OpenError::NoAddress(host.into(), error))?;
    let stream = first_of(&in_turn(addresses.collect())).await;
    let stream = stream.map_err(|error| OpenError::NoConnection(at(host, port).into(), error))?;
    // Messages are small, and must not wait for more.
    stream.set_nodelay(true).map_err(OpenError::Lost)?;
    Ok(stream)
}

/// A host with its port, as in a URL.
fn at(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// IPv6 and IPv4 by turns, beginning with what the system prefers (RFC 8305 §4).
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == preferred);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let pairs = std::iter::from_fn(|| match (first.next(), second.next()) {
        (None, None) => None,
        pair => Some(pair),
    });
    pairs
        .flat_map(|(first, second)| first.into_iter().chain(second))
        .take(ADDRESSES)
        .collect()
}

/// The first that answers. The next is tried when the one before it failed, or takes long (RFC 8305 §5).
async fn first_of(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    if let [only] = addresses {
        return TcpStream::connect(only).await;
    }
    let mut waiting = addresses.iter().copied();
    let mut attempts = JoinSet::new();
    let mut failure = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        let attempt = if waiting.len() == 0 {
            attempts.join_next().await
        } else {
            let Ok(attempt) = timeout(NEXT_ADDRESS_AFTER, attempts.join_next()).await else {
                continue;
            };
            attempt
        };
        match attempt {
            Some(Ok(Ok(stream))) => return Ok(stream),
            // The first address is the one that people think of.
            Some(Ok(Err(error))) => failure = failure.or(Some(error)),
            Some(Err(error)) => failure = failure.or(Some(error.into())),
            None => return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// RFC 8305 §4: families take turns, in the system's order.
    #[test]
    fn families_take_turns() {
        let given = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].map(address);
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(address);
        assert_eq!(in_turn(given.to_vec()), expected);
        assert_eq!(in_turn(vec![given[3], given[0]]), [given[3], given[0]]);
        assert_eq!(in_turn(vec![given[0]; 100]).len(), ADDRESSES);
        assert!(in_turn(Vec::new()).is_empty());
    }

    /// An address without a server costs nothing if another one answers; if none does, the first one's error is told.
    #[tokio::test]
    async fn tries_each() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = gone.local_addr().unwrap();
        drop(gone);
        assert_eq!(
            first_of(&[closed, here]).await.unwrap().peer_addr().unwrap(),
            here
        );
        assert_eq!(
            first_of(&[here, closed]).await.unwrap().peer_addr().unwrap(),
            here
        );
        for addresses in [&[closed, closed][..], &[closed]] {
            let error = first_of(addresses).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
        assert!(first_of(&[]).await.is_err());
    }
}
