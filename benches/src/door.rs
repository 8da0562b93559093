//! Connections to the service: in clear and over TLS, from as many source addresses as it takes.
//!
//! A pair of addresses has a port range of some 28,000, and looking for a free port becomes slow long before it is used
//! up. So connections to loopback come from further addresses of 127.0.0.0/8, a few thousand from each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::failure::{Outcome, While as _};

/// Connections from one source address.
const CONNECTIONS_PER_ADDRESS: u32 = 3_000;

/// A connection.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Where one listener of the service is, and how to come in.
#[derive(Clone)]
pub(crate) struct Door {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl Door {
    /// A listener in clear.
    pub(crate) fn clear(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// A TLS listener, whoever it says it is. Each connection makes a full handshake, as user agents do that come back
    /// after hours.
    pub(crate) fn tls(address: SocketAddr) -> Outcome<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let anyone = Arc::new(Anyone(Arc::clone(&provider)));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .doing("TLS")?
            .dangerous()
            .with_custom_certificate_verifier(anyone)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            address,
            tls: Some(TlsConnector::from(Arc::new(config))),
        })
    }

    /// The listener's address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Outcome<Box<dyn Wire>> {
        let socket = self.connect_tcp().await?;
        let Some(connector) = &self.tls else {
            return Ok(Box::new(socket));
        };
        let name = ServerName::from(self.address.ip());
        let stream = connector.connect(name, socket).await;
        Ok(Box::new(stream.doing("the TLS handshake")?))
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

/// Accepts every certificate: this program measures the service, and tells it no secrets.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
