//! A node: one run of the service's process, with the real registry, channels, reconciler and receipt carrier.
//!
//! All tasks of a process start through [`Process::spawn`], so that it can pause and die as a process does. Paused,
//! none of its tasks runs, while the world and messages to it go on. Killed, all of its tasks are dropped.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use push_protocol::Ttl;
use push_protocol::capability::{Capabilities, SealingKey};
use push_protocol::origin::Origin;
use push_service::broker::{Broker, Outboxes, Policy};
use push_service::budgets::{Budgets, Payer};
use push_service::channels::{ChannelBounds, Channels, Registry};
use push_service::cluster::Reconciler;
use push_service::config;
use push_service::metrics::Metrics;
use push_service::storage::clock::Clock;
use push_service::storage::{BUCKETS, Caps, Storage};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::bus::{Letter, listen};
use crate::link::Link;
use crate::plant::Plant;
use crate::store::{SetClock, millis};
use crate::tap::Tap;
use crate::trace::trace;
use crate::wire::Wire;
use crate::world::World;

/// The state of a process, as the world around it sees it. Times are milliseconds of the world.
pub(crate) struct Health {
    /// Which of the nodes it is.
    pub(crate) place: usize,
    paused_until: Mutex<Option<Instant>>,
    gone: AtomicBool,
    leaving: AtomicBool,
    /// Until when it was disturbed.
    disturbed_until: AtomicU64,
    cut_off_until: AtomicU64,
    deaf_until: AtomicU64,
}

impl Health {
    fn new(place: usize) -> Arc<Self> {
        Arc::new(Self {
            place,
            paused_until: Mutex::new(None),
            gone: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            disturbed_until: AtomicU64::new(0),
            cut_off_until: AtomicU64::new(0),
            deaf_until: AtomicU64::new(0),
        })
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Whether it was disturbed at that moment or later.
    pub(crate) fn was_disturbed_since(&self, since: u64) -> bool {
        self.is_gone() || self.disturbed_until.load(Ordering::Relaxed) >= since
    }

    pub(crate) fn disturb_until(&self, until: u64) {
        self.disturbed_until.fetch_max(until, Ordering::Relaxed);
    }

    pub(crate) fn is_cut_off(&self, now: u64) -> bool {
        now < self.cut_off_until.load(Ordering::Relaxed)
    }

    pub(crate) fn is_deaf(&self, now: u64) -> bool {
        now < self.deaf_until.load(Ordering::Relaxed)
    }

    fn paused_until(&self) -> Option<Instant> {
        let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| *until > Instant::now())
    }
}

/// A process.
pub(crate) struct Process {
    pub(crate) health: Arc<Health>,
    pub(crate) incarnation: u64,
    pub(crate) broker: Arc<Broker>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) reconciler: Arc<Reconciler>,
    pub(crate) clock: Arc<SetClock>,
    pub(crate) ear: UnboundedSender<Letter>,
    tasks: Mutex<JoinSet<()>>,
}

impl Process {
    /// Starts one, with a new incarnation.
    pub(crate) fn start(world: &Arc<World>, place: usize) -> Arc<Self> {
        let health = Health::new(place);
        let clock = SetClock::new();
        let registry = Registry::new();
        let period = millis(world.parameters.reconcile);
        let by = Arc::clone(&clock) as Arc<dyn Clock>;
        let reconciler = Reconciler::with_clock(Arc::clone(&registry), period, by);
        let outboxes = Arc::new(Outboxes::default());
        let incarnation = reconciler.registry().incarnation();
        let link = Link {
            world: Arc::clone(world),
            health: Arc::clone(&health),
            reconciler: Arc::clone(&reconciler),
            outboxes: Arc::clone(&outboxes),
            incarnation,
        };
        let broker = Broker::new(
            Arc::new(link) as Arc<dyn Storage>,
            capabilities(),
            origin(),
            policy(world),
            metrics(),
        );
        // The default budgets: they must not slow honest peers down (PR-42).
        let budgets = Budgets::new(&config::Limits::default(), metrics());
        let broker = Arc::new(broker.with_budgets(Arc::new(budgets)));
        let limits = world.parameters.service.clone();
        let channels = Channels::new(Arc::clone(&broker), registry, limits, SHARES, metrics());
        let (ear, letters) = unbounded_channel();
        let process = Arc::new(Self {
            health,
            incarnation,
            broker,
            channels,
            reconciler,
            clock,
            ear,
            tasks: Mutex::new(JoinSet::new()),
        });
        trace!(world, "node {place} starts as {incarnation:016x}");
        process.spawn(listen(Arc::clone(&process), letters));
        process.run_beside(world, outboxes);
        process
    }

    fn run_beside(&self, world: &Arc<World>, outboxes: Arc<Outboxes>) {
        let channels = Arc::clone(&self.channels);
        self.spawn(async move { channels.keep_time().await });
        if world.plant != Some(Plant::NoReconcile) {
            let (reconciler, broker) = (Arc::clone(&self.reconciler), Arc::clone(&self.broker));
            self.spawn(async move { reconciler.run(&broker).await });
        }
        let broker = Arc::clone(&self.broker);
        self.spawn(async move { broker.keep_expiring().await });
        let broker = Arc::clone(&self.broker);
        self.spawn(async move { broker.keep_relaying(&outboxes).await });
    }

    /// Runs a task of the process.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(Pausable {
            inner: Box::pin(task),
            health: Arc::clone(&self.health),
            sleep: None,
        });
    }

    /// A user agent's connection. `None` if the process does not listen.
    pub(crate) fn connect(&self, world: &Arc<World>, connection: u64) -> Option<Arc<Wire>> {
        if self.health.is_gone() || self.health.leaving.load(Ordering::Relaxed) {
            return None;
        }
        let tap = Tap::new(world, &self.health, connection);
        let (wire, node) = Wire::open(world, tap);
        self.spawn(self.channels.channel(node, b"", Payer::UNKNOWN));
        Some(wire)
    }

    /// Pauses the process.
    pub(crate) fn pause(&self, world: &World, long: u64) {
        self.health.disturb_until(world.time_ms() + long + AFTERMATH);
        let mut until = self
            .health
            .paused_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *until = Some(Instant::now() + millis(long));
    }

    /// It gets no answer from storage.
    pub(crate) fn cut_off(&self, world: &World, long: u64) {
        let until = world.time_ms() + long;
        self.health.disturb_until(until);
        self.health.cut_off_until.store(until, Ordering::Relaxed);
    }

    /// Wake-ups don't reach it; then it is told of the gap.
    pub(crate) fn deafen(self: &Arc<Self>, world: &World, long: u64) {
        let until = world.time_ms() + long;
        self.health.deaf_until.store(until, Ordering::Relaxed);
        let reconciler = Arc::clone(&self.reconciler);
        self.spawn(async move {
            sleep(millis(long)).await;
            let all: Vec<u16> = (0..BUCKETS).collect();
            reconciler.gap(&all);
        });
    }

    /// Ends all its troubles.
    pub(crate) fn heal(&self) {
        self.health.cut_off_until.store(0, Ordering::Relaxed);
    }

    /// Kills the process.
    pub(crate) fn kill(&self) {
        self.health.gone.store(true, Ordering::Relaxed);
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort_all();
    }

    /// Drains the process: no new connections, and channels are closed in order (PR-36). Resolves when the last one
    /// has ended.
    pub(crate) async fn drain(self: Arc<Self>, spread: Duration) {
        self.health.leaving.store(true, Ordering::Relaxed);
        let (said, gone) = tokio::sync::oneshot::channel();
        let channels = Arc::clone(&self.channels);
        self.spawn(async move {
            channels.drain(spread).await;
            let _ = said.send(());
        });
        let _ = gone.await;
    }
}

/// A task that runs only while its process does.
struct Pausable {
    inner: Pin<Box<dyn Future<Output = ()> + Send>>,
    health: Arc<Health>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Pausable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(until) = self.health.paused_until() {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
            sleep.as_mut().reset(until);
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.inner.as_mut().poll(cx)
    }
}

/// How long a pause may affect a node: it goes on with what it was about to do, which may be a step of storage. In
/// milliseconds.
const AFTERMATH: u64 = 2_000;

const SHARES: ChannelBounds = ChannelBounds {
    attaching: 8,
    delivery_bytes: 1 << 20,
};

pub(crate) fn origin() -> Origin {
    Origin::parse("https://push.example").expect("it is an origin")
}

/// One for all worlds: no test depends on different keys.
pub(crate) fn capabilities() -> Arc<Capabilities> {
    static CAPABILITIES: OnceLock<Arc<Capabilities>> = OnceLock::new();
    let make = || {
        let keys = [SealingKey::from_random([7; 32])];
        Arc::new(Capabilities::new(&keys).expect("it is one key"))
    };
    Arc::clone(CAPABILITIES.get_or_init(make))
}

/// One for all worlds: the tests do not read it.
fn metrics() -> Arc<Metrics> {
    static METRICS: OnceLock<Arc<Metrics>> = OnceLock::new();
    Arc::clone(METRICS.get_or_init(|| Arc::new(Metrics::new())))
}

fn policy(world: &World) -> Policy {
    Policy {
        require_vapid: false,
        application_servers: Default::default(),
        ttl: Ttl::from_secs(30 * 86_400),
        queue_limits: world.parameters.queue_limits,
        caps: Caps::default(),
        rate: None,
        subscriptions_per_user_agent: 100,
    }
}
