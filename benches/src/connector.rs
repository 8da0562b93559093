//! Connections to the service: in clear and over TLS, from as many source addresses as it takes.
//!
//! A pair of addresses has a port range of some 28,000, and looking for a free port becomes slow long before it is used
//! up. So connections to loopback come from further addresses of 127.0.0.0/8, a few thousand from each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use clap::ValueEnum;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use user_agent_client::channel::Channel;
use user_agent_client::{ServerUrl, Trust};

use crate::failure::{BenchResult, Failure, While as _};
use crate::leftovers::Leftovers;

/// Connections from one source address.
const CONNECTIONS_PER_ADDRESS: u32 = 3_000;

/// How messages come to a user agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Transport {
    /// Mozilla's protocol over a WebSocket
    #[value(name = "websocket")]
    WebSocket,
    /// RFC 8030: server push over HTTP/2, acknowledged on the same connection
    Http2,
    /// Server-Sent Events over HTTP/1.1, acknowledged over a second connection
    Events,
}

/// Where one listener of the service is, and how to come in.
#[derive(Clone)]
pub(crate) struct Connector {
    address: SocketAddr,
    /// The listener in clear of the same node; `None` if it is this one, or is not known.
    clear: Option<Arc<Connector>>,
    transport: Transport,
    url: ServerUrl,
    tls: Option<Arc<ClientConfig>>,
    /// Where it is noted what is made here, if that has to be ended.
    leftovers: Option<Leftovers>,
}

/// A connection, in clear or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Wire for T {}

impl Connector {
    /// A listener in clear.
    pub(crate) fn clear(address: SocketAddr) -> BenchResult<Self> {
        Self::at(&format!("ws://{address}/"))
    }

    /// The listener at this URL, over HTTP or WebSocket, in clear or over TLS. With any certificate: this program tells it no
    /// secrets but the one in the URL. Each connection over TLS makes a full handshake, as user agents do that come back after
    /// hours.
    pub(crate) fn at(url: &str) -> BenchResult<Self> {
        // Whatever the transport is: HTTP/2 in clear to another machine would be refused.
        let as_websocket = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => format!("ws://{rest}"),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => format!("wss://{rest}"),
            _ => url.to_owned(),
        };
        let url = ServerUrl::parse(&as_websocket).doing("the service's URL")?;
        let (host, port) = (url.host(), url.port());
        let mut found = (host, port)
            .to_socket_addrs()
            .doing(format_args!("looking up {host}"))?;
        let address = found
            .next()
            .ok_or_else(|| Failure::new(format!("{host} has no address")))?;
        let tls = match url.is_secure() {
            true => Some(any_certificate()?),
            false => None,
        };
        Ok(Self {
            address,
            clear: None,
            transport: Transport::WebSocket,
            url,
            tls,
            leftovers: None,
        })
    }

    /// A TLS listener of the node that has this listener in clear.
    pub(crate) fn tls(address: SocketAddr, clear: &Self) -> BenchResult<Self> {
        let url = format!("wss://{address}{}", clear.url.path_and_query());
        Ok(Self {
            clear: Some(Arc::new(clear.clone())),
            leftovers: clear.leftovers.clone(),
            ..Self::at(&url)?
        })
    }

    /// In clear, at another address that leads to the same listener.
    pub(crate) fn moved_to(&self, address: SocketAddr) -> BenchResult<Self> {
        let url = format!("ws://{address}{}", self.url.path_and_query());
        Ok(Self {
            leftovers: self.leftovers.clone(),
            ..Self::at(&url)?
        })
    }

    /// Notes what is made here, so that it is ended.
    pub(crate) fn leaving(self, leftovers: &Leftovers) -> Self {
        Self {
            leftovers: Some(leftovers.clone()),
            ..self
        }
    }

    /// The same for user agents whose messages come in another way.
    pub(crate) fn by(&self, transport: Transport) -> Self {
        let mut connector = self.clone();
        connector.transport = transport;
        if let Some(tls) = &mut connector.tls {
            let protocol: &[u8] = match transport {
                Transport::Http2 => b"h2",
                Transport::WebSocket | Transport::Events => b"http/1.1",
            };
            Arc::make_mut(tls).alpn_protocols = vec![protocol.to_vec()];
        }
        connector
    }

    /// How messages come to those who come in here.
    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    /// For requests over HTTP/1.1 that are not measured: in clear, if the node can be reached so.
    pub(crate) fn for_requests(&self) -> Self {
        self.clear.as_deref().unwrap_or(self).by(Transport::Events)
    }

    /// Host and port, for a request.
    pub(crate) fn authority(&self) -> &str {
        let url = self.url.as_str();
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        authority.split('/').next().unwrap_or(authority)
    }

    /// Where subscriptions are made: behind the secret, if the URL has one.
    pub(crate) fn subscribe_path(&self) -> String {
        match self.url.path_and_query().trim_matches('/') {
            "" => "/subscribe".to_owned(),
            secret => format!("/subscribe/{secret}"),
        }
    }

    /// Notes how to end what was made here, if it has to be ended.
    pub(crate) fn made<F: Future<Output = BenchResult<()>> + Send + 'static>(&self, end: impl FnOnce() -> F) {
        if let Some(leftovers) = &self.leftovers {
            leftovers.add(end());
        }
    }

    /// Whether what is made here has to be ended.
    pub(crate) fn leaves_nothing(&self) -> bool {
        self.leftovers.is_some()
    }

    /// The listener's address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL under which user agents know it.
    pub(crate) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Connects and upgrades to a WebSocket.
    pub(crate) async fn open(&self) -> BenchResult<Channel> {
        let channel = Channel::upgrade(self.connect().await?, &self.url).await;
        channel.doing("opening a WebSocket")
    }

    /// Connects, over TLS if this is such a connector.
    pub(crate) async fn connect(&self) -> BenchResult<Box<dyn Wire>> {
        self.wrap(self.connect_tcp(source(self.address.ip())).await?)
            .await
    }

    /// The same from the machine's usual address, for the few who stay.
    pub(crate) async fn connect_from_here(&self) -> BenchResult<Box<dyn Wire>> {
        self.wrap(self.connect_tcp(None).await?).await
    }

    async fn wrap(&self, socket: TcpStream) -> BenchResult<Box<dyn Wire>> {
        let Some(config) = &self.tls else {
            return Ok(Box::new(socket));
        };
        let name = ServerName::try_from(self.url.host().to_owned()).doing("the service's host")?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, socket).await;
        Ok(Box::new(stream.doing("the TLS handshake")?))
    }

    async fn connect_tcp(&self, source: Option<IpAddr>) -> BenchResult<TcpStream> {
        let address = self.address;
        let connecting = async {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            if let Some(source) = source {
                socket.bind(SocketAddr::new(source, 0))?;
            }
            let stream = socket.connect(address).await?;
            stream.set_nodelay(true)?;
            std::io::Result::Ok(stream)
        };
        connecting.await.doing(format_args!("connecting to {address}"))
    }
}

fn any_certificate() -> BenchResult<Arc<ClientConfig>> {
    let config = Trust::insecure().client_config().doing("TLS")?;
    let mut config = Arc::unwrap_or_clone(config);
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The next source address, if the service listens where there is more than one.
fn source(service: IpAddr) -> Option<IpAddr> {
    static CONNECTIONS: AtomicU32 = AtomicU32::new(0);
    let IpAddr::V4(service) = service else { return None };
    if !service.is_loopback() {
        return None;
    }
    let nth = CONNECTIONS.fetch_add(1, Ordering::Relaxed) / CONNECTIONS_PER_ADDRESS;
    // The second byte tells runs apart that follow each other closely: the system keeps a closed pair for a minute.
    let run = std::process::id() % 250 + 2;
    let [_, _, high, low] = (nth + 1).to_be_bytes();
    Some(IpAddr::V4(Ipv4Addr::new(127, run as u8, high, low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A URL names host, port, TLS and the secret, whatever its scheme is.
    #[test]
    fn urls_are_read() {
        let rows = [
            ("http://127.0.0.1:1", false, "127.0.0.1:1", "/subscribe"),
            (
                "https://127.0.0.1:1/s3cret",
                true,
                "127.0.0.1:1",
                "/subscribe/s3cret",
            ),
            (
                "ws://127.0.0.1:1/s3cret/",
                false,
                "127.0.0.1:1",
                "/subscribe/s3cret",
            ),
            ("wss://[::1]:1/", true, "[::1]:1", "/subscribe"),
            ("HTTPS://127.0.0.1", true, "127.0.0.1", "/subscribe"),
        ];
        for (url, is_secure, authority, path) in rows {
            let connector = Connector::at(url).unwrap();
            assert_eq!(connector.url().is_secure(), is_secure, "{url}");
            assert_eq!(connector.tls.is_some(), is_secure, "{url}");
            assert_eq!(connector.authority(), authority, "{url}");
            assert_eq!(connector.subscribe_path(), path, "{url}");
        }
        for wrong in ["ftp://127.0.0.1", "127.0.0.1:1", "https://", ""] {
            assert!(Connector::at(wrong).is_err(), "{wrong}");
        }
    }
}
