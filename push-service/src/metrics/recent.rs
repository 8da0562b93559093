//! What the metrics did in the last ten minutes, for people who look at a node without a monitoring system.
//!
//! Counters are copied at regular times into a ring of bounded length; a rate is the difference of two copies. So an operator who
//! opens the status page during an incident sees how it began, and no matter how many look, the work is the same.
//!
//! It deliberately does not know who looks, or how figures are shown.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::core::Metric as _;
use prometheus::proto::Bucket;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::family::Family;
use super::labels::{ChannelKind, Label, Listener, Refused};
use super::{Metrics, Trouble};
use crate::defaults::{RATE_OVER, RECENT_EVERY, RECENT_SAMPLES};

/// Figures of this node, for people.
pub struct Figures {
    /// Since the metrics were made, which is when the process started.
    pub uptime: Duration,
    /// How far back "recent" goes: less than ten minutes at first.
    pub window: Duration,
    /// Push messages answered 201 or 202.
    pub accepted: Rate,
    /// Push messages written to channels, repeats included.
    pub delivered: Rate,
    /// Push messages acknowledged by user agents.
    pub acknowledged: Rate,
    /// Requests refused, for any reason.
    pub refused: Rate,
    /// Channels open now, by kind.
    pub channels: Vec<(ChannelKind, i64)>,
    /// Open channels at the times of the copies, the oldest first.
    pub channels_recent: Vec<i64>,
    /// Connections of public listeners open now.
    pub connections: Vec<(Listener, i64)>,
    /// From accepting a message to writing it to a channel.
    pub delivery: Wait,
    /// From accepting a message to its acknowledgement.
    pub acknowledgement: Wait,
    /// Each reason for refusals, also those that did not occur.
    pub refusals: Vec<Refusals>,
    /// Steps of storage that failed since the start.
    pub troubles: Vec<(Trouble, u64)>,
}

/// How a counter moved.
pub struct Rate {
    /// Since the start.
    pub total: u64,
    /// Now: over the last [`RATE_OVER`], or a little longer.
    pub per_second: f64,
    /// Between the copies, the oldest first.
    pub recent: Vec<f64>,
}

/// How long messages waited that were counted within the window.
pub struct Wait {
    /// How many there were.
    pub messages: u64,
    /// Half of them waited no longer, in seconds. `None` without messages.
    pub p50_secs: Option<f64>,
    /// Of 100 of them 99 waited no longer, in seconds. `None` without messages.
    pub p99_secs: Option<f64>,
}

/// Refusals for one reason.
pub struct Refusals {
    /// The reason.
    pub why: Refused,
    /// Since the start.
    pub total: u64,
    /// Within the window.
    pub recent: u64,
}

/// The copies, the oldest first, and never empty: the first is of the start, when nothing was counted.
pub(super) struct Recent {
    started: Instant,
    samples: Mutex<VecDeque<Sample>>,
}

/// A copy of what is shown over time.
#[derive(Clone)]
struct Sample {
    at: Instant,
    accepted: u64,
    delivered: u64,
    acknowledged: u64,
    /// By [`Label::index`].
    refused: Box<[u64]>,
    channels: i64,
    delivery: Buckets,
    acknowledgement: Buckets,
}

/// A histogram's counts: of each bucket with all below it, then of everything.
#[derive(Clone, Default)]
struct Buckets(Box<[u64]>);

impl Recent {
    pub(super) fn new(now: Instant) -> Self {
        let first = Sample {
            at: now,
            accepted: 0,
            delivered: 0,
            acknowledged: 0,
            refused: Refused::ALL.iter().map(|_| 0).collect(),
            channels: 0,
            delivery: Buckets::default(),
            acknowledgement: Buckets::default(),
        };
        Self {
            started: now,
            samples: Mutex::new(VecDeque::from([first])),
        }
    }
}

impl Metrics {
    /// Copies what [`figures`](Self::figures) shows over time. Call it every [`RECENT_EVERY`]; several may, as every admin listener
    /// does: a call soon after another does nothing.
    pub fn keep_recent(&self, now: Instant) {
        let sample = self.sample(now);
        let mut samples = self.recent.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |last: &Sample| now.saturating_duration_since(last.at) > RECENT_EVERY / 2;
        if samples.back().is_none_or(is_due) {
            if samples.len() >= RECENT_SAMPLES {
                samples.pop_front();
            }
            samples.push_back(sample);
        }
    }

    /// What a person wants to see of this node. Its cost is bounded, and the same however much happens.
    pub fn figures(&self, now: Instant) -> Figures {
        let samples = self.recent.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let samples: Vec<Sample> = samples.iter().cloned().collect();
        let sample = self.sample(now);
        let oldest = samples.first().unwrap_or(&sample);
        let is_old_enough = |one: &&Sample| now.saturating_duration_since(one.at) >= RATE_OVER;
        let before = samples.iter().rev().find(is_old_enough).unwrap_or(oldest);
        let rate = |of: fn(&Sample) -> u64| Rate {
            total: of(&sample),
            per_second: rate_between(before, &sample, of),
            recent: samples
                .windows(2)
                .map(|pair| rate_between(&pair[0], &pair[1], of))
                .collect(),
        };
        Figures {
            uptime: now.saturating_duration_since(self.recent.started),
            window: now.saturating_duration_since(oldest.at),
            accepted: rate(|sample| sample.accepted),
            delivered: rate(|sample| sample.delivered),
            acknowledged: rate(|sample| sample.acknowledged),
            refused: rate(|sample| sample.refused.iter().sum()),
            channels: all(&self.channels, IntGauge::get),
            channels_recent: samples.iter().map(|sample| sample.channels).collect(),
            connections: all(&self.connections, IntGauge::get),
            delivery: wait(&self.delivery, &oldest.delivery, &sample.delivery),
            acknowledgement: wait(
                &self.acknowledgement,
                &oldest.acknowledgement,
                &sample.acknowledgement,
            ),
            refusals: Refused::ALL
                .iter()
                .map(|why| refusals(*why, oldest, &sample))
                .collect(),
            troubles: all(&self.troubles, IntCounter::get),
        }
    }

    fn sample(&self, now: Instant) -> Sample {
        Sample {
            at: now,
            accepted: self.accepted.all().iter().map(IntCounter::get).sum(),
            delivered: self.delivered.get(),
            acknowledged: self.acknowledged.get(),
            refused: self.refused.all().iter().map(IntCounter::get).collect(),
            channels: self.open_channels(),
            delivery: Buckets::of(&self.delivery),
            acknowledgement: Buckets::of(&self.acknowledgement),
        }
    }
}

impl Buckets {
    fn of(histogram: &Histogram) -> Self {
        let metric = histogram.metric();
        let histogram = metric.get_histogram();
        let within = histogram.get_bucket().iter().map(Bucket::cumulative_count);
        Self(within.chain([histogram.get_sample_count()]).collect())
    }

    /// What was counted since; no earlier copy stands for zeros.
    fn since(&self, earlier: &Self) -> Vec<u64> {
        let earlier = earlier.0.iter().copied().chain(std::iter::repeat(0));
        let pairs = self.0.iter().zip(earlier);
        pairs.map(|(now, before)| now.saturating_sub(before)).collect()
    }
}

/// Each value of a label, with what its metric shows.
fn all<L: Label, M: prometheus::core::Metric, T>(family: &Family<L, M>, shown: fn(&M) -> T) -> Vec<(L, T)> {
    L::ALL
        .iter()
        .map(|label| (*label, shown(family.of(*label))))
        .collect()
}

fn rate_between(before: &Sample, after: &Sample, of: fn(&Sample) -> u64) -> f64 {
    let seconds = after.at.saturating_duration_since(before.at).as_secs_f64();
    if seconds > 0.0 {
        of(after).saturating_sub(of(before)) as f64 / seconds
    } else {
        0.0
    }
}

fn wait(histogram: &Histogram, before: &Buckets, now: &Buckets) -> Wait {
    let counts = now.since(before);
    let metric = histogram.metric();
    let bounds: Vec<f64> = metric
        .get_histogram()
        .get_bucket()
        .iter()
        .map(Bucket::upper_bound)
        .collect();
    Wait {
        messages: counts.last().copied().unwrap_or_default(),
        p50_secs: quantile(0.5, &bounds, &counts),
        p99_secs: quantile(0.99, &bounds, &counts),
    }
}

/// As Prometheus's `histogram_quantile`: values are spread evenly within a bucket, and beyond the last bound they count as it.
/// `counts` has one more entry than `bounds`, for everything.
fn quantile(of: f64, bounds: &[f64], counts: &[u64]) -> Option<f64> {
    let all = *counts.last().filter(|all| **all > 0)?;
    let rank = of * all as f64;
    let at = counts.iter().position(|within| *within as f64 >= rank)?;
    let Some(upper) = bounds.get(at) else {
        return bounds.last().copied();
    };
    let (lower, below) = match at.checked_sub(1) {
        Some(before) => (bounds[before], counts[before]),
        None => (0.0, 0),
    };
    let inside = counts[at].saturating_sub(below).max(1);
    Some(lower + (upper - lower) * (rank - below as f64) / inside as f64)
}

fn refusals(why: Refused, before: &Sample, now: &Sample) -> Refusals {
    let of = |sample: &Sample| sample.refused.get(why.index()).copied().unwrap_or_default();
    Refusals {
        why,
        total: of(now),
        recent: of(now).saturating_sub(of(before)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Accepted, Channel};

    const SECOND: Duration = Duration::from_secs(1);

    /// Rates come from copies: the present one over at least [`RATE_OVER`], those before from copy to copy.
    #[test]
    fn rates_are_differences_of_copies() {
        let metrics = Metrics::new();
        let start = metrics.recent.started;
        for _ in 0..50 {
            metrics.accepted(Accepted::Stored);
        }
        metrics.channel(ChannelKind::WebSocket, Channel::Opened);
        metrics.keep_recent(start + RECENT_EVERY);
        metrics.keep_recent(start + RECENT_EVERY + SECOND);
        for _ in 0..5 {
            metrics.accepted(Accepted::Passed);
        }
        let now = metrics.figures(start + RECENT_EVERY + RATE_OVER);
        assert_eq!(now.accepted.total, 55);
        assert_eq!(now.accepted.recent, [50.0 / RECENT_EVERY.as_secs_f64()]);
        assert_eq!(now.accepted.per_second, 5.0 / RATE_OVER.as_secs_f64());
        assert_eq!(now.channels_recent, [0, 1]);
        assert_eq!(now.channels[0], (ChannelKind::WebSocket, 1));
        assert_eq!(now.uptime, RECENT_EVERY + RATE_OVER);
    }

    /// However long the node runs, the copies stay as many; refusals and waits that they no longer have count as past.
    #[test]
    fn the_window_is_bounded() {
        let metrics = Metrics::new();
        let start = metrics.recent.started;
        metrics.refused(Refused::RateLimited);
        metrics.delivered(Some(SECOND));
        let mut now = start;
        for _ in 0..RECENT_SAMPLES * 2 {
            now += RECENT_EVERY;
            metrics.keep_recent(now);
        }
        metrics.refused(Refused::Ttl);
        let figures = metrics.figures(now);
        assert_eq!(figures.refused.recent.len(), RECENT_SAMPLES - 1);
        assert_eq!(figures.window, RECENT_EVERY * (RECENT_SAMPLES as u32 - 1));
        let of = |why: Refused| &figures.refusals[why.index()];
        let counts = |why| (of(why).total, of(why).recent);
        assert_eq!(counts(Refused::RateLimited), (1, 0));
        assert_eq!(counts(Refused::Ttl), (1, 1));
        assert_eq!(figures.delivery.messages, 0);
        assert_eq!(figures.delivery.p99_secs, None);
    }

    /// A quantile lies within its bucket, as Prometheus puts it, and beyond the last bound it is that bound.
    #[test]
    fn quantiles_are_those_of_prometheus() {
        let bounds = [1.0, 2.0, 4.0];
        let rows: [(f64, &[u64], Option<f64>); 6] = [
            (0.5, &[0, 0, 0, 0], None),
            (0.5, &[], None),
            (0.5, &[10, 10, 10, 10], Some(0.5)),
            (0.5, &[0, 10, 10, 10], Some(1.5)),
            (0.99, &[50, 50, 100, 100], Some(3.96)),
            (0.99, &[1, 1, 1, 100], Some(4.0)),
        ];
        for (of, counts, expected) in rows {
            assert_eq!(quantile(of, &bounds, counts), expected, "{of} {counts:?}");
        }
    }

    /// What was delivered within a millisecond is shown so.
    #[test]
    fn waits_are_read_from_the_histogram() {
        let metrics = Metrics::new();
        for _ in 0..100 {
            metrics.delivered(Some(Duration::from_micros(700)));
        }
        metrics.delivered(None);
        let wait = metrics.figures(metrics.recent.started + SECOND).delivery;
        assert_eq!(wait.messages, 100);
        let within = |secs: Option<f64>| secs.is_some_and(|secs| (0.0005..=0.001).contains(&secs));
        assert!(within(wait.p50_secs) && within(wait.p99_secs));
    }
}
