//! User agents of which a step has noticed that something is due to be dropped.
//!
//! Redis lets abandoned queues and records expire by themselves. What is left for sweeps are expired messages among living
//! ones, and those that outlived their subscription. No index of them is kept: the steps that pass over them notice.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use push_protocol::UserAgentId;

use crate::defaults::REDIS_SWEEPS_WAITING;

/// Each once, in the order in which they were noticed. One too many is forgotten, and noticed again.
#[derive(Default)]
pub(super) struct Due(Mutex<Noticed>);

#[derive(Default)]
struct Noticed {
    order: VecDeque<UserAgentId>,
    members: HashSet<UserAgentId>,
}

impl Due {
    pub(super) fn notice(&self, user_agent: UserAgentId) {
        let mut noticed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noticed.order.len() < REDIS_SWEEPS_WAITING && noticed.members.insert(user_agent) {
            noticed.order.push_back(user_agent);
        }
    }

    pub(super) fn next(&self) -> Option<UserAgentId> {
        let mut noticed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = noticed.order.pop_front()?;
        noticed.members.remove(&first);
        Some(first)
    }
}
