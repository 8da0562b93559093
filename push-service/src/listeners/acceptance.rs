//! Whether connections can be accepted now, and if not, why.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::permits::ConnectionLimits;

/// What keeps the public listeners from accepting: as many connections as allowed, or an error of the system, such as no more
/// files. Both pass by themselves.
pub struct Acceptance {
    limits: Arc<ConnectionLimits>,
    /// The listeners whose last attempt failed, by number. Bounded by the listeners.
    failing: Mutex<BTreeMap<usize, String>>,
}

impl Acceptance {
    pub(super) fn new(limits: Arc<ConnectionLimits>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            failing: Mutex::default(),
        })
    }

    /// Why no connection can be accepted now; `None` if one can.
    pub fn refusing(&self) -> Option<String> {
        if let Some(why) = self.lock().values().next() {
            return Some(format!("no connection can be accepted: {why}"));
        }
        let most = self.limits.used_up()?;
        Some(format!(
            "no connection can be accepted: all {most} connections that limits.connections and the limit of open files \
             allow are in use"
        ))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one listener accepts.
pub(super) struct Accepting {
    acceptance: Arc<Acceptance>,
    listener: usize,
    fails: bool,
}

impl Accepting {
    pub(super) fn new(acceptance: &Arc<Acceptance>, listener: usize) -> Self {
        Self {
            acceptance: Arc::clone(acceptance),
            listener,
            fails: false,
        }
    }

    /// The system can accept no connection.
    pub(super) fn fails(&mut self, why: &io::Error) {
        self.fails = true;
        self.acceptance.lock().insert(self.listener, why.to_string());
    }

    /// It can. Costs nothing unless it failed before.
    pub(super) fn works(&mut self) {
        if std::mem::take(&mut self.fails) {
            self.acceptance.lock().remove(&self.listener);
        }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.works();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Listener;

    /// A node says why it accepts nothing, and stops saying so as soon as one connection has left, or files are free.
    #[test]
    fn what_keeps_listeners_from_accepting_is_told() {
        let limits = ConnectionLimits::new(1, 0, Arc::default());
        let acceptance = Acceptance::new(Arc::clone(&limits));
        assert_eq!(acceptance.refusing(), None);
        let permit = limits.admit(Listener::Http).unwrap();
        assert!(acceptance.refusing().unwrap().contains("all 1 connections"));
        drop(permit);
        assert_eq!(acceptance.refusing(), None);

        let (mut one, mut other) = (Accepting::new(&acceptance, 0), Accepting::new(&acceptance, 1));
        for listener in [&mut one, &mut other] {
            listener.fails(&io::Error::from_raw_os_error(24));
        }
        assert!(acceptance.refusing().unwrap().contains("Too many open files"));
        one.works();
        assert!(acceptance.refusing().is_some(), "the other one still fails");
        drop(other);
        assert_eq!(acceptance.refusing(), None);
    }
}
