//! Nothing lost: the whole service under load while it is killed again and again.
//!
//! Sixteen application servers send at once to user agents of which half come and go; the service is killed with
//! SIGKILL at random points, sometimes while it is still starting, and started again on the same data and ports. In
//! the end everything is delivered and the [`books`] are audited against the promise: every 201 came out, nothing
//! came again after its acknowledgement was committed, first offers came in order, no subscription is gone.
//!
//! Random choices come from a printed seed. What the processes and the network make of them is real, so a seed names a
//! plan and not an execution.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::books::Books;
use crate::chance::Chance;
use crate::door::Door;
use crate::node::Node;
use crate::plan::Plan;
use crate::settings::Settings;

pub mod books;

mod agent;
mod sender;

/// Application servers that send at the same time.
const SENDERS: usize = 16;
/// User agents; every second one comes and goes.
const USER_AGENTS: usize = 8;
/// Subscriptions that each user agent makes before the first kill.
const SUBSCRIPTIONS: usize = 4;
/// The service lives this long between two kills.
const LIFE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1_800));
/// Within this time after its start the service may be killed again, listening or not.
const STUMBLE: Duration = Duration::from_millis(60);
/// How long the drain may take.
const DRAIN: Duration = Duration::from_secs(60);

/// What everybody in the test shares.
struct World {
    books: Mutex<Books>,
    /// Whether the service may be connected to, and where.
    service: watch::Receiver<Option<Door>>,
    phase: watch::Receiver<Phase>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    /// Everybody is there once: subscriptions are made.
    Gather,
    /// Senders send, user agents come and go.
    Storm,
    /// All user agents stay until everything has arrived.
    Drain,
    /// User agents acknowledge what is left and go.
    Leave,
}

impl World {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the service may be connected to; `None` when the test is over.
    async fn door(&self) -> Option<Door> {
        let mut service = self.service.clone();
        let up = service.wait_for(Option::is_some).await.ok()?;
        up.clone()
    }
}

/// Plays the plan and returns a summary.
///
/// # Panics
///
/// When the promise was broken, with every breach.
pub async fn run(plan: Plan) -> String {
    let started = Instant::now();
    println!("nothing lost: {} kills, seed {}", plan.rounds, plan.seed);
    let mut chance = Chance::new(plan.seed);
    let mut node = Node::start(settings()).await;
    let (service, service_seen) = watch::channel(Some(node.door()));
    let (phase, phase_seen) = watch::channel(Phase::Gather);
    let world = Arc::new(World {
        books: Mutex::new(Books::new(plan.seed)),
        service: service_seen,
        phase: phase_seen,
    });

    let mut agents = JoinSet::new();
    for number in 0..USER_AGENTS {
        agents.spawn(agent::live(Arc::clone(&world), number, chance.fork()));
    }
    progress(&world, "all user agents have their subscriptions", |books| {
        books.subscriptions() == USER_AGENTS * SUBSCRIPTIONS
    })
    .await;

    phase.send_replace(Phase::Storm);
    let mut senders = JoinSet::new();
    for number in 0..SENDERS {
        senders.spawn(sender::send(Arc::clone(&world), number, chance.fork()));
    }
    for _ in 0..plan.rounds {
        tokio::time::sleep(chance.between(LIFE)).await;
        service.send_replace(None);
        world.books().killed(Instant::now());
        node.kill().await;
        while chance.one_in(5) {
            node.stumble(chance.between((Duration::ZERO, STUMBLE))).await;
        }
        node.start_again().await;
        service.send_replace(Some(node.door()));
    }
    phase.send_replace(Phase::Drain);
    while let Some(ended) = senders.join_next().await {
        ended.expect("a sender ends");
    }
    progress(&world, "everything that was accepted arrives", |books| {
        books.missing() == 0
    })
    .await;

    // Whoever comes back now has nothing to receive: an echo would come before the closing word.
    progress(&world, "all acknowledgements are settled", Books::is_settled).await;
    tokio::time::sleep(books::TAKEN_AFTER).await;
    world.books().everybody_returns();
    sender::closing_words(&world).await;
    progress(&world, "the closing words arrive", |books| books.missing() == 0).await;
    phase.send_replace(Phase::Leave);
    while let Some(ended) = agents.join_next().await {
        ended.expect("a user agent ends");
    }
    drop(service);

    let books = world.books();
    let breaches = books.audit();
    let summary = format!("{}, in {:.1} s", books.summary(), started.elapsed().as_secs_f64());
    assert!(
        breaches.is_empty(),
        "the promise was broken {} times (seed {}): {summary}\n{}",
        breaches.len(),
        plan.seed,
        breaches[..breaches.len().min(40)].join("\n")
    );
    summary
}

/// Queues without a budget: what is given up by the written rule would have to be told from what was lost. A wide
/// window, so that user agents that hesitate to acknowledge keep up with their senders.
fn settings() -> Settings {
    Settings::new()
        .set("channels.in_flight", 256)
        .set("limits.queue_messages", 1_000_000)
        .set("limits.queue_bytes", 1_073_741_824_u64)
}

/// Waits for a state of the books, and fails when it is not reached in time.
async fn progress(world: &World, what: &str, reached: impl Fn(&Books) -> bool) {
    let mut news = world.books().news();
    let waiting = async {
        while !reached(&world.books()) {
            news.changed().await.expect("the books are kept");
        }
    };
    if tokio::time::timeout(DRAIN, waiting).await.is_err() {
        let books = world.books();
        panic!(
            "not within {DRAIN:?}: {what}; {}\n{}\n{}",
            books.summary(),
            books.waiting(),
            books.audit().join("\n")
        );
    }
}
