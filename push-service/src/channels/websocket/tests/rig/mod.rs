//! Nodes on memory storage that can be put in trouble, and user agents over in-memory connections.

mod troubled;
mod user_agent;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use push_protocol::capability::{Capabilities, PushCapability, SealingKey};
use push_protocol::origin::Origin;
use push_protocol::session::Limits;
use push_protocol::{Coding, Content, MessageNumber, SubscriptionName, Ttl, Urgency, UserAgentId};
use tokio::task::JoinHandle;

pub(crate) use self::troubled::Troubled;
pub(crate) use self::user_agent::UserAgent;
use crate::broker::{Broker, Policy};
use crate::budgets::Budgets;
use crate::channels::shared::Shared;
use crate::channels::{ChannelBounds, Channels, Registry};
use crate::cluster::{Announcer, Reconciler};
use crate::history::History;
use crate::metrics::Metrics;
use crate::storage::{Caps, Enqueue, Enqueued, Manner, PageRequest, QueueLimits, Scope, Seat, Storage};
use crate::{config, defaults};

pub(crate) fn limits() -> Limits {
    Limits {
        hello_within: defaults::HELLO_WITHIN,
        attach_within: defaults::ANSWER_WITHIN,
        in_flight: defaults::IN_FLIGHT as u16,
        acknowledge_within: defaults::ACKNOWLEDGE_WITHIN,
        page_messages: defaults::PAGE_MESSAGES,
        page_bytes: defaults::PAGE_BYTES,
        ask_storage_again_after: defaults::STORAGE_RETRY_AFTER,
        ping_every: defaults::PING_EVERY,
        pong_within: defaults::PONG_WITHIN,
        write_within: defaults::WRITE_WITHIN,
        answer_every: defaults::MIN_PING_INTERVAL,
        answer_burst: defaults::PING_BURST,
        drain_within: defaults::DRAIN_ACKNOWLEDGE_WITHIN,
    }
}

/// The address of every user agent.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A subscription's name.
pub(crate) fn name(n: u8) -> String {
    SubscriptionName([n; 16]).to_string()
}

/// A node. Several may share a storage.
pub(crate) struct Rig {
    channels: Arc<Channels>,
    registry: Arc<Registry>,
    reconciler: Arc<Reconciler>,
    pub(crate) storage: Arc<Troubled>,
    capabilities: Arc<Capabilities>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(Troubled::new()), defaults::CLUSTER_RECONCILE)
    }

    /// Another node on the same storage.
    pub(crate) fn beside(&self) -> Self {
        Self::on(Arc::clone(&self.storage), defaults::CLUSTER_RECONCILE)
    }

    /// A node whose sessions have their turn after so long, once it reconciles.
    pub(crate) fn with_period(every: Duration) -> Self {
        Self::on(Arc::new(Troubled::new()), every)
    }

    /// A node with other limits.
    pub(crate) fn with_limits(change: impl FnOnce(&mut config::Limits)) -> Self {
        let mut limits = config::Limits::default();
        change(&mut limits);
        Self::limited(Arc::new(Troubled::new()), defaults::CLUSTER_RECONCILE, &limits)
    }

    fn on(storage: Arc<Troubled>, every: Duration) -> Self {
        Self::limited(storage, every, &config::Limits::default())
    }

    fn limited(storage: Arc<Troubled>, every: Duration, budgets: &config::Limits) -> Self {
        let registry = Registry::new();
        let history = History::new();
        let reconciler = Reconciler::new(Arc::clone(&registry), every);
        let announcer = Announcer {
            reconciler: Arc::clone(&reconciler),
            outboxes: Arc::default(),
            history: Arc::clone(&history),
        };
        storage.wires.reach(Arc::new(announcer));
        let capabilities = Arc::new(Capabilities::new(&[SealingKey::from_random([7; 32])]).unwrap());
        let policy = Policy {
            require_vapid: false,
            application_servers: Default::default(),
            ttl: Ttl::from_secs(defaults::TTL.as_secs()),
            queue_limits: QUEUE_LIMITS,
            caps: Caps::default(),
            rate: None,
            subscriptions_per_user_agent: 100,
        };
        let metrics = Arc::new(Metrics::new());
        let broker = Broker::new(
            Arc::clone(&storage) as Arc<dyn Storage>,
            Arc::clone(&capabilities),
            Origin::parse("https://push.example").unwrap(),
            policy,
            Arc::clone(&metrics),
        );
        let broker = broker
            .with_budgets(Arc::new(Budgets::new(budgets, Arc::clone(&metrics))))
            .recording(history);
        let shares = ChannelBounds {
            attaching: ATTACHING,
            delivery_bytes: DELIVERY_SHARES * defaults::PAGE_BYTES,
        };
        let channels = Channels::new(
            Arc::new(broker),
            Arc::clone(&registry),
            limits(),
            shares,
            Arc::clone(&metrics),
        );
        let keeper = Arc::clone(&channels);
        let clock = tokio::spawn(async move { keeper.keep_time().await });
        Self {
            channels,
            registry,
            reconciler,
            storage,
            capabilities,
            tasks: vec![clock],
        }
    }

    /// Compares sessions with storage from now on.
    pub(crate) fn reconcile(&mut self) {
        let (reconciler, broker) = (
            Arc::clone(&self.reconciler),
            Arc::clone(&self.channels.shared.broker),
        );
        self.tasks
            .push(tokio::spawn(async move { reconciler.run(&broker).await }));
    }

    /// Wake-ups of these buckets may have been lost on their way to this node.
    pub(crate) fn gap(&self, buckets: &[u16]) {
        self.reconciler.gap(buckets);
    }

    /// A line of the metrics, or nothing if it's not there.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let rendered = self.channels.shared.metrics.render();
        let line = rendered.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Attaches that may be under way now.
    pub(crate) fn turns_to_attach(&self) -> usize {
        self.channels.shared.attaching.available_permits()
    }

    pub(crate) fn connect(&self) -> UserAgent {
        self.connect_with_room(1 << 20)
    }

    /// A connection that holds so many bytes for a user agent that does not read.
    pub(crate) fn connect_with_room(&self, bytes: usize) -> UserAgent {
        let (ours, theirs) = tokio::io::duplex(bytes);
        let from = self.channels.shared.broker.budgets().payer(ADDRESS);
        self.channels.open(theirs, b"", from);
        UserAgent::new(ours, Arc::clone(&self.capabilities))
    }

    /// What another kind of channel is made with.
    pub(in crate::channels) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.channels.shared)
    }

    /// Open channels.
    pub(crate) fn channels(&self) -> usize {
        self.registry.count()
    }

    /// Takes every share of the node's delivery bytes.
    pub(crate) async fn take_all_shares(&self) -> tokio::sync::OwnedSemaphorePermit {
        self.channels
            .shared
            .share_of_delivery(DELIVERY_SHARES * defaults::PAGE_BYTES)
            .await
            .unwrap()
    }

    pub(crate) async fn push(&self, to: PushCapability, body: &[u8]) {
        let enqueue = Enqueue {
            user_agent: to.user_agent,
            subscription: to.subscription,
            nonce: crate::random::u64(),
            ttl: Ttl::from_secs(86_400),
            urgency: Urgency::Normal,
            topic: None,
            content: Content {
                coding: Coding::Aes128gcm,
                media_type: None,
                body: Bytes::copy_from_slice(body),
            },
            key: None,
            sealed_by: push_protocol::capability::KeyId(0),
            receipts: None,
            sender: None,
            caps: Caps::default(),
            queue_limits: QUEUE_LIMITS,
            rate: None,
        };
        let enqueued = self.storage.enqueue(enqueue).await.unwrap();
        assert!(matches!(enqueued, Enqueued::Stored { .. }), "{enqueued:?}");
    }

    /// Messages that wait in storage.
    pub(crate) fn waiting(&self) -> u64 {
        self.storage.usage().expect("memory counts").messages
    }

    pub(crate) async fn seated(&self, user_agent: UserAgentId) -> bool {
        self.storage.inspect(user_agent).await.unwrap().unwrap().seated
    }

    /// Storage forgets who holds the seat.
    pub(crate) async fn unseat(&self, user_agent: UserAgentId) {
        let seat = Seat {
            incarnation: 0,
            session: 0,
        };
        let head = PageRequest {
            after: MessageNumber::START,
            scope: Scope::AllBut(Vec::new()),
            minimum: Urgency::VeryLow,
            messages: 0,
            bytes: 0,
        };
        let attach = self.storage.attach(user_agent, seat, head, Manner::Insisting);
        attach.await.unwrap();
        self.storage.release(user_agent, seat).await.unwrap();
    }

    /// Storage loses the record of a user agent with one subscription, and who held its seat.
    pub(crate) async fn forget(&self, user_agent: UserAgentId, n: u8) {
        let name = SubscriptionName([n; 16]);
        self.storage.unsubscribe(user_agent, name).await.unwrap();
        self.unseat(user_agent).await;
        assert!(self.storage.inspect(user_agent).await.unwrap().is_none());
    }

    /// Lets everything else go on until the condition holds.
    pub(crate) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .expect("the condition never held");
    }

    pub(crate) async fn emptied(&self) {
        tokio::time::timeout(Duration::from_secs(120), self.registry.emptied())
            .await
            .expect("channels are left");
    }

    pub(crate) async fn drain(&self, spread: Duration) {
        self.channels.drain(spread).await;
    }

    pub(crate) async fn stop(&self) {
        self.channels.stop().await;
    }
}

/// Pages that may be read and not yet written at a time.
pub(crate) const DELIVERY_SHARES: usize = 4;

/// Attaches under way at a time.
pub(crate) const ATTACHING: usize = 2;

const QUEUE_LIMITS: QueueLimits = QueueLimits {
    messages: 1_000,
    bytes: 1 << 30,
};
