//! What the status page shows, as one JSON value.
//!
//! Its members are those of this version: they serve the page, and may change with it. Programs use `/metrics`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::super::inspection::time;
use super::super::version::{BUILD, COMMIT, VERSION};
use super::super::{Admin, Readiness, now_ms};
use crate::defaults::{ADMIN_STORAGE_WITHIN, CERTIFICATE_ENDS_SOON};
use crate::metrics::{Figures, Label as _, Rate, Wait};
use crate::tls::Acceptor;

/// Whether something is as it should be. The page shows a word and a shape for it, besides a colour.
const OK: &str = "ok";
const WARN: &str = "warn";
const BAD: &str = "bad";

impl Admin {
    /// Asks the node for everything. Waits for storage no longer than [`ADMIN_STORAGE_WITHIN`]; everything else is at hand.
    pub(super) async fn seen(&self, now: Instant) -> Value {
        let others = async {
            let asked = tokio::time::timeout(ADMIN_STORAGE_WITHIN, self.storage.others()).await;
            asked.ok().and_then(Result::ok)
        };
        let (trouble, others) = tokio::join!(self.storage_trouble(), others);
        let figures = self.metrics.figures(now);
        let warnings = [&*self.warnings, &self.storage.warnings()].concat();
        json!({
            "at": time(now_ms()),
            "version": VERSION,
            "commit": COMMIT,
            "build": BUILD,
            "uptime_secs": figures.uptime.as_secs(),
            "window_secs": figures.window.as_secs(),
            "node": node(&self.readiness.now(), self.readiness.trouble().as_ref().or(trouble.as_ref()).map(String::as_str)),
            "nodes": nodes(self.storage.is_shared(), others),
            "warnings": warnings,
            "channels": channels(&figures),
            "connections": with_total(figures.connections.iter().map(|(listener, open)| (listener.as_str(), *open))),
            "rates": {
                "accepted": rate(&figures.accepted),
                "delivered": rate(&figures.delivered),
                "acknowledged": rate(&figures.acknowledged),
                "refused": rate(&figures.refused),
            },
            "waits": { "delivery": wait(&figures.delivery), "acknowledgement": wait(&figures.acknowledgement) },
            "nothing_refused": figures.refused.total == 0,
            "refusals": refusals(&figures),
            "storage": self.seen_of_storage(&figures, trouble.as_deref()),
            "certificates": certificates(self.acceptor.as_ref(), SystemTime::now()),
        })
    }

    fn seen_of_storage(&self, figures: &Figures, trouble: Option<&str>) -> Value {
        let usage = self.storage.usage();
        let (state, word) = if trouble.is_none() {
            (OK, "Answers")
        } else {
            (BAD, "Unavailable")
        };
        let errors = figures
            .troubles
            .iter()
            .map(|(kind, count)| (kind.as_str(), *count));
        json!({
            "state": state,
            "word": word,
            "why": trouble,
            "whose": if self.storage.is_shared() { "shared with other nodes" } else { "this node's own" },
            "messages": usage.as_ref().map(|usage| usage.messages),
            "user_agents": usage.as_ref().map(|usage| usage.user_agents),
            "bytes": self.storage.queued_bytes(),
            "clock_ahead_ms": self.storage.clock_ahead_ms(),
            "errors": with_total(errors),
        })
    }
}

/// The node as a whole: the same verdict as `/readyz`.
fn node(readiness: &Readiness, trouble: Option<&str>) -> Value {
    let (state, word, why) = match (readiness, trouble) {
        (Readiness::Ready, None) => (OK, "Ready", None),
        (Readiness::Ready, Some(trouble)) => (BAD, "Not ready", Some(trouble.to_owned())),
        (Readiness::Starting(_), _) => (WARN, "Starting", Some("Not everything is up yet.".to_owned())),
        (Readiness::Draining, _) => (
            WARN,
            "Draining",
            Some("The node leaves: user agents go to other nodes, and requests under way end.".to_owned()),
        ),
        (Readiness::Failed(why), _) => (BAD, "Failed", Some(why.clone())),
    };
    json!({ "state": state, "word": word, "why": why })
}

/// What this node knows of the others: how many write to the same storage.
fn nodes(is_shared: bool, others: Option<usize>) -> Value {
    let words = match (is_shared, others) {
        (false, _) => "This node alone".to_owned(),
        (true, None) => "Unknown: storage did not say".to_owned(),
        (true, Some(0)) => "This node, no others at present".to_owned(),
        (true, Some(1)) => "This node and 1 other".to_owned(),
        (true, Some(others)) => format!("This node and {others} others"),
    };
    json!({ "words": words, "shared": is_shared, "others": others })
}

fn channels(figures: &Figures) -> Value {
    let mut channels = with_total(figures.channels.iter().map(|(kind, open)| (kind.as_str(), *open)));
    channels["peak"] = json!(figures.channels_recent.iter().max());
    channels["recent"] = json!(figures.channels_recent);
    channels
}

fn rate(rate: &Rate) -> Value {
    let recent: Vec<f64> = rate.recent.iter().copied().map(hundredths).collect();
    json!({
        "total": rate.total,
        "per_second": hundredths(rate.per_second),
        "peak": recent.iter().copied().fold(0.0, f64::max),
        "recent": recent,
    })
}

fn wait(wait: &Wait) -> Value {
    json!({ "messages": wait.messages, "p50_secs": wait.p50_secs, "p99_secs": wait.p99_secs })
}

fn refusals(figures: &Figures) -> Value {
    let of = |one: &crate::metrics::Refusals| {
        let counts = json!({ "total": one.total, "recent": one.recent });
        (one.why.as_str().to_owned(), counts)
    };
    Value::Object(figures.refusals.iter().map(of).collect())
}

fn certificates(acceptor: Option<&Acceptor>, now: SystemTime) -> Value {
    let Some(until) = acceptor.map(Acceptor::valid_until) else {
        return json!({ "none": true });
    };
    json!({
        "none": false,
        "service": until.service.map(|until| certificate(until, now)),
        "directory": until.directory.map(|until| certificate(until, now)),
    })
}

/// A certificate that is presented until then.
fn certificate(until: SystemTime, now: SystemTime) -> Value {
    let left = until.duration_since(now).ok();
    let (state, word) = match left {
        None => (BAD, "Expired"),
        Some(left) if left < CERTIFICATE_ENDS_SOON => (WARN, "Ends soon"),
        Some(_) => (OK, "Valid"),
    };
    let ms = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let date = time(u64::try_from(ms).unwrap_or(u64::MAX));
    json!({
        "state": state,
        "word": word,
        "until": date.split('T').next(),
        "left_secs": left.map(|left| left.as_secs()),
    })
}

/// Numbers by their names, and their sum as `total`.
fn with_total<N: Copy + Into<i128>>(numbers: impl Iterator<Item = (&'static str, N)>) -> Value {
    let mut all = Map::new();
    let mut total = 0_i128;
    for (name, number) in numbers {
        let number: i128 = number.into();
        total += number;
        all.insert(name.to_owned(), whole(number));
    }
    all.insert("total".to_owned(), whole(total));
    Value::Object(all)
}

fn whole(number: i128) -> Value {
    json!(i64::try_from(number).unwrap_or(i64::MAX))
}

/// More digits are not read.
fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
