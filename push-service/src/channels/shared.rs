//! What the channels of a node share: the broker, the registry, the bounds, and the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use push_protocol::session::{Limits, Moment};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::registry::Registry;
use crate::broker::Broker;
use crate::metrics::Metrics;

/// Every channel of the node has it.
pub(super) struct Shared {
    pub(super) broker: Arc<Broker>,
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: Arc<Limits>,
    /// Attaches in flight; a hello beyond them waits for its turn (PR-16).
    pub(super) attaching: Semaphore,
    /// KiB of bodies that were read and wait to be written (PR-16).
    delivering: Arc<Semaphore>,
    /// The node has asked all channels to leave: a new one is closed at once.
    is_leaving: AtomicBool,
    start: Instant,
}

/// Bounds that all channels of a node share.
#[derive(Clone, Copy, Debug)]
pub struct ChannelBounds {
    /// Attaches in flight.
    pub attaching: usize,
    /// Bytes of bodies that were read and wait to be written.
    pub delivery_bytes: usize,
}

impl Shared {
    pub(super) fn new(
        broker: Arc<Broker>,
        registry: Arc<Registry>,
        limits: Limits,
        bounds: ChannelBounds,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let page_kib = limits.page_bytes.div_ceil(1024);
        Arc::new(Self {
            broker,
            registry,
            metrics,
            limits: Arc::new(limits),
            attaching: Semaphore::new(bounds.attaching),
            delivering: Arc::new(Semaphore::new((bounds.delivery_bytes / 1024).max(page_kib))),
            is_leaving: AtomicBool::new(false),
            start: Instant::now(),
        })
    }

    /// Waits until the node has room for so many bytes of bodies. `None` never happens: the semaphore is not closed.
    pub(super) async fn share_of_delivery(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.delivering)
            .acquire_many_owned(kib(bytes))
            .await
            .ok()
    }

    /// The same, if there is room now.
    pub(super) fn share_of_delivery_now(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.delivering)
            .try_acquire_many_owned(kib(bytes))
            .ok()
    }

    /// Whether a channel that wants a page would have to wait.
    pub(super) fn is_short_of_shares(&self) -> bool {
        self.delivering.available_permits() < self.limits.page_bytes.div_ceil(1024)
    }

    /// New channels are closed at once from now on.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Release);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Acquire)
    }

    /// The node's clock.
    pub(super) fn now(&self) -> Moment {
        Moment(self.start.elapsed().as_millis() as u64)
    }
}

/// ChannelBounds of the delivery bytes are counted in KiB, because one acquires at most `u32::MAX` of them at once.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}
