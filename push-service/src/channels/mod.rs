//! Live connections to user agents: one task each, and what they share.
//!
//! A channel's task owns its connection, its session and its place in the registry; the session decides, the task does.
//! Guarantees: an idle channel owns no read or write buffer and no timer of its own; what one channel may make the node
//! hold is bounded by the window, a page and an inbox; no channel outlives [`Channels::drain`]. What it deliberately
//! doesn't know: how messages are stored or accepted.

mod attach;
mod guard;
mod handle;
mod monitor;
mod registry;
mod websocket;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use push_protocol::session::{Limits, Moment};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior};

pub use self::guard::Guard;
use self::handle::Mark;
pub use self::monitor::link::PushLink;
pub use self::monitor::{EventStream, can_push};
pub use self::registry::Registry;
pub(crate) use self::registry::{SHARDS, Seated};
use self::websocket::WebSocketChannel;
#[cfg(test)]
pub(crate) use self::websocket::tests::rig;
use crate::broker::Broker;
use crate::defaults::{CHANNEL_TICK, DRAIN_STEPS};
use crate::metrics::Metrics;

/// What the channels of a node share.
pub struct Channels {
    broker: Arc<Broker>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    limits: Arc<Limits>,
    /// Attaches under way; a hello beyond them waits its turn (PR-16).
    attaching: Arc<Semaphore>,
    /// KiB of bodies that were read and wait to be written (PR-16).
    delivering: Arc<Semaphore>,
    /// Every new channel is closed at once: the node has asked all others to leave.
    leaving: AtomicBool,
    start: Instant,
}

/// Bounds that all channels of a node share.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    /// Attaches under way.
    pub attaching: usize,
    /// Bytes of bodies that were read and wait to be written.
    pub delivery_bytes: usize,
}

impl Channels {
    /// The channels of a node. At first there is no channel.
    pub fn new(
        broker: Arc<Broker>,
        registry: Arc<Registry>,
        limits: Limits,
        shares: Shares,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let page_kib = limits.page_bytes.div_ceil(1024);
        Arc::new(Self {
            broker,
            registry,
            metrics,
            limits: Arc::new(limits),
            attaching: Arc::new(Semaphore::new(shares.attaching)),
            delivering: Arc::new(Semaphore::new((shares.delivery_bytes / 1024).max(page_kib))),
            leaving: AtomicBool::new(false),
            start: Instant::now(),
        })
    }

    /// Opens a WebSocket channel on a connection whose upgrade was answered, in a task of its own. `leftover` was read
    /// with the request and comes before what `io` reads. The channel drops `guard` when the connection has ended.
    pub fn open<Io, G>(self: &Arc<Self>, io: Io, leftover: &[u8], guard: G)
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        G: Guard + 'static,
    {
        tokio::spawn(self.channel(io, leftover, guard));
    }

    /// The same for a caller that runs the channel. Resolves when the connection has ended and the seat was given up.
    /// Dropped earlier, the channel keeps the seat, as a crash does.
    pub fn channel<Io, G>(
        self: &Arc<Self>,
        io: Io,
        leftover: &[u8],
        guard: G,
    ) -> impl Future<Output = ()> + Send + use<Io, G>
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send,
        G: Guard,
    {
        WebSocketChannel::new(io, leftover, guard, Arc::clone(self))
    }

    /// Keeps every channel's deadlines, until it is dropped. One task for all of them: no channel has a timer.
    pub async fn keep_time(&self) {
        let mut ticks = tokio::time::interval(CHANNEL_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.registry.tick(self.now());
        }
    }

    /// Closes all channels, spread over `spread`, and resolves when the last one is gone (PR-36).
    pub async fn drain(&self, spread: Duration) {
        let channels = self.registry.all();
        let steps = DRAIN_STEPS.min(channels.len().max(1));
        for step in channels.chunks(channels.len().div_ceil(steps).max(1)) {
            for channel in step {
                channel.mark(Mark::Drain);
            }
            tokio::select! {
                () = tokio::time::sleep(spread / steps as u32) => {}
                () = self.registry.emptied() => {}
            }
        }
        // Those that came in meanwhile, and those that will.
        self.leaving.store(true, Ordering::Release);
        self.registry.mark_all(Mark::Drain);
        self.registry.emptied().await;
    }

    /// Closes all channels at once because storage failed (PR-5). Resolves when the last one is gone.
    pub async fn stop(&self) {
        self.registry.mark_all(Mark::Stop);
        self.registry.emptied().await;
    }

    /// Waits for the node to have room for so many bytes of bodies. `None` never happens: the semaphore is not closed.
    async fn share_of_delivery(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.delivering)
            .acquire_many_owned(kib(bytes))
            .await
            .ok()
    }

    /// The same, if there is room now.
    fn share_of_delivery_now(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.delivering)
            .try_acquire_many_owned(kib(bytes))
            .ok()
    }

    /// Whether somebody has to wait for a page.
    fn is_short_of_shares(&self) -> bool {
        self.delivering.available_permits() < self.limits.page_bytes.div_ceil(1024)
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    fn now(&self) -> Moment {
        Moment(self.start.elapsed().as_millis() as u64)
    }
}

/// Bytes that an idle WebSocket channel takes.
#[cfg(test)]
pub(crate) const fn websocket_channel_bytes<Io, G>() -> usize {
    size_of::<WebSocketChannel<Io, G>>()
}

/// Polls a step of storage, and frees its slot when it has an answer.
fn poll_slot<T>(slot: &mut Option<BoxFuture<'static, T>>, cx: &mut Context<'_>) -> Option<T> {
    let Poll::Ready(answer) = slot.as_mut()?.as_mut().poll(cx) else {
        return None;
    };
    *slot = None;
    Some(answer)
}

/// Shares of the delivery bytes are counted in KiB, because one acquires at most `u32::MAX` of them at once.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}
