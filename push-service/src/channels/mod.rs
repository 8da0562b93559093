//! Live connections to user agents: one task for each channel, and what all channels share.
//!
//! A channel's task owns its connection and a `driver::Driver`. The driver owns what all kinds of channel have in common:
//! the session, the entry in the registry and the steps of storage. The session decides, the task does.
//!
//! Guarantees: an idle channel owns no buffer to read into or write from, and no timer; what one channel makes the node hold is
//! bounded by the delivery window, a page and an inbox; no channel outlives [`Channels::drain`]. It does not know how messages are
//! stored or accepted.

mod driver;
mod guard;
mod handle;
mod monitor;
mod registry;
mod shared;
mod span;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;
use push_protocol::session::Limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::MissedTickBehavior;

pub use self::guard::Guard;
use self::handle::Mark;
pub use self::monitor::{ConnectionPoll, EventStream, MonitorLink, PushLink, can_push};
pub use self::registry::Registry;
pub(crate) use self::registry::{SHARDS, Seated};
pub use self::shared::ChannelBounds;
use self::shared::Shared;
use self::websocket::WebSocketChannel;
#[cfg(test)]
pub(crate) use self::websocket::tests::rig;
use crate::broker::Broker;
use crate::defaults::{CHANNEL_TICK, DRAIN_STEPS};
use crate::metrics::Metrics;
use crate::resources::Monitoring;
use crate::tasks::{Task, Watched};

/// All channels of a node.
pub struct Channels {
    shared: Arc<Shared>,
}

/// How channels begin.
impl Channels {
    /// The channels of a node. At first there is no channel.
    pub fn new(
        broker: Arc<Broker>,
        registry: Arc<Registry>,
        limits: Limits,
        bounds: ChannelBounds,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let shared = Shared::new(broker, registry, limits, bounds, metrics);
        Arc::new(Self { shared })
    }

    /// Opens a WebSocket channel on a connection whose upgrade was answered, in a task of its own. `leftover` was read
    /// with the request and comes before what `io` reads. The channel drops `guard` when the connection has ended.
    pub fn open<Io, G>(&self, io: Io, leftover: &[u8], guard: G)
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        G: Guard + 'static,
    {
        let channel = WebSocketChannel::new(io, leftover, guard, Arc::clone(&self.shared));
        let owner = channel.owner();
        tokio::spawn(Watched::new(Task::WebSocket, owner, channel));
    }

    /// The same for a caller that runs the channel. Resolves when the connection has ended and the seat was given up.
    /// Dropped earlier, the channel keeps the seat, as a crash does.
    pub fn channel<Io, G>(
        &self,
        io: Io,
        leftover: &[u8],
        guard: G,
    ) -> impl Future<Output = ()> + Send + use<Io, G>
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send,
        G: Guard,
    {
        WebSocketChannel::new(io, leftover, guard, Arc::clone(&self.shared))
    }

    /// Monitors by server push. Resolves when the request is over, and was answered.
    ///
    /// The peer must take pushes: [`can_push`] says so.
    pub async fn monitor_by_push(
        &self,
        monitoring: &Monitoring,
        respond: SendResponse<Bytes>,
        link: &Arc<MonitorLink>,
    ) {
        monitor::by_push(&self.shared, monitoring, respond, link).await;
    }

    /// Monitors by Server-Sent Events. `Err` is the answer to a request that gets no events.
    ///
    /// Dropping what it returns ends the monitoring.
    pub async fn monitor_by_events(
        &self,
        monitoring: &Monitoring,
        link: Option<&Arc<MonitorLink>>,
    ) -> Result<EventStream, Box<Response<Bytes>>> {
        monitor::by_events(&self.shared, monitoring, link).await
    }
}

/// What happens to all channels.
impl Channels {
    /// Keeps every channel's deadlines, until it is dropped. One task for all of them: no channel has a timer.
    pub async fn keep_time(&self) {
        let mut ticks = tokio::time::interval(CHANNEL_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.shared.registry.tick(self.shared.now());
        }
    }

    /// Closes all channels, spread over `spread`, and resolves when the last one is gone (PR-36).
    pub async fn drain(&self, spread: Duration) {
        let registry = &self.shared.registry;
        let channels = registry.all();
        let steps = DRAIN_STEPS.min(channels.len().max(1));
        for step in channels.chunks(channels.len().div_ceil(steps).max(1)) {
            for channel in step {
                channel.mark(Mark::Drain);
            }
            tokio::select! {
                () = tokio::time::sleep(spread / steps as u32) => {}
                () = registry.emptied() => {}
            }
        }
        // Channels that were opened meanwhile, and channels that will be.
        self.shared.leave();
        registry.mark_all(Mark::Drain);
        registry.emptied().await;
    }

    /// Closes all channels at once because storage failed (PR-5). Resolves when the last one is gone.
    pub async fn stop(&self) {
        self.shared.registry.mark_all(Mark::Stop);
        self.shared.registry.emptied().await;
    }
}

/// Bytes that the task of an idle WebSocket channel takes.
#[cfg(test)]
pub(crate) const fn websocket_channel_bytes<Io, G>() -> usize {
    size_of::<Watched<WebSocketChannel<Io, G>>>()
}
