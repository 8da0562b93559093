//! A new version takes over from the old one: six nodes on one Redis behind HAProxy, of which three serve at a time.
//!
//! HAProxy asks `/readyz` of the admin listeners, as Kubernetes does. Drains have the times that docs/operations.md derives from the
//! channels that a node closes in a second. The user agents are the library's, all in this process.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use push_tests::application_server::{Http, Push};
use push_tests::connector::Connector;
use push_tests::node::Node;
use push_tests::proxy::{Proxy, ProxyAddress};
use push_tests::recipient::Recipient;
use push_tests::redis::{Configuration, Server};
use push_tests::settings::Settings;
use push_tests::within;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use user_agent_client::{Event, Events, Options, ServerUrl, State, Trust, UserAgent};

/// Nodes that serve at a time.
const NODES: usize = 3;

const USER_AGENTS: usize = 3_000;

/// User agents that subscribe at the same time.
const SUBSCRIBING: usize = 100;

/// Messages per second, of all senders.
const RATE: usize = 300;

/// Connections of senders, which they keep.
const SENDERS: usize = 15;

/// Channels that a node closes in a second: a thousand of the chart's, scaled to nodes with a thousand channels.
const PER_SECOND: usize = 200;

/// Channels that a node may have, for which the spread is derived.
const CONNECTIONS: usize = 1_200;

/// Between the signal and the first closed channel; HAProxy asks every 250 ms, and believes the second answer.
const DELAY: u64 = 2;

/// After the last channel was closed: docs/operations.md.
const FINISH: u64 = 15;

/// The services' and HAProxy's connections, and the crowd behind them.
struct World {
    _redis: Server,
    nodes: Vec<Node>,
    at: ProxyAddress,
    _proxy: Proxy,
    crowd: Arc<Crowd>,
    applications: JoinSet<()>,
    senders: JoinSet<()>,
}

/// What all saw.
struct Crowd {
    recipients: Vec<Recipient>,
    /// How often each user agent was connected since the last rollout began.
    moves: Vec<AtomicUsize>,
    /// When.
    arrivals: Mutex<Vec<Instant>>,
    /// Messages that were answered 201.
    accepted: Mutex<Vec<usize>>,
    /// Messages that are with the application.
    arrived: Mutex<HashSet<usize>>,
    /// Told at each arrival of a user agent or a message.
    news: Notify,
    /// What senders got instead of a 201.
    troubles: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

/// How the rollout's figures came out.
struct Figures {
    moves: Vec<usize>,
    /// The most that connected in a second.
    fastest: usize,
    /// Channels of each node.
    channels: Vec<usize>,
    troubles: Vec<String>,
}

/// PR-36: all new nodes first: nothing is lost, senders see no refusal and no reset, each user agent moves once, evenly in time and
/// over the nodes. The same with a SIGKILL in the drain loses nothing that was answered 201, and so does one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_agents_move_once() {
    let mut world = World::start().await;
    let figures = world.all_first(NODES, 0, None).await;
    figures.print("all first");
    assert_eq!(figures.troubles, [""; 0], "senders see no refusal and no reset");
    assert!(figures.moves.iter().all(|moves| *moves == 1), "each moves once");
    assert!(
        2 * figures.fastest <= 3 * PER_SECOND * NODES,
        "no second is above 1.5 times the rate of all nodes"
    );
    assert!(figures.fullest() < 1.15, "the new nodes are evenly full");

    let figures = world.all_first(0, NODES, Some(NODES)).await;
    figures.print("all first, with a SIGKILL in the drain");

    let figures = world.one_by_one(NODES, 0).await;
    figures.print("one by one");
    assert_eq!(figures.troubles, [""; 0], "senders see no refusal and no reset");
    world.end().await;
}

impl World {
    /// The first three nodes serve all user agents; the others are stopped, with ports that HAProxy knows.
    async fn start() -> Self {
        let redis = Server::start(Configuration::new()).await;
        let at = ProxyAddress::own();
        let spread = CONNECTIONS.div_ceil(PER_SECOND) as u64;
        let mut nodes = Vec::new();
        for _ in 0..2 * NODES {
            let settings = Settings::new()
                .redis(&redis.url())
                .set("public_url", format!("http://{}", at.http1()))
                .set("drain.delay", format!("{DELAY}s"))
                .set("drain.spread", format!("{spread}s"))
                .set("drain.deadline", format!("{}s", DELAY + spread + FINISH));
            nodes.push(Node::start(settings).await);
        }
        for node in &mut nodes[NODES..] {
            node.kill().await;
        }
        let addresses = nodes
            .iter()
            .map(|node| (node.connector().address, node.admin().address));
        let proxy = Proxy::balancing(at, "random", addresses.collect::<Vec<_>>()).await;
        for nth in 0..2 * NODES {
            knows(at, nth, nth < NODES).await;
        }
        let (crowd, applications, senders) = Crowd::gather(at).await;
        Self {
            _redis: redis,
            nodes,
            at,
            _proxy: proxy,
            crowd,
            applications,
            senders,
        }
    }

    /// Starts the nodes from `new` on, and when all are ready, ends those from `old` on. One of these may be killed on the way.
    async fn all_first(&mut self, new: usize, old: usize, killed: Option<usize>) -> Figures {
        for nth in new..new + NODES {
            self.enters(nth).await;
        }
        self.crowd.begin();
        for nth in old..old + NODES {
            self.nodes[nth].terminate();
        }
        if let Some(nth) = killed {
            self.crowd.has_moved(USER_AGENTS / 4).await;
            self.nodes[nth].kill().await;
        }
        for nth in (old..old + NODES).filter(|nth| Some(*nth) != killed) {
            self.nodes[nth].ended().await;
        }
        self.figures(new).await
    }

    /// Starts a node and ends one, three times.
    async fn one_by_one(&mut self, new: usize, old: usize) -> Figures {
        self.crowd.begin();
        for nth in 0..NODES {
            self.enters(new + nth).await;
            self.nodes[old + nth].terminate();
            self.nodes[old + nth].ended().await;
        }
        self.figures(new).await
    }

    /// Starts a node, and waits until HAProxy gives it connections.
    async fn enters(&mut self, nth: usize) {
        self.nodes[nth].start_again().await;
        knows(self.at, nth, true).await;
    }

    /// When all user agents are at the new nodes and have all that was accepted so far.
    async fn figures(&self, new: usize) -> Figures {
        let mut channels = Vec::new();
        let all = async {
            while channels.iter().sum::<usize>() < USER_AGENTS {
                channels.clear();
                for node in &self.nodes[new..new + NODES] {
                    channels.push(channels_of(node).await);
                }
            }
        };
        within("all user agents are at the new nodes", all).await;
        self.crowd.figures(channels)
    }

    /// Everything that was answered 201 has arrived.
    async fn end(mut self) {
        self.crowd.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("a sender goes on to the end");
        }
        self.crowd.all_arrived().await;
        println!(
            "{} messages were answered 201, and each arrived",
            lock(&self.crowd.accepted).len()
        );
        self.applications.shutdown().await;
    }
}

/// Waits until HAProxy knows whether this node is ready.
async fn knows(at: ProxyAddress, nth: usize, is_up: bool) {
    let known = async {
        while Proxy::is_up(at, nth).await != is_up {
            tokio::task::yield_now().await;
        }
    };
    within("HAProxy knows whether a node is ready", known).await;
}

async fn channels_of(node: &Node) -> usize {
    const CHANNELS: &str = "push_service_channels{kind=\"websocket\"} ";
    let metrics = node.ask_admin("/metrics").await.text();
    let count = metrics.lines().find_map(|line| line.strip_prefix(CHANNELS));
    count
        .and_then(|count| count.parse().ok())
        .expect("a node counts its channels")
}

impl Crowd {
    /// User agents that are subscribed and listen, and senders that send to them.
    async fn gather(at: ProxyAddress) -> (Arc<Self>, JoinSet<()>, JoinSet<()>) {
        let (mut recipients, mut streams) = (Vec::new(), Vec::new());
        let mut starting = JoinSet::new();
        for nth in 0..USER_AGENTS {
            starting.spawn(subscribed(at));
            if nth >= SUBSCRIBING
                && let Some(started) = starting.join_next().await
            {
                let (recipient, agent, events) = started.expect("a user agent subscribes");
                recipients.push(recipient);
                streams.push((agent, events));
            }
        }
        while let Some(started) = starting.join_next().await {
            let (recipient, agent, events) = started.expect("a user agent subscribes");
            recipients.push(recipient);
            streams.push((agent, events));
        }
        let crowd = Arc::new(Self {
            moves: recipients.iter().map(|_| AtomicUsize::new(0)).collect(),
            recipients,
            arrivals: Mutex::default(),
            accepted: Mutex::default(),
            arrived: Mutex::default(),
            news: Notify::new(),
            troubles: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let (mut applications, mut senders) = (JoinSet::new(), JoinSet::new());
        for (nth, (agent, events)) in streams.into_iter().enumerate() {
            applications.spawn(Arc::clone(&crowd).listen(nth, agent, events));
        }
        for sender in 0..SENDERS {
            senders.spawn(Arc::clone(&crowd).send(sender, Connector::clear(at.http1())));
        }
        (crowd, applications, senders)
    }

    async fn listen(self: Arc<Self>, nth: usize, agent: UserAgent, mut events: Events) {
        while let Some(event) = events.next().await {
            match event {
                Event::Connected => {
                    self.moves[nth].fetch_add(1, Ordering::Relaxed);
                    lock(&self.arrivals).push(Instant::now());
                    self.news.notify_one();
                }
                Event::Message(message) => {
                    let text = message.data().map(|data| data.bytes().to_vec());
                    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
                    let number = text.and_then(|text| text.parse().ok()).expect("a number");
                    lock(&self.arrived).insert(number);
                    message.acknowledge();
                    self.news.notify_one();
                }
                _ => {}
            }
        }
        drop(agent);
    }

    /// Sends to one user agent after the other, over a connection that is kept.
    async fn send(self: Arc<Self>, sender: usize, proxy: Connector) {
        let mut http = Http::connect(&proxy).await.expect("HAProxy listens");
        let mut ticks = interval(Duration::from_secs(1) * SENDERS as u32 / RATE as u32);
        let mut number = sender;
        while !self.is_over.load(Ordering::Relaxed) {
            ticks.tick().await;
            let recipient = &self.recipients[number % self.recipients.len()];
            let push = Push::new(&recipient.push_resource, "").body(recipient.encrypt(&number.to_string()));
            let trouble = match http.try_push(&push).await {
                Ok(answer) if answer.status == 201 => {
                    lock(&self.accepted).push(number);
                    None
                }
                Ok(answer) => Some(format!("{} {}", answer.status, answer.text())),
                Err(unanswered) => {
                    http = Http::connect(&proxy).await.expect("HAProxy listens");
                    Some(unanswered.to_string())
                }
            };
            lock(&self.troubles).extend(trouble);
            number += SENDERS;
        }
    }

    /// Counts anew.
    fn begin(&self) {
        for moves in &self.moves {
            moves.store(0, Ordering::Relaxed);
        }
        lock(&self.arrivals).clear();
        lock(&self.troubles).clear();
    }

    /// Waits until so many were connected again.
    async fn has_moved(&self, count: usize) {
        let moved = async {
            while lock(&self.arrivals).len() < count {
                self.news.notified().await;
            }
        };
        within("user agents move", moved).await;
    }

    async fn all_arrived(&self) {
        let mut missing = lock(&self.accepted).clone();
        let arrived = async {
            loop {
                missing.retain(|number| !lock(&self.arrived).contains(number));
                if missing.is_empty() {
                    return;
                }
                self.news.notified().await;
            }
        };
        within("each message that was answered 201 arrives", arrived).await;
    }

    fn figures(&self, channels: Vec<usize>) -> Figures {
        let mut arrivals = std::mem::take(&mut *lock(&self.arrivals));
        arrivals.sort_unstable();
        let within_a_second = |(nth, first): (usize, &Instant)| {
            arrivals[nth..].partition_point(|at| *at < *first + Duration::from_secs(1))
        };
        Figures {
            moves: self
                .moves
                .iter()
                .map(|moves| moves.load(Ordering::Relaxed))
                .collect(),
            fastest: arrivals
                .iter()
                .enumerate()
                .map(within_a_second)
                .max()
                .unwrap_or(0),
            channels,
            troubles: std::mem::take(&mut *lock(&self.troubles)),
        }
    }
}

/// A user agent that is subscribed through the proxy.
async fn subscribed(at: ProxyAddress) -> (Recipient, UserAgent, Events) {
    let server = ServerUrl::parse(&format!("ws://{}/", at.http1())).expect("a URL");
    let (agent, mut events) =
        UserAgent::start(server, Trust::system(), State::in_memory(), &Options::default())
            .expect("a new state");
    let subscription = within("the service confirms", agent.subscribe("door", None)).await;
    let subscription = subscription
        .expect("a subscription")
        .to_json()
        .expect("confirmed");
    let first = within("the channel is open", events.next()).await;
    assert!(matches!(first, Some(Event::Connected)), "{first:?}");
    (Recipient::read(&subscription), agent, events)
}

impl Figures {
    /// Channels of the fullest node, in terms of their mean.
    fn fullest(&self) -> f64 {
        let most = self.channels.iter().max().copied().unwrap_or(0);
        (most * self.channels.len()) as f64 / self.channels.iter().sum::<usize>().max(1) as f64
    }

    fn print(&self, how: &str) {
        println!(
            "{how}: {:.2} moves each, at most {}; at most {} in a second ({} channels per second and node); channels {:?}, the \
             fullest {:.2} of the mean; {} requests without a 201",
            self.moves.iter().sum::<usize>() as f64 / self.moves.len() as f64,
            self.moves.iter().max().copied().unwrap_or(0),
            self.fastest,
            PER_SECOND,
            self.channels,
            self.fullest(),
            self.troubles.len(),
        );
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
