//! Whether traffic should come: a small state machine that only goes forward.
//!
//! ```text
//! Starting ──► Ready ──► Draining
//!     └──────────┴──────────┴──────► Failed
//! ```
//!
//! Beside it, a node that is ready may be unable to accept connections for a while ([`Refusing`]).

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

/// How far the process is between its start and its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// Not everything is up. It waits for this, without secrets; empty if that is not known yet.
    Starting(String),
    /// Serving.
    Ready,
    /// Serving what is under way; nothing new should come (PR-36).
    Draining,
    /// It cannot go on; the sentence says why.
    Failed(String),
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting(what) if what.is_empty() => f.write_str("starting"),
            Self::Starting(what) => write!(f, "starting: waits for {what}"),
            Self::Ready => f.write_str("ready"),
            Self::Draining => f.write_str("draining"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// Says why no connection can be accepted now, if so: a sentence's end.
pub type Refusing = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The readiness of the process: the service sets it, probes read it.
///
/// **Invariant:** never goes back: what drains is never ready again, and the first failure stays.
pub struct ReadinessWatch {
    now: watch::Sender<Readiness>,
    refusing: OnceLock<Refusing>,
}

impl Default for ReadinessWatch {
    fn default() -> Self {
        Self {
            now: watch::Sender::new(Readiness::Starting(String::new())),
            refusing: OnceLock::new(),
        }
    }
}

impl ReadinessWatch {
    /// Begins with [`Readiness::Starting`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The start waits for this; no secrets. Ignored after the start.
    pub fn starting(&self, what: impl Into<String>) {
        self.advance(Readiness::Starting(what.into()), |now| {
            matches!(now, Readiness::Starting(_))
        });
    }

    /// Whom to ask whether connections can be accepted, once there are listeners. The first one stays.
    pub fn asks(&self, refusing: Refusing) {
        let _ = self.refusing.set(refusing);
    }

    /// Everything is up. Ignored unless it was starting.
    pub fn ready(&self) {
        self.advance(Readiness::Ready, |now| matches!(now, Readiness::Starting(_)));
    }

    /// The process leaves. Ignored after a failure.
    pub fn draining(&self) {
        self.advance(Readiness::Draining, |now| {
            matches!(now, Readiness::Starting(_) | Readiness::Ready)
        });
    }

    /// The process cannot go on, and `why`. The first reason stays.
    pub fn failed(&self, why: impl Into<String>) {
        self.advance(Readiness::Failed(why.into()), |now| {
            !matches!(now, Readiness::Failed(_))
        });
    }

    /// The readiness now.
    pub fn now(&self) -> Readiness {
        self.now.borrow().clone()
    }

    /// Why no traffic should come, as far as the process itself is concerned: storage is not asked.
    pub fn trouble(&self) -> Option<String> {
        match self.now() {
            Readiness::Ready => self.refusing.get().and_then(|refusing| refusing()),
            other => Some(other.to_string()),
        }
    }

    /// The readiness, and each change of it.
    pub fn subscribe(&self) -> watch::Receiver<Readiness> {
        self.now.subscribe()
    }

    fn advance(&self, next: Readiness, allowed: impl FnOnce(&Readiness) -> bool) {
        self.now.send_if_modified(|now| {
            let goes = allowed(now);
            if goes {
                *now = next;
            }
            goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A late "ready" does not bring back a node that is leaving, and a failure hides nothing that came first.
    #[test]
    fn readiness_never_goes_back() {
        let readiness = ReadinessWatch::new();
        assert_eq!(readiness.now(), Readiness::Starting(String::new()));
        readiness.starting("storage");
        assert_eq!(readiness.trouble().unwrap(), "starting: waits for storage");
        readiness.ready();
        readiness.starting("storage");
        assert_eq!(readiness.now(), Readiness::Ready);
        readiness.draining();
        readiness.ready();
        assert_eq!(readiness.now(), Readiness::Draining);
        readiness.failed("disk");
        readiness.failed("network");
        readiness.draining();
        assert_eq!(readiness.now(), Readiness::Failed("disk".to_owned()));
    }
    /// While connections can't be accepted, a ready node says why; it is ready again as soon as they can.
    #[test]
    fn a_node_that_accepts_nothing_is_not_ready() {
        let readiness = ReadinessWatch::new();
        let full = Arc::new(std::sync::Mutex::new(Some("it is full".to_owned())));
        let told = Arc::clone(&full);
        readiness.asks(Arc::new(move || told.lock().unwrap().clone()));
        assert_eq!(readiness.trouble().unwrap(), "starting");
        readiness.ready();
        assert_eq!(readiness.trouble().unwrap(), "it is full");
        *full.lock().unwrap() = None;
        assert_eq!(readiness.trouble(), None);
        readiness.draining();
        assert_eq!(readiness.trouble().unwrap(), "draining");
    }
}
