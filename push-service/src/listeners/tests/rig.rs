//! Listeners on a free port of loopback, and peers that speak byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use push_protocol::capability::Dialect;
use push_tests::connector::Connector;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::channels::{ChannelBounds, Channels, Registry, rig};
use crate::config::{ForwardedHeader, IpNetwork, Limits};
use crate::defaults;
use crate::listeners::{ChannelPath, Handlers, Listener, Listeners, TrustedProxies};
use crate::metrics::Metrics;
use crate::resources::tests::rig::Service;
use crate::tasks::Background;
use crate::tls::Acceptor;

/// A handshake that is accepted.
pub(super) const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The first message of a user agent.
pub(super) const HELLO: &str = r#"{"messageType":"hello","use_webpush":true}"#;

/// A whole frame of a user agent, masked with zeros, so that its text stays as it is (RFC 6455 §5.2).
pub(super) fn frame(opcode: u8, text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 126);
    let head = [0x80 | opcode, 0x80 | length.expect("a short text"), 0, 0, 0, 0];
    [&head, text.as_bytes()].concat()
}

/// A running service.
pub(super) struct Node {
    pub(super) listeners: Listeners,
    _background: Background,
    pub(super) address: SocketAddr,
    /// What the listeners count.
    pub(super) metrics: Arc<Metrics>,
    /// The path of a push resource.
    pub(super) path: String,
}

/// What a test sets otherwise than by default.
#[derive(Default)]
pub(super) struct Setting {
    pub(super) limits: Limits,
    pub(super) proxies: Vec<&'static str>,
    pub(super) secret: Option<&'static str>,
    pub(super) tls: Option<Acceptor>,
    /// Where else the service is.
    pub(super) alternatives: Option<&'static str>,
}

impl Node {
    pub(super) async fn start() -> Self {
        Self::with(Setting::default()).await
    }

    pub(super) async fn with(setting: Setting) -> Self {
        let limits = setting.limits.clone();
        let service = Service::with(|_, service_limits| *service_limits = limits);
        Self::of(service, Registry::new(), setting).await
    }

    /// Listeners of this service, whose channels are in this registry.
    pub(super) async fn of(service: Service, registry: Arc<Registry>, setting: Setting) -> Self {
        let path = service.subscribed(Dialect::Webpush, None).await;
        let alternatives = setting.alternatives.map(HeaderValue::from_static);
        let handlers = Handlers {
            channels: channels_of(&service, registry),
            resources: service.resources.with_alternatives(alternatives),
            channel_path: ChannelPath::new(setting.secret),
        };
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), setting.tls).unwrap();
        let address = listener.address().unwrap();
        let proxies = setting.proxies.iter().map(|text| IpNetwork::parse(text).unwrap());
        let proxies = TrustedProxies::new(proxies.collect(), ForwardedHeader::default());
        let metrics: Arc<Metrics> = Arc::default();
        let counted = Arc::clone(&metrics);
        let background = Background::new();
        let listeners = Listeners::start(
            &background,
            vec![listener],
            handlers,
            setting.limits,
            proxies,
            counted,
        );
        Self {
            listeners,
            _background: background,
            address,
            metrics,
            path,
        }
    }

    pub(super) async fn peer(&self) -> Peer {
        Peer(TcpStream::connect(self.address).await.unwrap())
    }

    /// For peers that know no more of it.
    pub(super) fn connector(&self) -> Connector {
        Connector::clear(self.address)
    }

    /// How many connections were cut off for this reason.
    pub(super) fn cut(&self, reason: &str) -> u32 {
        let line = format!("\npush_service_connections_cut_total{{reason=\"{reason}\"}} ");
        let text = self.metrics.render();
        let (_, rest) = text.split_once(&line).unwrap();
        rest.lines().next().unwrap().parse().unwrap()
    }

    /// A good push, with its header to be ended by the caller.
    pub(super) fn push_head(&self) -> String {
        let path = &self.path;
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Encoding: aes128gcm\r\n")
    }
}

/// Monitors see what the resources do; nothing ends those that wait.
fn channels_of(service: &Service, registry: Arc<Registry>) -> Arc<Channels> {
    let shares = ChannelBounds {
        attaching: rig::ATTACHING,
        delivery_bytes: defaults::DELIVERY_BYTES,
    };
    Channels::new(
        Arc::clone(&service.broker),
        registry,
        rig::limits(),
        shares,
        Arc::default(),
    )
}

/// The other end of a connection.
pub(super) struct Peer(pub(super) TcpStream);

impl Peer {
    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The head of the next answer; its body, if it says how long that is, is read too.
    pub(super) async fn hear(&mut self) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => heard.push(byte),
                Err(_) => break,
            }
        }
        let head = String::from_utf8(heard).unwrap().to_ascii_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next());
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).await.unwrap();
        head
    }

    /// What comes first: nothing if the service closes.
    pub(super) async fn hear_some(&mut self) -> String {
        let mut heard = vec![0; 512];
        let length = self.0.read(&mut heard).await.unwrap_or(0);
        String::from_utf8_lossy(&heard[..length]).to_ascii_lowercase()
    }

    /// Everything until the service closes.
    pub(super) async fn hear_all(&mut self) -> String {
        let mut heard = Vec::new();
        // A connection that is reset is closed too.
        let _ = self.0.read_to_end(&mut heard).await;
        String::from_utf8_lossy(&heard).to_ascii_lowercase()
    }
}
