//! The one wiring place: builds the service from its configuration, runs it, drains it.
//!
//! ```text
//! build ─► listening ─► ready ─── a signal ──► drain ─► end
//!                          └── storage failed ─► stop ─► end with an error
//! ```
//!
//! Guarantees: no port opens before storage and keys are good; no task outlives [`run`]; storage is closed last, when
//! nothing can ask it for anything any more (PR-36).

mod banner;
mod build;
mod descriptors;
mod stores;
mod told;
pub mod transfer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::banner::BannerFacts;
use self::told::Told;
use crate::admin::{Admin, Readiness};
use crate::broker::Broker;
use crate::channels::Channels;
use crate::config::{Config, Drain};
use crate::defaults::{CERTIFICATE_CHECK, DRAIN_REQUESTS_WITHIN, STORAGE_CLOSE_WITHIN};
use crate::listeners::Listeners;
use crate::metrics::Metrics;
use crate::storage::Storage;
use crate::tls::Acceptor;
use crate::tls::acme::Renewer;

/// Why the service ended before it was told to: a sentence for the operator.
#[derive(Debug)]
pub struct ServiceError(String);

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServiceError {}

/// Runs until a signal tells it to leave. SIGTERM drains as configured; SIGINT, which somebody at a terminal sends,
/// drains without delay and spread; a second one of either ends at once (PR-36).
///
/// # Errors
///
/// What keeps it from starting, or from going on.
pub async fn run(config: Config) -> Result<(), ServiceError> {
    let mut signals = Signals::listen()?;
    let node = build::node(config).await?;
    node.readiness.ready();
    // Behind it: whoever reads that the node listens may ask at once whether it is ready.
    banner::announce(&node.facts);
    let end = tokio::select! {
        patience = signals.next() => End::Leave(patience),
        why = node.storage.failed() => End::Failed(why),
    };
    match end {
        End::Leave(patience) => tokio::select! {
            done = node.leave(patience) => done,
            _ = signals.next() => {
                tracing::warn!("second signal: ending at once, without waiting for channels and requests");
                Ok(())
            }
        },
        End::Failed(why) => node.stop(why).await,
    }
}

/// Gives up what a Redis lost for good, and says how many of the store's 1,024 parts that were. Nothing if the storage is no
/// Redis.
///
/// Dropped, or after an error, it may have given up some parts and not others; repeated, it gives up the rest.
///
/// # Errors
///
/// Why it can't be done: Redis does not answer, or must not be used as it is set.
pub async fn begin_anew(config: &Config) -> Result<Option<usize>, ServiceError> {
    stores::begin_anew(config).await
}

enum End {
    Leave(Patience),
    Failed(String),
}

/// How a drain goes about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Patience {
    /// As configured: load balancers and user agents are given time.
    Configured,
    /// Somebody waits for the prompt.
    None,
}

/// A service that was built: everything that runs, and what it takes to end it.
struct Node {
    config: Drain,
    facts: BannerFacts,
    readiness: Arc<Readiness>,
    storage: Arc<dyn Storage>,
    channels: Arc<Channels>,
    listeners: Listeners,
    beside: Beside,
}

/// What runs beside requests and channels.
#[derive(Default)]
struct Beside {
    tasks: JoinSet<()>,
    admin: JoinSet<()>,
    /// Tells the admin listeners to end.
    end_admin: CancellationToken,
}

impl Beside {
    /// The admin listeners end in their own time, which is short, and everything else at once.
    async fn end(&mut self) {
        self.end_admin.cancel();
        while self.admin.join_next().await.is_some() {}
        self.tasks.shutdown().await;
    }
}

impl Node {
    /// Drains (PR-36): readiness fails while everything still works, channels go one after the other, requests under way
    /// end, ports close, and storage comes last.
    async fn leave(mut self, patience: Patience) -> Result<(), ServiceError> {
        let (delay, spread) = match patience {
            Patience::Configured => (self.config.delay, self.config.spread),
            Patience::None => (Duration::ZERO, Duration::ZERO),
        };
        // Storage comes last, and has to have time left.
        let deadline = Instant::now() + self.config.deadline.saturating_sub(STORAGE_CLOSE_WITHIN);
        tracing::info!(?delay, ?spread, "draining");
        self.readiness.draining();
        sleep_until(deadline.min(Instant::now() + delay)).await;
        let channels_until = deadline - DRAIN_REQUESTS_WITHIN.min(self.config.deadline / 4);
        if timeout_at(channels_until, self.channels.drain(spread))
            .await
            .is_err()
        {
            tracing::warn!(
                "some channels are still open at the end of drain.deadline and are cut off; their messages \
                 stay stored"
            );
        }
        self.listeners
            .drain(deadline.saturating_duration_since(Instant::now()))
            .await;
        // Those that were opened while the others were closed.
        let _ = timeout_at(deadline, self.channels.drain(Duration::ZERO)).await;
        self.beside.end().await;
        close(&*self.storage).await
    }

    /// Storage failed (PR-5): nothing that it confirmed is in doubt, and nothing more can be confirmed.
    async fn stop(mut self, why: String) -> Result<(), ServiceError> {
        tracing::error!(
            why,
            "storage failed: all channels are closed and the process exits"
        );
        self.readiness.failed(why.clone());
        let _ = timeout(STORAGE_CLOSE_WITHIN, self.channels.stop()).await;
        self.listeners.drain(Duration::ZERO).await;
        self.beside.end().await;
        Err(ServiceError(format!("storage failed: {why}")))
    }

    /// Starts what runs beside requests and channels.
    fn run_beside(
        &mut self,
        broker: Arc<Broker>,
        told: &Told,
        acceptor: Option<Acceptor>,
        renewer: Option<Renewer>,
    ) {
        let channels = Arc::clone(&self.channels);
        if self.storage.is_shared() {
            let (broker, reconciler) = (Arc::clone(&broker), Arc::clone(&told.reconciler));
            self.beside
                .tasks
                .spawn(async move { reconciler.run(&broker).await });
        }
        let (carrier, outboxes) = (Arc::clone(&broker), Arc::clone(&told.outboxes));
        self.beside
            .tasks
            .spawn(async move { carrier.keep_carrying(&outboxes).await });
        self.beside.tasks.spawn(async move { channels.keep_time().await });
        self.beside
            .tasks
            .spawn(async move { broker.keep_expiring().await });
        if let (Some(renewer), Some(acceptor)) = (renewer, &acceptor) {
            let acceptor = acceptor.clone();
            self.beside
                .tasks
                .spawn(async move { match renewer.keep_renewing(acceptor).await {} });
        }
        if let Some(acceptor) = acceptor {
            self.beside
                .tasks
                .spawn(async move { match acceptor.keep_certificate_fresh(CERTIFICATE_CHECK).await {} });
        }
    }

    fn serve_admin(
        &mut self,
        sockets: Vec<TcpListener>,
        metrics: &Arc<Metrics>,
        acceptor: Option<&Acceptor>,
        warnings: &[String],
    ) {
        for socket in sockets {
            let admin = Admin {
                metrics: Arc::clone(metrics),
                storage: Arc::clone(&self.storage),
                acceptor: acceptor.cloned(),
                readiness: Arc::clone(&self.readiness),
                warnings: warnings.into(),
            };
            let end = self.beside.end_admin.clone();
            self.beside
                .admin
                .spawn(async move { admin.serve(socket, end.cancelled_owned()).await });
        }
    }
}

async fn close(storage: &dyn Storage) -> Result<(), ServiceError> {
    match timeout(STORAGE_CLOSE_WITHIN, storage.close()).await {
        Ok(Ok(())) => {
            tracing::info!("ended");
            Ok(())
        }
        Ok(Err(error)) => Err(ServiceError(format!(
            "storage reported an error when it closed: {error}"
        ))),
        Err(_) => Err(ServiceError(
            "storage did not close in time; everything that was confirmed is stored".to_owned(),
        )),
    }
}

/// The signals that end the service.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, ServiceError> {
        let listen =
            |kind| signal(kind).map_err(|error| ServiceError(format!("cannot listen for signals: {error}")));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Patience {
        tokio::select! {
            _ = self.terminate.recv() => Patience::Configured,
            _ = self.interrupt.recv() => Patience::None,
        }
    }
}
