//! Memory storage that is slow, in trouble, or held up at a step, and whose wake-ups may be lost on their way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use push_protocol::{MessageId, SubscriptionId, SubscriptionName, UserAgentId};
use tokio::sync::oneshot;

use crate::defaults;
use crate::storage::clock::SystemClock;
use crate::storage::memory::Memory;
use crate::storage::{
    Announce, Attached, Confirm, Cursor, Ending, Enqueue, Enqueued, ExpectReceipt, Exported, Imported,
    Listed, Manner, MessageEnd, Overdue, PageRequest, Paged, Portable, ReceiptExpected, Refreshed, Removal,
    Seat, Storage, StorageError, Subscribe, Subscribed, Swept, Traced, Usage, UserAgentReport,
    WaitingMessage, WakeUp, Which,
};

/// How wake-ups reach the nodes.
#[derive(Default)]
pub(crate) struct Wires {
    nodes: Mutex<Vec<Arc<dyn Announce>>>,
    lossy: AtomicBool,
    /// Wake-ups that are late, while they are.
    late: Mutex<Option<Vec<(UserAgentId, Seat, WakeUp)>>>,
}

impl Wires {
    pub(crate) fn reach(&self, node: Arc<dyn Announce>) {
        self.nodes.lock().unwrap().push(node);
    }

    fn is_shared(&self) -> bool {
        self.nodes.lock().unwrap().len() > 1
    }

    /// Whether everything is lost from now on.
    pub(crate) fn lose(&self, lossy: bool) {
        self.lossy.store(lossy, Ordering::Relaxed);
    }

    /// Everything is late from now on.
    pub(crate) fn delay(&self) {
        *self.late.lock().unwrap() = Some(Vec::new());
    }

    /// What was late comes now, the last first.
    pub(crate) fn come_in_reverse(&self) {
        let late = self.late.lock().unwrap().take().unwrap_or_default();
        for (user_agent, seat, wake_up) in late.into_iter().rev() {
            self.announce(user_agent, seat, wake_up);
        }
    }
}

impl Announce for Wires {
    fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp) {
        if self.lossy.load(Ordering::Relaxed) {
            return;
        }
        if let Some(late) = &mut *self.late.lock().unwrap() {
            return late.push((user_agent, seat, wake_up));
        }
        // No two nodes have the same seat.
        for node in &*self.nodes.lock().unwrap() {
            node.announce(user_agent, seat, wake_up.clone());
        }
    }
}

/// A place where the next step waits before it's decided.
#[derive(Default)]
pub(crate) struct Hold(Mutex<Option<oneshot::Receiver<()>>>);

impl Hold {
    /// Holds the next one up until the sender that is returned is used.
    pub(crate) fn next(&self) -> oneshot::Sender<()> {
        let (go, held) = oneshot::channel();
        *self.0.lock().unwrap() = Some(held);
        go
    }

    /// Whether it has come.
    pub(crate) fn has_come(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }

    async fn wait(&self) {
        let held = self.0.lock().unwrap().take();
        if let Some(held) = held {
            let _ = held.await;
        }
    }
}

/// Memory storage that answers nothing but "trouble" while it's told to.
pub(crate) struct Troubled {
    memory: Memory,
    pub(crate) wires: Arc<Wires>,
    trouble: AtomicBool,
    /// Acknowledgements are in trouble, and nothing else.
    takes_no_acknowledgements: AtomicBool,
    /// How long a step takes, half of it before it's decided.
    takes: Mutex<Duration>,
    pub(crate) attach: Hold,
    pub(crate) subscribe: Hold,
    pub(crate) refresh: Hold,
    /// Attaches that storage was asked for.
    attaches: AtomicUsize,
}

impl Troubled {
    pub(crate) fn new() -> Self {
        let wires = Arc::new(Wires::default());
        let announce = Arc::clone(&wires) as Arc<dyn Announce>;
        Self {
            memory: Memory::new(announce, Arc::new(SystemClock), defaults::RETENTION),
            wires,
            trouble: AtomicBool::new(false),
            takes_no_acknowledgements: AtomicBool::new(false),
            takes: Mutex::default(),
            attach: Hold::default(),
            subscribe: Hold::default(),
            refresh: Hold::default(),
            attaches: AtomicUsize::new(0),
        }
    }

    pub(crate) fn trouble(&self, trouble: bool) {
        self.trouble.store(trouble, Ordering::Relaxed);
    }

    /// Whether acknowledgements are refused from now on, and nothing else.
    pub(crate) fn take_no_acknowledgements(&self, trouble: bool) {
        self.takes_no_acknowledgements.store(trouble, Ordering::Relaxed);
    }

    pub(crate) fn attaches(&self) -> usize {
        self.attaches.load(Ordering::Relaxed)
    }

    pub(crate) fn takes(&self, long: Duration) {
        *self.takes.lock().unwrap() = long;
    }

    async fn step<T>(&self, step: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        let half = *self.takes.lock().unwrap() / 2;
        if half.is_zero() {
            self.check()?;
            return step.await;
        }
        tokio::time::sleep(half).await;
        self.check()?;
        let outcome = step.await;
        tokio::time::sleep(half).await;
        outcome
    }

    fn check(&self) -> Result<(), StorageError> {
        works(!self.trouble.load(Ordering::Relaxed))
    }
}

fn works(does: bool) -> Result<(), StorageError> {
    let trouble = || StorageError::Unavailable("put in trouble by a test".to_owned());
    does.then_some(()).ok_or_else(trouble)
}

#[async_trait]
impl Storage for Troubled {
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StorageError> {
        self.subscribe.wait().await;
        self.step(self.memory.subscribe(subscribe)).await
    }

    async fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
    ) -> Result<Option<SubscriptionId>, StorageError> {
        self.step(self.memory.unsubscribe(user_agent, name)).await
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
        self.attaches.fetch_add(1, Ordering::Relaxed);
        self.attach.wait().await;
        let attach = async {
            let attached = self.memory.attach(user_agent, seat, head, manner).await?;
            if let Attached::Known {
                displaced: Some(older),
                ..
            } = attached
                && self.wires.is_shared()
            {
                self.wires.announce(user_agent, older, WakeUp::Displaced);
            }
            Ok(attached)
        };
        self.step(attach).await
    }

    async fn refresh(&self, held: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError> {
        self.refresh.wait().await;
        self.step(self.memory.refresh(held)).await
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        page: PageRequest,
    ) -> Result<Paged, StorageError> {
        self.step(self.memory.page(user_agent, seat, page)).await
    }

    async fn release(&self, user_agent: UserAgentId, seat: Seat) -> Result<(), StorageError> {
        self.step(self.memory.release(user_agent, seat)).await
    }

    async fn acknowledge(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
        removal: Removal,
        confirm: Confirm,
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        works(!self.takes_no_acknowledgements.load(Ordering::Relaxed))?;
        self.step(
            self.memory
                .acknowledge(user_agent, messages, removal, confirm, by),
        )
        .await
    }

    async fn end(&self, user_agent: UserAgentId, ending: Ending) -> Result<bool, StorageError> {
        self.step(self.memory.end(user_agent, ending)).await
    }

    async fn has_subscription(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
    ) -> Result<bool, StorageError> {
        self.step(self.memory.has_subscription(user_agent, subscription))
            .await
    }

    async fn expect_receipt(
        &self,
        receipts: UserAgentId,
        expected: ExpectReceipt,
    ) -> Result<ReceiptExpected, StorageError> {
        self.step(self.memory.expect_receipt(receipts, expected)).await
    }

    async fn settle_receipts(
        &self,
        receipts: UserAgentId,
        outcomes: &[MessageEnd],
    ) -> Result<(), StorageError> {
        self.step(self.memory.settle_receipts(receipts, outcomes)).await
    }

    async fn outbox(&self, user_agent: UserAgentId, limit: usize) -> Result<Vec<MessageEnd>, StorageError> {
        self.step(self.memory.outbox(user_agent, limit)).await
    }

    async fn clear_outbox(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
    ) -> Result<(), StorageError> {
        self.step(self.memory.clear_outbox(user_agent, messages)).await
    }

    async fn with_outbox(&self, limit: usize) -> Result<Vec<UserAgentId>, StorageError> {
        self.step(self.memory.with_outbox(limit)).await
    }

    async fn overdue(&self, limit: usize) -> Result<Vec<Overdue>, StorageError> {
        self.step(self.memory.overdue(limit)).await
    }

    async fn trace(&self, user_agent: UserAgentId, nonce: u64) -> Result<Traced, StorageError> {
        self.step(self.memory.trace(user_agent, nonce)).await
    }

    async fn expire(&self, limit: usize) -> Result<Swept, StorageError> {
        self.memory.expire(limit).await
    }

    async fn inspect(&self, user_agent: UserAgentId) -> Result<Option<UserAgentReport>, StorageError> {
        self.memory.inspect(user_agent).await
    }

    async fn waiting(
        &self,
        user_agent: UserAgentId,
        which: Which,
    ) -> Result<Vec<WaitingMessage>, StorageError> {
        self.memory.waiting(user_agent, which).await
    }

    async fn list(&self, after: Option<&Cursor>) -> Result<Listed, StorageError> {
        self.memory.list(after).await
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
