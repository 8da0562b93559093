//! A whole service without sockets: real broker, real tokens, storage in memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use push_protocol::capability::{Capabilities, Dialect, PushCapability, PushKind, SealingKey};
use push_protocol::origin::Origin;
use push_protocol::vapid::SigningKey;
use push_protocol::{KeyDigest, MessageId, SubscriptionId, SubscriptionName, Ttl, UserAgentId};
use ring::rand::SystemRandom;
use serde_json::Value;

use crate::broker::{Broker, Policy};
use crate::budgets::{Budgets, Payer};
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::resources::{BrokenBody, RequestBody, Resources};
use crate::storage::clock::SystemClock;
use crate::storage::memory::Memory;
use crate::storage::{
    Attached, Confirm, Cursor, Ending, Enqueue, Enqueued, ExpectReceipt, Exported, Imported, Listed, Manner,
    MessageEnd, NoSessions, Overdue, PageRequest, Paged, Portable, QueueLimits, ReceiptExpected, Refreshed,
    Removal, Seat, Storage, StorageError, Subscribe, Subscribed, Traced, Usage, UserAgentReport,
    WaitingMessage, Which,
};

pub(crate) const ORIGIN: &str = "https://push.example.net";

/// A service that takes requests as values.
pub(crate) struct Service {
    pub(crate) resources: Resources,
    pub(crate) broker: Arc<Broker>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) capabilities: Arc<Capabilities>,
    user_agents: std::sync::atomic::AtomicU8,
}

/// An answer, its body read as JSON if it is.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::with(|_, _| {})
    }

    /// A service with another policy or other limits.
    pub(crate) fn with(change: impl FnOnce(&mut Policy, &mut Limits)) -> Self {
        let storage = Memory::new(
            Arc::new(NoSessions),
            Arc::new(SystemClock),
            crate::defaults::RETENTION,
        );
        Self::on(Arc::new(storage), change)
    }

    pub(crate) fn on(storage: Arc<dyn Storage>, change: impl FnOnce(&mut Policy, &mut Limits)) -> Self {
        let mut limits = Limits::default();
        let mut policy = Policy {
            subscriptions_per_user_agent: 10,
            require_vapid: false,
            application_servers: Default::default(),
            ttl: Ttl::from_secs(limits.ttl.as_secs()),
            queue_limits: limits.queue_limits(),
            caps: limits.caps(),
            rate: None,
        };
        change(&mut policy, &mut limits);
        let capabilities = Arc::new(Capabilities::new(&[SealingKey::from_random([7; 32])]).unwrap());
        let metrics = Arc::<Metrics>::default();
        let broker = Broker::new(
            Arc::clone(&storage),
            Arc::clone(&capabilities),
            Origin::parse(ORIGIN).unwrap(),
            policy,
            Arc::clone(&metrics),
        );
        let budgets = Budgets::new(&limits, Arc::clone(&metrics));
        let broker = Arc::new(broker.with_budgets(Arc::new(budgets)));
        Self {
            resources: Resources::new(Arc::clone(&broker), &limits, Arc::clone(&metrics)),
            broker,
            storage,
            metrics,
            capabilities,
            user_agents: Default::default(),
        }
    }

    /// A new user agent's subscription; returns the path of its push resource.
    pub(crate) async fn subscribed(&self, dialect: Dialect, key: Option<KeyDigest>) -> String {
        let (push, path) = self.sealed(dialect, key);
        let subscribe = Subscribe {
            user_agent: push.user_agent,
            name: SubscriptionName([1; 16]),
            fresh_id: push.subscription,
            key,
            seat: None,
            limit: 10,
            only_known: false,
        };
        self.storage.subscribe(subscribe).await.unwrap();
        path
    }

    /// The URL of a receipt subscription.
    pub(crate) fn receipts_url(&self, receipts: UserAgentId) -> String {
        format!("{ORIGIN}/receipts/{}", self.capabilities.seal_receipts(receipts))
    }

    /// The path of a push resource whose subscription has ended.
    pub(crate) fn ended(&self, dialect: Dialect) -> String {
        self.sealed(dialect, None).1
    }

    fn sealed(&self, dialect: Dialect, key: Option<KeyDigest>) -> (PushCapability, String) {
        let n = self
            .user_agents
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let push = PushCapability {
            user_agent: UserAgentId([n; 16]),
            subscription: SubscriptionId([n; 8]),
            key,
        };
        let sealed = self.capabilities.seal_push(dialect, &push, [n; 16]);
        let prefix = match sealed.kind {
            PushKind::Push => "/push/",
            PushKind::WpushV1 => "/wpush/v1/",
            PushKind::WpushV2 => "/wpush/v2/",
        };
        (push, [prefix, &sealed.token].concat())
    }

    pub(crate) async fn answer(&self, request: Request<Bytes>) -> Answer {
        self.answer_from(Payer::UNKNOWN, request).await
    }

    /// A request from another address.
    pub(crate) async fn answer_from(&self, payer: Payer, request: Request<Bytes>) -> Answer {
        let (head, body) = request.into_parts();
        let mut body = Whole((!body.is_empty()).then_some(body));
        let crate::resources::Answer::Whole(response) = self.resources.answer(&head, &mut body, payer).await
        else {
            panic!("the request monitors");
        };
        let (head, body) = response.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }
}

impl Answer {
    /// The status, and the `errno` of autopush's body: -1 stands for null, 0 for no such member.
    pub(crate) fn code(&self) -> (u16, i64) {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let errno = body.get("errno").map_or(0, |errno| errno.as_i64().unwrap_or(-1));
        (self.status.as_u16(), errno)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A good message; `changes` replace header fields, an empty value takes one away.
pub(crate) fn push(path: &str, changes: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Bytes> {
    let mut request = Request::post(path)
        .header("ttl", "60")
        .header("content-encoding", "aes128gcm")
        .body(body.into())
        .unwrap();
    for (name, value) in changes {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().remove(&name);
        if !value.is_empty() {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    request
}

/// An application server.
pub(crate) struct Sender {
    key: SigningKey,
    random: SystemRandom,
}

impl Sender {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = SigningKey::generate_pkcs8(&random).unwrap();
        let key = SigningKey::from_pkcs8(&pkcs8, &random).unwrap();
        Self { key, random }
    }

    pub(crate) fn digest(&self) -> KeyDigest {
        self.key.public_key().digest()
    }

    pub(crate) fn public_key(&self) -> String {
        self.key.public_key().to_string()
    }

    pub(crate) fn public_bytes(&self) -> [u8; 65] {
        *self.key.public_key().as_bytes()
    }

    /// A token for `audience` that expires so many seconds from now.
    pub(crate) fn token(&self, audience: &str, expires_in_secs: i64) -> String {
        let expires_at = now_secs().saturating_add_signed(expires_in_secs);
        self.key
            .sign(audience, expires_at, Some("mailto:ops@example.net"), &self.random)
            .unwrap()
    }

    /// A good `Authorization` field.
    pub(crate) fn authorization(&self) -> String {
        self.key.authorization_header(&self.token(ORIGIN, 3600))
    }
}

pub(crate) fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A body that is there.
struct Whole(Option<Bytes>);

impl RequestBody for Whole {
    fn poll_chunk(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

/// A store in trouble: every step fails in the same way.
pub(crate) struct Broken(pub(crate) StorageError);

#[async_trait]
impl Storage for Broken {
    async fn subscribe(&self, _: Subscribe) -> Result<Subscribed, StorageError> {
        Err(self.0.clone())
    }
    async fn unsubscribe(
        &self,
        _: UserAgentId,
        _: SubscriptionName,
    ) -> Result<Option<SubscriptionId>, StorageError> {
        Err(self.0.clone())
    }
    async fn enqueue(&self, _: Enqueue) -> Result<Enqueued, StorageError> {
        Err(self.0.clone())
    }
    async fn attach(
        &self,
        _: UserAgentId,
        _: Seat,
        _: PageRequest,
        _: Manner,
    ) -> Result<Attached, StorageError> {
        Err(self.0.clone())
    }
    async fn refresh(&self, _: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError> {
        Err(self.0.clone())
    }
    async fn page(&self, _: UserAgentId, _: Seat, _: PageRequest) -> Result<Paged, StorageError> {
        Err(self.0.clone())
    }
    async fn release(&self, _: UserAgentId, _: Seat) -> Result<(), StorageError> {
        Err(self.0.clone())
    }
    async fn acknowledge(
        &self,
        _: UserAgentId,
        _: &[MessageId],
        _: Removal,
        _: Confirm,
        _: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        Err(self.0.clone())
    }
    async fn end(&self, _: UserAgentId, _: Ending) -> Result<bool, StorageError> {
        Err(self.0.clone())
    }
    async fn has_subscription(&self, _: UserAgentId, _: SubscriptionId) -> Result<bool, StorageError> {
        Err(self.0.clone())
    }
    async fn expect_receipt(
        &self,
        _: UserAgentId,
        _: ExpectReceipt,
    ) -> Result<ReceiptExpected, StorageError> {
        Err(self.0.clone())
    }
    async fn settle_receipts(&self, _: UserAgentId, _: &[MessageEnd]) -> Result<(), StorageError> {
        Err(self.0.clone())
    }
    async fn outbox(&self, _: UserAgentId, _: usize) -> Result<Vec<MessageEnd>, StorageError> {
        Err(self.0.clone())
    }
    async fn clear_outbox(&self, _: UserAgentId, _: &[MessageId]) -> Result<(), StorageError> {
        Err(self.0.clone())
    }
    async fn with_outbox(&self, _: usize) -> Result<Vec<UserAgentId>, StorageError> {
        Err(self.0.clone())
    }
    async fn overdue(&self, _: usize) -> Result<Vec<Overdue>, StorageError> {
        Err(self.0.clone())
    }
    async fn trace(&self, _: UserAgentId, _: u64) -> Result<Traced, StorageError> {
        Err(self.0.clone())
    }
    async fn expire(&self, _: usize) -> Result<crate::storage::Swept, StorageError> {
        Err(self.0.clone())
    }
    async fn inspect(&self, _: UserAgentId) -> Result<Option<UserAgentReport>, StorageError> {
        Err(self.0.clone())
    }
    async fn waiting(&self, _: UserAgentId, _: Which) -> Result<Vec<WaitingMessage>, StorageError> {
        Err(self.0.clone())
    }
    async fn list(&self, _: Option<&Cursor>) -> Result<Listed, StorageError> {
        Err(self.0.clone())
    }
    fn usage(&self) -> Option<Usage> {
        None
    }
    async fn health(&self) -> Result<(), StorageError> {
        Err(self.0.clone())
    }
    async fn failed(&self) -> String {
        std::future::pending().await
    }
    async fn admit_sealing_keys(&self, _: &[[u8; 8]]) -> Result<(), StorageError> {
        Err(self.0.clone())
    }
    async fn is_empty(&self) -> Result<bool, StorageError> {
        Err(self.0.clone())
    }
    async fn export(&self, _: Option<&Cursor>, _: usize) -> Result<Exported, StorageError> {
        Err(self.0.clone())
    }
    async fn import(&self, _: Vec<Portable>) -> Result<Imported, StorageError> {
        Err(self.0.clone())
    }
    async fn close(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// A queue of one message, and a rate of one an hour.
pub(crate) fn tight(policy: &mut Policy) {
    policy.queue_limits = QueueLimits {
        messages: 1,
        bytes: 1 << 20,
    };
    policy.rate = Some(crate::storage::Rate {
        per_second: 1.0 / Duration::from_secs(3600).as_secs_f64(),
        burst: 1.0,
    });
}
