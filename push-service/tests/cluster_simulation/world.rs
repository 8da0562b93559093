//! One world: nodes with a shared storage, user agents and application servers, in virtual time.
//!
//! Everything runs in one thread on tokio's paused clock, which jumps to the next timer when all tasks are idle. All
//! random bits come from the seed, also for the code under test. So a seed gives the same world each time.
//!
//! A world has three phases: troubles; calm, in which every message has to arrive within one period of reconciling
//! and a bound; and a probe message to every subscription, which has to arrive at once. Then the checker judges the whole.

use std::ops::Not as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use push_service::random::seeded;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::bus::Sent;
use crate::chance::Chance;
use crate::checker::{Checker, Counts};
use crate::device::Agent;
use crate::parameters::Parameters;
use crate::plant::Plant;
use crate::process::Process;
use crate::runner::Violation;
use crate::store::{Store, millis};
use crate::trace::trace;
use crate::wire::Wire;

/// A world.
pub(crate) struct World {
    chance: Mutex<Chance>,
    pub(crate) parameters: Parameters,
    pub(crate) plant: Option<Plant>,
    checker: Mutex<Checker>,
    start: Instant,
    calm: AtomicBool,
    /// Signals the end of the troubles.
    pub(crate) calmed: Notify,
    pub(crate) store: Store,
    nodes: Mutex<Vec<Option<Arc<Process>>>>,
    pub(crate) agents: Vec<Agent>,
    wires: Mutex<Vec<Weak<Wire>>>,
    connections: AtomicU64,
    pub(crate) sent: Sent,
    /// Messages that were answered 201, with the tokens for deleting them.
    pub(crate) tokens: Mutex<Vec<(usize, String)>>,
    /// Each request of an application server that is under way holds one.
    pub(crate) requests: Arc<()>,
}

/// How often the checker is asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long after the troubles everything in progress has ended and every user agent is connected again, in
/// milliseconds: steps and wake-ups are seconds late, pauses last for seconds, and a session that attaches too often
/// waits for five (PR-15).
const SETTLES_WITHIN: u64 = 15_000;

/// How long a queue's delivery takes after each session was compared within the period, in milliseconds. Chosen: the
/// longest queue that a world makes, one message at a time.
const DELIVERED_WITHIN: u64 = 10_000;

/// The most steps of storage in a world; more means a loop. The busiest worlds have a third.
const OFFERS: u64 = 50_000;

/// Runs a world, to its end or to the first broken promise.
pub(crate) fn live(seed: u64, plant: Option<Plant>) -> (Counts, Option<Violation>) {
    let mut chance = Chance::new(seed);
    let parameters = Parameters::draw(&mut chance);
    seeded::seed_this_thread(Some(chance.bits()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    let checker = runtime.block_on(async {
        let world = World::new(chance, parameters, plant);
        world.run().await;
        world.nodes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        std::mem::take(&mut *world.checker())
    });
    drop(runtime);
    seeded::seed_this_thread(None);
    (checker.counts, checker.violation)
}

impl World {
    fn new(chance: Chance, parameters: Parameters, plant: Option<Plant>) -> Arc<Self> {
        Arc::new(Self {
            chance: Mutex::new(chance),
            plant,
            checker: Mutex::default(),
            start: Instant::now(),
            calm: AtomicBool::new(false),
            calmed: Notify::new(),
            store: Store::new(),
            nodes: Mutex::new(vec![None; parameters.nodes]),
            agents: (0..parameters.agents)
                .map(|_| Agent::new(parameters.names))
                .collect(),
            wires: Mutex::default(),
            connections: AtomicU64::new(0),
            sent: Sent::default(),
            tokens: Mutex::default(),
            requests: Arc::default(),
            parameters,
        })
    }

    async fn run(self: &Arc<Self>) {
        for place in 0..self.parameters.nodes {
            self.start_node(place);
        }
        self.start_agents();
        tokio::spawn(Arc::clone(self).send_on());
        tokio::spawn(Arc::clone(self).trouble_on());
        self.until(self.parameters.lasts).await;
        self.calm_down();
        // Most worlds end when nothing is missing any more; some go on, to test idle times.
        let is_short = self.chance().one_in(4).not();
        let settled = self.parameters.lasts + SETTLES_WITHIN + self.parameters.reconcile + DELIVERED_WITHIN;
        // A message whose request is under way may be accepted yet.
        let has_come = |world: &Self| Arc::strong_count(&world.requests) == 1 && world.missing().is_none();
        self.until_or(settled, |world| is_short && has_come(world)).await;
        self.look(Self::everything_has_come);
        if !is_short {
            self.probe().await;
        }
        self.until_receipts_are_told().await;
        self.look(Self::close_books);
    }

    fn look(&self, look: impl FnOnce(&Self)) {
        if self.checker().violation.is_none() {
            look(self);
        }
    }

    /// Runs the world until then, or until a promise is broken.
    pub(crate) async fn until(&self, end_ms: u64) {
        self.until_or(end_ms, |_| false).await;
    }

    /// The same, or until the condition holds.
    pub(crate) async fn until_or(&self, end_ms: u64, is_so: impl Fn(&Self) -> bool) {
        let end = self.start + millis(end_ms);
        while Instant::now() < end && self.checker().violation.is_none() && !is_so(self) {
            sleep_until(end.min(Instant::now() + LOOK_EVERY)).await;
            let (now, within) = (self.time_ms(), self.commit_within());
            let mut checker = self.checker();
            checker.look_at_acknowledgements(now, within);
            if checker.counts.offered > OFFERS {
                checker.violate(
                    "WS-CLS-1",
                    format!("{OFFERS} offers: a user agent runs in circles"),
                );
            }
        }
    }

    fn calm_down(self: &Arc<Self>) {
        trace!(self, "all is calm");
        self.calm.store(true, Ordering::Relaxed);
        for place in 0..self.parameters.nodes {
            match self.node(place) {
                Some(node) => node.heal(),
                None => self.start_node(place),
            }
        }
        for wire in self.wires().iter().filter_map(Weak::upgrade) {
            wire.heal();
        }
        self.calmed.notify_waiters();
    }

    /// The time, for lines of the trace.
    pub(crate) fn time_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(crate) fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn checker(&self) -> MutexGuard<'_, Checker> {
        self.checker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long until an acknowledgement that a node has read is in storage, without troubles, in milliseconds: after
    /// one step in progress, a request, and PR-4's 100 ms.
    fn commit_within(&self) -> u64 {
        5 * self.parameters.step() + 100
    }

    /// How long after a change in storage a node may still deliver the old state, without troubles, in milliseconds:
    /// wake-ups and pages may be on their way, and a page may be written after another.
    pub(crate) fn offer_slack(&self) -> u64 {
        2 * self.parameters.step() + self.parameters.bus_delay + 500
    }
}

/// Nodes.
impl World {
    pub(crate) fn start_node(self: &Arc<Self>, place: usize) {
        let process = Process::start(self, place);
        self.nodes()[place] = Some(process);
    }

    pub(crate) fn node(&self, place: usize) -> Option<Arc<Process>> {
        self.nodes()[place].clone()
    }

    /// Some running node.
    pub(crate) fn some_node(&self) -> Option<Arc<Process>> {
        let nodes: Vec<_> = self.nodes().iter().flatten().cloned().collect();
        let index = self.chance().index(nodes.len());
        nodes.into_iter().nth(index)
    }

    pub(crate) fn process_of(&self, incarnation: u64) -> Option<Arc<Process>> {
        let nodes = self.nodes();
        let mut there = nodes.iter().flatten();
        there.find(|node| node.incarnation == incarnation).cloned()
    }

    /// Ends the process, and starts another one in its place after a while.
    pub(crate) fn replace_node(self: &Arc<Self>, process: &Process, after: Duration) {
        process.kill();
        let place = process.health.place;
        self.nodes()[place] = None;
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(after).await;
            if world.node(place).is_none() {
                world.start_node(place);
            }
        });
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Option<Arc<Process>>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections.
impl World {
    /// A connection to some node, if one accepts it.
    pub(crate) fn connect(self: &Arc<Self>) -> Option<Arc<Wire>> {
        let node = self.some_node()?;
        let connection = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let wire = node.connect(self, connection)?;
        self.checker().counts.channels += 1;
        trace!(self, "connection {connection} to node {}", node.health.place);
        Some(wire)
    }

    pub(crate) fn keep_wire(&self, wire: &Arc<Wire>) {
        let mut wires = self.wires();
        wires.retain(|wire| wire.strong_count() > 0);
        wires.push(Arc::downgrade(wire));
    }

    pub(crate) fn wire_delay(&self) -> Duration {
        let most = if self.is_calm() { 5 } else { self.parameters.delay };
        millis(self.chance().within(0..=most))
    }

    /// When one end learns that the other is gone: at once, late, or never.
    pub(crate) fn learns_after(&self) -> Option<Duration> {
        if self.is_calm() {
            return Some(Duration::ZERO);
        }
        let mut chance = self.chance();
        match chance.within(0..=3) {
            0 | 1 => Some(millis(chance.within(0..=self.parameters.delay))),
            2 => Some(millis(chance.within(0..=20_000))),
            _ => None,
        }
    }

    fn wires(&self) -> MutexGuard<'_, Vec<Weak<Wire>>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
