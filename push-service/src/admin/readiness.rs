//! Whether traffic should come: a small state machine that only goes forward.
//!
//! ```text
//! Starting ──► Ready ──► Draining
//!     └──────────┴──────────┴──────► Failed
//! ```

use std::fmt;

use tokio::sync::watch;

/// Where the process stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Not everything is up.
    Starting,
    /// Serving.
    Ready,
    /// Serving what is under way; nothing new should come (PR-36).
    Draining,
    /// It cannot go on; the sentence says why.
    Failed(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Ready => f.write_str("ready"),
            Self::Draining => f.write_str("draining"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// Told by the service, read by probes.
///
/// **Invariant:** never goes back: what drains is never ready again, and the first failure stays.
pub struct Readiness(watch::Sender<State>);

impl Default for Readiness {
    fn default() -> Self {
        Self(watch::Sender::new(State::Starting))
    }
}

impl Readiness {
    /// Begins with [`State::Starting`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything is up. Ignored unless it was starting.
    pub fn ready(&self) {
        self.advance(State::Ready, |now| matches!(now, State::Starting));
    }

    /// The process leaves. Ignored after a failure.
    pub fn draining(&self) {
        self.advance(State::Draining, |now| {
            matches!(now, State::Starting | State::Ready)
        });
    }

    /// The process cannot go on, and `why`. The first reason stays.
    pub fn failed(&self, why: impl Into<String>) {
        self.advance(State::Failed(why.into()), |now| !matches!(now, State::Failed(_)));
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.0.borrow().clone()
    }

    /// Follows it.
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    fn advance(&self, next: State, allowed: impl FnOnce(&State) -> bool) {
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
        let readiness = Readiness::new();
        assert_eq!(readiness.state(), State::Starting);
        readiness.ready();
        assert_eq!(readiness.state(), State::Ready);
        readiness.draining();
        readiness.ready();
        assert_eq!(readiness.state(), State::Draining);
        readiness.failed("disk");
        readiness.failed("network");
        readiness.draining();
        assert_eq!(readiness.state(), State::Failed("disk".to_owned()));
    }
}
