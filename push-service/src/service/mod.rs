//! The one wiring place: builds the service from its configuration, runs it, drains it.
//!
//! ```text
//! admin port ─► storage, keys ─► public ports ─► ready ─── a signal ──► drain ─► end
//!     └── a signal ─► end                         ├── storage failed ──────────► stop ─► end with an error
//!                                                 └── a background task ended ─► stop ─► end with an error
//! ```
//!
//! Guarantees: no public port opens before storage and keys are good; the admin listener answers probes before that, and
//! names what the start waits for; a signal during the start ends the process at once; no task outlives [`run`]; no background task ends unseen
//! before the drain; storage is closed last, when nothing can ask it for anything any more (PR-36).

mod banner;
mod build;
mod descriptors;
mod live;
mod signals;
mod storage_watch;
mod stores;
pub mod transfer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::banner::BannerFacts;
pub use self::live::{LiveCheck, check_live};
use self::signals::{Caught, Signals};
use crate::admin::{AdminPort, ReadinessWatch};
use crate::broker::Broker;
use crate::channels::Channels;
use crate::cluster::Announcer;
use crate::config::{Config, Drain};
use crate::defaults::{CERTIFICATE_CHECK, DRAIN_IDLE_FOR, DRAIN_REQUESTS_WITHIN, STORAGE_CLOSE_WITHIN};
use crate::listeners::Listeners;
use crate::storage::Storage;
use crate::tasks::{Background, Task};
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

/// What failed, and why in the words of the part that failed.
fn sentence(what: &str, error: &dyn fmt::Display) -> ServiceError {
    ServiceError(format!("{what}: {error}"))
}

/// Runs until a signal tells it to leave. SIGTERM and SIGQUIT drain as configured; SIGINT, which a person at a terminal
/// sends, drains without delay and spread; a second one of them ends at once (PR-36). SIGHUP reads the certificates again;
/// SIGUSR1 and SIGUSR2 are ignored. During the start each of the first three ends the process at once: no peer was let in.
///
/// # Errors
///
/// What keeps it from starting, or from going on.
pub async fn run(config: Config) -> Result<(), ServiceError> {
    let mut signals = Signals::listen()?;
    let node = tokio::select! {
        node = build::node(config) => node?,
        caught = signals.next_end() => {
            tracing::info!(
                signal = caught.name(),
                "ended by a signal during the start: no public port was open yet"
            );
            return Ok(());
        }
    };
    node.readiness.ready();
    // After `ready`: a reader of this line may ask at once whether the node is ready.
    banner::announce(&node.facts);
    let end = loop {
        tokio::select! {
            caught = signals.next() => match caught {
                Caught::HangUp => node.read_files_again(),
                caught => break End::Leave(caught),
            },
            why = node.storage.failed() => break End::StorageFailed(why),
            why = node.background.failed() => break End::TaskEnded(why),
        }
    };
    match end {
        End::Leave(caught) => tokio::select! {
            done = node.leave(caught) => done,
            second = signals.next_end() => {
                tracing::warn!(
                    signal = second.name(),
                    "second signal: ending at once, without waiting for channels and requests"
                );
                Ok(())
            }
        },
        End::StorageFailed(why) => node.stop_without_storage(&why).await,
        End::TaskEnded(why) => node.stop_without_task(&why).await,
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
    Leave(Caught),
    StorageFailed(String),
    TaskEnded(String),
}

/// A service that was built: everything that runs, and what it takes to end it.
struct Node {
    config: Drain,
    facts: BannerFacts,
    readiness: Arc<ReadinessWatch>,
    storage: Arc<dyn Storage>,
    channels: Arc<Channels>,
    listeners: Listeners,
    /// All tasks that the service can't do without.
    background: Background,
    admin: AdminListeners,
    /// Notified when the certificate files are to be looked at now. `None` without TLS.
    look_at_certificates: Option<Arc<Notify>>,
}

/// The admin listeners that run. They belong to the background, but end in their own time, which is short.
#[derive(Default)]
struct AdminListeners {
    tasks: JoinSet<()>,
    end: CancellationToken,
}

impl AdminListeners {
    /// Serves all of them, in tasks that `background` needs.
    fn serve(background: &Background, sockets: Vec<TcpListener>, port: &Arc<AdminPort>) -> Self {
        let mut admin = Self::default();
        for socket in sockets {
            let end = admin.end.clone().cancelled_owned();
            let serve = Arc::clone(port).serve(socket, end);
            admin.tasks.spawn(background.needed(Task::AdminAccept, serve));
        }
        admin
    }

    async fn end(&mut self) {
        self.end.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Node {
    /// Drains (PR-36): readiness fails while everything still works, senders are told to go with their next answer, channels go
    /// one after the other, requests under way end, ports close, and storage comes last.
    async fn leave(mut self, caught: Caught) -> Result<(), ServiceError> {
        let (delay, spread) = match caught {
            // A person waits for the prompt.
            Caught::Interrupt => (Duration::ZERO, Duration::ZERO),
            _ => (self.config.delay, self.config.spread),
        };
        // Storage comes last, and has to have time left.
        let deadline = Instant::now() + self.config.deadline.saturating_sub(STORAGE_CLOSE_WITHIN);
        tracing::info!(signal = caught.name(), ?delay, ?spread, "draining");
        self.readiness.draining();
        sleep_until(deadline.min(Instant::now() + delay)).await;
        self.listeners.tell_to_go();
        let idle_until = Instant::now() + DRAIN_IDLE_FOR.min(spread);
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
        // A sender's idle connection is not closed at once, even if there is no channel: its next request may be under way.
        let _ = timeout_at(idle_until.min(channels_until), self.listeners.gone()).await;
        self.listeners
            .drain(deadline.saturating_duration_since(Instant::now()))
            .await;
        // Those that were opened while the others were closed.
        let _ = timeout_at(deadline, self.channels.drain(Duration::ZERO)).await;
        self.admin.end().await;
        self.background.end().await;
        close(&*self.storage).await
    }

    /// Reads again, at once, what is also read again while the service runs.
    fn read_files_again(&self) {
        match &self.look_at_certificates {
            Some(look) => {
                tracing::info!("SIGHUP: reading the certificate files again");
                look.notify_one();
            }
            None => tracing::info!(
                "SIGHUP: there are no certificate files to read again; the configuration is read only at the start"
            ),
        }
    }

    /// Storage failed (PR-5): nothing that it confirmed is in doubt, and nothing more can be confirmed.
    async fn stop_without_storage(self, why: &str) -> Result<(), ServiceError> {
        tracing::error!(
            why,
            "storage failed: all channels are closed and the process exits"
        );
        self.stop(why).await;
        Err(ServiceError(format!("storage failed: {why}")))
    }

    /// A background task ended, which is a bug. Storage is good: what was accepted meanwhile is still written.
    async fn stop_without_task(self, why: &str) -> Result<(), ServiceError> {
        tracing::error!(
            why,
            "a background task ended: all channels are closed and the process exits"
        );
        let storage = Arc::clone(&self.storage);
        self.stop(why).await;
        let closed = close(&*storage).await;
        let sentence = format!(
            "{why}, and the service can't run without it. This is a bug: report it with this line. Start the service again; \
             no message that it confirmed is lost"
        );
        Err(ServiceError(match closed {
            Ok(()) => sentence,
            Err(error) => format!("{sentence}. Besides, {error}"),
        }))
    }

    /// Closes all that peers use, without patience.
    async fn stop(mut self, why: &str) {
        self.readiness.failed(why.to_owned());
        let _ = timeout(STORAGE_CLOSE_WITHIN, self.channels.stop()).await;
        self.listeners.drain(Duration::ZERO).await;
        self.admin.end().await;
        self.background.end().await;
    }

    /// Starts what runs beside requests and channels.
    fn run_background(
        &mut self,
        broker: Arc<Broker>,
        told: &Announcer,
        acceptor: Option<Acceptor>,
        renewer: Option<Renewer>,
    ) {
        let background = &self.background;
        if self.storage.is_shared() {
            let (broker, reconciler) = (Arc::clone(&broker), Arc::clone(&told.reconciler));
            background.spawn(Task::Reconcile, async move { reconciler.run(&broker).await });
        }
        let (relaying, outboxes) = (Arc::clone(&broker), Arc::clone(&told.outboxes));
        background.spawn(Task::Receipts, async move {
            relaying.keep_relaying(&outboxes).await;
        });
        let storage = Arc::clone(&self.storage);
        background.spawn(Task::StorageWatch, async move {
            storage_watch::watch(&*storage).await;
        });
        let channels = Arc::clone(&self.channels);
        background.spawn(Task::Time, async move { channels.keep_time().await });
        background.spawn(Task::Expire, async move { broker.keep_expiring().await });
        let Some(acceptor) = acceptor else { return };
        if let Some(renewer) = renewer {
            let acceptor = acceptor.clone();
            background.spawn(Task::CertificateRenewal, async move {
                match renewer.keep_renewing(acceptor).await {}
            });
        }
        let look = Arc::new(Notify::new());
        self.look_at_certificates = Some(Arc::clone(&look));
        background.spawn(Task::CertificateReload, async move {
            match acceptor.keep_certificate_fresh(CERTIFICATE_CHECK, &look).await {}
        });
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
