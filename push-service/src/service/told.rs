//! What storage's steps announce to the rest of the process: wake-ups go to sessions, full outboxes to the relay of receipts.

use std::sync::Arc;

use push_protocol::UserAgentId;
use push_protocol::session::WakeUp;

use crate::broker::Outboxes;
use crate::cluster::Reconciler;
use crate::storage::{Announce, Seat};

/// Passes each on to whom it concerns.
pub(super) struct Told {
    pub(super) reconciler: Arc<Reconciler>,
    pub(super) outboxes: Arc<Outboxes>,
}

impl Announce for Told {
    fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp) {
        self.reconciler.announce(user_agent, seat, wake_up);
    }

    fn owes(&self, user_agent: UserAgentId) {
        self.outboxes.hint(user_agent);
    }

    fn gap(&self, buckets: &[u16]) {
        self.reconciler.gap(buckets);
    }

    fn incarnation(&self) -> u64 {
        self.reconciler.incarnation()
    }
}
