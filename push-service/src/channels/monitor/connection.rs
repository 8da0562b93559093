//! What the monitors of one HTTP/2 connection share: the link of their pushes, and the entrances to their sessions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use push_protocol::UserAgentId;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::link::PushLink;
use super::request::Monitor;
use crate::defaults::MONITORS_ENTERING;

/// One for each connection.
#[derive(Default)]
pub struct MonitorLink {
    pushes: Arc<PushLink>,
    entrances: Entrances,
}

impl MonitorLink {
    /// Of a connection that begins.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What the pushes of all monitors share.
    pub fn pushes(&self) -> &Arc<PushLink> {
        &self.pushes
    }

    /// The connection is gone.
    pub fn end(&self) {
        self.entrances.lock().clear();
        self.pushes.end();
    }

    /// Passes a monitor to the session of its user agent. Returns it with a new entrance if there is no session.
    pub(super) fn enter(
        &self,
        user_agent: UserAgentId,
        monitor: Monitor,
    ) -> Result<(), (Monitor, mpsc::Receiver<Monitor>)> {
        self.entrances.enter(user_agent, monitor)
    }

    /// Called by a session's task that takes no monitors any more.
    pub(super) fn left(&self, user_agent: UserAgentId, waker: &Waker) {
        self.pushes.listen_no_more(waker);
        self.entrances.left(user_agent);
    }
}

/// How a monitor gets into the session that its user agent has on the connection. A list, because hardly any connection has
/// more than one user agent; requests in progress bound it.
#[derive(Default)]
struct Entrances(Mutex<Vec<(UserAgentId, mpsc::Sender<Monitor>)>>);

impl Entrances {
    fn enter(
        &self,
        user_agent: UserAgentId,
        monitor: Monitor,
    ) -> Result<(), (Monitor, mpsc::Receiver<Monitor>)> {
        let mut entrances = self.lock();
        let monitor = match entrances.iter().position(|(known, _)| *known == user_agent) {
            None => monitor,
            Some(at) => match entrances[at].1.try_send(monitor) {
                Ok(()) => return Ok(()),
                // It is over, or full: a new session takes the seat.
                Err(TrySendError::Full(monitor) | TrySendError::Closed(monitor)) => {
                    entrances.swap_remove(at);
                    monitor
                }
            },
        };
        let (entrance, entering) = mpsc::channel(MONITORS_ENTERING);
        entrances.push((user_agent, entrance));
        Err((monitor, entering))
    }

    fn left(&self, user_agent: UserAgentId) {
        self.lock()
            .retain(|(known, entrance)| *known != user_agent || !entrance.is_closed());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(UserAgentId, mpsc::Sender<Monitor>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The link keeps nothing of a user agent whose monitors have all gone, however long the connection lives: a peer could
    /// name any number of them.
    #[test]
    fn user_agents_that_have_left_are_forgotten() {
        struct Task;
        impl std::task::Wake for Task {
            fn wake(self: Arc<Self>) {}
        }
        let waker = Waker::from(Arc::new(Task));
        let link = MonitorLink::new();
        let (entrance, entering) = mpsc::channel(1);
        let (one, other) = (UserAgentId([1; 16]), UserAgentId([2; 16]));
        link.entrances.lock().push((one, entrance));
        assert!(link.pushes().listen(&waker));
        link.left(other, &waker);
        assert!(!link.pushes().has_listeners());
        link.left(one, &waker);
        assert_eq!(link.entrances.lock().len(), 1, "another monitor may still enter");
        drop(entering);
        link.left(one, &waker);
        assert!(link.entrances.lock().is_empty());
    }
}
