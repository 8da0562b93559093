//! One address of a node, in clear or over TLS, and how to connect to it.
//!
//! Knows nothing of what is spoken on the connection; over TLS the caller says by ALPN what it wants to speak.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificate::Certificate;

/// A connection to a node, whatever carries it.
pub type Stream = Box<dyn Carrier>;

/// What carries a connection: bytes both ways, movable between tasks.
pub trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// Where to knock.
#[derive(Clone, Debug)]
pub struct Connector {
    /// The address that is connected to.
    pub address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
}

impl Connector {
    /// An address where plain HTTP is spoken.
    pub fn clear(address: SocketAddr) -> Self {
        Self {
            address,
            certificate: None,
        }
    }

    /// An address where TLS is spoken and this certificate is shown.
    pub fn tls(address: SocketAddr, certificate: Arc<Certificate>) -> Self {
        Self {
            address,
            certificate: Some(certificate),
        }
    }

    /// The same kind of connector at another address: behind a proxy, for example.
    pub fn at(&self, address: SocketAddr) -> Self {
        Self {
            address,
            certificate: self.certificate.clone(),
        }
    }

    /// `scheme://host:port` of plain requests to this address.
    pub fn origin(&self) -> String {
        match self.certificate {
            None => format!("http://{}", self.address),
            Some(_) => format!("https://{}", self.address),
        }
    }

    /// Connects, and over TLS offers `protocol` by ALPN.
    pub async fn connect(&self, protocol: &str) -> io::Result<Stream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let Some(certificate) = &self.certificate else {
            return Ok(Box::new(stream));
        };
        let connector = TlsConnector::from(certificate.trusted_by_client(&[protocol]));
        let name = ServerName::IpAddress(self.address.ip().into());
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}
