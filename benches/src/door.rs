//! Connections to the service: in clear and over TLS, from as many source addresses as it takes.
//!
//! A pair of addresses has a port range of some 28,000, and looking for a free port becomes slow long before it is used
//! up. So connections to loopback come from further addresses of 127.0.0.0/8, a few thousand from each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use user_agent_client::channel::Channel;
use user_agent_client::{ServerUrl, Trust};

use crate::failure::{Outcome, While as _};

/// Connections from one source address.
const CONNECTIONS_PER_ADDRESS: u32 = 3_000;

/// Where one listener of the service is, and how to come in.
#[derive(Clone)]
pub(crate) struct Door {
    address: SocketAddr,
    url: ServerUrl,
    tls: Option<TlsConnector>,
}

impl Door {
    /// A listener in clear.
    pub(crate) fn clear(address: SocketAddr) -> Outcome<Self> {
        let url = ServerUrl::parse(&format!("ws://{address}/"));
        Ok(Self {
            address,
            url: url.doing("the service's address")?,
            tls: None,
        })
    }

    /// A TLS listener, whoever it says it is: this program tells it no secrets. Each connection makes a full handshake, as
    /// user agents do that come back after hours.
    pub(crate) fn tls(address: SocketAddr) -> Outcome<Self> {
        let config = Trust::insecure().client_config().doing("TLS")?;
        let mut config = Arc::unwrap_or_clone(config);
        config.resumption = Resumption::disabled();
        let url = ServerUrl::parse(&format!("wss://{address}/"));
        Ok(Self {
            address,
            url: url.doing("the service's address")?,
            tls: Some(TlsConnector::from(Arc::new(config))),
        })
    }

    /// The listener's address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL under which user agents know it.
    pub(crate) fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Connects and upgrades.
    pub(crate) async fn open(&self) -> Outcome<Channel> {
        let socket = self.connect_tcp().await?;
        let channel = match &self.tls {
            None => Channel::upgrade(socket, &self.url).await,
            Some(connector) => {
                let name = ServerName::from(self.address.ip());
                let stream = connector.connect(name, socket).await;
                Channel::upgrade(stream.doing("the TLS handshake")?, &self.url).await
            }
        };
        channel.doing("opening a WebSocket")
    }

    async fn connect_tcp(&self) -> Outcome<TcpStream> {
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
