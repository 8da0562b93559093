//! Connections to the service: in clear and over TLS, from as many source addresses as it takes.
//!
//! A pair of addresses has a port range of some 28,000, and looking for a free port becomes slow long before it is used
//! up. So connections to loopback come from further addresses of 127.0.0.0/8, a few thousand from each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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

use crate::failure::{BenchResult, While as _};

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
    /// Server-Sent Events over HTTP/1.1, acknowledged over a second connection; in clear only
    Events,
}

/// Where one listener of the service is, and how to come in.
#[derive(Clone)]
pub(crate) struct Connector {
    address: SocketAddr,
    /// The listener in clear of the same node.
    clear: SocketAddr,
    transport: Transport,
    url: ServerUrl,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection, in clear or not.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Connector {
    /// A listener in clear.
    pub(crate) fn clear(address: SocketAddr) -> BenchResult<Self> {
        let url = ServerUrl::parse(&format!("ws://{address}/"));
        Ok(Self {
            address,
            clear: address,
            transport: Transport::WebSocket,
            url: url.doing("the service's address")?,
            tls: None,
        })
    }

    /// A TLS listener with any certificate: this program tells it no secrets. Each connection makes a full handshake, as
    /// user agents do that come back after hours. `clear` is the same node's listener in clear.
    pub(crate) fn tls(address: SocketAddr, clear: SocketAddr) -> BenchResult<Self> {
        let config = Trust::insecure().client_config().doing("TLS")?;
        let mut config = Arc::unwrap_or_clone(config);
        config.resumption = Resumption::disabled();
        let url = ServerUrl::parse(&format!("wss://{address}/"));
        Ok(Self {
            address,
            clear,
            transport: Transport::WebSocket,
            url: url.doing("the service's address")?,
            tls: Some(Arc::new(config)),
        })
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

    /// The address of the same node's listener in clear.
    pub(crate) fn clear_address(&self) -> SocketAddr {
        self.clear
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
        let socket = self.connect_tcp().await?;
        let Some(config) = &self.tls else {
            return Ok(Box::new(socket));
        };
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, socket).await;
        Ok(Box::new(stream.doing("the TLS handshake")?))
    }

    /// Connects in clear, whatever connector this is.
    pub(crate) async fn connect_tcp(&self) -> BenchResult<TcpStream> {
        let address = self.address;
        let connecting = async {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            if let Some(source) = source(address.ip()) {
                socket.bind(SocketAddr::new(source, 0))?;
            }
            let stream = socket.connect(address).await?;
            stream.set_nodelay(true)?;
            std::io::Result::Ok(stream)
        };
        connecting.await.doing(format_args!("connecting to {address}"))
    }
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
