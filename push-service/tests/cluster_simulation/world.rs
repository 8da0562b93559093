//! One world: nodes and the storage that they share, user agents, application servers, in virtual time.
//!
//! Everything runs in one thread on tokio's paused clock, which goes on to the next timer when nobody has anything to do;
//! and chance comes from the seed, also for the code under test. So a seed is the same world each time.
//!
//! A world has three parts: the troubles; then calm, in which everything has to arrive within a period of reconciling and
//! a bound; then a probe of every subscription, which has to arrive at once. Then the books are closed.

use std::ops::Not as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use push_service::random::seeded;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::books::{Books, Counts};
use crate::bus::Sent;
use crate::chance::Chance;
use crate::device::Agent;
use crate::plant::Plant;
use crate::process::Process;
use crate::runner::Violation;
use crate::store::{Store, millis};
use crate::trace::trace;
use crate::weather::Weather;
use crate::wire::Wire;

/// A world.
pub(crate) struct World {
    chance: Mutex<Chance>,
    pub(crate) weather: Weather,
    pub(crate) plant: Option<Plant>,
    books: Mutex<Books>,
    start: Instant,
    calm: AtomicBool,
    /// Told when all is calm.
    pub(crate) calmed: Notify,
    pub(crate) store: Store,
    nodes: Mutex<Vec<Option<Arc<Process>>>>,
    pub(crate) agents: Vec<Agent>,
    wires: Mutex<Vec<Weak<Wire>>>,
    connections: AtomicU64,
    pub(crate) sent: Sent,
    /// Messages that were answered 201, with the tokens by which they may be taken back.
    pub(crate) tokens: Mutex<Vec<(usize, String)>>,
}

/// How often the books are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What was under way when all became calm is over after so long, and everybody is connected again: steps and wake-ups are
/// seconds late, pauses last for seconds, and whoever attaches too often waits for five (PR-15). In milliseconds.
const SETTLES_WITHIN: u64 = 15_000;

/// Then each session has its turn within the period, and a queue is delivered in so many milliseconds. Chosen: the longest
/// that a world makes, one message at a time.
const DELIVERED_WITHIN: u64 = 10_000;

/// Storage is asked for more than that by no world: it is a loop. The busiest worlds have a third.
const OFFERS: u64 = 50_000;

/// Lives a world, to its end or to the first broken promise.
pub(crate) fn live(seed: u64, plant: Option<Plant>) -> (Counts, Option<Violation>) {
    let mut chance = Chance::new(seed);
    let weather = Weather::draw(&mut chance);
    seeded::seed_this_thread(Some(chance.bits()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    let books = runtime.block_on(async {
        let world = World::new(chance, weather, plant);
        world.run().await;
        world.nodes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        std::mem::take(&mut *world.books())
    });
    drop(runtime);
    seeded::seed_this_thread(None);
    (books.counts, books.violation)
}

impl World {
    fn new(chance: Chance, weather: Weather, plant: Option<Plant>) -> Arc<Self> {
        Arc::new(Self {
            chance: Mutex::new(chance),
            plant,
            books: Mutex::default(),
            start: Instant::now(),
            calm: AtomicBool::new(false),
            calmed: Notify::new(),
            store: Store::new(),
            nodes: Mutex::new(vec![None; weather.nodes]),
            agents: (0..weather.agents).map(|_| Agent::new(weather.names)).collect(),
            wires: Mutex::default(),
            connections: AtomicU64::new(0),
            sent: Sent::default(),
            tokens: Mutex::default(),
            weather,
        })
    }

    async fn run(self: &Arc<Self>) {
        for place in 0..self.weather.nodes {
            self.start_node(place);
        }
        self.start_agents();
        tokio::spawn(Arc::clone(self).send_on());
        tokio::spawn(Arc::clone(self).trouble_on());
        self.until(self.weather.lasts).await;
        self.calm_down();
        // Most worlds end when nothing is missing any more; some go on, for what happens when nothing happens.
        let is_short = self.chance().one_in(4).not();
        let settled = self.weather.lasts + SETTLES_WITHIN + self.weather.reconcile + DELIVERED_WITHIN;
        self.until_or(settled, |world| is_short && world.missing().is_none())
            .await;
        self.look(Self::everything_has_come);
        if !is_short {
            self.probe().await;
        }
        self.until_receipts_are_told().await;
        self.look(Self::close_books);
    }

    fn look(&self, look: impl FnOnce(&Self)) {
        if self.books().violation.is_none() {
            look(self);
        }
    }

    /// Lets everything happen until then, or until a promise is broken.
    pub(crate) async fn until(&self, end_ms: u64) {
        self.until_or(end_ms, |_| false).await;
    }

    /// The same, or until it is so.
    pub(crate) async fn until_or(&self, end_ms: u64, is_so: impl Fn(&Self) -> bool) {
        let end = self.start + millis(end_ms);
        while Instant::now() < end && self.books().violation.is_none() && !is_so(self) {
            sleep_until(end.min(Instant::now() + LOOK_EVERY)).await;
            let (now, within) = (self.time_ms(), self.commit_within());
            let mut books = self.books();
            books.look_at_acknowledgements(now, within);
            if books.counts.offered > OFFERS {
                books.violate("WS-CLS-1", format!("{OFFERS} offers: somebody runs in circles"));
            }
        }
    }

    fn calm_down(self: &Arc<Self>) {
        trace!(self, "all is calm");
        self.calm.store(true, Ordering::Relaxed);
        for place in 0..self.weather.nodes {
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

    /// The time, as lines of the trace tell it.
    pub(crate) fn time_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(crate) fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Within so many milliseconds what a node has read is in storage, if nothing goes wrong: behind one step that is under
    /// way and a request, and PR-4's 100 ms.
    fn commit_within(&self) -> u64 {
        5 * self.weather.step() + 100
    }

    /// So many milliseconds after a change of storage no node offers what it knew before, if nothing goes wrong: wake-ups
    /// and pages may be under way, and a page may be written behind another.
    pub(crate) fn offer_slack(&self) -> u64 {
        2 * self.weather.step() + self.weather.bus_delay + 500
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

    /// Some node that is there.
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

    /// The process is gone, and after a while another one is in its place.
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
    /// A connection to some node, if one takes it.
    pub(crate) fn connect(self: &Arc<Self>) -> Option<Arc<Wire>> {
        let node = self.some_node()?;
        let connection = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let wire = node.connect(self, connection)?;
        self.books().counts.channels += 1;
        trace!(self, "connection {connection} to node {}", node.health.place);
        Some(wire)
    }

    pub(crate) fn keep_wire(&self, wire: &Arc<Wire>) {
        let mut wires = self.wires();
        wires.retain(|wire| wire.strong_count() > 0);
        wires.push(Arc::downgrade(wire));
    }

    pub(crate) fn wire_delay(&self) -> Duration {
        let most = if self.is_calm() { 5 } else { self.weather.delay };
        millis(self.chance().within(0..=most))
    }

    /// When one end learns that the other is gone: at once, late, or never.
    pub(crate) fn learns_after(&self) -> Option<Duration> {
        if self.is_calm() {
            return Some(Duration::ZERO);
        }
        let mut chance = self.chance();
        match chance.within(0..=3) {
            0 | 1 => Some(millis(chance.within(0..=self.weather.delay))),
            2 => Some(millis(chance.within(0..=20_000))),
            _ => None,
        }
    }

    fn wires(&self) -> MutexGuard<'_, Vec<Weak<Wire>>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
