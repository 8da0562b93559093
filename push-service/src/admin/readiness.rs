//! Whether traffic should come: a small state machine that only goes forward.
//!
//! ```text
//! Starting ──► Ready ──► Draining
//!     └──────────┴──────────┴──────► Failed
//! ```

use std::fmt;

use tokio::sync::watch;

/// How far the process is between its start and its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// Not everything is up.
    Starting,
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
            Self::Starting => f.write_str("starting"),
            Self::Ready => f.write_str("ready"),
            Self::Draining => f.write_str("draining"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// The readiness of the process: the service sets it, probes read it.
///
/// **Invariant:** never goes back: what drains is never ready again, and the first failure stays.
pub struct ReadinessWatch(watch::Sender<Readiness>);

impl Default for ReadinessWatch {
    fn default() -> Self {
        Self(watch::Sender::new(Readiness::Starting))
    }
}

impl ReadinessWatch {
    /// Begins with [`Readiness::Starting`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything is up. Ignored unless it was starting.
    pub fn ready(&self) {
        self.advance(Readiness::Ready, |now| matches!(now, Readiness::Starting));
    }

    /// The process leaves. Ignored after a failure.
    pub fn draining(&self) {
        self.advance(Readiness::Draining, |now| {
            matches!(now, Readiness::Starting | Readiness::Ready)
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
        self.0.borrow().clone()
    }

    /// The readiness, and each change of it.
    pub fn subscribe(&self) -> watch::Receiver<Readiness> {
        self.0.subscribe()
    }

    fn advance(&self, next: Readiness, allowed: impl FnOnce(&Readiness) -> bool) {
        self.0.send_if_modified(|now| {
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
        assert_eq!(readiness.now(), Readiness::Starting);
        readiness.ready();
        assert_eq!(readiness.now(), Readiness::Ready);
        readiness.draining();
        readiness.ready();
        assert_eq!(readiness.now(), Readiness::Draining);
        readiness.failed("disk");
        readiness.failed("network");
        readiness.draining();
        assert_eq!(readiness.now(), Readiness::Failed("disk".to_owned()));
    }
}
