//! What happened to each message: the last steps of each user agent, in memory, and the same as lines of the log.
//!
//! One call, [`History::record`], does both: so what `inspect` shows and what the log says at the level debug never differ. A
//! step names the user agent, the subscription and the message by ids that open nothing (PR-8).
//!
//! Guarantees:
//!
//! - **Invariant:** at most [`HISTORY_STEPS`] steps of a user agent, and at most [`HISTORY_USER_AGENTS`] user agents: the one
//!   whose last step is oldest gives way. A step takes 32 bytes, a user agent about 100 beside its steps: 18 MB if all of
//!   them are used.
//! - To record a step costs a look-up under a short lock. It allocates only while a user agent's steps grow to their bound, and
//!   formats nothing unless the level debug is enabled.
//! - It is lost when the process ends. Nothing but `inspect` reads it, so no decision depends on it.
//!
//! It does not know what other nodes did. With several nodes, one accepts a message and another one offers it, so each node has to
//! be asked. No node sees what Redis ends by itself: the whole queue of a user agent expires there with its last message, and no
//! step says so.

mod memory;
mod step;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use push_protocol::{SubscriptionId, UserAgentId};

use self::memory::Shard;
pub use self::step::{MessageNonce, Step, StepKind};
use crate::defaults::{HISTORY_SHARDS, HISTORY_STEPS, HISTORY_USER_AGENTS};

/// The last steps of each user agent on this node. A process has one, which is shared.
pub struct History {
    shards: Box<[Mutex<Shard>]>,
}

impl History {
    /// Remembers nothing yet, and at most [`HISTORY_STEPS`] steps of [`HISTORY_USER_AGENTS`] user agents.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::bounded(HISTORY_USER_AGENTS))
    }

    fn bounded(user_agents: usize) -> Self {
        let each = (user_agents / HISTORY_SHARDS).max(1);
        Self {
            shards: (0..HISTORY_SHARDS)
                .map(|_| Mutex::new(Shard::new(each)))
                .collect(),
        }
    }

    /// Remembers a step, and writes it to the log at the level debug.
    ///
    /// A step that names a message and no subscription gets the subscription of the earlier steps of that message.
    pub fn record(&self, user_agent: &UserAgentId, step: Step) {
        let step = self.shard(user_agent).add(user_agent, step);
        step.log(user_agent);
    }

    /// The steps of a user agent that are remembered, in the order of their times.
    ///
    /// A connected user agent is offered a message before the message is durable and answered. So a step may be recorded after
    /// another one that began later.
    pub fn of(&self, user_agent: &UserAgentId) -> Vec<Step> {
        let mut steps = self.shard(user_agent).steps(user_agent);
        steps.sort_by_key(|step| step.at_us);
        steps
    }

    /// The steps of one message, in the same order.
    pub fn of_message(&self, user_agent: &UserAgentId, message: MessageNonce) -> Vec<Step> {
        let mut steps = self.of(user_agent);
        steps.retain(|step| step.message == Some(message));
        steps
    }

    /// The steps of one subscription and its messages, in the same order.
    pub fn of_subscription(&self, user_agent: &UserAgentId, subscription: SubscriptionId) -> Vec<Step> {
        let mut steps = self.of(user_agent);
        steps.retain(|step| step.subscription == Some(subscription));
        steps
    }

    /// The latest step of the message or the subscription that the log names by these digits, and its user agent. Looks at every
    /// step that is remembered, and holds one lock at a time.
    pub fn find(&self, digits: u64) -> Option<(UserAgentId, Step)> {
        let found = self.shards.iter().filter_map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.find(digits)
        });
        found.max_by_key(|(_, step)| step.at_us)
    }

    fn shard(&self, user_agent: &UserAgentId) -> MutexGuard<'_, Shard> {
        // Ids are digests, so any byte spreads them evenly. Nothing panics while the lock is held.
        self.shards[usize::from(user_agent.0[13]) % self.shards.len()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
