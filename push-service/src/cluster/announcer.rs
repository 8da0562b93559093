//! What the steps of storage announce, handed to the sessions, the reconciler and the task that relays receipts.

use std::sync::Arc;

use push_protocol::UserAgentId;
use push_protocol::session::WakeUp;

use super::Reconciler;
use crate::broker::Outboxes;
use crate::history::{History, Step, StepKind};
use crate::storage::{Announce, RemovedMessage, Seat};

/// The one receiver of a node for what its storage announces.
pub struct Announcer {
    /// Compares sessions when wake-ups may have been lost. Its registry knows the sessions.
    pub reconciler: Arc<Reconciler>,
    /// Hints for the task that relays receipts.
    pub outboxes: Arc<Outboxes>,
    /// Records why messages were removed.
    pub history: Arc<History>,
}

impl Announce for Announcer {
    fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp) {
        self.reconciler.registry().announce(user_agent, seat, wake_up);
    }

    fn removed(&self, user_agent: UserAgentId, message: RemovedMessage) {
        let removed = Step::now(StepKind::Removed(message.why)).of(message.id);
        let removed = message.subscription.map_or(removed, |id| removed.to(id));
        self.history.record(&user_agent, removed);
    }

    fn outbox_filled(&self, user_agent: UserAgentId) {
        self.outboxes.hint(user_agent);
    }

    fn gap(&self, buckets: &[u16]) {
        self.reconciler.gap(buckets);
    }

    fn incarnation(&self) -> u64 {
        self.reconciler.registry().incarnation()
    }
}
