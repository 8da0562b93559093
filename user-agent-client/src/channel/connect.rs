//! From a URL to a connection: addresses, TCP, TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{OpenError, Wire};
use crate::defaults::{ADDRESSES, NEXT_ADDRESS_AFTER};
use crate::server_url::{ServerUrl, Transport};
use crate::tls::Trust;

/// A connection, and what is spoken on it.
pub(crate) struct Connected {
    pub(crate) wire: Box<dyn Wire>,
    /// Else HTTP/1.1.
    pub(crate) is_http2: bool,
}

/// Connects, with TLS if the URL says so, for the protocol that it says. Where HTTP/2 was asked for, the server may offer only
/// HTTP/1.1.
pub(crate) async fn connect(url: &ServerUrl, trust: &Trust) -> Result<Connected, OpenError> {
    // Before anybody is bothered: it can fail, and it may take its time.
    let config = match (url.is_secure(), url.transport()) {
        (true, Transport::WebSocket) => Some(trust.client_config()?),
        (true, Transport::Http2) => Some(trust.http2_config()?),
        (false, _) => None,
    };
    let stream = connect_tcp(url).await?;
    let Some(config) = config else {
        return Ok(Connected {
            wire: Box::new(stream),
            is_http2: url.transport() == Transport::Http2,
        });
    };
    let name = ServerName::try_from(url.host())
        .expect("a URL's host is one")
        .to_owned();
    let stream = TlsConnector::from(Arc::clone(&config))
        .connect(name, stream)
        .await;
    let stream = stream.map_err(OpenError::Tls)?;
    // Without a word on it a server means HTTP/1.1 (RFC 9113 §3.2).
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Connected {
        wire: Box::new(stream),
        is_http2,
    })
}

async fn connect_tcp(url: &ServerUrl) -> Result<TcpStream, OpenError> {
    let addresses = lookup_host((url.host(), url.port())).await;
    let addresses = addresses.map_err(|error| OpenError::NoAddress(url.host().into(), error))?;
    let stream = first_of(&in_turn(addresses.collect())).await;
    let stream = stream.map_err(|error| OpenError::NoConnection(url.authority().into(), error))?;
    // What is said is small, and is to be heard now.
    stream.set_nodelay(true).map_err(OpenError::Lost)?;
    Ok(stream)
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

    /// An address where nobody is costs nothing if another one answers; if none does, the first one's error is told.
    #[tokio::test]
    async fn tries_each() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = gone.local_addr().unwrap();
        drop(gone);
        assert_eq!(
            first_of(&[nobody, here]).await.unwrap().peer_addr().unwrap(),
            here
        );
        assert_eq!(
            first_of(&[here, nobody]).await.unwrap().peer_addr().unwrap(),
            here
        );
        for addresses in [&[nobody, nobody][..], &[nobody]] {
            let error = first_of(addresses).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
        assert!(first_of(&[]).await.is_err());
    }
}
