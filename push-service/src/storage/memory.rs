//! Storage in the memory of this process, lost when it ends: for tests, demos, and as the model of the durable storages.
//!
//! It is the decision core of `queue` under one lock, with the bodies kept in memory and no journal. "Durably"
//! means at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use push_protocol::{MessageId, MessageNumber, SubscriptionId, SubscriptionName, UserAgentId};

use super::by_user_agent::ByUserAgent;
use super::clock::{Clock, Forward, Now};
use super::leases::Leases;
use super::portable::{Cursor, ExportPage, ExportPosition, Exported, Imported, Portable};
use super::queue::{
    AttachDecision, Changes, Expectation, PageDecision, PickedPage, ReceiptChanges, Step, UserAgent,
};
use super::senders::Sums;
use super::{
    Announce, Attached, Confirm, Ending, Enqueue, Enqueued, ExpectReceipt, Listed, Manner, MessageEnd,
    Overdue, Page, PageRequest, Paged, ReceiptExpected, Refreshed, Removal, Retention, Seat, Storage,
    StorageError, Subscribe, Subscribed, Swept, Traced, Usage, UserAgentReport, WaitingMessage, WakeUp,
    Which,
};
use crate::defaults::LIST_STEP;

/// Queues and subscriptions in memory.
pub struct Memory {
    announce: Arc<dyn Announce>,
    clock: Forward,
    retention: Retention,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    user_agents: ByUserAgent<UserAgent>,
    sweeps: BTreeSet<(u64, UserAgentId)>,
    /// User agents whose outbox is not empty.
    outboxes: BTreeSet<UserAgentId>,
    /// Expected receipts, by deadline, receipt subscription and receipt number.
    deadlines: BTreeMap<(u64, UserAgentId, MessageNumber), Overdue>,
    leases: Leases,
    usage: Usage,
    senders: Sums,
    sealing_key: Option<[u8; 8]>,
}

impl Memory {
    /// Empty. Keeps abandoned records for `retention`, by default [`crate::defaults::RETENTION`].
    pub fn new(announce: Arc<dyn Announce>, clock: Arc<dyn Clock>, retention: impl Into<Retention>) -> Self {
        Self {
            announce,
            clock: Forward::new(clock, 0),
            retention: retention.into(),
            held: Mutex::default(),
        }
    }

    /// Runs one step. The lock spans decision, effect and announcement, so wake-ups of one user agent come in the order of its
    /// steps.
    fn step<T>(&self, user_agent: UserAgentId, decide: impl FnOnce(&mut UserAgent, Now) -> Step<T>) -> T {
        let mut held = self.lock();
        let now = self.clock.now();
        let mut state = held.user_agents.remove(&user_agent).unwrap_or_default();
        let Step { outcome, changes } = decide(&mut state, now);
        if state.recorded {
            held.user_agents.insert(user_agent, state);
        }
        held.apply(user_agent, &changes);
        let fills_outbox = changes.fills_outbox();
        for (seat, wake_up) in changes.wake_ups {
            self.announce.announce(user_agent, seat, wake_up);
        }
        for message in changes.left {
            self.announce.removed(user_agent, message);
        }
        if let Some(seat) = changes.receipts.and_then(|receipts| receipts.read_again) {
            self.announce.announce(user_agent, seat, WakeUp::ReadAgain);
        }
        if fills_outbox {
            self.announce.outbox_filled(user_agent);
        }
        outcome
    }

    /// Forgets what durable storages lose at a restart, except seats.
    #[cfg(test)]
    pub(super) fn forget_what_restarts_lose(&self) {
        self.lock().leases = Leases::default();
    }

    /// How many bytes wait of each sender.
    #[cfg(test)]
    pub(super) fn senders(&self) -> BTreeMap<super::SenderTag, u64> {
        self.lock().senders.all()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // A step that panicked is a bug, and took its user agent out of the map; the others are whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn apply(&mut self, user_agent: UserAgentId, changes: &Changes) {
        if let Some(sweep) = changes.sweep {
            if let Some(from_ms) = sweep.from_ms {
                self.sweeps.remove(&(from_ms, user_agent));
            }
            if let Some(to_ms) = sweep.to_ms {
                self.sweeps.insert((to_ms, user_agent));
            }
        }
        if let Some(receipts) = &changes.receipts {
            self.apply_receipts(user_agent, receipts);
        }
        self.usage.change(changes.usage);
        self.senders.change(&changes.senders);
    }

    fn apply_receipts(&mut self, user_agent: UserAgentId, changes: &ReceiptChanges) {
        match changes.listed {
            Some(true) => _ = self.outboxes.insert(user_agent),
            Some(false) => _ = self.outboxes.remove(&user_agent),
            None => {}
        }
        let deadline = |e: &Expectation| (e.deadline_ms, user_agent, e.number);
        for forgotten in &changes.forgotten {
            self.deadlines.remove(&deadline(forgotten));
        }
        if let Some(expected) = &changes.expected {
            let overdue = expected.overdue(user_agent);
            self.deadlines.insert(deadline(expected), overdue);
        }
    }

    /// Looks at the state of a user agent, without a step.
    fn look<T: Default>(&self, user_agent: UserAgentId, look: impl FnOnce(&UserAgent) -> T) -> T {
        self.user_agents.get(&user_agent).map(look).unwrap_or_default()
    }

    /// The user agents from this one on, in order. Sorts all of them each time, which suits the few of a test.
    fn from(&self, first: Option<UserAgentId>) -> Vec<UserAgentId> {
        let all = self.user_agents.keys().copied();
        let mut rest: Vec<_> = all.filter(|id| Some(*id) >= first).collect();
        rest.sort_unstable();
        rest
    }

    fn first_due(&self, now: Now) -> Option<UserAgentId> {
        let (due_ms, user_agent) = self.sweeps.first()?;
        (*due_ms <= now.ms()).then_some(*user_agent)
    }
}

fn with_bodies(picked: &PickedPage) -> Page {
    let with_body = |m: &super::queue::Picked| Some(m.hand_out(m.message.as_deref()?));
    Page {
        messages: picked.messages.iter().filter_map(with_body).collect(),
        upto: picked.upto,
        more: picked.more,
    }
}

#[async_trait]
impl Storage for Memory {
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StorageError> {
        let step = |state: &mut UserAgent, now| state.subscribe(&subscribe, self.retention, now);
        Ok(self.step(subscribe.user_agent, step))
    }

    async fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
    ) -> Result<Option<SubscriptionId>, StorageError> {
        Ok(self.step(user_agent, |state, now| state.unsubscribe(name, now)))
    }

    async fn end(&self, user_agent: UserAgentId, ending: Ending) -> Result<bool, StorageError> {
        Ok(self.step(user_agent, |state, now| state.end(ending, now)))
    }

    async fn has_subscription(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
    ) -> Result<bool, StorageError> {
        let now = self.clock.now();
        let has = |state: &UserAgent| state.has_subscription(subscription, now);
        Ok(self.lock().look(user_agent, has))
    }

    async fn enqueue(&self, mut enqueue: Enqueue) -> Result<Enqueued, StorageError> {
        let refused = {
            let held = self.lock();
            held.senders.admit(&mut enqueue, held.usage.bytes)
        };
        if let Some(refused) = refused {
            return Ok(refused);
        }
        let user_agent = enqueue.user_agent;
        let step = |state: &mut UserAgent, now| state.enqueue(enqueue, self.retention, now);
        Ok(self.step(user_agent, step))
    }

    async fn attach(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        head: PageRequest,
        manner: Manner,
    ) -> Result<Attached, StorageError> {
        let step = |state: &mut UserAgent, now| state.attach(seat, &head, manner, self.retention, now);
        Ok(match self.step(user_agent, step) {
            AttachDecision::Unknown => Attached::Unknown,
            AttachDecision::TooOften { retry_after } => Attached::TooOften { retry_after },
            AttachDecision::Known { head, displaced } => Attached::Known {
                page: with_bodies(&head),
                displaced,
            },
        })
    }

    async fn refresh(&self, held: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError> {
        let refresh = |(user_agent, seat): &(_, _)| {
            self.step(*user_agent, |state, now| {
                state.refresh(*seat, self.retention, now)
            })
        };
        Ok(held.iter().map(refresh).collect())
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        request: PageRequest,
    ) -> Result<Paged, StorageError> {
        let step = |state: &mut UserAgent, now| state.page(seat, &request, now);
        Ok(match self.step(user_agent, step) {
            PageDecision::Page(picked) => Paged::Page(with_bodies(&picked)),
            PageDecision::Displaced => Paged::Displaced,
            PageDecision::Unknown => Paged::Unknown,
        })
    }

    async fn release(&self, user_agent: UserAgentId, seat: Seat) -> Result<(), StorageError> {
        self.step(user_agent, |state, now| state.release(seat, now));
        Ok(())
    }

    async fn acknowledge(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
        removal: Removal,
        _confirm: Confirm,
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        let step = |state: &mut UserAgent, now| state.acknowledge(messages, removal, by, now);
        Ok(self.step(user_agent, step))
    }

    async fn expect_receipt(
        &self,
        receipts: UserAgentId,
        expected: ExpectReceipt,
    ) -> Result<ReceiptExpected, StorageError> {
        Ok(self.step(receipts, |state, now| state.expect_receipt(&expected, now)))
    }

    async fn settle_receipts(&self, receipts: UserAgentId, ends: &[MessageEnd]) -> Result<(), StorageError> {
        self.step(receipts, |state, now| state.settle_receipts(ends, now));
        Ok(())
    }

    async fn outbox(&self, user_agent: UserAgentId, limit: usize) -> Result<Vec<MessageEnd>, StorageError> {
        let outbox = |state: &UserAgent| state.outbox(user_agent, limit);
        Ok(self.lock().look(user_agent, outbox))
    }

    async fn clear_outbox(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
    ) -> Result<(), StorageError> {
        self.step(user_agent, |state, now| state.clear_outbox(messages, now));
        Ok(())
    }

    async fn with_outbox(&self, limit: usize) -> Result<Vec<UserAgentId>, StorageError> {
        Ok(self.lock().outboxes.iter().take(limit).copied().collect())
    }

    async fn overdue(&self, limit: usize) -> Result<Vec<Overdue>, StorageError> {
        let now = self.clock.now();
        let held = &mut *self.lock();
        let looked_at = held.leases.look(limit, now);
        let overdue = held
            .deadlines
            .iter()
            .take_while(|((at_ms, ..), _)| *at_ms <= now.ms());
        let overdue = overdue.take(looked_at).map(|(_, overdue)| *overdue);
        Ok(held.leases.take(overdue, limit, now))
    }

    async fn trace(&self, user_agent: UserAgentId, nonce: u64) -> Result<Traced, StorageError> {
        let now = self.clock.now();
        let held = self.lock();
        let state = held.user_agents.get(&user_agent);
        Ok(state.map_or(Traced::Nothing, |state| state.trace(user_agent, nonce, now)))
    }

    async fn expire(&self, limit: usize) -> Result<Swept, StorageError> {
        let mut dropped = Swept::default();
        while dropped.total() < limit {
            let Some(user_agent) = self.lock().first_due(self.clock.now()) else {
                break;
            };
            dropped += self.step(user_agent, |state, now| {
                state.sweep(limit - dropped.total(), self.retention, now)
            });
        }
        Ok(dropped)
    }

    async fn inspect(&self, user_agent: UserAgentId) -> Result<Option<UserAgentReport>, StorageError> {
        let now = self.clock.now();
        let held = self.lock();
        Ok(held
            .user_agents
            .get(&user_agent)
            .and_then(|state| state.report(self.retention, now)))
    }

    async fn waiting(
        &self,
        user_agent: UserAgentId,
        which: Which,
    ) -> Result<Vec<WaitingMessage>, StorageError> {
        let now = self.clock.now();
        let waiting = |state: &UserAgent| state.waiting_messages(which, now);
        Ok(self.lock().look(user_agent, waiting))
    }

    async fn list(&self, after: Option<&Cursor>) -> Result<Listed, StorageError> {
        let after = after.map(ExportPosition::of).transpose()?;
        let now = self.clock.now();
        let held = self.lock();
        let mut rest = held.from(after.map(|position| position.user_agent));
        rest.retain(|user_agent| after.is_none_or(|after| after.user_agent != *user_agent));
        let has_more = rest.len() > LIST_STEP;
        rest.truncate(LIST_STEP);
        let summary = |user_agent: &UserAgentId| {
            let state = held.user_agents.get(user_agent)?;
            state.summary(*user_agent, state.seat.is_some(), self.retention, now)
        };
        Ok(Listed {
            user_agents: rest.iter().filter_map(summary).collect(),
            next: rest
                .last()
                .filter(|_| has_more)
                .map(|last| ExportPosition::end_of(*last).cursor()),
        })
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.lock().usage)
    }

    async fn health(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn failed(&self) -> String {
        std::future::pending().await
    }

    async fn admit_sealing_keys(&self, fingerprints: &[[u8; 8]]) -> Result<(), StorageError> {
        let mut held = self.lock();
        super::refuse_missing_key(held.sealing_key, fingerprints)?;
        held.sealing_key = fingerprints.first().copied();
        Ok(())
    }

    async fn is_empty(&self) -> Result<bool, StorageError> {
        Ok(self.lock().user_agents.is_empty())
    }

    async fn export(&self, after: Option<&Cursor>, bytes: usize) -> Result<Exported, StorageError> {
        let after = after.map(ExportPosition::of).transpose()?;
        let now = self.clock.now();
        let held = self.lock();
        let mut page = ExportPage::new(bytes);
        let mut position = after;
        for user_agent in held.from(after.map(|position| position.user_agent)) {
            if page.is_full() {
                return Ok(page.finish(position));
            }
            let Some(state) = held.user_agents.get(&user_agent) else {
                continue;
            };
            let before = after.filter(|position| position.user_agent == user_agent);
            let upto = before.map(|position| position.upto);
            let next = state.export(user_agent, upto, &mut page, now);
            if next.is_some() {
                return Ok(page.finish(next));
            }
            position = Some(ExportPosition::end_of(user_agent));
        }
        Ok(page.finish(None))
    }

    async fn import(&self, user_agents: Vec<Portable>) -> Result<Imported, StorageError> {
        let mut imported = Imported::default();
        for mut part in user_agents {
            imported += self.step(part.user_agent, |state, now| state.import_record(&part, now));
            for message in &mut part.messages {
                message.sender = self.lock().senders.counted(message.sender);
                imported += self.step(part.user_agent, |state, now| {
                    state.import_message(message, part.retained_until_ms, now)
                });
            }
            for outcome in &part.outbox {
                imported += self.step(part.user_agent, |state, now| {
                    state.import_message_end(outcome, now)
                });
            }
            for expected in &part.expected {
                imported += self.step(part.user_agent, |state, now| {
                    state.import_expectation(expected, now)
                });
            }
        }
        Ok(imported)
    }

    async fn close(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::RETENTION;
    use crate::storage::contract::{Rig, suite};

    async fn open() -> Rig {
        Rig::new(|announce, clock| Arc::new(Memory::new(announce, clock, RETENTION)))
    }

    suite!(open);
}
