//! Three nodes on one Redis Cluster are one service: it doesn't matter at which node anybody knocks.
//!
//! Each test has three nodes of its own, with keys of their own in a cluster of three primaries that all tests share.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use push_tests::application_server::{Http, Push};
use push_tests::chance::Chance;
use push_tests::node::Node;
use push_tests::plan::Plan;
use push_tests::redis::Cluster;
use push_tests::settings::Settings;
use push_tests::user_agent::{Event, Subscription, UserAgent};
use push_tests::{payload, within};
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

/// Nodes of one service.
const NODES: usize = 3;

/// Tasks that send at the same time, each to user agents of its own: one at each node.
const SENDERS: usize = 4;

/// Messages that each of them sends.
const MESSAGES: usize = 150;

/// The cluster that all tests share.
async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(|| Cluster::start(3, 0)).await
}

/// Three nodes that share nothing but their storage.
struct Service {
    nodes: Vec<Node>,
}

impl Service {
    async fn start() -> Self {
        Self::start_with(|settings| settings).await
    }

    /// Starts the nodes, and waits until each hears the wake-ups of the others.
    async fn start_with(change: impl Fn(Settings) -> Settings) -> Self {
        static SERVICES: AtomicU32 = AtomicU32::new(0);
        let cluster = cluster().await;
        let prefix = format!("service{}", SERVICES.fetch_add(1, Ordering::Relaxed));
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let settings = Settings::new()
                .redis(&cluster.url())
                .set("storage.redis.prefix", prefix.as_str());
            nodes.push(Node::start(change(settings)).await);
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

    /// A user agent at this node: a new one, or the one with this *uaid*.
    async fn arrive(&self, node: usize, uaid: Option<&str>) -> (UserAgent, String) {
        UserAgent::arrive(&self.nodes[node].connector(), uaid).await
    }

    /// A connection of an application server to this node.
    async fn knock(&self, node: usize) -> Http {
        let connected = Http::connect(&self.nodes[node].connector()).await;
        connected.expect("the node listens")
    }

    /// Sends at this node, and returns the message's URL.
    async fn accepts(&self, node: usize, push: &Push) -> String {
        let answer = self.knock(node).await.push(push).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.header("location").to_owned()
    }
}

/// What one task of senders saw.
#[derive(Default)]
struct Crossings {
    messages: usize,
    /// Messages that were sent at another node than the user agent's.
    between_nodes: usize,
}

/// PR-13, PR-21: every message reaches its user agent, wherever it was sent: stored or with TTL 0, small enough to travel in
/// its wake-up or not. Most go from one node to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_arrives_from_every_node() {
    let service = Service::start().await;
    let mut chance = Chance::new(Plan::new(0).seed);
    let mut tasks = JoinSet::new();
    for _ in 0..SENDERS {
        let mut servers = Vec::new();
        let mut agents = Vec::new();
        for node in 0..NODES {
            servers.push(service.knock(node).await);
            let (mut agent, _) = service.arrive(node, None).await;
            let subscription = agent.subscribe(None).await;
            agents.push((agent, subscription));
        }
        tasks.spawn(send_and_receive(servers, agents, chance.fork()));
    }
    let mut all = Crossings::default();
    while let Some(crossings) = tasks.join_next().await {
        let crossings = crossings.expect("every message arrives");
        all.messages += crossings.messages;
        all.between_nodes += crossings.between_nodes;
    }
    println!(
        "{} messages, {} of them between nodes",
        all.messages, all.between_nodes
    );
    assert!(
        2 * all.between_nodes > all.messages,
        "most cross from node to node"
    );
}

/// Sends one message after the other, each at a random node to a random user agent that waits for it.
async fn send_and_receive(
    mut servers: Vec<Http>,
    mut agents: Vec<(UserAgent, Subscription)>,
    mut chance: Chance,
) -> Crossings {
    let mut crossings = Crossings::default();
    for number in 0..MESSAGES {
        let (from, to) = (chance.below(NODES), chance.below(NODES));
        let (agent, subscription) = &mut agents[to];
        let bytes = [200, 1_000, 4_096][chance.below(3)];
        let body = payload::body_of(&number.to_string(), bytes);
        let ttl = [0, 600][chance.below(2)];
        let push = Push::new(&subscription.push_resource, "")
            .body(body.clone())
            .ttl(ttl);
        let answer = servers[from].push(&push).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let arrived = agent.notification().await;
        assert_eq!(arrived.body, Some(body), "number {number}, TTL {ttl}");
        agent.acknowledge(&arrived).await;
        crossings.messages += 1;
        crossings.between_nodes += usize::from(from != to);
    }
    crossings
}

/// RFC 8030 §5.4, PR-4: what was sent at several nodes while a user agent was away waits as one queue: in order, and a
/// message takes the place of the one with its topic.
#[tokio::test]
async fn nodes_share_one_queue() {
    let service = Service::start().await;
    let (mut agent, uaid) = service.arrive(0, None).await;
    let push_resource = agent.subscribe(None).await.push_resource;
    agent.leave().await;
    for (node, text, topic) in [
        (1, "old", "weather"),
        (2, "other", "mail"),
        (0, "new", "weather"),
        (1, "last", "news"),
    ] {
        let push = Push::new(&push_resource, text).header("topic", topic);
        service.accepts(node, &push).await;
    }
    let (mut agent, again) = service.arrive(2, Some(&uaid)).await;
    assert_eq!(again, uaid);
    for text in ["other", "new", "last"] {
        agent.receives(text).await;
    }
}

/// RFC 8030 §5.3, PR-22: the urgency that a user agent asks for at one node holds back what is sent at another, until it
/// asks for less.
#[tokio::test]
async fn urgency_holds_across_nodes() {
    let service = Service::start().await;
    let (mut agent, _) = service.arrive(0, None).await;
    let push_resource = agent.subscribe(None).await.push_resource;
    asks_for(&mut agent, "high").await;
    for (node, text, urgency) in [(1, "later", "low"), (2, "now", "high")] {
        let push = Push::new(&push_resource, text).header("urgency", urgency);
        service.accepts(node, &push).await;
    }
    agent.receives("now").await;
    asks_for(&mut agent, "very-low").await;
    agent.receives("later").await;
}

async fn asks_for(agent: &mut UserAgent, urgency: &str) {
    agent
        .send(&json!({"messageType": "urgency", "min": urgency}))
        .await;
    let reply = agent.reply("urgency").await;
    assert_eq!(reply["status"], 200, "{reply}");
}

/// PR-18: what is removed at another node leaves the window: a DELETE there makes room here for the next message.
#[tokio::test]
async fn a_delete_elsewhere_frees_the_window() {
    let service = Service::start_with(|settings| settings.set("channels.in_flight", 4)).await;
    let (mut agent, _) = service.arrive(0, None).await;
    let push_resource = agent.subscribe(None).await.push_resource;
    let mut messages = Vec::new();
    for number in 0..5 {
        let push = Push::new(&push_resource, &number.to_string());
        messages.push(service.accepts(1, &push).await);
    }
    // One subscription takes half the window, and none of it is given back but by the DELETE.
    for number in 0..5 {
        let arrived = agent.notification().await;
        assert_eq!(arrived.text(), Some(number.to_string()));
        if number >= 1 {
            nothing_more_comes(&mut agent).await;
            let deleted = service.knock(2).await.delete(&messages[number - 1]).await;
            assert_eq!(deleted.expect("an answer").status, 204);
        }
    }
}

/// The service is asked for a sign of life, and that is all that comes.
async fn nothing_more_comes(agent: &mut UserAgent) {
    agent.send_frame(Message::Ping(Bytes::new())).await;
    let next = within("a pong", agent.event()).await;
    assert!(matches!(next, Event::Pong(_)), "{next:?}");
}

/// PR-4, PR-18: what was acknowledged at one node comes again at no other; what was not comes with the id that it had.
#[tokio::test]
async fn an_acknowledgement_counts_everywhere() {
    let service = Service::start().await;
    let (mut agent, uaid) = service.arrive(0, None).await;
    let push_resource = agent.subscribe(None).await.push_resource;
    service.accepts(1, &Push::new(&push_resource, "taken")).await;
    service.accepts(2, &Push::new(&push_resource, "left")).await;
    let taken = agent.notification().await;
    let left = agent.notification().await;
    agent.acknowledge_and_settle(&taken).await;
    drop(agent);
    let (mut agent, _) = service.arrive(1, Some(&uaid)).await;
    assert_eq!(
        agent.notification().await,
        left,
        "the same message with the same id"
    );
    service.accepts(0, &Push::new(&push_resource, "next")).await;
    agent.receives("next").await;
}

/// PR-10: of two channels of one user agent at two nodes the newer wins: the older is closed with 1011, and what is sent at
/// the third node arrives at the newer.
#[tokio::test]
async fn the_newer_channel_wins_across_nodes() {
    let service = Service::start().await;
    let (mut older, uaid) = service.arrive(0, None).await;
    let push_resource = older.subscribe(None).await.push_resource;
    for node in [1, 2, 0] {
        let (mut newer, again) = service.arrive(node, Some(&uaid)).await;
        assert_eq!(again, uaid);
        assert_eq!(older.closed().await.code, 1011);
        let elsewhere = (node + 1) % NODES;
        service
            .accepts(elsewhere, &Push::new(&push_resource, "to the newer"))
            .await;
        newer.receives("to the newer").await;
        older = newer;
    }
}

/// WP-7, PR-1: a subscription that was ended at one node is gone at all others as soon as that is confirmed, and one that was
/// made is there.
#[tokio::test]
async fn subscriptions_begin_and_end_everywhere() {
    let service = Service::start().await;
    let (mut agent, _) = service.arrive(0, None).await;
    let mut servers = Vec::new();
    for node in 0..NODES {
        servers.push(service.knock(node).await);
    }
    for _ in 0..10 {
        let subscription = agent.subscribe(None).await;
        for server in &mut servers {
            let answer = server
                .push(&Push::new(&subscription.push_resource, "hello"))
                .await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            agent.receives("hello").await;
        }
        agent.unsubscribe(&subscription.name).await;
        for server in &mut servers {
            let answer = server
                .push(&Push::new(&subscription.push_resource, "too late"))
                .await;
            assert_eq!(
                (answer.status.as_u16(), answer.errno()),
                (410, Some(106)),
                "{}",
                answer.text()
            );
        }
    }
}

/// PR-1, PR-10: a node that dies takes nothing with it: what it accepted, and what others accepted for a user agent that it
/// held, arrives at the next node.
#[tokio::test]
async fn a_dead_node_takes_nothing_along() {
    let mut service = Service::start().await;
    let (mut agent, uaid) = service.arrive(0, None).await;
    let push_resource = agent.subscribe(None).await.push_resource;
    service.accepts(0, &Push::new(&push_resource, "before")).await;
    agent.notification().await;
    service.nodes[0].kill().await;
    assert_eq!(agent.closed().await.code, 1006);
    service.accepts(1, &Push::new(&push_resource, "after")).await;
    let (mut agent, again) = service.arrive(2, Some(&uaid)).await;
    assert_eq!(again, uaid);
    for text in ["before", "after"] {
        agent.receives(text).await;
    }
}

/// A panic in a background task that only a shared storage has ends the process, too: exit code 1, and a sentence that names
/// the task and the place.
#[tokio::test]
async fn a_panic_in_a_background_task_ends_the_process() {
    if !push_tests::binaries::plants_panics() {
        return;
    }
    let url = cluster().await.url();
    for task in [
        "reconcile",
        "redis_wake_ups",
        "redis_presence",
        "redis_senders",
        "redis_return",
        "redis_topology",
        "redis_proof",
    ] {
        let settings = Settings::new()
            .redis(&url)
            .set("storage.redis.prefix", "panics")
            .environment("PUSH_SERVICE_PANIC", task);
        let mut node = Node::start(settings).await;
        let (status, log) = node.ended().await;
        let text = log.text();
        assert_eq!(status.code(), Some(1), "{task}: {text}");
        // Other tasks may write a line before the process is gone.
        let words = ["the background task", task, "panicked at", "planted.rs:"];
        let is_told = |line: &str| words.iter().all(|word| line.contains(word));
        assert!(text.lines().any(is_told), "{task}: {text}");
    }
}
