//! The service in one of its topologies: nodes, what they store in, and the network between.
//!
//! In a [`lab`] each server and each node has its own machine; otherwise all are on loopback, and there
//! are no partitions.

use serde_json::{Value, json};
use tokio::sync::watch;

use super::clock::Clock;
use super::history::NodeNumber;
use crate::application_server::Http;
use crate::connector::Connector;
use crate::lab::{self, Disk, Lab, Machine};
use crate::node::Node;
use crate::redis::program::Program;
use crate::redis::{Cluster, Configuration, Sentinels, Server};
use crate::settings::Settings;

/// What nodes store in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Topology {
    /// One node with embedded storage.
    Embedded,
    /// Two nodes on one Redis.
    Alone,
    /// Two nodes on a primary with this number of replicas, and three sentinels.
    Sentinel(usize),
    /// Two nodes on a Redis Cluster of three primaries, each with this number of replicas.
    Cluster(usize),
}

/// What is special about the servers or nodes of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Special {
    /// Nothing.
    None,
    /// Redis has an append-only file, synced before each answer.
    Durable,
    /// The same, and nodes wait for that file: `storage.redis.wait_aof`.
    OnDisk,
    /// Redis has such a file, and reads it slowly.
    LoadsSlowly,
    /// The same, on a small disk.
    SmallDisk,
    /// Redis has a `maxmemory`.
    LittleMemory,
    /// One node with embedded storage, which later moves to a Redis that already runs.
    Moves,
    /// The clocks of all servers can be changed.
    RedisClock,
    /// The clock of the first node can be changed.
    NodeClock,
}

/// The disk of a node with embedded storage: its reserve of 256 MiB, and room for some messages.
pub const NODE_DISK_BYTES: u64 = 300 << 20;
/// The disk of a Redis that runs full.
pub const REDIS_DISK_BYTES: u64 = 6 << 20;
/// What Redis may hold: a few megabytes more than it takes for itself.
const LITTLE_MEMORY: u64 = 6_000_000;

/// A running service.
#[derive(Debug)]
pub struct Service {
    // Nodes are dropped before their storage.
    /// The nodes, by number.
    pub nodes: Vec<Node>,
    /// The address of each node; `None` while it is being killed.
    pub connectors: watch::Sender<Vec<Option<Connector>>>,
    /// The nodes' storage.
    pub store: Store,
    /// The network.
    pub lab: Lab,
    /// The clocks that can be set, if any.
    pub clock: Option<Clock>,
    /// The disk of a node with embedded storage, if it has one of its own.
    pub disk: Option<Disk>,
}

/// What nodes store in.
#[derive(Debug)]
pub enum Store {
    /// Themselves.
    Embedded,
    /// One server.
    Alone(Box<Server>),
    /// A primary, its replicas, and sentinels.
    Sentinels(Sentinels),
    /// A cluster.
    Cluster(Cluster),
}

/// What a service is started with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// Which topology.
    pub topology: Topology,
    /// Redis or Valkey.
    pub program: Program,
    /// What is special about it.
    pub special: Special,
    /// `storage.redis.wait_replicas`: a number or "all"; empty: not set.
    pub wait_replicas: &'static str,
    /// How many nodes, if they share a Redis.
    pub nodes: usize,
}

impl Service {
    /// Starts it.
    pub async fn start(start: Start) -> Self {
        let leaps = matches!(start.special, Special::RedisClock | Special::NodeClock);
        let clock = leaps.then(Clock::new);
        let faked = |special| start.special == special;
        let mut configuration = Configuration::new();
        if start.program == Program::Valkey {
            configuration = configuration.valkey();
        }
        if lab::is_here() {
            configuration = configuration.apart();
        }
        configuration = match start.special {
            Special::Durable | Special::OnDisk => configuration.durable(),
            Special::LoadsSlowly => configuration
                .durable()
                .set("key-load-delay", "3000")
                .set("loading-process-events-interval-bytes", "1024"),
            Special::SmallDisk => configuration.durable().disk_bytes(REDIS_DISK_BYTES),
            Special::LittleMemory => configuration.memory(LITTLE_MEMORY, "noeviction"),
            _ => configuration,
        };
        if let Some(clock) = clock.as_ref().filter(|_| faked(Special::RedisClock)) {
            for (name, value) in clock.environment() {
                configuration = configuration.environment(name, &value);
            }
        }
        let store = match start.topology {
            Topology::Embedded => Store::Embedded,
            Topology::Alone => Store::Alone(Box::new(Server::start(configuration).await)),
            Topology::Sentinel(replicas) => {
                Store::Sentinels(Sentinels::start_with(replicas, &configuration).await)
            }
            Topology::Cluster(replicas) => {
                Store::Cluster(Cluster::start_with(3, replicas, &configuration).await)
            }
        };
        let count = match start.topology {
            Topology::Embedded => 1,
            _ => start.nodes,
        };
        let is_small = start.topology == Topology::Embedded && start.special == Special::SmallDisk;
        let disk = is_small.then(|| Disk::new(NODE_DISK_BYTES));
        let mut nodes = Vec::new();
        for number in 0..count {
            let mut settings = settings(&store, start);
            if let Some(disk) = &disk {
                settings = settings.data_directory(&disk.directory().join("data"));
            }
            if let Some(clock) = clock
                .as_ref()
                .filter(|_| faked(Special::NodeClock) && number == 0)
            {
                for (name, value) in clock.environment() {
                    settings = settings.environment(name, &value);
                }
            }
            nodes.push(Node::start(settings).await);
        }
        let connectors = watch::Sender::new(nodes.iter().map(|node| Some(node.connector())).collect());
        Self {
            nodes,
            connectors,
            store,
            lab: Lab::default(),
            clock,
            disk,
        }
    }

    /// All servers that hold data, by number.
    pub fn servers(&self) -> &[Server] {
        match &self.store {
            Store::Embedded => &[],
            Store::Alone(server) => std::slice::from_ref(server),
            Store::Sentinels(sentinels) => sentinels.servers(),
            Store::Cluster(cluster) => cluster.servers(),
        }
    }

    /// One of them, for a fault.
    pub fn server_mut(&mut self, number: usize) -> &mut Server {
        match &mut self.store {
            Store::Embedded => panic!("there is no server"),
            Store::Alone(server) => server,
            Store::Sentinels(sentinels) => sentinels.server_mut(number),
            Store::Cluster(cluster) => cluster.server_mut(number),
        }
    }

    /// Waits until the servers agree on their roles.
    pub async fn settled(&self) {
        match &self.store {
            Store::Embedded | Store::Alone(_) => {}
            Store::Sentinels(sentinels) => sentinels.wait_until_settled().await,
            Store::Cluster(cluster) => cluster.wait_until_settled().await,
        }
    }

    /// From now on no peer connects to this node.
    pub fn hide(&self, node: NodeNumber) {
        self.connectors.send_modify(|connectors| connectors[node] = None);
    }

    /// It may be connected to again.
    pub fn show(&self, node: NodeNumber) {
        self.connectors
            .send_modify(|connectors| connectors[node] = Some(self.nodes[node].connector()));
    }

    /// Whether a node is ready.
    pub async fn is_ready(&self, node: NodeNumber) -> bool {
        let Ok(mut http) = Http::connect(&self.nodes[node].admin()).await else {
            return false;
        };
        let asked = tokio::time::timeout(crate::PATIENCE, http.get("/readyz")).await;
        asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200))
    }
}

/// Settings of a node on Redis. Without Redis there is nothing to reconcile.
pub(super) fn on_redis(settings: Settings, url: &str) -> Settings {
    settings.redis(url).set("cluster.reconcile", "5s")
}

/// Queues have no budget, because evicted messages could not be told from lost ones. There are no limits by address,
/// because all peers have the same.
fn settings(store: &Store, start: Start) -> Settings {
    let mut settings = Settings::new()
        .set("channels.in_flight", 256)
        .set("channels.min_ping_interval", "0s")
        .set("limits.queue_messages", 1_000_000)
        .set("limits.queue_bytes", 1_073_741_824_u64)
        .set("drain.delay", "0s")
        .set("drain.spread", "0s");
    let url = match store {
        Store::Embedded => None,
        Store::Alone(server) => Some(server.url()),
        Store::Sentinels(sentinels) => Some(sentinels.url()),
        Store::Cluster(cluster) => Some(cluster.url()),
    };
    match url {
        Some(_) if start.special == Special::Moves => {
            settings = settings
                .shared_sealing_key()
                .set("public_url", "https://push.example");
        }
        Some(url) => {
            settings = on_redis(settings, &url).set("public_url", "https://push.example");
        }
        None => {}
    }
    if !start.wait_replicas.is_empty() {
        let number = start.wait_replicas.parse::<u64>();
        let value: Value = number.map_or_else(|_| json!(start.wait_replicas), Value::from);
        settings = settings.set("storage.redis.wait_replicas", value);
    }
    if start.special == Special::OnDisk {
        settings = settings.set("storage.redis.wait_aof", true);
    }
    match lab::is_here() {
        true => settings.machine(Machine::make()),
        false => settings,
    }
}
