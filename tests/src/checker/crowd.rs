//! All peers of the service during a trial: user agents, application servers, and receivers of receipts.
//!
//! Contract: each peer makes random choices from the seed, and records everything that it does in the history,
//! without judging it. A request has a deadline, and one that misses it was not answered.

mod agents;
mod senders;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use self::agents::{Agent, Habit, appear};
use self::senders::{Sender, hear_receipts};
use super::history::{NodeNumber, Recorder, Time};
use crate::chance::Chance;
use crate::connector::Connector;

/// The number of application servers. Each serves its part of the subscriptions, one request after the other, so that
/// the order of acceptance is known.
pub const SENDERS: usize = 6;
/// Longer than any answer takes: the service gives a step three seconds, and a hello ten.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// The time between two decisions of a user agent.
const TICK: Duration = Duration::from_millis(20);

/// Who takes part, and how busy they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Busy {
    /// User agents that stay connected, spread over the nodes.
    pub residents: usize,
    /// User agents that come and go, to any node.
    pub visitors: usize,
    /// User agents that are away until the end.
    pub absent: usize,
    /// The time between two new user agents, which subscribe and come back now and then.
    pub newcomer_every: Duration,
    /// The longest pause between two messages of one sender.
    pub pause: Duration,
}

/// The phases of a trial.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Subscriptions are made.
    Gather,
    /// Senders send, user agents come and go.
    Storm,
    /// All user agents connect and stay.
    Drain,
    /// The same on new channels.
    Return,
    /// All peers leave.
    Over,
}

/// State that all peers share.
#[derive(Debug)]
pub struct Shared {
    /// The history.
    pub recorder: Recorder,
    connectors: watch::Receiver<Vec<Option<Connector>>>,
    phase: watch::Receiver<Phase>,
    receipts: Vec<watch::Sender<Option<String>>>,
    /// How many messages have arrived whose acknowledgement has not reached a node.
    pub unsettled: AtomicUsize,
    /// How many user agents are connected that have seen this phase.
    pub returned: AtomicUsize,
    /// User agents that have their first subscriptions.
    pub settled_in: AtomicUsize,
    /// New user agents; their numbers follow those of the others.
    pub newcomers: AtomicUsize,
    /// When a push was accepted last, for each node.
    accepted: watch::Sender<Vec<Option<(Time, Instant)>>>,
    busy: Busy,
}

/// All peers, running.
#[derive(Debug)]
pub struct Crowd {
    /// Their shared state.
    pub shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    agents: JoinSet<()>,
    senders: JoinSet<()>,
    others: JoinSet<()>,
    newcomers: Option<tokio::task::JoinHandle<JoinSet<()>>>,
}

impl Crowd {
    /// User agents arrive and subscribe.
    pub fn gather(
        recorder: Recorder,
        connectors: watch::Receiver<Vec<Option<Connector>>>,
        busy: Busy,
        chance: &mut Chance,
    ) -> Self {
        let (phase, seen) = watch::channel(Phase::Gather);
        let nodes = connectors.borrow().len();
        let shared = Arc::new(Shared {
            recorder,
            connectors,
            phase: seen,
            receipts: (0..SENDERS).map(|_| watch::Sender::default()).collect(),
            unsettled: AtomicUsize::new(0),
            returned: AtomicUsize::new(0),
            settled_in: AtomicUsize::new(0),
            newcomers: AtomicUsize::new(0),
            accepted: watch::Sender::new(vec![None; nodes]),
            busy,
        });
        let mut agents = JoinSet::new();
        let all = busy.residents + busy.visitors + busy.absent;
        for number in 0..all {
            let habit = match number {
                resident if resident < busy.residents => Habit::Stays(resident % nodes),
                visitor if visitor < busy.residents + busy.visitors => Habit::Roams,
                _ => Habit::Away,
            };
            agents.spawn(Agent::new(Arc::clone(&shared), number, habit, 2, chance.fork()).live());
        }
        Self {
            shared,
            phase,
            agents,
            senders: JoinSet::new(),
            others: JoinSet::new(),
            newcomers: None,
        }
    }

    /// Waits until every user agent has its first subscriptions; `false` if that takes too long.
    pub async fn is_gathered(&self) -> bool {
        let busy = self.shared.busy;
        let all = busy.residents + busy.visitors + busy.absent;
        eventually(Duration::from_secs(40), || {
            self.shared.settled_in.load(Ordering::Relaxed) >= all
        })
        .await
    }

    /// Messages are sent from now on.
    pub fn storm(&mut self, chance: &mut Chance) {
        self.phase.send_replace(Phase::Storm);
        for number in 0..SENDERS {
            self.others
                .spawn(hear_receipts(Arc::clone(&self.shared), number, chance.fork()));
            self.senders
                .spawn(Sender::new(Arc::clone(&self.shared), number, chance.fork()).send());
        }
        self.newcomers = Some(tokio::spawn(appear(Arc::clone(&self.shared), chance.fork())));
    }

    /// Application servers stop, and all user agents connect.
    pub async fn drain(&mut self) {
        self.phase.send_replace(Phase::Drain);
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("a sender ends well");
        }
        if let Some(newcomers) = self.newcomers.take() {
            let mut newcomers = newcomers.await.expect("newcomers come");
            while let Some(ended) = newcomers.try_join_next() {
                ended.expect("a user agent ends well");
            }
            self.agents
                .spawn(async move { while newcomers.join_next().await.is_some() {} });
        }
    }

    /// All user agents connect again.
    pub fn come_back(&self) {
        self.shared.returned.store(0, Ordering::Relaxed);
        self.phase.send_replace(Phase::Return);
    }

    /// Waits until all user agents are connected and all deliveries are acknowledged.
    pub async fn is_back(&self, within: Duration) -> bool {
        let busy = self.shared.busy;
        let all =
            busy.residents + busy.visitors + busy.absent + self.shared.newcomers.load(Ordering::Relaxed);
        eventually(within, || {
            self.shared.returned.load(Ordering::Relaxed) >= all
                && self.shared.unsettled.load(Ordering::Relaxed) == 0
        })
        .await
    }

    /// All peers leave, and are awaited.
    pub async fn disperse(mut self) {
        self.phase.send_replace(Phase::Over);
        self.others.shutdown().await;
        let leave = async { while self.agents.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(ANSWERED_WITHIN, leave).await;
        self.agents.shutdown().await;
    }
}

/// Polls until a condition holds for which there is no event.
pub async fn eventually(within: Duration, is_so: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > within {
            return false;
        }
        tokio::time::sleep(TICK).await;
    }
    true
}

impl Shared {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until this node may be connected to.
    async fn connector_of(&self, node: NodeNumber) -> Option<Connector> {
        let mut connectors = self.connectors.clone();
        let found = connectors
            .wait_for(|connectors| connectors[node].is_some())
            .await
            .ok()?;
        found[node].clone()
    }

    /// Any node that may be connected to.
    async fn any_connector(&self, chance: &mut Chance) -> Option<(NodeNumber, Connector)> {
        let mut connectors = self.connectors.clone();
        let found = connectors
            .wait_for(|connectors| connectors.iter().any(Option::is_some))
            .await
            .ok()?;
        let mut up: Vec<(NodeNumber, Connector)> = found
            .iter()
            .cloned()
            .enumerate()
            .filter_map(|(node, connector)| Some((node, connector?)))
            .collect();
        Some(up.swap_remove(chance.below(up.len())))
    }

    /// Waits until each of these nodes has accepted a push that began after now; returns how long that took. `None`:
    /// not in time.
    pub async fn all_accept(&self, within: Duration) -> Option<Duration> {
        let (now, began) = (self.recorder.now(), Instant::now());
        let mut accepted = self.accepted.subscribe();
        let all = |accepted: &Vec<Option<(Time, Instant)>>| {
            accepted
                .iter()
                .all(|last| last.is_some_and(|(asked, _)| asked > now))
        };
        let waited = tokio::time::timeout(within, accepted.wait_for(all)).await;
        matches!(waited, Ok(Ok(_))).then(|| began.elapsed())
    }
}
