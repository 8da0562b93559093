//! What each case of the suite uses: a storage, its clock, what its seats were told, and short functions that make requests.

use std::any::Any;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use push_protocol::{
    Coding, Content, MessageId, MessageNumber, PushMessage, SubscriptionId, SubscriptionName, Topic, Ttl,
    Urgency, UserAgentId,
};

use tokio::sync::Notify;

use crate::storage::clock::{Clock, ManualClock};
use crate::storage::{
    Announce, Attached, BUCKETS, Caps, Confirm, Enqueue, Enqueued, Manner, Page, PageRequest, Paged,
    QueueLimits, Removal, RemovalReason, RemovedMessage, Scope, Seat, Storage, Subscribe, Subscribed, Usage,
    WakeUp,
};

/// When every rig's clock starts: in November 2023, in microseconds.
pub(crate) const START_US: u64 = 1_700_000_000_000_000;

/// How long a case waits for what normally takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// A storage under test.
pub(crate) struct Rig {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) announcements: Arc<Announcements>,
    /// What has to live as long as the storage: its directory, its server.
    _keep: Option<Box<dyn Any + Send + Sync>>,
}

/// What seats were told, oldest first.
#[derive(Default)]
pub(crate) struct Announcements {
    wake_ups: Mutex<Vec<(UserAgentId, Seat, WakeUp)>>,
    /// For how many buckets a storage says that it receives wake-ups.
    gaps: Mutex<HashSet<u16>>,
    /// The user agents whose outboxes a storage hinted at.
    owes: Mutex<Vec<UserAgentId>>,
    /// Which messages left without an acknowledgement.
    removed: Mutex<Vec<(UserAgentId, RemovedMessage)>>,
    news: Notify,
}

impl Announce for Announcements {
    fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp) {
        self.wake_ups.lock().unwrap().push((user_agent, seat, wake_up));
        self.news.notify_one();
    }

    fn removed(&self, user_agent: UserAgentId, message: RemovedMessage) {
        self.removed.lock().unwrap().push((user_agent, message));
    }

    fn outbox_filled(&self, user_agent: UserAgentId) {
        self.owes.lock().unwrap().push(user_agent);
        self.news.notify_one();
    }

    fn gap(&self, buckets: &[u16]) {
        self.gaps.lock().unwrap().extend(buckets);
        self.news.notify_one();
    }
}

impl Announcements {
    /// Waits until a shared storage receives the wake-ups of every bucket.
    pub(crate) async fn heard(&self) {
        let heard = async {
            while self.gaps.lock().unwrap().len() < usize::from(BUCKETS) {
                self.news.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, heard)
            .await
            .expect("every bucket is heard");
    }

    fn first(&self) -> Option<(UserAgentId, Seat, WakeUp)> {
        let mut wake_ups = self.wake_ups.lock().unwrap();
        (!wake_ups.is_empty()).then(|| wake_ups.remove(0))
    }

    /// Waits for the next wake-up.
    pub(crate) async fn next(&self) -> (UserAgentId, Seat, WakeUp) {
        let next = async {
            loop {
                if let Some(wake_up) = self.first() {
                    return wake_up;
                }
                self.news.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, next)
            .await
            .expect("a wake-up comes")
    }

    /// Waits for the next hint that an outbox is not empty.
    pub(crate) async fn filled_outbox(&self) -> UserAgentId {
        let next = async {
            loop {
                if let Some(user_agent) = self.owes.lock().unwrap().pop() {
                    return user_agent;
                }
                self.news.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("a hint comes")
    }

    /// Takes the hints at outboxes since the last call.
    pub(crate) fn take_owes(&self) -> Vec<UserAgentId> {
        std::mem::take(&mut *self.owes.lock().unwrap())
    }

    /// Takes what was told of user agent 1: messages that left subscription 1 without an acknowledgement, sorted.
    pub(crate) fn take_reasons(&self) -> Vec<(MessageId, RemovalReason)> {
        let removed = std::mem::take(&mut *self.removed.lock().unwrap());
        let reason = |(told, message): (UserAgentId, RemovedMessage)| {
            assert_eq!(told, user_agent(1));
            let subscription = message.subscription;
            assert!(
                subscription.is_none_or(|id| id == self::subscription(1)),
                "{message:?}"
            );
            (message.id, message.why)
        };
        let mut reasons: Vec<_> = removed.into_iter().map(reason).collect();
        reasons.sort_unstable_by_key(|(id, _)| *id);
        reasons
    }

    /// Takes what was told since the last call.
    pub(crate) fn take(&self) -> Vec<(UserAgentId, Seat, WakeUp)> {
        std::mem::take(&mut *self.wake_ups.lock().unwrap())
    }

    /// Takes the same, and returns only the ids that `seat` was told were removed.
    pub(crate) fn take_removed(&self, seat: Seat) -> Vec<MessageId> {
        let mut removed = Vec::new();
        for (_, told, wake_up) in self.take() {
            match wake_up {
                WakeUp::Removed(ids) if told == seat => removed.extend(ids),
                _ => {}
            }
        }
        removed
    }
}

impl Rig {
    /// A storage made from a recording announcer and a manual clock.
    pub(crate) fn new<S: Storage>(make: impl FnOnce(Arc<dyn Announce>, Arc<dyn Clock>) -> Arc<S>) -> Self {
        let clock = Arc::new(ManualClock::new(START_US));
        let announcements = Arc::new(Announcements::default());
        let storage = make(
            Arc::clone(&announcements) as Arc<dyn Announce>,
            Arc::clone(&clock) as Arc<dyn Clock>,
        );
        Self {
            storage,
            clock,
            announcements,
            _keep: None,
        }
    }

    /// The same of a storage that asks a server when it is opened.
    pub(crate) async fn opening<S: Storage>(
        open: impl AsyncFnOnce(Arc<dyn Announce>, Arc<dyn Clock>) -> Arc<S>,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(START_US));
        let announcements = Arc::new(Announcements::default());
        let announce = Arc::clone(&announcements) as Arc<dyn Announce>;
        let storage = open(announce, Arc::clone(&clock) as Arc<dyn Clock>).await;
        Self {
            storage,
            clock,
            announcements,
            _keep: None,
        }
    }

    /// Keeps something alive as long as the rig.
    pub(crate) fn keeping(self, keep: impl Any + Send + Sync) -> Self {
        Self {
            _keep: Some(Box::new(keep)),
            ..self
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Makes subscription `n` of user agent `n_agent`, which must be new.
    pub(crate) async fn subscribed(&self, n_agent: u8, n: u8) {
        let subscribed = self.storage.subscribe(subscribe(n_agent, n)).await.unwrap();
        assert_eq!(subscribed, Subscribed::Created(subscription(n)));
    }

    /// Enqueues a message, which must be stored.
    pub(crate) async fn stored(&self, request: Enqueue) -> MessageId {
        match self.storage.enqueue(request).await.unwrap() {
            Enqueued::Stored { id, .. } => id,
            other => panic!("not stored: {other:?}"),
        }
    }

    /// The rig's clock, in milliseconds since 1970.
    pub(crate) fn clock_ms(&self) -> u64 {
        self.clock.now_us() / 1_000
    }

    /// Takes the seat of a user agent, which must be known.
    pub(crate) async fn attached(&self, n_agent: u8, seat: Seat) -> Page {
        let attach = self
            .storage
            .attach(user_agent(n_agent), seat, everything(), Manner::Insisting)
            .await
            .unwrap();
        match attach {
            Attached::Known { page, .. } => page,
            other => panic!("not attached: {other:?}"),
        }
    }

    /// Reads a page; the seat must be free or the caller's.
    pub(crate) async fn page(&self, n_agent: u8, seat: Seat, request: PageRequest) -> Page {
        match self
            .storage
            .page(user_agent(n_agent), seat, request)
            .await
            .unwrap()
        {
            Paged::Page(page) => page,
            other => panic!("no page: {other:?}"),
        }
    }

    /// The ids of all messages that wait for user agent `n_agent`. Takes seat 0 and gives it back.
    pub(crate) async fn waiting(&self, n_agent: u8) -> Vec<MessageId> {
        let page = self.attached(n_agent, seat(0)).await;
        self.storage.release(user_agent(n_agent), seat(0)).await.unwrap();
        ids(&page)
    }

    /// What the store holds: its own gauges, or the sum over all user agents that cases use.
    pub(crate) async fn usage(&self) -> Usage {
        if let Some(usage) = self.storage.usage() {
            return usage;
        }
        let mut usage = Usage::default();
        for n in 0..16 {
            if let Some(report) = self.storage.inspect(user_agent(n)).await.unwrap() {
                usage.messages += u64::from(report.messages);
                usage.bytes += report.bytes;
                usage.user_agents += 1;
            }
        }
        usage
    }

    /// Takes a message back, as its application server does.
    pub(crate) async fn cancelled(&self, n_agent: u8, id: MessageId) -> Vec<bool> {
        let (ids, removal) = ([id], Removal::Cancelled);
        let cancel = self
            .storage
            .acknowledge(user_agent(n_agent), &ids, removal, Confirm::Durably, None);
        cancel.await.unwrap()
    }

    /// Acknowledges durably, without a seat.
    pub(crate) async fn acknowledged(&self, n_agent: u8, ids: &[MessageId]) -> Vec<bool> {
        self.storage
            .acknowledge(
                user_agent(n_agent),
                ids,
                Removal::Acknowledged,
                Confirm::Durably,
                None,
            )
            .await
            .unwrap()
    }
}

pub(crate) fn ids(page: &Page) -> Vec<MessageId> {
    page.messages.iter().map(|m| m.id).collect()
}

pub(crate) fn bodies(messages: &[Arc<PushMessage>]) -> Vec<&[u8]> {
    messages.iter().map(|m| &m.content.body[..]).collect()
}

pub(crate) fn user_agent(n: u8) -> UserAgentId {
    UserAgentId([n; 16])
}

pub(crate) fn subscription(n: u8) -> SubscriptionId {
    SubscriptionId([n; 8])
}

pub(crate) fn name(n: u8) -> SubscriptionName {
    SubscriptionName([n; 16])
}

pub(crate) fn seat(n: u64) -> Seat {
    Seat {
        incarnation: 7,
        session: n,
    }
}

pub(crate) fn topic(text: &str) -> Option<Topic> {
    Some(Topic::parse(text).unwrap())
}

pub(crate) fn subscribe(n_agent: u8, n: u8) -> Subscribe {
    Subscribe {
        user_agent: user_agent(n_agent),
        name: name(n),
        fresh_id: subscription(n),
        key: None,
        seat: None,
        limit: 100,
        only_known: false,
    }
}

/// A message of normal urgency for a day, with limits and a rate that let everything through.
pub(crate) fn enqueue(n_agent: u8, n: u8, body: &[u8]) -> Enqueue {
    Enqueue {
        user_agent: user_agent(n_agent),
        subscription: subscription(n),
        nonce: nonce(body),
        ttl: Ttl::from_secs(86_400),
        urgency: Urgency::Normal,
        topic: None,
        content: Content {
            coding: Coding::Aes128gcm,
            media_type: None,
            body: Bytes::copy_from_slice(body),
        },
        key: None,
        sealed_by: push_protocol::capability::KeyId(3),
        receipts: None,
        sender: None,
        caps: Caps::default(),
        queue_limits: QueueLimits {
            messages: 1_000,
            bytes: 1 << 24,
        },
        rate: None,
    }
}

fn nonce(body: &[u8]) -> u64 {
    body.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The whole queue.
pub(crate) fn everything() -> PageRequest {
    PageRequest {
        after: MessageNumber::START,
        scope: Scope::AllBut(Vec::new()),
        minimum: Urgency::VeryLow,
        messages: 10_000,
        bytes: usize::MAX,
    }
}
