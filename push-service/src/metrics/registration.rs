//! The names under which metrics are exported, what they mean, and how their values are grouped.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::family::{Family, register};
use super::labels::{Certificate, Label};
use super::recent::Recent;
use super::refusals::RefusalLines;
use super::{Metrics, Stored};
use crate::{defaults, tasks};

/// Of a step or request, in seconds. From the budget of a delivery (0.5 ms) to Firefox's patience (10 s).
const STEP_SECONDS: [f64; 12] = [
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0,
];

/// Of a message's wait, in seconds: as above, then up to what an absent user agent makes of it (30 days).
const WAIT_SECONDS: [f64; 14] = [
    0.0002,
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.025,
    0.1,
    1.0,
    10.0,
    60.0,
    3_600.0,
    86_400.0,
    2_592_000.0,
];

impl Metrics {
    /// All at zero, but for panics.
    pub fn new() -> Self {
        let registry = registry();
        build_info(&registry);
        // A panic is the process's, and is counted where no metrics are at hand: all of them export the same counters.
        register(&registry, Ok(tasks::panics().clone()));
        let r = &registry;
        Self {
            started: SystemTime::now(),
            time: time(r),
            accepted: counters(r, "messages_accepted_total", "Push messages answered 201 or 202"),
            delivered: counter(
                r,
                "messages_delivered_total",
                "Push messages written to channels, repeats included",
            ),
            acknowledged: counter(
                r,
                "messages_acknowledged_total",
                "Push messages acknowledged by user agents",
            ),
            unacknowledged: counter(
                r,
                "messages_unacknowledged_total",
                "Push messages sent but not acknowledged within channels.acknowledge_within",
            ),
            undelivered: counters(
                r,
                "messages_undelivered_total",
                "Push messages acknowledged by user agents without reaching an application",
            ),
            nacked: counters(
                r,
                "messages_nacked_total",
                "Failures of applications' message handlers, by code",
            ),
            removed: counters(
                r,
                "messages_removed_total",
                "Push messages removed without an acknowledgement",
            ),
            refused: counters(r, "requests_refused_total", "Refused requests"),
            refusal_lines: RefusalLines::default(),
            throttled: counters(
                r,
                "throttled_total",
                "Requests and frames delayed because a budget was used up",
            ),
            connections: gauges(r, "connections", "Open connections of public listeners"),
            connected: counters(
                r,
                "connections_opened_total",
                "Opened connections of public listeners",
            ),
            disconnected: counters(
                r,
                "connections_closed_total",
                "Closed connections of public listeners",
            ),
            cut: counters(
                r,
                "connections_cut_total",
                "Connections of public listeners cut off by the service",
            ),
            channels: gauges(r, "channels", "Open channels of user agents"),
            channels_opened: counters(r, "channels_opened_total", "Opened channels of user agents"),
            channels_closed: counters(r, "channels_closed_total", "Closed channels of user agents"),
            subscriptions_created: counter(r, "subscriptions_created_total", "Subscriptions made"),
            subscriptions_ended: counter(
                r,
                "subscriptions_ended_total",
                "Subscriptions ended by their owners",
            ),
            stored: OnceLock::new(),
            queued_bytes: OnceLock::new(),
            clock_ahead: OnceLock::new(),
            certificate_expiry: OnceLock::new(),
            delivery: wait(
                r,
                "delivery_wait_seconds",
                "Time from accepting a message to writing it to a channel",
            ),
            acknowledgement: wait(
                r,
                "acknowledgement_wait_seconds",
                "Time from accepting a message to its acknowledgement",
            ),
            requests: histograms(
                r,
                "request_duration_seconds",
                "Time from a request's header to its answer",
            ),
            steps: histograms(
                r,
                "storage_step_duration_seconds",
                "Time that steps of storage take",
            ),
            troubles: counters(r, "storage_errors_total", "Steps of storage that failed"),
            compared: counters(
                r,
                "sessions_compared_total",
                "Sessions that were compared with the shared storage",
            ),
            capability_opens: capability_opens(r),
            vapid_cache: counters(
                r,
                "vapid_cache_total",
                "Look-ups of VAPID tokens in the cache of verified tokens",
            ),
            recent: Recent::new(Instant::now()),
            ready: gauge(r, "ready", "1 while /readyz is 200, else 0"),
            connections_limit: gauge(
                r,
                "connections_limit",
                "Connections of public listeners that are accepted at a time",
            ),
            files_open: OnceLock::new(),
            files_limit: OnceLock::new(),
            registry,
        }
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, IntCounter::new(name, help))
}

impl Stored {
    pub(super) fn register(r: &Registry) -> Self {
        Self {
            messages: gauge(r, "queue_messages", "Push messages that wait in storage"),
            bytes: queued_bytes(r),
            user_agents: gauge(r, "user_agents", "User agents with a record in storage"),
        }
    }
}

pub(super) fn queued_bytes(r: &Registry) -> IntGauge {
    gauge(
        r,
        "queue_bytes",
        "Bytes of waiting push messages that count against budgets and caps",
    )
}

pub(super) fn files_open(r: &Registry) -> IntGauge {
    gauge(r, "files_open", "Open files of the process, connections included")
}

pub(super) fn files_limit(r: &Registry) -> IntGauge {
    gauge(
        r,
        "files_limit",
        "Files that the process may have open, connections included",
    )
}

pub(super) fn clock_ahead(r: &Registry) -> IntGauge {
    gauge(
        r,
        "storage_clock_ahead_milliseconds",
        "Milliseconds by which the clock of Redis is ahead of this machine's",
    )
}

/// Prometheus knows when it scraped, so it sees a clock that is wrong.
fn time(r: &Registry) -> Gauge {
    let help = "This machine's clock, in seconds since 1970";
    register(r, Gauge::new("time_seconds", help))
}

pub(super) fn certificate_expiry(registry: &Registry) -> IntGaugeVec {
    let options = Opts::new(
        "certificate_expiry_timestamp_seconds",
        "When the certificates for new connections expire, in seconds since 1970",
    );
    register(registry, IntGaugeVec::new(options, &[Certificate::NAME]))
}

/// An empty one, whose names all begin alike.
pub(super) fn registry() -> Registry {
    Registry::new_custom(Some("push_service".to_owned()), None).expect("the prefix is a valid metric name")
}

pub(super) fn sender_pushes(registry: &Registry) -> IntCounterVec {
    let options = Opts::new(
        "sender_pushes_total",
        "Pushes that were signed with a key and let in, of the keys that send most",
    );
    register(registry, IntCounterVec::new(options, &["sender"]))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    register(registry, IntGauge::new(name, help))
}

fn wait(registry: &Registry, name: &str, help: &str) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(WAIT_SECONDS.to_vec());
    register(registry, Histogram::with_opts(options))
}

fn counters<L: Label>(registry: &Registry, name: &str, help: &str) -> Family<L, IntCounter> {
    Family::new(registry, IntCounterVec::new(Opts::new(name, help), &[L::NAME]))
}

fn gauges<L: Label>(registry: &Registry, name: &str, help: &str) -> Family<L, IntGauge> {
    Family::new(registry, IntGaugeVec::new(Opts::new(name, help), &[L::NAME]))
}

fn histograms<L: Label>(registry: &Registry, name: &str, help: &str) -> Family<L, Histogram> {
    let options = HistogramOpts::new(name, help).buckets(STEP_SECONDS.to_vec());
    Family::new(registry, HistogramVec::new(options, &[L::NAME]))
}

fn capability_opens(registry: &Registry) -> Vec<IntCounter> {
    let options = Opts::new(
        "capability_opens_total",
        "Resource URLs opened, by the index of the sealing key",
    );
    let opens = register(registry, IntCounterVec::new(options, &["key"]));
    let keys = 0..defaults::SEALING_KEYS;
    keys.map(|key| opens.with_label_values(&[key.to_string()]))
        .collect()
}

fn build_info(registry: &Registry) {
    let options = Opts::new("build_info", "Always 1; the labels say which build runs");
    let info = register(registry, IntGaugeVec::new(options, &["version"]));
    info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
}
