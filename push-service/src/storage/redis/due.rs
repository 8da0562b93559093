//! User agents for which a step has noticed that something is due, and the sweeps that remove it.
//!
//! Redis lets abandoned queues and records expire by themselves. What is left for sweeps are expired messages among living
//! ones, and those that outlived their subscription. No index of them is kept: the steps that pass over them notice.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use push_protocol::UserAgentId;

use super::Redis;
use super::answers::{self, unreadable};
use super::links::Work;
use super::packed::Packed as _;
use crate::defaults::{REDIS_STEP_MESSAGES, REDIS_SWEEPS_WAITING};
use crate::storage::spelling::{Fields, Unreadable};
use crate::storage::{RemovalReason, Seat, StorageError, Swept};

/// Each once, in the order in which they were noticed. Bounded: one that does not fit is dropped, and noticed again later.
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

impl Redis {
    /// Drops what is due of the user agents that were noticed, about `limit` messages of it.
    pub(super) async fn expire_due(&self, limit: usize) -> Result<Swept, StorageError> {
        let mut swept = Swept::default();
        while swept.total() < limit {
            let Some(user_agent) = self.due.next() else { break };
            match self.sweep(user_agent, limit - swept.total()).await {
                Ok((dropped, true)) => swept += dropped,
                Ok((dropped, false)) => {
                    swept += dropped;
                    self.due.notice(user_agent);
                }
                Err(error) => {
                    self.due.notice(user_agent);
                    return Err(error);
                }
            }
        }
        Ok(swept)
    }

    /// Drops what is due of one user agent, up to a limit, and says whether that was all.
    pub(super) async fn sweep(
        &self,
        user_agent: UserAgentId,
        limit: usize,
    ) -> Result<(Swept, bool), StorageError> {
        let mut swept = Swept::default();
        let mut go_on = [const { Vec::new() }; 3];
        while swept.total() < limit {
            let some = (limit - swept.total()).min(REDIS_STEP_MESSAGES).to_string();
            let args: [&[u8]; 4] = [some.as_bytes(), &go_on[0], &go_on[1], &go_on[2]];
            let answer = self
                .runner
                .run(Work::Step, &self.scripts.expire, user_agent, &args)
                .await?;
            let mut values = answers::list(answer)?.unwrap_or_default();
            if values.len() < 5 {
                return Err(unreadable(Unreadable));
            }
            let rest = values.split_off(5);
            if answers::number(&values.remove(4))? != 0 {
                self.announce.outbox_filled(user_agent);
            }
            let expired = answers::number(&values[0])? as usize;
            swept += Swept {
                expired,
                freed: answers::number(&values[1])? as usize,
            };
            let [seat, removed] = answers::texts(values.split_off(2))?;
            let seat = Option::<Seat>::read(&mut Fields(&seat)).map_err(unreadable)?;
            let removed = answers::removed(&removed).map_err(unreadable)?;
            self.senders.left(&removed.counted);
            let all_expired = expired == removed.ids.len();
            self.tell_left(user_agent, &removed, |_, has_expired| {
                // What the two clocks do not agree on is decided by the script's count.
                if all_expired || (has_expired && expired > 0) {
                    RemovalReason::Expired
                } else {
                    RemovalReason::SubscriptionEnded
                }
            });
            if let Some(seat) = self.own(seat) {
                self.tell_removed(user_agent, seat, removed.ids);
            }
            if rest.is_empty() {
                return Ok((swept, true));
            }
            go_on = answers::texts(rest)?;
        }
        Ok((swept, false))
    }
}
