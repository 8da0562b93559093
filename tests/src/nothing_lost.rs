//! Nothing lost: the whole service under load while it is killed again and again.
//!
//! Sixteen application servers send at once to user agents of which some stay and some come and go, some speak the WebSocket
//! and some RFC 8030; and receipts tell them how their messages ended. Nodes are killed with SIGKILL at random
//! points, sometimes while they are still starting, and started again on the same data and ports. In the end everything is
//! delivered and the [`checker`] judges by the promise: every 201 came out, every 202 has one true receipt, nothing
//! came again after its acknowledgement was committed, first offers came in order, no subscription is gone.
//!
//! The service has one of two [`Shape`]s: a node alone, or several on a Redis Cluster, where wake-ups get lost as well. Before
//! the end no wake-up comes any more: the last messages have to be found without.
//!
//! Random choices come from a printed seed. What the processes and the network make of them is real, so a seed names a
//! plan and not an execution.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::alone::Alone;
use self::checker::{Checker, NodeNumber};
use self::cluster::OnCluster;
use self::connectors::Connectors;
use self::line::Manner;
use crate::chance::Chance;
use crate::plan::Plan;
use crate::settings::Settings;

pub mod checker;

mod agent;
mod alone;
mod cluster;
mod connectors;
pub(crate) mod line;
mod receiver;
mod sender;
mod stays;
mod subscriber;

/// Application servers that send at the same time.
const SENDERS: usize = 16;
/// Pushes that a user agent takes at a time, if it takes few: less than it has waiting.
const FEW_PUSHES: u32 = 8;
/// The same of one who takes many.
const MANY_PUSHES: u32 = 100;
/// Subscriptions that each user agent makes before the first kill.
const SUBSCRIPTIONS: usize = 4;
/// How long the drain may take, and what is missed for the next comparison as well.
const DRAIN: Duration = Duration::from_secs(60);
/// Between two looks into the checker: each reads all of them and keeps all peers from writing, so that a look after each
/// change would hold the test up and not the service.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which service is tested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// One node with embedded storage.
    Alone,
    /// Three nodes that are killed and one that is not, on a Redis Cluster of three.
    Cluster {
        /// How often a node compares its sessions with storage; whole seconds.
        reconcile: Duration,
    },
}

/// A service of some shape, and what is done to it.
trait Service {
    /// Its nodes.
    const NODES: usize;
    /// User agents that use it.
    const USER_AGENTS: usize;
    /// The longest time between two messages of one sender.
    const PAUSE: Duration;

    fn connectors(&self) -> Connectors;

    fn habit(user_agent: usize) -> Habit;

    fn speech(user_agent: usize) -> Speech;

    /// The node that always tells the receipts of this sender, if one does.
    fn listens_at(sender: usize) -> Option<NodeNumber>;

    /// Kills as often as planned, and whatever else can happen.
    async fn storm(&mut self, plan: Plan, chance: &mut Chance, world: &World);

    /// From now on nothing tells a node of what another has accepted.
    async fn deafen(&mut self);

    /// Ends what [`deafen`](Self::deafen) began.
    async fn hear_again(&mut self);
}

/// How a user agent lives during the storm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Habit {
    /// Keeps its one connection to this node from the beginning to the end.
    StaysFor(NodeNumber),
    /// Stays where it is until the node is killed.
    Stays,
    /// Is away as often as not.
    ComesAndGoes,
}

/// How a user agent is told of messages.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Speech {
    WebSocket,
    Rfc8030(Manner),
}

/// What all peers share.
struct World {
    checker: Mutex<Checker>,
    connectors: Connectors,
    phase: watch::Receiver<Phase>,
    habit: fn(usize) -> Habit,
    listens_at: fn(usize) -> Option<NodeNumber>,
    /// The receipt subscription of each sender, when it was given one.
    receipts: Vec<watch::Sender<Option<String>>>,
    /// The longest time between two messages of one sender.
    pause: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    /// Every peer connects once: subscriptions are made.
    Gather,
    /// Senders send, user agents come and go.
    Storm,
    /// All user agents stay until everything has arrived.
    Drain,
    /// User agents acknowledge what is left and go.
    Leave,
}

impl World {
    fn checker(&self) -> MutexGuard<'_, Checker> {
        self.checker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Plays the plan and returns a summary.
///
/// # Panics
///
/// When the promise was broken, with every breach.
pub async fn run(shape: Shape, plan: Plan) -> String {
    println!(
        "nothing lost: {shape:?}, {} kills, seed {}",
        plan.rounds, plan.seed
    );
    match shape {
        Shape::Alone => play(Alone::start().await, DRAIN, plan).await,
        Shape::Cluster { reconcile } => {
            play(OnCluster::start(reconcile).await, DRAIN + reconcile, plan).await
        }
    }
}

async fn play<S: Service>(mut service: S, patience: Duration, plan: Plan) -> String {
    let started = Instant::now();
    let mut chance = Chance::new(plan.seed);
    let (phase, phase_seen) = watch::channel(Phase::Gather);
    let world = Arc::new(World {
        checker: Mutex::new(Checker::new(plan.seed, S::NODES)),
        connectors: service.connectors(),
        phase: phase_seen,
        habit: S::habit,
        listens_at: S::listens_at,
        receipts: (0..SENDERS).map(|_| watch::Sender::default()).collect(),
        pause: S::PAUSE,
    });
    let progress = |what, reached| progress(&world, patience, what, reached);

    let mut agents = JoinSet::new();
    for number in 0..S::USER_AGENTS {
        let (world, chance) = (Arc::clone(&world), chance.fork());
        match S::speech(number) {
            Speech::WebSocket => agents.spawn(agent::live(world, number, chance)),
            Speech::Rfc8030(manner) => agents.spawn(subscriber::live(world, number, manner, chance)),
        };
    }
    progress("all user agents have their subscriptions", |checker| {
        checker.subscriptions() == S::USER_AGENTS * SUBSCRIPTIONS
    })
    .await;

    phase.send_replace(Phase::Storm);
    let (mut senders, mut receivers) = (JoinSet::new(), JoinSet::new());
    for number in 0..SENDERS {
        receivers.spawn(receiver::listen(Arc::clone(&world), number, chance.fork()));
        senders.spawn(sender::send(Arc::clone(&world), number, chance.fork()));
    }
    service.storm(plan, &mut chance, &world).await;
    service.deafen().await;
    phase.send_replace(Phase::Drain);
    while let Some(ended) = senders.join_next().await {
        ended.expect("a sender ends");
    }
    let (silence, last) = (Instant::now(), missed_by_who_stays::<S>(&world.checker()));
    assert!(last > 0 || S::NODES == 1, "everything came though no wake-up did");
    progress("those that stay get everything", |checker| {
        missed_by_who_stays::<S>(checker) == 0
    })
    .await;
    let silence = silence.elapsed();
    progress("everything that was accepted arrives", |checker| {
        checker.missing() == 0
    })
    .await;

    // A user agent that comes back now has nothing to receive: an echo would come before the closing word.
    progress("all acknowledgements are settled", Checker::is_settled).await;
    service.hear_again().await;
    tokio::time::sleep(checker::TAKEN_AFTER).await;
    world.checker().everybody_returns();
    sender::closing_words(&world).await;
    progress("the closing words arrive", |checker| checker.missing() == 0).await;
    phase.send_replace(Phase::Leave);
    while let Some(ended) = agents.join_next().await {
        ended.expect("a user agent ends");
    }
    progress("every sender is told how its messages ended", |checker| {
        checker.untold() == 0
    })
    .await;
    receivers.shutdown().await;
    no_user_agent_had_to_return::<S>(&mut world.checker());

    let checker = world.checker();
    let breaches = checker.audit();
    let summary = format!(
        "{}; the last {last} for who stays came within {:.1} s of silence; in {:.1} s",
        checker.summary(),
        silence.as_secs_f64(),
        started.elapsed().as_secs_f64()
    );
    assert!(
        breaches.is_empty(),
        "the promise was broken {} times (seed {}): {summary}\n{}",
        breaches.len(),
        plan.seed,
        breaches[..breaches.len().min(40)].join("\n")
    );
    summary
}

/// How much was accepted for those who stay and has not come yet.
fn missed_by_who_stays<S: Service>(checker: &Checker) -> usize {
    let who_stays = (0..S::USER_AGENTS).filter(|agent| matches!(S::habit(*agent), Habit::StaysFor(_)));
    who_stays.map(|agent| checker.missing_of(agent)).sum()
}

/// A user agent that stays at a node that lives got everything on one connection.
fn no_user_agent_had_to_return<S: Service>(checker: &mut Checker) {
    for agent in 0..S::USER_AGENTS {
        let connections = checker.connections_of(agent);
        if matches!(S::habit(agent), Habit::StaysFor(_)) && connections != 1 {
            checker.breach(format!("user agent {agent} had to connect {connections} times"));
        }
    }
}

/// Queues without a budget: what is given up by the written rule would have to be told from what was lost. A wide
/// window, so that user agents that hesitate to acknowledge keep up with their senders. User agents ping after each
/// acknowledgement, and are not closed for it.
fn queues(settings: Settings) -> Settings {
    settings
        .set("channels.in_flight", 256)
        .set("channels.min_ping_interval", "0s")
        .set("limits.queue_messages", 1_000_000)
        .set("limits.queue_bytes", 1_073_741_824_u64)
}

/// Waits for a state of the checker, and fails when it is not reached in time.
async fn progress(world: &World, patience: Duration, what: &str, reached: fn(&Checker) -> bool) {
    let mut news = world.checker().news();
    let waiting = async {
        while !reached(&world.checker()) {
            tokio::time::sleep(LOOK_EVERY).await;
            news.changed().await.expect("the checker are kept");
        }
    };
    if tokio::time::timeout(patience, waiting).await.is_err() {
        let checker = world.checker();
        panic!(
            "not within {patience:?}: {what}; {}\n{}\n{}",
            checker.summary(),
            checker.waiting(),
            checker.audit().join("\n")
        );
    }
}
