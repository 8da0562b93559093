//! A primary that was deposed and does not know it: its replicas and sentinels cannot reach it, some nodes can.
//!
//! The servers log in to each other as `default`, the nodes as another user. So taking away the rights of `default`
//! at the primary cuts it off from the other servers only. One of its replicas is stopped instead: the primary counts
//! it as connected, as in the first minute after a network breaks.

use std::net::SocketAddr;

use http::Method;
use push_tests::application_server::Push;
use push_tests::monitor::{Connection as Channel, Subscribed, receipt_link, set_link};
use push_tests::node::Node;
use push_tests::redis::program::Program;
use push_tests::redis::sentinels::NAME;
use push_tests::redis::{Configuration, Connection, Gate, Reply, Sentinels, Server, until};
use push_tests::user_agent::{Event, UserAgent};
use push_tests::within;
use serde_json::json;

use super::{hello_is_trouble, is_trouble, ready, sender, settings};

/// The nodes' user at Redis.
const NODES: (&str, &str) = ("nodes", "secret");

/// The first primary; the stopped replica; those of which one is promoted.
const PRIMARY: usize = 0;
const SILENT: usize = 1;

/// Servers, and a node that stays with the deposed primary.
struct Isolated {
    sentinels: Sentinels,
    /// In front of the sentinels, for that node.
    gates: Vec<Gate>,
    near: Node,
    wait_replicas: u32,
}

impl Isolated {
    async fn start(configuration: Configuration, wait_replicas: u32) -> Self {
        let (user, password) = NODES;
        let configuration = configuration.set("user", &format!("{user} on >{password} ~* &* +@all"));
        let sentinels = Sentinels::start_with(3, &configuration).await;
        let mut gates = Vec::new();
        for sentinel in sentinels.sentinels() {
            gates.push(Gate::before(sentinel.address()).await);
        }
        let near = node(gates.iter().map(Gate::address), wait_replicas).await;
        Self {
            sentinels,
            gates,
            near,
            wait_replicas,
        }
    }

    /// A node that goes to the new primary.
    async fn far(&self) -> Node {
        let sentinels = self.sentinels.sentinels().iter().map(Server::address);
        node(sentinels, self.wait_replicas).await
    }

    /// Cuts the primary and one node off from all others, and waits until another primary is promoted.
    async fn part(&mut self) {
        let servers = self.sentinels.servers();
        // The connection belongs to another user from now on, and so stays open.
        for (key, value) in [("masteruser", NODES.0), ("masterauth", NODES.1)] {
            let set = ["CONFIG", "SET", key, value];
            servers[SILENT].command(&set).await.expect_ok();
        }
        let kill = ["CLIENT", "KILL", "TYPE", "replica"];
        servers[PRIMARY].command(&kill).await;
        servers[PRIMARY].wait_for_replicas(3).await;
        let never = ["CONFIG", "SET", "replica-priority", "0"];
        servers[SILENT].command(&never).await.expect_ok();
        for sentinel in self.sentinels.sentinels() {
            // They don't wait for the silent one before they send the next replica to the new primary.
            let at_once = ["SENTINEL", "SET", NAME, "parallel-syncs", "3"];
            sentinel.command(&at_once).await.expect_ok();
        }
        // The sentinels have to hear of it before.
        until("no sentinel would promote the silent replica", || async {
            for sentinel in self.sentinels.sentinels() {
                let replicas = sentinel.command(&["SENTINEL", "REPLICAS", NAME]).await;
                let barred = replicas.list().iter().any(|one| {
                    let fields: Vec<_> = one.list().iter().map(Reply::text).collect();
                    fields.windows(2).any(|pair| pair == ["slave-priority", "0"])
                });
                barred.then_some(())?;
            }
            Some(())
        })
        .await;
        for gate in &mut self.gates {
            gate.cut().await;
        }
        servers[SILENT].stop();
        let mut primary = Connection::open(servers[PRIMARY].address(), Some(NODES))
            .await
            .expect("the primary is asked apart from the gates");
        for command in [
            &["ACL", "SETUSER", "default", "off"][..],
            &["CLIENT", "KILL", "USER", "default"],
        ] {
            let answer = primary
                .call(command)
                .await
                .expect("the primary is asked apart from the gates");
            assert!(!answer.is_error(), "{answer:?}");
        }
        let old = servers[PRIMARY].address();
        until("another primary is promoted, and followed", || async {
            let mut named = None;
            for sentinel in self.sentinels.sentinels() {
                let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME];
                let answer = sentinel.command(&ask).await;
                let [host, port] = answer.list() else { return None };
                let address: SocketAddr = format!("{}:{}", host.text(), port.text()).parse().ok()?;
                (address != old && *named.get_or_insert(address) == address).then_some(())?;
            }
            let promoted = servers.iter().find(|server| Some(server.address()) == named)?;
            let info = promoted.info("replication").await;
            (info.get("role")? == "master").then_some(())?;
            info.values()
                .any(|value| value.contains("state=online"))
                .then_some(())
        })
        .await;
    }

    /// Lets all servers reach each other again.
    async fn heal(&mut self) {
        let servers = self.sentinels.servers();
        let mut primary = Connection::open(servers[PRIMARY].address(), Some(NODES))
            .await
            .expect("the primary is asked apart from the gates");
        let on = ["ACL", "SETUSER", "default", "on"];
        primary
            .call(&on)
            .await
            .expect("the primary is asked apart from the gates")
            .expect_ok();
        servers[SILENT].go_on();
        for gate in &mut self.gates {
            gate.resume().await;
        }
    }
}

async fn node(sentinels: impl Iterator<Item = SocketAddr>, wait_replicas: u32) -> Node {
    let ((user, password), sentinels) = (NODES, sentinels.map(|address| address.to_string()));
    let sentinels = sentinels.collect::<Vec<_>>().join(",");
    let url = format!("redis+sentinel://{user}:{password}@{sentinels}/{NAME}");
    Node::start(settings(&url).set("storage.redis.wait_replicas", wait_replicas)).await
}

/// What was created at the new primary.
struct Made {
    uaid: String,
    push_resource: String,
    message: String,
    set: Subscribed,
    receipts: String,
}

impl Made {
    async fn at(node: &Node) -> Self {
        let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
        let push_resource = agent.subscribe(None).await.push_resource;
        agent.leave().await;
        let mut http = sender(node).await;
        let stored = http.push(&Push::new(&push_resource, "for the other side")).await;
        assert_eq!(stored.status, 201, "{}", stored.text());
        let channel = Channel::open(&node.connector()).await;
        let set = channel.subscribe("https://push.example").await;
        let asked = Push::new(&set.push, "with a receipt").header("prefer", "respond-async");
        let receipts = http.push(&asked).await;
        assert_eq!(receipts.status, 202, "{}", receipts.text());
        Self {
            uaid,
            push_resource,
            message: http
                .push(&Push::new(&set.push, "to be taken back"))
                .await
                .header("location")
                .to_owned(),
            receipts: receipts.link("urn:ietf:params:push:receipt").to_owned(),
            set,
        }
    }

    /// Asks `node` about each of them: it always answers 503 or 1013, never "unknown".
    async fn is_never_called_unknown(&self, node: &Node) {
        for _ in 0..3 {
            hello_is_trouble(node, &self.uaid).await;
            let mut http = sender(node).await;
            for ttl in [60, 0] {
                is_trouble(&http.push(&Push::new(&self.push_resource, "lost?").ttl(ttl)).await);
            }
            let named = receipt_link(&self.receipts);
            let asked = Push::new(&self.push_resource, "lost?").header("prefer", "respond-async");
            is_trouble(
                &http
                    .push(
                        &asked
                            .header("push-receipt", &self.receipts)
                            .header("link", &named),
                    )
                    .await,
            );
            let channel = Channel::open(&node.connector()).await;
            for url in [
                &self.message,
                &self.set.subscription,
                &self.set.set,
                &self.receipts,
            ] {
                let answer = channel.delete(url).await;
                assert_eq!(answer.status, 503, "DELETE {url}: {}", answer.text());
            }
            for url in [&self.set.subscription, &self.set.set, &self.receipts] {
                let answer = channel
                    .monitor_with(url, &[("prefer", "wait=0")])
                    .await
                    .over()
                    .await;
                assert_eq!(answer.status, 503, "GET {url}: {}", answer.text());
            }
            let set = set_link(&self.set.set);
            let subscribe = "https://push.example/subscribe";
            let answer = channel.ask(Method::POST, subscribe, &[("link", &set)]).await;
            assert_eq!(answer.status, 503, "in a set: {}", answer.text());
        }
    }

    /// All of it exists.
    async fn is_known(&self, node: &Node) {
        let (mut agent, uaid) = UserAgent::arrive(&node.connector(), Some(&self.uaid)).await;
        assert_eq!(uaid, self.uaid);
        agent.receives("for the other side").await;
        agent.leave().await;
    }
}

/// A hello with an identity that never existed.
async fn hello_of_a_stranger(node: &Node) -> Event {
    let mut agent = UserAgent::connect(&node.connector()).await;
    let uaid = "0123456789abcdef0123456789abcdef";
    let hello = json!({"messageType": "hello", "use_webpush": true, "uaid": uaid});
    agent.send(&hello).await;
    within("hello is answered", agent.event()).await
}

async fn no_user_agent_is_called_unknown(configuration: Configuration, wait_replicas: u32) {
    let mut isolated = Isolated::start(configuration, wait_replicas).await;
    // A real primary does answer "unknown".
    assert!(matches!(
        hello_of_a_stranger(&isolated.near).await,
        Event::Reply(_)
    ));
    isolated.part().await;
    let far = isolated.far().await;
    let made = Made::at(&far).await;
    made.is_never_called_unknown(&isolated.near).await;
    match hello_of_a_stranger(&isolated.near).await {
        Event::Closed(closed) => assert_eq!(closed.code, 1013, "{closed:?}"),
        other => panic!("a close was expected, not {other:?}"),
    }
    isolated.heal().await;
    isolated.sentinels.wait_until_settled().await;
    ready(&isolated.near, 200).await;
    made.is_known(&isolated.near).await;
}

/// PR-3, PR-40: with `wait_replicas = 1`, a primary that was deposed and does not know it answers no "unknown":
/// requests for user agents, subscriptions, messages, sets and receipt subscriptions that were made at the new one
/// get 503 or 1013 until the network is back.
#[tokio::test]
async fn a_deposed_primary_calls_no_user_agent_unknown() {
    no_user_agent_is_called_unknown(Configuration::new(), 1).await;
}

/// PR-3, PR-40: the same without waiting for replicas: then most of the sentinels have to name the primary.
#[tokio::test]
async fn a_deposed_primary_is_not_believed_without_its_sentinels() {
    no_user_agent_is_called_unknown(Configuration::new(), 0).await;
}

/// PR-3, PR-40: the same on Valkey, whose `WAIT` counts only what was written over its own connection.
#[tokio::test]
async fn a_deposed_valkey_calls_no_user_agent_unknown() {
    if !Program::Valkey.is_here() {
        println!("no valkey-server on this machine");
        return;
    }
    no_user_agent_is_called_unknown(Configuration::new().valkey(), 1).await;
}
