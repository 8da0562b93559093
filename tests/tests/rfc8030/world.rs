//! One service with three roles to meet: the user agent's node, the sender's, and the one where receipts are awaited.
//!
//! With embedded storage all three are one node. With Redis they are three that share nothing but their storage, as behind
//! a load balancer: they have one public URL, which belongs to none of them.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{Method, Request};
use push_tests::application_server::{Answer, Http, Push};
use push_tests::connector::Connector;
use push_tests::monitor::{Connection, Monitor, Subscribed};
use push_tests::node::Node;
use push_tests::redis::{Cluster, Configuration, Server};
use push_tests::settings::Settings;
use push_tests::within;
use tokio::sync::OnceCell;

/// The origin of every resource.
pub(crate) const ORIGIN: &str = "https://push.example.test";

/// Where a world's nodes store.
#[derive(Clone, Copy)]
pub(crate) enum Storage {
    /// One node with a directory of its own.
    Embedded,
    /// Three nodes with one Redis.
    Redis,
    /// Three nodes with a Redis Cluster of three primaries.
    Cluster,
}

/// A service that runs.
pub(crate) struct World {
    nodes: Vec<Node>,
}

impl World {
    pub(crate) async fn start(storage: Storage) -> Self {
        Self::start_with(storage, |settings| settings).await
    }

    /// Starts the nodes, and waits until each hears the wake-ups of the others.
    pub(crate) async fn start_with(storage: Storage, change: impl Fn(Settings) -> Settings) -> Self {
        let settings = match storage {
            Storage::Embedded => vec![Settings::new()],
            Storage::Redis => {
                static REDIS: OnceCell<Server> = OnceCell::const_new();
                let server = REDIS.get_or_init(|| Server::start(Configuration::new())).await;
                three_nodes(&server.url())
            }
            Storage::Cluster => {
                static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
                let cluster = CLUSTER.get_or_init(|| Cluster::start(3, 0)).await;
                three_nodes(&cluster.url())
            }
        };
        let mut nodes = Vec::new();
        for settings in settings {
            nodes.push(Node::start(change(settings.set("public_url", ORIGIN))).await);
        }
        for node in &nodes {
            let ready = async {
                while node.ask_admin("/readyz").await.status != 200 {
                    tokio::task::yield_now().await;
                }
            };
            within("the node hears the others", ready).await;
        }
        Self { nodes }
    }

    /// The user agent's node, to be mistreated.
    pub(crate) fn user_agents_node(&mut self) -> &mut Node {
        &mut self.nodes[0]
    }

    /// Where the user agent's node is.
    pub(crate) fn user_agents_connector(&self) -> Connector {
        self.nodes[0].connector()
    }

    /// Where the sender's node is.
    pub(crate) fn senders_connector(&self) -> Connector {
        self.nodes[1 % self.nodes.len()].connector()
    }

    /// Where the node is at which receipts are awaited.
    pub(crate) fn receipts_connector(&self) -> Connector {
        self.nodes[2 % self.nodes.len()].connector()
    }

    /// A connection of the user agent.
    pub(crate) async fn user_agent(&self) -> Connection {
        Connection::open(&self.user_agents_connector()).await
    }

    /// A connection of the sender's that takes no pushes.
    pub(crate) async fn sender(&self) -> Http {
        let connected = Http::connect(&self.senders_connector()).await;
        connected.expect("the node listens")
    }

    /// A connection to a third node, for receipts and for other visitors.
    pub(crate) async fn elsewhere(&self) -> Connection {
        Connection::open(&self.receipts_connector()).await
    }

    /// A user agent with one subscription, which it does not monitor yet.
    pub(crate) async fn subscriber(&self) -> (Connection, Subscribed) {
        let agent = self.user_agent().await;
        let made = agent.subscribe(ORIGIN).await;
        (agent, made)
    }

    /// A user agent that monitors its one subscription, and has its seat: a first message has come and gone.
    pub(crate) async fn monitoring(&self) -> (Connection, Subscribed, Monitor) {
        let (agent, made) = self.subscriber().await;
        let monitor = self.seated(&agent, &made.subscription, &made.push).await;
        (agent, made, monitor)
    }

    /// Monitors, and makes sure of it by a message.
    pub(crate) async fn seated(&self, agent: &Connection, monitored: &str, push: &str) -> Monitor {
        let mut monitor = agent.monitor(monitored).await;
        self.accepts(&Push::new(push, "are you there?")).await;
        let first = monitor.receives("are you there?").await;
        assert_eq!(agent.delete(first).await.status, 204);
        monitor
    }

    /// Sends at the sender's node.
    pub(crate) async fn push(&self, push: &Push) -> Answer {
        self.sender().await.push(push).await
    }

    /// Sends at the sender's node, and returns the message's URL.
    pub(crate) async fn accepts(&self, push: &Push) -> String {
        let answer = self.push(push).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.header("location").to_owned()
    }

    /// Sends with a receipt asked for.
    pub(crate) async fn promises(&self, push: &Push) -> Promised {
        let push = push.clone().header("prefer", "respond-async");
        let answer = self.push(&push).await;
        Promised::read(&answer)
    }

    /// Lets so many whole seconds pass on the service's clock: it ends a monitoring request after them.
    pub(crate) async fn seconds_pass(&self, seconds: u64) {
        let (agent, made) = self.subscriber().await;
        let wait = format!("wait={seconds}");
        let mut clock = agent.monitor_with(&made.subscription, &[("prefer", &wait)]).await;
        assert_eq!(clock.over().await.status, 204);
    }

    /// What waits for the user agent and comes by a request that does not wait: the texts, in their order. Leaves it
    /// unacknowledged.
    pub(crate) async fn waits(&self, monitored: &str) -> Vec<String> {
        let agent = self.user_agent().await;
        let mut monitor = agent.monitor_with(monitored, &[("prefer", "wait=0")]).await;
        let mut texts = Vec::new();
        loop {
            match monitor.next().await {
                push_tests::monitor::Next::Pushed(pushed) => {
                    texts.push(pushed.read().await.text().expect("a text"));
                }
                push_tests::monitor::Next::Over(answer) => {
                    let expected = if texts.is_empty() { 204 } else { 200 };
                    assert_eq!(answer.status, expected, "{}", answer.text());
                    return texts;
                }
            }
        }
    }
}

/// What a sender is told that asked for a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promised {
    /// The message's URL.
    pub(crate) message: String,
    /// The receipt subscription.
    pub(crate) receipts: String,
}

impl Promised {
    pub(crate) fn read(answer: &Answer) -> Self {
        assert_eq!(answer.status, 202, "{}", answer.text());
        let promised = Self {
            message: answer.header("location").to_owned(),
            receipts: answer.link("urn:ietf:params:push:receipt").to_owned(),
        };
        assert!(promised.message.starts_with(ORIGIN), "{:?}", answer.headers);
        assert!(promised.receipts.starts_with(ORIGIN), "{:?}", answer.headers);
        promised
    }
}

/// A request to subscribe.
pub(crate) fn subscribe(fields: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(format!("{ORIGIN}/subscribe"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    request.body(body).expect("header fields")
}

/// Nodes of one service: they share keys, which no other service in this Redis has.
fn three_nodes(url: &str) -> Vec<Settings> {
    static SERVICES: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("service{}", SERVICES.fetch_add(1, Ordering::Relaxed));
    let node = || {
        Settings::new()
            .redis(url)
            .set("storage.redis.prefix", prefix.as_str())
    };
    vec![node(), node(), node()]
}
