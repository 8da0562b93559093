//! A node's way to the storage that all nodes share, as over a network.
//!
//! A step is sent, runs at one moment and is answered at a later one; steps of others run in between. It may be
//! seconds late, before or after it runs, or never be answered, executed or not (PR-2, PR-32); and the node that
//! asked may be dead by then. A step wakes the seats of other nodes over the [`bus`](crate::bus) when it runs, and
//! those of its own node by its answer (PR-13).

use std::sync::Arc;

use async_trait::async_trait;
use push_protocol::{MessageId, SubscriptionId, SubscriptionName, UserAgentId};
use push_service::broker::Outboxes;
use push_service::cluster::Reconciler;
use push_service::storage::{
    Attached, Confirm, Cursor, Ending, Enqueue, Enqueued, ExpectReceipt, Exported, Imported, Listed, Manner,
    MessageEnd, Overdue, PageRequest, Paged, Portable, ReceiptExpected, Refreshed, Removal, Seat, Storage,
    StorageError, Subscribe, Subscribed, Swept, Traced, Usage, UserAgentReport, WaitingMessage, WakeUp,
    Which,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::plant::Plant;
use crate::process::Health;
use crate::store::{Notice, at_once, millis};
use crate::trace::trace;
use crate::world::World;

/// One node's access to the storage.
pub(crate) struct Link {
    pub(crate) world: Arc<World>,
    pub(crate) health: Arc<Health>,
    pub(crate) reconciler: Arc<Reconciler>,
    pub(crate) outboxes: Arc<Outboxes>,
    pub(crate) incarnation: u64,
}

/// What happens to a step. Times in milliseconds.
struct Way {
    there: u64,
    runs: bool,
    back: u64,
    is_answered: bool,
}

/// The longest delay of a late step, in milliseconds.
const LATE: u64 = 4_000;

/// How long a failed step may affect a node: it asks again, and that may be late, too.
const AFTERMATH: u64 = 4_000;

impl Link {
    /// A step on its way, which goes on even if this node dies.
    async fn step<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&Arc<World>) -> T + Send + 'static,
    ) -> Result<T, StorageError> {
        let way = self.way(name);
        let (world, incarnation) = (Arc::clone(&self.world), self.incarnation);
        let (say, answer) = oneshot::channel();
        tokio::spawn(async move {
            sleep(millis(way.there)).await;
            let ran = way.runs.then(|| {
                let outcome = work(&world);
                (outcome, world.tell(incarnation))
            });
            sleep(millis(way.back)).await;
            if let Some(ran) = ran.filter(|_| way.is_answered) {
                let _ = say.send(ran);
            }
        });
        let Ok((outcome, own)) = answer.await else {
            return Err(StorageError::Unavailable("no answer in time".to_owned()));
        };
        for told in own {
            match told {
                Notice::WakeUp(user_agent, seat, wake_up) => {
                    self.reconciler.registry().announce(user_agent, seat, wake_up);
                }
                Notice::Owes(user_agent) => self.outboxes.hint(user_agent),
            }
        }
        Ok(outcome)
    }

    fn way(&self, name: &str) -> Way {
        let (world, now) = (&self.world, self.world.time_ms());
        let mut chance = world.chance();
        let parameters = &world.parameters;
        let most = if world.is_calm() {
            parameters.storage.min(20)
        } else {
            parameters.storage
        };
        let mut way = Way {
            there: chance.within(0..=most),
            runs: true,
            back: chance.within(0..=most),
            is_answered: true,
        };
        if world.is_calm() {
            return way;
        }
        if self.health.is_cut_off(now) {
            // A real driver gives up after a while.
            way.back = chance.within(0..=3_000);
            way.runs = false;
        } else if chance.one_in(parameters.fault_one_in) {
            way.back = chance.within(0..=3_000);
            way.runs = chance.one_in(2);
            way.is_answered = false;
        } else if chance.one_in(parameters.slow_one_in) {
            if chance.one_in(2) {
                way.there = chance.within(0..=LATE);
            } else {
                way.back = chance.within(0..=LATE);
            }
        } else {
            return way;
        }
        drop(chance);
        self.health.disturb_until(now + way.there + way.back + AFTERMATH);
        trace!(
            world,
            "node {}: {name} runs: {}, is answered: {}, after {} + {} ms",
            self.health.place,
            way.runs,
            way.is_answered && way.runs,
            way.there,
            way.back
        );
        world.checker().counts.storage_troubles += 1;
        way
    }
}

impl World {
    /// Sends the wake-ups of a step: to other nodes at once, to the node that asked with its answer.
    fn tell(self: &Arc<Self>, incarnation: u64) -> Vec<Notice> {
        let mut own = Vec::new();
        for told in self.store.take_told() {
            match told {
                Notice::WakeUp(user_agent, seat, wake_up) if seat.incarnation != incarnation => {
                    self.publish(user_agent, seat, wake_up);
                }
                Notice::WakeUp(user_agent, seat, wake_up) => {
                    self.checker().woken(&wake_up);
                    own.push(Notice::WakeUp(user_agent, seat, wake_up));
                }
                owes @ Notice::Owes(_) => own.push(owes),
            }
        }
        own
    }
}

#[async_trait]
impl Storage for Link {
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StorageError> {
        self.step("subscribe", move |world| {
            let (user_agent, seat) = (subscribe.user_agent, subscribe.seat);
            let is_known = at_once(world.store.memory.inspect(user_agent)).is_some();
            let subscribed = at_once(world.store.memory.subscribe(subscribe));
            if let (false, Some(seat)) = (is_known, seat) {
                world.checker().seats.insert(user_agent, seat);
            }
            subscribed
        })
        .await
    }

    async fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
    ) -> Result<Option<SubscriptionId>, StorageError> {
        self.step("unsubscribe", move |world| {
            at_once(world.store.memory.unsubscribe(user_agent, name))
        })
        .await
    }

    async fn end(&self, user_agent: UserAgentId, ending: Ending) -> Result<bool, StorageError> {
        self.step("end", move |world| {
            at_once(world.store.memory.end(user_agent, ending))
        })
        .await
    }

    async fn has_subscription(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
    ) -> Result<bool, StorageError> {
        self.step("has_subscription", move |world| {
            at_once(world.store.memory.has_subscription(user_agent, subscription))
        })
        .await
    }

    async fn enqueue(&self, enqueue: Enqueue) -> Result<Enqueued, StorageError> {
        let nonce = enqueue.nonce;
        let enqueued = self
            .step("enqueue", move |world| {
                let body = enqueue.content.body.clone();
                let enqueued = at_once(world.store.memory.enqueue(enqueue));
                let now = world.time_ms();
                world.checker().enqueued(&body, &enqueued, now);
                enqueued
            })
            .await;
        match enqueued {
            Err(_) if self.world.plant == Some(Plant::LostEnqueue) => Ok(Enqueued::Stored {
                id: MessageId {
                    number: push_protocol::MessageNumber(2),
                    nonce,
                },
                replaced: false,
                evicted: 0,
                expired: 0,
            }),
            enqueued => enqueued,
        }
    }

    async fn attach(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        head: PageRequest,
        manner: Manner,
    ) -> Result<Attached, StorageError> {
        let attached = self
            .step("attach", move |world| {
                world.attach(user_agent, seat, head, manner)
            })
            .await;
        match attached {
            Err(_) if self.world.plant == Some(Plant::TroubleIsUnknown) => Ok(Attached::Unknown),
            attached => attached,
        }
    }

    async fn refresh(&self, held: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError> {
        let held = held.to_vec();
        self.step("refresh", move |world| {
            let refreshed = at_once(world.store.memory.refresh(&held));
            let mut checker = world.checker();
            for ((user_agent, seat), refreshed) in held.iter().zip(&refreshed) {
                match refreshed {
                    Refreshed::Held { .. } => _ = checker.seats.insert(*user_agent, *seat),
                    Refreshed::Displaced => checker.displaced(*user_agent, *seat),
                    Refreshed::Unknown | Refreshed::Trouble => {}
                }
                checker.counts.compared += 1;
            }
            refreshed
        })
        .await
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        page: PageRequest,
    ) -> Result<Paged, StorageError> {
        self.step("page", move |world| {
            let paged = at_once(world.store.memory.page(user_agent, seat, page));
            match paged {
                Paged::Page(_) => _ = world.checker().seats.insert(user_agent, seat),
                Paged::Displaced => world.checker().displaced(user_agent, seat),
                Paged::Unknown => {}
            }
            paged
        })
        .await
    }

    async fn release(&self, user_agent: UserAgentId, seat: Seat) -> Result<(), StorageError> {
        self.step("release", move |world| world.release(user_agent, seat))
            .await
    }

    async fn acknowledge(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
        removal: Removal,
        confirm: Confirm,
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        let messages = messages.to_vec();
        self.step("acknowledge", move |world| {
            let holder = world.checker().seats.get(&user_agent).copied();
            if world.plant == Some(Plant::DropDisplaced) && by.is_some_and(|by| holder != Some(by)) {
                return vec![true; messages.len()];
            }
            let memory = &world.store.memory;
            let found = at_once(memory.acknowledge(user_agent, &messages, removal, confirm, by));
            trace!(
                world,
                "storage removes {messages:?} ({removal:?}) of {user_agent}: {found:?}"
            );
            let now = world.time_ms();
            world.checker().removed(&messages, &found, removal, now);
            found
        })
        .await
    }

    async fn expect_receipt(
        &self,
        receipts: UserAgentId,
        expected: ExpectReceipt,
    ) -> Result<ReceiptExpected, StorageError> {
        self.step("expect_receipt", move |world| {
            let answer = at_once(world.store.memory.expect_receipt(receipts, expected));
            if answer == ReceiptExpected::Recorded {
                world
                    .checker()
                    .expected
                    .insert(expected.nonce, (receipts, expected));
            }
            answer
        })
        .await
    }

    async fn settle_receipts(
        &self,
        receipts: UserAgentId,
        outbox: &[MessageEnd],
    ) -> Result<(), StorageError> {
        let outbox = outbox.to_vec();
        self.step("settle_receipts", move |world| {
            trace!(world, "receipts are settled: {outbox:?}");
            {
                let mut checker = world.checker();
                checker.counts.settled += outbox.len() as u64;
                checker
                    .settled
                    .extend(outbox.iter().map(|outcome| outcome.id.nonce));
            }
            at_once(world.store.memory.settle_receipts(receipts, &outbox));
            if world.plant == Some(Plant::SettleTwice) {
                world.settle_again(receipts, &outbox);
            }
        })
        .await
    }

    async fn outbox(&self, user_agent: UserAgentId, limit: usize) -> Result<Vec<MessageEnd>, StorageError> {
        self.step("outbox", move |world| {
            let outbox = at_once(world.store.memory.outbox(user_agent, limit));
            if world.plant == Some(Plant::ClearFirst) {
                let ids: Vec<_> = outbox.iter().map(|outcome| outcome.id).collect();
                at_once(world.store.memory.clear_outbox(user_agent, &ids));
            }
            outbox
        })
        .await
    }

    async fn clear_outbox(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
    ) -> Result<(), StorageError> {
        let messages = messages.to_vec();
        self.step("clear_outbox", move |world| {
            at_once(world.store.memory.clear_outbox(user_agent, &messages));
        })
        .await
    }

    async fn with_outbox(&self, limit: usize) -> Result<Vec<UserAgentId>, StorageError> {
        self.step("owing", move |world| {
            at_once(world.store.memory.with_outbox(limit))
        })
        .await
    }

    async fn overdue(&self, limit: usize) -> Result<Vec<Overdue>, StorageError> {
        self.step("overdue", move |world| {
            let overdue = at_once(world.store.memory.overdue(limit));
            world.checker().counts.overdue += overdue.len() as u64;
            overdue
        })
        .await
    }

    async fn trace(&self, user_agent: UserAgentId, nonce: u64) -> Result<Traced, StorageError> {
        self.step("trace", move |world| {
            at_once(world.store.memory.trace(user_agent, nonce))
        })
        .await
    }

    /// These come each second from each node: no races to test.
    async fn expire(&self, limit: usize) -> Result<Swept, StorageError> {
        let swept = at_once(self.world.store.memory.expire(limit));
        for told in self.world.tell(self.incarnation) {
            match told {
                Notice::WakeUp(user_agent, seat, wake_up) => {
                    self.reconciler.registry().announce(user_agent, seat, wake_up);
                }
                Notice::Owes(user_agent) => self.outboxes.hint(user_agent),
            }
        }
        Ok(swept)
    }

    async fn inspect(&self, user_agent: UserAgentId) -> Result<Option<UserAgentReport>, StorageError> {
        self.step("inspect", move |world| {
            at_once(world.store.memory.inspect(user_agent))
        })
        .await
    }

    async fn waiting(
        &self,
        user_agent: UserAgentId,
        which: Which,
    ) -> Result<Vec<WaitingMessage>, StorageError> {
        self.step("waiting", move |world| {
            at_once(world.store.memory.waiting(user_agent, which))
        })
        .await
    }

    async fn list(&self, after: Option<&Cursor>) -> Result<Listed, StorageError> {
        let after = after.cloned();
        self.step("list", move |world| {
            at_once(world.store.memory.list(after.as_ref()))
        })
        .await
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn usage(&self) -> Option<Usage> {
        self.world.store.memory.usage()
    }

    async fn health(&self) -> Result<(), StorageError> {
        Ok(())
    }

    async fn failed(&self) -> String {
        std::future::pending().await
    }

    async fn admit_sealing_keys(&self, fingerprints: &[[u8; 8]]) -> Result<(), StorageError> {
        self.world.store.memory.admit_sealing_keys(fingerprints).await
    }

    async fn is_empty(&self) -> Result<bool, StorageError> {
        self.world.store.memory.is_empty().await
    }

    async fn export(&self, after: Option<&Cursor>, bytes: usize) -> Result<Exported, StorageError> {
        self.world.store.memory.export(after, bytes).await
    }

    async fn import(&self, user_agents: Vec<Portable>) -> Result<Imported, StorageError> {
        self.world.store.memory.import(user_agents).await
    }

    async fn close(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Steps that the checker records, and into which bugs are planted.
impl World {
    fn attach(
        self: &Arc<Self>,
        user_agent: UserAgentId,
        seat: Seat,
        head: PageRequest,
        manner: Manner,
    ) -> Attached {
        let memory = &self.store.memory;
        let attached = at_once(memory.attach(user_agent, seat, head.clone(), manner));
        let now = self.time_ms();
        let displaced = match &attached {
            Attached::Known { displaced, .. } => displaced,
            Attached::TooOften { retry_after } => {
                self.checker().attaches_too_often(seat, now, *retry_after);
                return match self.plant {
                    Some(Plant::Impatient) => Attached::TooOften {
                        retry_after: millis(1),
                    },
                    _ => attached,
                };
            }
            Attached::Unknown => return attached,
        };
        if manner == Manner::Insisting {
            self.checker().insists(seat, now);
        }
        let order = |seat: Seat| (seat.incarnation, seat.session);
        trace!(
            self,
            "{user_agent} is {:016x}'s, session {:016x}", seat.incarnation, seat.session
        );
        {
            let mut checker = self.checker();
            checker.seats.insert(user_agent, seat);
            checker.counts.attached += 1;
        }
        match *displaced {
            Some(older) if self.plant == Some(Plant::SeatByOrder) && order(older) > order(seat) => {
                let _ = at_once(memory.attach(user_agent, older, head, Manner::Insisting));
            }
            Some(older) => {
                self.checker().counts.displaced += 1;
                self.publish(user_agent, older, WakeUp::Displaced);
            }
            None => {}
        }
        attached
    }

    /// PR-10: a release takes the seat from no other session.
    fn release(&self, user_agent: UserAgentId, seat: Seat) {
        let memory = &self.store.memory;
        let holder = self.checker().seats.get(&user_agent).copied();
        at_once(memory.release(user_agent, seat));
        if holder == Some(seat) {
            self.checker().seats.remove(&user_agent);
            return;
        }
        if let (Some(holder), Some(Plant::ReleaseAnyones)) = (holder, self.plant) {
            at_once(memory.release(user_agent, holder));
        }
        if holder.is_some() && !self.store.is_seated(user_agent) {
            let what = format!("a session of {user_agent} that left took the seat from another one");
            self.checker().violate("PR-10", what);
        }
    }

    fn settle_again(&self, receipts: UserAgentId, outbox: &[MessageEnd]) {
        for outcome in outbox {
            let Some((_, expected)) = self.checker().expected.get(&outcome.id.nonce).copied() else {
                continue;
            };
            at_once(self.store.memory.expect_receipt(receipts, expected));
            at_once(self.store.memory.settle_receipts(receipts, &[*outcome]));
        }
    }
}
