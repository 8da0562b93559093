//! What both trials need: a service, a user agent with its subscriptions, their senders, and the checker.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::world::{Load, World};
use super::{Ledger, SUBSCRIPTIONS, sender};
use crate::chance::Chance;
use crate::connector::Connector;
use crate::listener::Agent;
use crate::node::Node;
use crate::plan::Plan;
use crate::recipient::Recipient;
use crate::settings::Settings;

/// Breaches that are shown.
const SHOWN: usize = 40;

/// How the user agent reaches its service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// The WebSocket.
    WebSocket,
    /// RFC 8030 over HTTP/2.
    Http2,
}

/// See the module.
pub(super) struct Stage<B> {
    pub(super) world: Arc<World<B>>,
    pub(super) agent: Agent,
    node: Node,
    subscriptions: Vec<String>,
    /// What `list` printed at first.
    listed: String,
    senders: JoinSet<()>,
    service: watch::Sender<Option<Connector>>,
    storm: watch::Sender<bool>,
    started: Instant,
}

impl<B: Ledger> Stage<B> {
    /// Starts the service, makes the subscriptions, and lets their senders send.
    pub(super) async fn set(
        over: Over,
        load: Load,
        chance: &mut Chance,
        checker: impl FnOnce(&[&'static str]) -> B,
    ) -> Self {
        let started = Instant::now();
        let node = Node::start(settings()).await;
        let agent = match over {
            Over::WebSocket => Agent::at(&node.connector()),
            Over::Http2 => Agent::of(&format!("{}/", node.connector().origin())),
        };
        let subscriptions = subscribed(&agent).await;
        let listed = agent.list().await;
        let (service, service_seen) = watch::channel(Some(node.connector()));
        let (storm, storm_seen) = watch::channel(true);
        let world = Arc::new(World::new(
            checker(&SUBSCRIPTIONS),
            load,
            service_seen,
            storm_seen,
        ));
        let mut senders = JoinSet::new();
        for (number, subscription) in subscriptions.iter().enumerate() {
            let recipient = Recipient::read(subscription);
            senders.spawn(sender::send(Arc::clone(&world), number, recipient, chance.fork()));
        }
        Self {
            world,
            agent,
            node,
            subscriptions,
            listed,
            senders,
            service,
            storm,
            started,
        }
    }

    /// SIGKILL for the service, which is started again at once.
    pub(super) async fn service_killed(&mut self) {
        self.service.send_replace(None);
        self.node.kill().await;
        self.node.start_again().await;
        self.service.send_replace(Some(self.node.connector()));
    }

    /// Lets the senders end.
    pub(super) async fn calm(&mut self) {
        self.storm.send_replace(false);
        while let Some(ended) = self.senders.join_next().await {
            ended.expect("a sender ends");
        }
    }

    /// Sends one last message to each subscription, which must be accepted.
    pub(super) async fn closing_words(&self) {
        for (number, subscription) in self.subscriptions.iter().enumerate() {
            sender::closing_word(&self.world, number, &Recipient::read(subscription)).await;
        }
    }

    /// Lets the checker judge, and returns this summary with the time.
    ///
    /// # Panics
    ///
    /// With the breaches, when there are any; and when a key or a subscription has changed.
    pub(super) async fn audit(&self, plan: Plan, breaches: &[String], summary: &str) -> String {
        let subscriptions = subscribed(&self.agent).await;
        assert_eq!(subscriptions, self.subscriptions, "keys and push resources");
        assert_eq!(
            self.agent.list().await,
            self.listed,
            "the list of the subscriptions"
        );
        let summary = format!("{summary}, in {:.1} s", self.started.elapsed().as_secs_f64());
        assert!(
            breaches.is_empty(),
            "broken {} times (seed {}): {summary}\n{}",
            breaches.len(),
            plan.seed,
            breaches[..breaches.len().min(SHOWN)].join("\n")
        );
        summary
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
