//! A broker on memory storage that can be put in trouble, and user agents over in-memory connections.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::Either;
use push_protocol::capability::{Capabilities, PushCapability, PushKind, SealingKey};
use push_protocol::origin::Origin;
use push_protocol::session::Limits;
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_pong, write_text};
use push_protocol::{
    Coding, Content, MessageId, SubscriptionId, SubscriptionName, Ttl, Urgency, UserAgentId,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use tokio::sync::oneshot;

use super::super::WebSocketChannel;
use crate::broker::{Broker, Policy};
use crate::channels::{Channels, Registry, Shares};
use crate::defaults;
use crate::storage::clock::SystemClock;
use crate::storage::memory::Memory;
use crate::storage::{
    Announce, Attached, Confirm, Cursor, Enqueue, Enqueued, Exported, Imported, Manner, PageRequest, Paged,
    Portable, Refreshed, Removal, Seat, Storage, StorageError, Subscribe, Subscribed, Swept, Usage,
    UserAgentReport,
};

pub(super) fn limits() -> Limits {
    Limits {
        hello_within: defaults::HELLO_WITHIN,
        attach_within: defaults::ANSWER_WITHIN,
        in_flight: defaults::IN_FLIGHT as u16,
        acknowledge_within: defaults::ACKNOWLEDGE_WITHIN,
        page_messages: defaults::PAGE_MESSAGES,
        page_bytes: defaults::PAGE_BYTES,
        retry_after: defaults::STORAGE_RETRY_AFTER,
        ping_every: defaults::PING_EVERY,
        pong_within: defaults::PONG_WITHIN,
        write_within: defaults::WRITE_WITHIN,
        answer_every: defaults::MIN_PING_INTERVAL,
        answer_burst: defaults::PING_BURST,
        drain_within: defaults::DRAIN_ACKNOWLEDGE_WITHIN,
    }
}

/// A subscription's name.
pub(super) fn name(n: u8) -> String {
    SubscriptionName([n; 16]).to_string()
}

pub(super) struct Rig {
    channels: Arc<Channels>,
    registry: Arc<Registry>,
    storage: Arc<Troubled>,
    capabilities: Arc<Capabilities>,
    clock: tokio::task::JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

impl Rig {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let announce = Arc::clone(&registry) as Arc<dyn Announce>;
        let memory = Memory::new(announce, Arc::new(SystemClock), defaults::RETENTION);
        let storage = Arc::new(Troubled {
            memory,
            trouble: AtomicBool::new(false),
            held_attach: Mutex::default(),
            held_subscribe: Mutex::default(),
        });
        let capabilities = Arc::new(Capabilities::new(&[SealingKey::from_random([7; 32])]).unwrap());
        let policy = Policy {
            require_vapid: false,
            application_servers: Default::default(),
            ttl: Ttl::from_secs(defaults::TTL.as_secs()),
            budget: BUDGET,
            rate: None,
            subscriptions_per_user_agent: 100,
        };
        let broker = Broker::new(
            Arc::clone(&storage) as Arc<dyn Storage>,
            Arc::clone(&capabilities),
            Origin::parse("https://push.example").unwrap(),
            policy,
            Arc::default(),
        );
        let shares = Shares {
            attaching: 2,
            delivery_bytes: DELIVERY_SHARES * defaults::PAGE_BYTES,
        };
        let channels = Channels::new(Arc::new(broker), Arc::clone(&registry), limits(), shares);
        let keeper = Arc::clone(&channels);
        let clock = tokio::spawn(async move { keeper.keep_time().await });
        Self {
            channels,
            registry,
            storage,
            capabilities,
            clock,
        }
    }

    pub(super) fn connect(&self) -> UserAgent {
        self.connect_with_room(1 << 20)
    }

    /// A connection that holds so many bytes for somebody who doesn't read.
    pub(super) fn connect_with_room(&self, bytes: usize) -> UserAgent {
        let (ours, theirs) = tokio::io::duplex(bytes);
        tokio::spawn(WebSocketChannel::new(theirs, b"", (), Arc::clone(&self.channels)));
        UserAgent {
            stream: ours,
            read: Vec::new(),
            frames: FrameReader::new(Reader::UserAgent, 1 << 20),
            answers_pings: true,
            capabilities: Arc::clone(&self.capabilities),
        }
    }

    pub(super) fn trouble(&self, trouble: bool) {
        self.storage.trouble.store(trouble, Ordering::Relaxed);
    }

    /// Holds the next attach up in storage until the sender that is returned is used.
    pub(super) fn hold_attach(&self) -> oneshot::Sender<()> {
        let (go, held) = oneshot::channel();
        *self.storage.held_attach.lock().unwrap() = Some(held);
        go
    }

    /// Whether the attach that is to be held up has come to storage.
    pub(super) fn attach_is_held(&self) -> bool {
        self.storage.held_attach.lock().unwrap().is_none()
    }

    /// The same for the next subscribe.
    pub(super) fn hold_subscribe(&self) -> oneshot::Sender<()> {
        let (go, held) = oneshot::channel();
        *self.storage.held_subscribe.lock().unwrap() = Some(held);
        go
    }

    pub(super) fn subscribe_is_held(&self) -> bool {
        self.storage.held_subscribe.lock().unwrap().is_none()
    }

    /// Channels that are there.
    pub(super) fn channels(&self) -> usize {
        self.registry.count()
    }

    /// Takes every share of the node's delivery bytes.
    pub(super) async fn take_all_shares(&self) -> tokio::sync::OwnedSemaphorePermit {
        self.channels
            .share_of_delivery(DELIVERY_SHARES * defaults::PAGE_BYTES)
            .await
            .unwrap()
    }

    pub(super) async fn push(&self, to: PushCapability, body: &[u8]) {
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
            sealed_by: 0,
            budget: BUDGET,
            rate: None,
        };
        let enqueued = self.storage.enqueue(enqueue).await.unwrap();
        assert!(matches!(enqueued, Enqueued::Stored { .. }), "{enqueued:?}");
    }

    /// Messages that wait in storage.
    pub(super) fn waiting(&self) -> u64 {
        self.storage.usage().expect("memory counts").messages
    }

    pub(super) async fn seated(&self, user_agent: UserAgentId) -> bool {
        self.storage.inspect(user_agent).await.unwrap().unwrap().seated
    }

    /// Lets everything else go on until it's so.
    pub(super) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .expect("it never came to be so");
    }

    pub(super) async fn emptied(&self) {
        tokio::time::timeout(Duration::from_secs(120), self.registry.emptied())
            .await
            .expect("channels are left");
    }

    pub(super) async fn drain(&self, spread: Duration) {
        self.channels.drain(spread).await;
    }

    pub(super) async fn stop(&self) {
        self.channels.stop().await;
    }
}

/// Pages that may be read and not yet written at a time.
pub(super) const DELIVERY_SHARES: usize = 4;

const BUDGET: crate::storage::Budget = crate::storage::Budget {
    messages: 1_000,
    bytes: 1 << 30,
};

/// The other end of a connection.
pub(super) struct UserAgent {
    stream: DuplexStream,
    read: Vec<u8>,
    frames: FrameReader,
    answers_pings: bool,
    capabilities: Arc<Capabilities>,
}

impl UserAgent {
    pub(super) fn answers_pings(&mut self, answers: bool) {
        self.answers_pings = answers;
    }

    /// Says hello and returns the uaid of the answer.
    pub(super) async fn hello(&mut self, uaid: Option<&str>) -> String {
        self.send(&json!({"messageType": "hello", "use_webpush": true, "uaid": uaid}))
            .await;
        let hello = self.receive().await;
        assert_eq!(
            (&hello["messageType"], &hello["status"]),
            (&json!("hello"), &json!(200))
        );
        hello["uaid"].as_str().unwrap().to_owned()
    }

    /// Registers without a key, and returns what the push URL stands for.
    pub(super) async fn register(&mut self, n: u8) -> PushCapability {
        self.send(&json!({"messageType": "register", "channelID": name(n)}))
            .await;
        let reply = loop {
            let reply = self.receive().await;
            if reply["messageType"] == "register" {
                break reply;
            }
        };
        let url = reply["pushEndpoint"].as_str().unwrap();
        let token = url.rsplit('/').next().unwrap();
        self.capabilities
            .open_push(PushKind::WpushV1, token)
            .unwrap()
            .capability
    }

    pub(super) async fn acknowledge(&mut self, message: &Value) {
        let update = json!({"channelID": message["channelID"], "version": message["version"], "code": 100});
        self.send(&json!({"messageType": "ack", "updates": [update]}))
            .await;
    }

    /// Pings and waits for the answer.
    pub(super) async fn ping(&mut self) {
        self.send(&json!({})).await;
        assert_eq!(self.receive().await, json!({}));
    }

    pub(super) async fn send(&mut self, message: &Value) {
        self.send_together(std::slice::from_ref(message)).await;
    }

    pub(super) async fn send_together(&mut self, messages: &[Value]) {
        let mut out = Vec::new();
        for message in messages {
            write_text(&mut out, Some([1, 2, 3, 4]), |out| {
                out.extend_from_slice(message.to_string().as_bytes());
            });
        }
        self.send_bytes(&out).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next bytes, when no message is half read.
    pub(super) async fn receive_bytes<const N: usize>(&mut self) -> [u8; N] {
        assert!(self.read.is_empty());
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// The next message.
    pub(super) async fn receive(&mut self) -> Value {
        match self.next().await {
            Either::Left(message) => message,
            Either::Right(code) => panic!("closed with {code:?}"),
        }
    }

    /// Reads on until the close, and returns its code.
    pub(super) async fn closed(&mut self) -> u16 {
        loop {
            if let Either::Right(code) = self.next().await {
                return code.expect("the close has a code");
            }
        }
    }

    pub(super) async fn close(mut self) {
        self.send_bytes(b"\x88\x82\0\0\0\0\x03\xe8").await;
        assert_eq!(self.closed().await, 1000);
    }

    async fn next(&mut self) -> Either<Value, Option<u16>> {
        loop {
            let mut pong = None;
            match self.frames.read(&mut self.read).unwrap() {
                Some((Incoming::Text(text), taken)) => {
                    let message = serde_json::from_str(text).unwrap();
                    self.read.drain(..taken);
                    return Either::Left(message);
                }
                Some((Incoming::Close(code), _)) => return Either::Right(code),
                Some((incoming, taken)) => {
                    if let Incoming::Ping(payload) = incoming {
                        pong = self.answers_pings.then(|| payload.to_vec());
                    }
                    self.read.drain(..taken);
                }
                None => {
                    let read = self.stream.read_buf(&mut self.read).await.unwrap();
                    assert!(read > 0, "the connection ended without a close");
                }
            }
            if let Some(payload) = pong {
                let mut out = Vec::new();
                write_pong(&mut out, Some([9, 9, 9, 9]), &payload);
                self.send_bytes(&out).await;
            }
        }
    }
}

/// Memory storage that answers nothing but "trouble" while it's told to.
struct Troubled {
    memory: Memory,
    trouble: AtomicBool,
    /// The next attach waits for this before it's decided.
    held_attach: Mutex<Option<oneshot::Receiver<()>>>,
    /// So does the next subscribe for this.
    held_subscribe: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Troubled {
    fn check(&self) -> Result<(), StorageError> {
        if self.trouble.load(Ordering::Relaxed) {
            return Err(StorageError::Unavailable("put in trouble by a test".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl Storage for Troubled {
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StorageError> {
        let held = self.held_subscribe.lock().unwrap().take();
        if let Some(held) = held {
            let _ = held.await;
        }
        self.check()?;
        self.memory.subscribe(subscribe).await
    }

    async fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
    ) -> Result<Option<SubscriptionId>, StorageError> {
        self.check()?;
        self.memory.unsubscribe(user_agent, name).await
    }

    async fn enqueue(&self, enqueue: Enqueue) -> Result<Enqueued, StorageError> {
        self.check()?;
        self.memory.enqueue(enqueue).await
    }

    async fn attach(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        head: PageRequest,
        manner: Manner,
    ) -> Result<Attached, StorageError> {
        let held = self.held_attach.lock().unwrap().take();
        if let Some(held) = held {
            let _ = held.await;
        }
        self.check()?;
        self.memory.attach(user_agent, seat, head, manner).await
    }

    async fn refresh(&self, held: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError> {
        self.check()?;
        self.memory.refresh(held).await
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        page: PageRequest,
    ) -> Result<Paged, StorageError> {
        self.check()?;
        self.memory.page(user_agent, seat, page).await
    }

    async fn release(&self, user_agent: UserAgentId, seat: Seat) -> Result<(), StorageError> {
        self.check()?;
        self.memory.release(user_agent, seat).await
    }

    async fn acknowledge(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
        removal: Removal,
        confirm: Confirm,
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        self.check()?;
        self.memory
            .acknowledge(user_agent, messages, removal, confirm, by)
            .await
    }

    async fn expire(&self, limit: usize) -> Result<Swept, StorageError> {
        self.memory.expire(limit).await
    }

    async fn inspect(&self, user_agent: UserAgentId) -> Result<Option<UserAgentReport>, StorageError> {
        self.memory.inspect(user_agent).await
    }

    fn usage(&self) -> Option<Usage> {
        self.memory.usage()
    }

    async fn health(&self) -> Result<(), StorageError> {
        self.check()
    }

    async fn failed(&self) -> String {
        self.memory.failed().await
    }

    async fn admit_sealing_keys(&self, fingerprints: &[[u8; 8]]) -> Result<(), StorageError> {
        self.memory.admit_sealing_keys(fingerprints).await
    }

    async fn is_empty(&self) -> Result<bool, StorageError> {
        self.memory.is_empty().await
    }

    async fn export(&self, after: Option<&Cursor>, bytes: usize) -> Result<Exported, StorageError> {
        self.memory.export(after, bytes).await
    }

    async fn import(&self, user_agents: Vec<Portable>) -> Result<Imported, StorageError> {
        self.memory.import(user_agents).await
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.memory.close().await
    }
}
