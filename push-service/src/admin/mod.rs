//! The admin listener: metrics, health, and what support asks for. Never on a public port.
//!
//! Guarantees bounded connections and a bounded end, and always accepts a new connection: the one that has been idle
//! for longest is closed for it (PR-44). Every peer that reaches the port may read, but a web page in a browser may not
//! (`hosts`); actions need a token ([`Guard`]).
//!
//! It listens before storage is open ([`AdminPort`]): probes are answered from the first moment, all else when the node is
//! built.
//!
//! What it deliberately does not know: contents, topics, tokens and user agents' secrets; storage's reports hold none.

mod actions;
mod answers;
mod connections;
mod hosts;
mod inspect;
mod inspection;
mod listing;
mod page;
mod readiness;
mod response;
mod routes;
mod starting;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_actions;
mod token;
mod version;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

pub use self::actions::Actions;
use self::connections::{Connections, Use};
pub(crate) use self::inspect::now_ms;
pub use self::inspection::{InspectedKind, Inspection, MessageState, ShownMessage, ShownStep};
pub use self::token::{Guard, TokenError};
pub use readiness::{Readiness, ReadinessWatch, Refusing};

use crate::broker::Broker;
use crate::config::HostName;
use crate::defaults;
use crate::metrics::Metrics;
use crate::storage::Storage;
use crate::tasks::{Owner, Task, Watched};
use crate::tls::Acceptor;

/// What the admin listener answers from.
pub struct Admin {
    /// Exported on `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Asked for its health and its reports.
    pub storage: Arc<dyn Storage>,
    /// Presents the certificates whose end is exported; `None` without a TLS listener.
    pub acceptor: Option<Acceptor>,
    /// Decides `/readyz`.
    pub readiness: Arc<ReadinessWatch>,
    /// Sentences for the operator, as `/status` shows them.
    pub warnings: Arc<[String]>,
    /// Opens URLs, and does what operators ask for.
    pub broker: Arc<Broker>,
    /// Who may ask for what.
    pub actions: Arc<Actions>,
    /// Names under which it may be asked, besides addresses and `localhost`.
    pub hosts: Arc<[HostName]>,
}

/// What serves the admin listeners. Until the node is built, it answers what needs no storage.
pub struct AdminPort {
    metrics: Arc<Metrics>,
    readiness: Arc<ReadinessWatch>,
    hosts: Arc<[HostName]>,
    node: OnceLock<Admin>,
}

impl AdminPort {
    /// Of a node that starts. `hosts` are as in [`Admin`].
    pub fn new(metrics: Arc<Metrics>, readiness: Arc<ReadinessWatch>, hosts: Arc<[HostName]>) -> Self {
        Self {
            metrics,
            readiness,
            hosts,
            node: OnceLock::new(),
        }
    }

    /// The node is built: everything is answered from now on. The first one stays.
    pub fn built(&self, node: Admin) {
        let _ = self.node.set(node);
    }

    /// Serves until `shutdown` resolves, then lets answers under way end, for at most
    /// [`defaults::ADMIN_END_WITHIN`].
    ///
    /// Dropping the future closes the listener and every connection at once.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let admin = self;
        let (end, ending) = watch::channel(());
        let mut connections = Connections::new(defaults::ADMIN_CONNECTIONS);
        let mut shutdown = pin!(shutdown);
        // For the status page: it shows the minutes before it was opened.
        let mut ticks = tokio::time::interval(defaults::RECENT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = ticks.tick() => admin.metrics.keep_recent(Instant::now()),
                () = connections.one_ended() => {}
                (stream, peer) = accept(&listener) => {
                    let (admin, ending) = (Arc::clone(&admin), ending.clone());
                    let owner = Owner::new(tracing::debug_span!("connection", listener = "admin", %peer));
                    connections.open(|use_of| {
                        Watched::new(Task::AdminConnection, owner, converse(admin, stream, peer, use_of, ending))
                    });
                    // Otherwise connections that arrive together would close each other before the first is served.
                    tokio::task::yield_now().await;
                }
            }
        }
        drop(listener);
        end.send_replace(());
        let ended = connections.all_ended();
        if tokio::time::timeout(defaults::ADMIN_END_WITHIN, ended)
            .await
            .is_err()
        {
            tracing::warn!("the service stops: admin requests were cut off before they were answered");
        }
    }
}

/// The next connection. A failure, such as too many open files, is waited out: the listener itself stays good.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept a connection; it tries again");
                tokio::time::sleep(defaults::ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, to its end or to the service's.
async fn converse(
    admin: Arc<AdminPort>,
    stream: TcpStream,
    peer: SocketAddr,
    use_of: Arc<Use>,
    mut ending: watch::Receiver<()>,
) {
    let asked = Arc::clone(&use_of);
    let answer = service_fn(move |request| {
        let (admin, asked) = (Arc::clone(&admin), Arc::clone(&asked));
        async move {
            asked.begins();
            let answer = admin.answer(request, peer).await;
            asked.ends();
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(defaults::ADMIN_HEADER_WITHIN)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    let unasked = async {
        tokio::time::sleep(defaults::ADMIN_FIRST_HEADER_WITHIN).await;
        if use_of.was_asked() {
            std::future::pending::<()>().await;
        }
    };
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = unasked => return,
        _ = ending.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "an admin connection ended with an error");
    }
}
