//! How a monitor gets to a session: to the one that its user agent has on the connection, or to a new one.

use std::sync::Arc;

use push_protocol::UserAgentId;

use super::connection::MonitorLink;
use super::request::Monitor;
use super::task::MonitorTask;
use crate::broker::QueueKind;
use crate::channels::shared::Shared;
use crate::tasks::{Task, Watched};

/// Passes a monitor to its session. A monitor that asks once gets a session of its own, and so does the
/// first monitor of a user agent on its connection.
pub(super) fn enter(
    shared: &Arc<Shared>,
    user_agent: UserAgentId,
    queue_kind: QueueKind,
    monitor: Monitor,
    link: Option<&Arc<MonitorLink>>,
    once: bool,
) {
    let (monitor, entering) = match link.filter(|_| !once) {
        None => (monitor, None),
        Some(link) => match link.enter(user_agent, monitor) {
            Ok(()) => return,
            Err((monitor, entering)) => (monitor, Some(entering)),
        },
    };
    let shared = Arc::clone(shared);
    let task = MonitorTask::new(
        shared,
        user_agent,
        queue_kind,
        monitor,
        entering,
        link.cloned(),
        once,
    );
    let owner = task.driver.owner();
    tokio::spawn(Watched::new(Task::Monitor, owner, task));
}
