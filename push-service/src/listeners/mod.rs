//! Where connections come in: from a socket's accept to a request or a channel.
//!
//! ```text
//! accept ─► permit ─► PROXY header ─► TLS ─► HTTP/1.1 or HTTP/2? ─► request ─► resources
//!                                                    └── upgrade ─► channel
//! ```
//!
//! Guarantees: a peer that has shown nothing yet costs a bounded amount of memory for a bounded time ([`crate::defaults`] has
//! the bounds); only a trusted proxy is believed about its client's address; no task outlives [`Listeners`].
//!
//! What it deliberately does not know: what any path means, beyond whether a channel can be opened there.

mod accept;
mod acceptance;
mod client_address;
mod handshake;
mod http1;
mod http2;
mod http2_events;
mod http2_frames;
mod opening;
mod permits;
mod proxy_protocol;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Once};
use std::time::Duration;

use http::HeaderMap;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::acceptance::Acceptance;
use self::acceptance::Accepting;
pub use self::client_address::TrustedProxies;
pub use self::handshake::ChannelPath;
use self::permits::ConnectionLimits;
pub use self::permits::Permit;
pub use self::stream::Stream;
use crate::budgets::Payer;
use crate::channels::Channels;
use crate::config::Limits;
use crate::defaults::LISTEN_BACKLOG;
use crate::metrics::{self, Metrics};
use crate::resources::Resources;
use crate::tasks::{Background, Task};
use crate::tls::Acceptor;

/// The parts of the service that take requests and upgraded connections.
pub struct Handlers {
    /// Answers requests.
    pub resources: Resources,
    /// The paths at which a WebSocket may be opened.
    pub channel_path: ChannelPath,
    /// Takes over WebSockets, and requests that monitor.
    pub channels: Arc<Channels>,
}

/// An open port.
pub struct Listener {
    socket: TcpListener,
    tls: Option<Acceptor>,
}

impl Listener {
    /// Opens a port, in clear or for TLS. In clear, HTTP/2 is told from HTTP/1.1 by its preface, over TLS by ALPN.
    pub fn bind(address: SocketAddr, tls: Option<Acceptor>) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for connections of the last run.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let socket = socket.listen(LISTEN_BACKLOG)?;
        Ok(Self { socket, tls })
    }

    /// Where it listens: the port that was given if 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn label(&self) -> metrics::Listener {
        match self.tls {
            Some(_) => metrics::Listener::Tls,
            None => metrics::Listener::Http,
        }
    }
}

/// All listeners and the connections that came in by them. Dropping it ends them all at once.
pub struct Listeners {
    /// Those that accept.
    accepting: TaskTracker,
    connections: TaskTracker,
    go: CancellationToken,
    leave: CancellationToken,
    end: CancellationToken,
    acceptance: Arc<Acceptance>,
}

impl Listeners {
    /// Starts to accept, in tasks of the background: they end when [`Listeners::drain`] is called, and not before.
    pub fn start(
        background: &Background,
        listeners: Vec<Listener>,
        handlers: Handlers,
        limits: Limits,
        trusted_proxies: TrustedProxies,
        metrics: Arc<Metrics>,
    ) -> Self {
        let connection_limits = ConnectionLimits::new(
            limits.connections,
            limits.connections_per_address,
            Arc::clone(&metrics),
        );
        let started = Self {
            accepting: TaskTracker::new(),
            connections: TaskTracker::new(),
            go: CancellationToken::new(),
            leave: CancellationToken::new(),
            end: CancellationToken::new(),
            acceptance: Acceptance::new(Arc::clone(&connection_limits)),
        };
        let context = Arc::new(Context {
            handlers,
            connection_limits,
            metrics,
            limits,
            trusted_proxies,
            other_field: Once::new(),
            connections: AtomicU64::new(1),
            go: started.go.clone(),
            leave: started.leave.clone(),
            end: started.end.clone(),
        });
        for (number, listener) in listeners.into_iter().enumerate() {
            let accepting = Accepting::new(&started.acceptance, number);
            let run = accept::run(
                listener,
                accepting,
                Arc::clone(&context),
                started.connections.clone(),
            );
            background.spawn(Task::Accept, started.accepting.track_future(run));
        }
        started
    }

    /// Whether connections can be accepted.
    pub fn acceptance(&self) -> Arc<Acceptance> {
        Arc::clone(&self.acceptance)
    }

    /// Tells peers to use another connection (PR-36): over HTTP/1.1 with `Connection: close` in the next answer, over HTTP/2
    /// with GOAWAY. Ports stay open, and every request is still answered.
    ///
    /// An idle HTTP/1.1 connection can't be told: it is kept for its next request, because that may be under way and a peer
    /// can't know whether a request on a closed connection was carried out (RFC 9112 §9.3.1). An HTTP/2 connection that
    /// monitors is told when its monitors are over: earlier, all user agents would leave at once.
    pub fn tell_to_go(&self) {
        self.go.cancel();
        // Others may still come; [`Listeners::gone`] is for those that are there.
        self.connections.close();
    }

    /// Resolves when no connection is left, after [`Listeners::tell_to_go`].
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn gone(&self) {
        self.connections.wait().await;
    }

    /// Leaves (PR-36): ports close, requests under way are answered, peers are told to connect elsewhere. What is not
    /// done after `within` is cut off. Resolves when no task is left. Channels are not waited for: after
    /// its upgrade a connection belongs to [`Channels`].
    ///
    /// Dropping the future cuts everything off at once.
    pub async fn drain(self, within: Duration) {
        self.leave.cancel();
        self.accepting.close();
        self.connections.close();
        // No connection comes any more once all that accept are gone.
        let all_ended = async {
            self.accepting.wait().await;
            self.connections.wait().await;
        };
        if timeout(within, all_ended).await.is_err() {
            tracing::warn!(
                connections = self.connections.len(),
                "drain.deadline is over: requests that are not answered yet are cut off"
            );
            self.end.cancel();
            self.accepting.wait().await;
            self.connections.wait().await;
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.leave.cancel();
        self.end.cancel();
    }
}

/// What every connection needs to know.
struct Context {
    handlers: Handlers,
    limits: Limits,
    connection_limits: Arc<ConnectionLimits>,
    metrics: Arc<Metrics>,
    trusted_proxies: TrustedProxies,
    /// Done when it was logged that a proxy uses another field.
    other_field: Once,
    /// How many connections the log has numbered.
    connections: AtomicU64,
    /// The node is about to leave: each connection ends with its next answer.
    go: CancellationToken,
    /// The node leaves: requests in progress are answered, and then the connection is closed, also an idle one.
    leave: CancellationToken,
    /// The connection is closed at once.
    end: CancellationToken,
}

impl Context {
    /// The payer of requests from `address`.
    fn payer(&self, address: IpAddr) -> Payer {
        self.handlers.resources.budgets().payer(address)
    }

    /// The payer of a request: that of its connection, or the client that a trusted proxy names.
    fn payer_of(&self, peer: Peer, connection: Payer, headers: &HeaderMap) -> Payer {
        match peer {
            Peer::Client => connection,
            Peer::Proxy(proxy) => match self.trusted_proxies.client_of(headers, proxy) {
                Some(client) => self.payer(client),
                None => {
                    self.look_for_other_fields(headers);
                    Payer::UNKNOWN
                }
            },
        }
    }

    /// Logs, once, that a proxy names its clients in another field than the configured one: then no limit by address
    /// applies to them.
    fn look_for_other_fields(&self, headers: &HeaderMap) {
        const USUAL: [&str; 3] = ["x-forwarded-for", "forwarded", "x-real-ip"];
        let configured = self.trusted_proxies.field();
        let other = USUAL.into_iter().find(|name| headers.contains_key(*name));
        if let Some(other) = other.filter(|_| !headers.contains_key(configured)) {
            self.other_field.call_once(|| {
                tracing::warn!(
                    "a request of a trusted proxy has the field {other} but not {configured}, so no limit by \
                     address applies to it: let the proxy set {configured}, or set listen.forwarded_header to the \
                     field that it always sets"
                );
            });
        }
    }
}

/// What is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Peer {
    /// The client: it connected itself, or a trusted proxy named it in a PROXY header. Its connections are counted.
    Client,
    /// A trusted proxy with this address: each request names its client, if at all.
    Proxy(IpAddr),
}
