//! What the service counts, for operators.
//!
//! Every drop is counted, with its reason; every pair (connected, disconnected) in one function; every label comes from
//! a closed set. Each metric is looked up once, at the start, so that counting costs an atomic addition and no look-up.
//!
//! What it deliberately does not know: who calls, and how the text is served.

mod family;
mod files;
mod labels;
mod process;
mod recent;
mod refusals;
mod registration;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, Histogram, IntCounter, IntGauge, IntGaugeVec, Registry, TextEncoder};

use crate::storage::{StorageError, Usage};
use family::Family;
pub use files::OpenFiles;
pub use labels::{
    Accepted, Budget, Cache, Certificate, ChannelKind, Closed, Compared, Cut, Label, Listener, Nack, Refused,
    Removed, Resource, Step, Trouble, Undelivered,
};
use recent::Recent;
pub use recent::{Figures, Rate, Refusals, Wait};
use refusals::RefusalLines;
pub use refusals::explained as refusal_explained;

/// Something that is open for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connection {
    /// A peer was let in.
    Opened,
    /// It is gone.
    Closed,
}

/// What happens to a channel. **Invariant:** each opening is followed by exactly one end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// It is up; hello may still have to come.
    Opened,
    /// Its channel ended.
    Closed(Closed),
}

/// Every metric of the process, in a registry of its own.
pub struct Metrics {
    registry: Registry,
    started: SystemTime,
    /// Set before each rendering.
    time: Gauge,
    accepted: Family<Accepted, IntCounter>,
    delivered: IntCounter,
    acknowledged: IntCounter,
    unacknowledged: IntCounter,
    undelivered: Family<Undelivered, IntCounter>,
    nacked: Family<Nack, IntCounter>,
    removed: Family<Removed, IntCounter>,
    refused: Family<Refused, IntCounter>,
    refusal_lines: RefusalLines,
    throttled: Family<Budget, IntCounter>,
    connections: Family<Listener, IntGauge>,
    connected: Family<Listener, IntCounter>,
    disconnected: Family<Listener, IntCounter>,
    cut: Family<Cut, IntCounter>,
    channels: Family<ChannelKind, IntGauge>,
    channels_opened: Family<ChannelKind, IntCounter>,
    channels_closed: Family<Closed, IntCounter>,
    subscriptions_created: IntCounter,
    subscriptions_ended: IntCounter,
    /// Only of a storage that knows.
    stored: OnceLock<Stored>,
    /// Only of a storage that knows this alone of what waits.
    queued_bytes: OnceLock<IntGauge>,
    /// Only of a storage with a clock of its own.
    clock_ahead: OnceLock<IntGauge>,
    /// Only where TLS is spoken.
    certificate_expiry: OnceLock<IntGaugeVec>,
    delivery: Histogram,
    acknowledgement: Histogram,
    requests: Family<Resource, Histogram>,
    steps: Family<Step, Histogram>,
    troubles: Family<Trouble, IntCounter>,
    compared: Family<Compared, IntCounter>,
    capability_opens: Vec<IntCounter>,
    vapid_cache: Family<Cache, IntCounter>,
    recent: Recent,
    ready: IntGauge,
    connections_limit: IntGauge,
    /// Only where the system tells.
    files_open: OnceLock<IntGauge>,
    files_limit: OnceLock<IntGauge>,
}

/// What storage holds.
struct Stored {
    messages: IntGauge,
    bytes: IntGauge,
    user_agents: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Push messages.
impl Metrics {
    /// A push message was answered 201 or 202.
    pub fn accepted(&self, how: Accepted) {
        self.accepted.of(how).inc();
    }

    /// A push message was written to a channel, for the first time or again. `waited` since its acceptance, if that is
    /// known.
    pub fn delivered(&self, waited: Option<Duration>) {
        self.delivered.inc();
        if let Some(waited) = waited {
            self.delivery.observe(waited.as_secs_f64());
        }
    }

    /// A user agent acknowledged a push message. `waited` since its acceptance, if that is known.
    pub fn acknowledged(&self, waited: Option<Duration>) {
        self.acknowledged.inc();
        if let Some(waited) = waited {
            self.acknowledgement.observe(waited.as_secs_f64());
        }
    }

    /// `messages` were on the wire for too long without an acknowledgement: they stay stored (PR-17).
    pub fn unacknowledged(&self, messages: u64) {
        self.unacknowledged.inc_by(messages);
    }

    /// An acknowledgement said that the message did not reach its application. Counts beside [`Metrics::acknowledged`].
    pub fn undelivered(&self, why: Undelivered) {
        self.undelivered.of(why).inc();
    }

    /// A user agent reported that the application's handler failed.
    pub fn nacked(&self, code: Nack) {
        self.nacked.of(code).inc();
    }

    /// `messages` left without an acknowledgement.
    pub fn removed(&self, why: Removed, messages: u64) {
        self.removed.of(why).inc_by(messages);
    }

    /// A request was refused. Also says so in the log, seldom for each reason.
    pub fn refused(&self, why: Refused) {
        self.refused.of(why).inc();
        self.refusal_lines.refused(why);
    }

    /// No proxy is trusted: what the log says of limits by address points to that.
    pub fn trusts_no_proxy(&self) {
        self.refusal_lines.trusts_no_proxy();
    }

    /// A request or a frame had to wait until its tokens were earned (PR-42).
    pub fn throttled(&self, budget: Budget) {
        self.throttled.of(budget).inc();
    }
}

/// Peers.
impl Metrics {
    /// A connection of a public listener came or went.
    pub fn connection(&self, listener: Listener, change: Connection) {
        match change {
            Connection::Opened => {
                self.connected.of(listener).inc();
                self.connections.of(listener).inc();
            }
            Connection::Closed => {
                self.disconnected.of(listener).inc();
                self.connections.of(listener).dec();
            }
        }
    }

    /// A connection of a public listener was cut off. Counts beside [`Metrics::connection`].
    pub fn cut(&self, why: Cut) {
        self.cut.of(why).inc();
    }

    /// A channel came or went.
    pub fn channel(&self, kind: ChannelKind, change: Channel) {
        match change {
            Channel::Opened => {
                self.channels_opened.of(kind).inc();
                self.channels.of(kind).inc();
            }
            Channel::Closed(why) => {
                self.channels_closed.of(why).inc();
                self.channels.of(kind).dec();
            }
        }
    }

    /// Channels that are open now.
    pub fn open_channels(&self) -> i64 {
        self.channels.all().iter().map(IntGauge::get).sum()
    }

    /// A subscription was made.
    pub fn subscription_created(&self) {
        self.subscriptions_created.inc();
    }

    /// A subscription was ended by its owner.
    pub fn subscription_ended(&self) {
        self.subscriptions_ended.inc();
    }
}

/// The machinery.
impl Metrics {
    /// A request was answered; `took` from the end of its header to the end of its answer.
    pub fn request(&self, resource: Resource, took: Duration) {
        self.requests.of(resource).observe(took.as_secs_f64());
    }

    /// A step of storage resolved, well or not.
    pub fn storage_step(&self, step: Step, took: Duration) {
        self.steps.of(step).observe(took.as_secs_f64());
    }

    /// A step of storage could not be done.
    pub fn storage_error(&self, error: &StorageError) {
        let trouble = match error {
            StorageError::Unavailable(_) => Trouble::Unavailable,
            StorageError::Full => Trouble::Full,
            StorageError::Failed(_) => Trouble::Failed,
        };
        self.troubles.of(trouble).inc();
    }

    /// A session was compared with storage.
    pub fn compared(&self, outcome: Compared) {
        self.compared.of(outcome).inc();
    }

    /// A resource URL was opened with the sealing key of this index; 0 is the one that seals (PR-28). An index beyond
    /// [`crate::defaults::SEALING_KEYS`] counts as the last.
    pub fn capability_opened(&self, key: usize) {
        if let Some(counter) = self.capability_opens.get(key).or(self.capability_opens.last()) {
            counter.inc();
        }
    }

    /// A VAPID token was looked up among those seen before.
    pub fn vapid_cache(&self, outcome: Cache) {
        self.vapid_cache.of(outcome).inc();
    }

    /// What storage holds; set before each rendering, if it is known.
    pub fn usage(&self, usage: Usage) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let stored = self.stored.get_or_init(|| Stored::register(&self.registry));
        stored.messages.set(gauge(usage.messages));
        stored.bytes.set(gauge(usage.bytes));
        stored.user_agents.set(gauge(usage.user_agents));
    }

    /// Bytes that wait, for a storage that does not know the other gauges; told before each rendering.
    pub fn queued_bytes(&self, bytes: u64) {
        let gauge = self
            .queued_bytes
            .get_or_init(|| registration::queued_bytes(&self.registry));
        gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// How far storage's clock is ahead of this machine's, in milliseconds (PR-30); told before each rendering.
    pub fn storage_clock_ahead(&self, ms: i64) {
        let gauge = self
            .clock_ahead
            .get_or_init(|| registration::clock_ahead(&self.registry));
        gauge.set(ms);
    }

    /// When a certificate ends that is presented now; told before each rendering. A certificate that does not exist, or
    /// whose time is unknown, is not exported: 0 would raise an alert.
    pub fn certificate_expiry(&self, which: Certificate, until: Option<SystemTime>) {
        let gauges = self
            .certificate_expiry
            .get_or_init(|| registration::certificate_expiry(&self.registry));
        let labels = [which.as_str()];
        match until.and_then(|until| until.duration_since(UNIX_EPOCH).ok()) {
            Some(since) => {
                let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
                gauges.with_label_values(&labels).set(seconds);
            }
            None => {
                // Fails only if it was not exported before.
                let _ = gauges.remove_label_values(&labels);
            }
        }
    }

    /// Whether `/readyz` is 200; told before each rendering.
    pub fn ready(&self, is_ready: bool) {
        self.ready.set(is_ready.into());
    }

    /// How many connections the public listeners take in all.
    pub fn connections_limit(&self, connections: usize) {
        self.connections_limit
            .set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    /// The text exposition format.
    pub fn render(&self) -> String {
        self.time.set(process::since_1970(SystemTime::now()));
        let text = TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default();
        text + &process::render(self.started)
    }

    /// The same for the application server keys that send most: the digest that names each, and its pushes. This label comes from
    /// no closed set, but from a bounded one ([`crate::defaults::SENDERS_SHOWN`]), which changes from time to time; so these
    /// counters are made anew for each text.
    pub fn render_senders(most: impl IntoIterator<Item = (String, u64)>) -> String {
        let registry = registration::registry();
        let pushes = registration::sender_pushes(&registry);
        for (sender, count) in most {
            pushes.with_label_values(&[sender.as_str()]).inc_by(count);
        }
        TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap_or_default()
    }
}
