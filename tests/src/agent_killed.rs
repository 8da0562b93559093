//! The agent killed: the user agent's command under load, while it is killed again and again.
//!
//! One user agent has a few subscriptions, and for each an application server sends one message after the other. The
//! command is killed with SIGKILL: at random times, in half of the rounds after so many lines instead, so that there
//! are always lines before and after a kill; and started again on the same state. Now and then the service is killed as
//! well. In the end the [`books`] are audited: everything that was answered 201 was printed, in order; what was printed
//! came again only if the kill fell between the line and the record of it; and no key or subscription has changed.
//!
//! What a user agent prints it has decrypted, so what is sent has to be encrypted. That is done with `push-protocol`, the
//! service's and the user agent's own, because other libraries are too slow for a load. It is no proof of the
//! encryption, then: that both directions agree with independent libraries is shown elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::books::Books;
use crate::chance::Chance;
use crate::door::Door;
use crate::listener::{Agent, Listener};
use crate::node::Node;
use crate::plan::Plan;
use crate::recipient::Recipient;
use crate::settings::Settings;
use crate::within;

pub mod books;

mod sender;

/// Names of the subscriptions; each has a sender of its own.
const SUBSCRIPTIONS: [&str; 8] = [
    "alerts", "build", "chat", "door", "größe", "mail", "tea time", "z",
];
/// In half of the rounds the user agent is killed within this time after its start: from before its first connection to
/// well into its messages.
const LIFE: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(300));
/// In the others after so many lines at most. Chosen: fewer than a service has on the wire at once, and than are sent in the
/// meantime; so the next messages wait in the user agent when it is killed, and again the next time, and must not be
/// taken for messages that were tried.
const LINES: usize = 16;
/// Once in so many rounds the service is killed as well.
const NODE_KILLED_ONCE_IN: usize = 6;
/// Senders wait while so many messages do: more than the longest life prints, so that no kill finds the user agent without
/// work, and no more than the drain has time for on a slow disk.
const BACKLOG: usize = 1_000;
/// How long the drain may take: a user agent that has missed its service for a while is patient.
const DRAIN: Duration = Duration::from_secs(60);

/// What everybody in the test shares.
struct World {
    books: Mutex<Books>,
    /// How many messages were accepted and not printed.
    missing: watch::Sender<usize>,
    /// Where the service is, while it may be connected to.
    service: watch::Receiver<Option<Door>>,
    /// Whether senders go on.
    storm: watch::Receiver<bool>,
}

impl World {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the books, and tells whoever waits for room in the backlog.
    fn enter(&self, change: impl FnOnce(&mut Books)) {
        let mut books = self.books();
        change(&mut books);
        self.missing.send_replace(books.missing());
    }

    /// Waits until the backlog has room and the storm goes on; `false` when it is over.
    async fn goes_on(&self) -> bool {
        let (mut missing, mut storm) = (self.missing.subscribe(), self.storm.clone());
        tokio::select! {
            biased;
            _ = storm.wait_for(|on| !on) => false,
            _ = missing.wait_for(|missing| *missing < BACKLOG) => true,
        }
    }

    /// Waits until the service may be connected to.
    async fn door(&self) -> Door {
        let mut service = self.service.clone();
        let up = service.wait_for(Option::is_some).await;
        up.expect("the test goes on").clone().expect("it was waited for")
    }
}

/// The one who starts and kills.
struct Killer {
    world: Arc<World>,
    chance: Chance,
    agent: Agent,
    node: Node,
    service: watch::Sender<Option<Door>>,
    nodes_killed: usize,
}

/// Plays the plan and returns a summary.
///
/// # Panics
///
/// When something was lost, came twice without need, or changed; with every breach.
pub async fn run(plan: Plan) -> String {
    let started = Instant::now();
    println!("the agent killed: {} kills, seed {}", plan.rounds, plan.seed);
    let mut chance = Chance::new(plan.seed);
    let node = Node::start(settings()).await;
    let agent = Agent::at(&node.door());
    let subscriptions = subscribed(&agent).await;
    let listed = agent.list().await;

    let (service, service_seen) = watch::channel(Some(node.door()));
    let (storm, storm_seen) = watch::channel(true);
    let world = Arc::new(World {
        books: Mutex::new(Books::new(&SUBSCRIPTIONS)),
        missing: watch::Sender::new(0),
        service: service_seen,
        storm: storm_seen,
    });
    let mut senders = JoinSet::new();
    for (number, subscription) in subscriptions.iter().enumerate() {
        let recipient = Recipient::read(subscription);
        senders.spawn(sender::send(Arc::clone(&world), number, recipient, chance.fork()));
    }
    let mut killer = Killer {
        world: Arc::clone(&world),
        chance,
        agent,
        node,
        service,
        nodes_killed: 0,
    };
    for round in 0..plan.rounds {
        killer.round(round).await;
    }
    storm.send_replace(false);
    while let Some(ended) = senders.join_next().await {
        ended.expect("a sender ends");
    }
    killer.drain().await;
    killer.closing_words(&subscriptions).await;
    assert_eq!(
        subscribed(&killer.agent).await,
        subscriptions,
        "keys and push resources"
    );
    assert_eq!(killer.agent.list().await, listed, "the list of the subscriptions");

    let books = world.books();
    let breaches = books.audit();
    let summary = format!(
        "{} kills of the user agent and {} of the service: {}, in {:.1} s",
        plan.rounds,
        killer.nodes_killed,
        books.summary(),
        started.elapsed().as_secs_f64()
    );
    assert!(
        breaches.is_empty(),
        "broken {} times (seed {}): {summary}\n{}",
        breaches.len(),
        plan.seed,
        breaches[..breaches.len().min(40)].join("\n")
    );
    summary
}

impl Killer {
    /// One life of the user agent.
    async fn round(&mut self, round: usize) {
        self.world.books().life_begins();
        let mut listener = self.agent.listen(&[]);
        if self.chance.one_in(NODE_KILLED_ONCE_IN) {
            self.node_killed(&mut listener).await;
        }
        if round.is_multiple_of(2) {
            let lines = 1 + self.chance.below(LINES);
            let goes_on = within("the lines come", self.read(&mut listener, lines)).await;
            assert!(goes_on, "it ended by itself: {}", listener.log().text());
        } else {
            // Running out is how this round is meant to end.
            let _ = timeout(self.chance.between(LIFE), self.read(&mut listener, usize::MAX)).await;
        }
        listener.kill().await;
        self.read(&mut listener, usize::MAX).await;
    }

    async fn node_killed(&mut self, listener: &mut Listener) {
        // Running out is how this is meant to end.
        let _ = timeout(self.chance.between(LIFE), self.read(listener, usize::MAX)).await;
        self.service.send_replace(None);
        self.node.kill().await;
        self.node.start_again().await;
        self.service.send_replace(Some(self.node.door()));
        self.nodes_killed += 1;
    }

    /// Enters so many lines, or all that come before the user agent is gone; then it is `false`. Cancel safe.
    async fn read(&self, listener: &mut Listener, lines: usize) -> bool {
        for _ in 0..lines {
            let Some(line) = listener.line().await else {
                return false;
            };
            self.world.enter(|books| books.printed(&line));
        }
        true
    }

    /// The last life before the end: everything comes, and the user agent goes in peace.
    async fn drain(&mut self) {
        self.world.books().life_begins();
        let mut listener = self.agent.listen(&[]);
        let drained = async {
            while self.world.books().missing() > 0 {
                let goes_on = self.read(&mut listener, 1).await;
                assert!(goes_on, "it ended by itself: {}", listener.log().text());
            }
        };
        if timeout(DRAIN, drained).await.is_err() {
            let books = self.world.books();
            panic!(
                "not within {DRAIN:?}: {} messages; {}\n{}",
                books.missing(),
                books.summary(),
                books.audit().join("\n")
            );
        }
        listener.terminate();
        let ended = listener.ended().await;
        assert!(ended.success(), "{ended}: {}", listener.log().text());
        self.read(&mut listener, usize::MAX).await;
        self.world.books().life_ended_in_peace();
    }

    /// Whoever comes back now has nothing to receive but what is sent now: an echo would come before it.
    async fn closing_words(&mut self, subscriptions: &[String]) {
        for (number, subscription) in subscriptions.iter().enumerate() {
            let recipient = Recipient::read(subscription);
            sender::closing_word(&self.world, number, &recipient).await;
        }
        self.world.books().life_begins();
        let count = SUBSCRIPTIONS.len().to_string();
        let mut listener = self.agent.listen(&["--count", &count]);
        let ended = listener.ended().await;
        assert!(ended.success(), "{ended}: {}", listener.log().text());
        self.read(&mut listener, usize::MAX).await;
    }
}

/// What `subscribe` prints for each subscription: new ones the first time, the same ones later.
async fn subscribed(agent: &Agent) -> Vec<String> {
    let mut lines = Vec::new();
    for name in SUBSCRIPTIONS {
        lines.push(agent.subscribe(name, &[]).await);
    }
    lines
}

/// A queue without a budget: what is given up by the written rule would have to be told from what was lost.
fn settings() -> Settings {
    Settings::new()
        .set("limits.queue_messages", 1_000_000)
        .set("limits.queue_bytes", 1_073_741_824_u64)
}
