//! From an accepted socket to the first byte of HTTP.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::acceptance::Accepting;
use super::opening::Opening;
use super::permits::Permit;
use super::proxy_protocol::MadeFor;
use super::stream::{HttpStream, Stream};
use super::{Context, Listener, Peer, http1, http2, proxy_protocol};
use crate::defaults::{ACCEPT_PAUSE_FIRST, ACCEPT_PAUSE_LONGEST, COST_CONNECTION, COST_HANDSHAKE};
use crate::metrics::{self, Cut, Label as _, Metrics, Refused};
use crate::tasks::{Owner, Task, Watched};
use crate::tls::Acceptor;

/// Accepts until told to leave.
pub(super) async fn run(
    listener: Listener,
    mut accepting: Accepting,
    context: Arc<Context>,
    tasks: TaskTracker,
) {
    let leave = context.leave.clone();
    let accept = accept_all(&listener, &mut accepting, &context, &tasks);
    tokio::select! {
        biased;
        () = leave.cancelled() => {}
        never = accept => match never {},
    }
}

async fn accept_all(
    listener: &Listener,
    accepting: &mut Accepting,
    context: &Arc<Context>,
    tasks: &TaskTracker,
) -> std::convert::Infallible {
    let mut pause = ACCEPT_PAUSE_FIRST;
    loop {
        match accept(&listener.socket, accepting).await {
            Ok((socket, address)) => {
                pause = ACCEPT_PAUSE_FIRST;
                if let Some(connection) = admit(socket, address, listener.label(), context) {
                    let owner = connection.owner.clone();
                    let serve = connection.serve(listener.tls.clone(), Arc::clone(context));
                    tasks.spawn(Watched::new(Task::Connection, owner, serve));
                }
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                accepting.fails(&error);
                pause = wait_out(&error, pause).await;
            }
        }
    }
}

/// The next connection, or why the system gives none.
async fn accept(socket: &TcpListener, accepting: &mut Accepting) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|task| {
        let accepted = socket.poll_accept(task);
        // That there is no connection says that one could be accepted: the system reserves a file before it looks. Without
        // this, a node that gets no traffic because it is not ready would never be ready again.
        if !matches!(accepted, Poll::Ready(Err(_))) {
            accepting.works();
        }
        accepted
    })
    .await
}

/// Whether the connection broke before it was accepted: then it is gone, and the next one may be fine.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// Pauses after an error that would come again at once, and returns how long to pause next time.
async fn wait_out(error: &io::Error, pause: Duration) -> Duration {
    tracing::warn!(%error, ?pause, "cannot accept connections; a further attempt follows after the pause");
    tokio::time::sleep(pause).await;
    (pause * 2).min(ACCEPT_PAUSE_LONGEST)
}

/// A connection with a permit.
struct Connection {
    socket: TcpStream,
    permit: Permit,
    peer: Peer,
    listener: metrics::Listener,
    /// The connection's span in the log.
    owner: Owner,
}

/// Gets a permit for a connection; without one it is closed at once.
fn admit(
    socket: TcpStream,
    address: SocketAddr,
    listener: metrics::Listener,
    context: &Context,
) -> Option<Connection> {
    let permit = context.connection_limits.admit(listener);
    let Some(mut permit) = permit else {
        context.metrics.refused(Refused::TooManyConnections);
        return None;
    };
    let peer = if context.trusted_proxies.contain(address.ip()) {
        Peer::Proxy(address.ip())
    } else {
        Peer::Client
    };
    if peer == Peer::Client
        && let Err(why) = charge(&mut permit, address.ip(), listener, context)
    {
        context.metrics.refused(why);
        return None;
    }
    Some(Connection {
        socket,
        permit,
        peer,
        listener,
        owner: owner(address, listener, context),
    })
}

/// The span of the connection. `client` is set later, when a trusted proxy has told it.
fn owner(peer: SocketAddr, listener: metrics::Listener, context: &Context) -> Owner {
    Owner::new(tracing::debug_span!(
        "connection",
        id = context.connections.fetch_add(1, Ordering::Relaxed),
        listener = listener.as_str(),
        %peer,
        client = tracing::field::Empty,
    ))
}

/// Counts a connection for the peer's address, which pays for it before anything is read (PR-42).
fn charge(
    permit: &mut Permit,
    client: IpAddr,
    listener: metrics::Listener,
    context: &Context,
) -> Result<(), Refused> {
    let payer = context.payer(client);
    if !permit.count_for(payer) {
        return Err(Refused::TooManyConnections);
    }
    let cost = match listener {
        metrics::Listener::Tls => COST_CONNECTION + COST_HANDSHAKE,
        _ => COST_CONNECTION,
    };
    let admits = context.handlers.resources.budgets().admits(payer, cost);
    admits.then_some(()).ok_or(Refused::AddressBudget)
}

impl Connection {
    async fn serve(self, tls: Option<Acceptor>, context: Arc<Context>) {
        let within = match tls {
            Some(_) => context.limits.tls_handshake_within,
            None => context.limits.header_within,
        };
        let set_up = tokio::select! {
            set_up = timeout(within, self.set_up(tls.as_ref(), &context)) => set_up,
            () = context.leave.cancelled() => return,
        };
        match set_up {
            Ok(Ok(ready)) if ready.http2 => {
                http2::serve(ready.stream, ready.peer, &ready.permit, &context).await;
            }
            Ok(Ok(ready)) => http1::serve(ready.stream, ready.peer, ready.permit, &context).await,
            Ok(Err(error)) => tracing::debug!(%error, "a connection ended before its first request"),
            Err(_elapsed) => {
                context.metrics.cut(Cut::Slow);
                tracing::debug!(
                    "a connection was closed: its PROXY header, TLS handshake or first bytes did not arrive \
                     in time"
                );
            }
        }
    }

    async fn set_up(mut self, tls: Option<&Acceptor>, context: &Context) -> io::Result<Ready> {
        // A pushed message is one small write: it must not wait for the acknowledgement of the one before.
        self.socket.set_nodelay(true)?;
        let mut opening = Opening::default();
        let client = match self.peer {
            Peer::Client => None,
            Peer::Proxy(proxy) => match proxy_protocol::read(&mut self.socket, &mut opening).await? {
                MadeFor::Itself => None,
                MadeFor::Client(client) => Some(client),
                // It counts as the last trusted hop. It writes the requests, so what they say of it is not believed.
                MadeFor::UnknownClient => Some(proxy),
            },
        };
        if let Some(client) = client {
            self.peer = Peer::Client;
            if let Some(span) = self.owner.span() {
                span.record("client", tracing::field::display(client));
            }
            if let Err(why) = charge(&mut self.permit, client, self.listener, context) {
                context.metrics.refused(why);
                return Err(io::Error::other(
                    "its address has too many connections, or no budget",
                ));
            }
        }
        let (stream, http2) = match tls {
            Some(acceptor) => secure(self.socket, opening, acceptor, &context.metrics).await?,
            None => {
                let http2 = opening.is_http2(&mut self.socket).await?;
                let taken = opening.into_taken().into();
                let stream = HttpStream::new(Stream::Tcp(self.socket), taken, &context.metrics);
                (stream, http2)
            }
        };
        Ok(Ready {
            stream,
            http2,
            permit: self.permit,
            peer: self.peer,
        })
    }
}

async fn secure(
    socket: TcpStream,
    opening: Opening,
    acceptor: &Acceptor,
    metrics: &Arc<Metrics>,
) -> io::Result<(HttpStream, bool)> {
    if !opening.into_taken().is_empty() {
        // It began like a PROXY header, so it is no TLS record either.
        return Err(io::ErrorKind::InvalidData.into());
    }
    let stream = acceptor.accept(socket).await?;
    let http2 = stream.alpn_protocol() == Some(b"h2");
    Ok((
        HttpStream::new(Stream::Tls(Box::new(stream)), Default::default(), metrics),
        http2,
    ))
}

/// A connection on which HTTP begins.
struct Ready {
    stream: HttpStream,
    http2: bool,
    permit: Permit,
    peer: Peer,
}
