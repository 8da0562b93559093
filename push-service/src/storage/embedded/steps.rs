//! The steps of the [`Storage`] trait: each with what its answer waits for, and with its decision in `queue`.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use push_protocol::{MessageId, SubscriptionId, SubscriptionName, Ttl, UserAgentId};

use super::layout::SEALING_FINGERPRINT_KEY;
use super::store::Store;
use super::writer::WriterCommand;
use super::{Embedded, commit_replies};
use crate::defaults::SWEEP_LOOK_BACK;
use crate::storage::portable::{Cursor, ExportPosition, Exported, Imported, Portable};
use crate::storage::queue::{AttachDecision, PageDecision, UserAgent};
use crate::storage::{
    Attached, Confirm, Ending, Enqueue, Enqueued, ExpectReceipt, Listed, Manner, MessageEnd, Overdue,
    PageRequest, Paged, ReceiptExpected, Refreshed, Removal, Seat, Storage, StorageError, Subscribe,
    Subscribed, Swept, Traced, Usage, UserAgentReport, WaitingMessage, Which, refuse_missing_key,
};

#[async_trait]
impl Storage for Embedded {
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StorageError> {
        self.free_space.check(self.shared.clock.now())?;
        let step = |state: &mut UserAgent, now| state.subscribe(&subscribe, self.retention, now);
        self.step(subscribe.user_agent, Confirm::Durably, step).await
    }

    async fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
    ) -> Result<Option<SubscriptionId>, StorageError> {
        let step = |state: &mut UserAgent, now| state.unsubscribe(name, now);
        self.step(user_agent, Confirm::Durably, step).await
    }

    async fn end(&self, user_agent: UserAgentId, ending: Ending) -> Result<bool, StorageError> {
        let step = |state: &mut UserAgent, now| state.end(ending, now);
        self.step(user_agent, Confirm::Durably, step).await
    }

    async fn has_subscription(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
    ) -> Result<bool, StorageError> {
        let look = |state: &mut UserAgent, now| state.has_subscription(subscription, now);
        self.look(user_agent, look).await
    }

    async fn enqueue(&self, mut enqueue: Enqueue) -> Result<Enqueued, StorageError> {
        let of_store = self.shared.usage.read().bytes;
        if let Some(refused) = self.shared.senders().admit(&mut enqueue, of_store) {
            return Ok(refused);
        }
        if enqueue.ttl != Ttl::ZERO {
            self.free_space.check(self.shared.clock.now())?;
        }
        let user_agent = enqueue.user_agent;
        let step = |state: &mut UserAgent, now| state.enqueue(enqueue, self.retention, now);
        self.step(user_agent, Confirm::Durably, step).await
    }

    async fn attach(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        head: PageRequest,
        manner: Manner,
    ) -> Result<Attached, StorageError> {
        let step = |state: &mut UserAgent, now| state.attach(seat, &head, manner, self.retention, now);
        match self.step(user_agent, Confirm::Soon, step).await? {
            AttachDecision::Unknown => Ok(Attached::Unknown),
            AttachDecision::TooOften { retry_after } => Ok(Attached::TooOften { retry_after }),
            AttachDecision::Known { head, displaced } => Ok(Attached::Known {
                page: self.bodies(user_agent, head).await?,
                displaced,
            }),
        }
    }

    async fn refresh(&self, held: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError> {
        let mut refreshed = Vec::with_capacity(held.len());
        for (user_agent, seat) in held {
            let step = |state: &mut UserAgent, now| state.refresh(*seat, self.retention, now);
            refreshed.push(self.step(*user_agent, Confirm::Soon, step).await?);
        }
        Ok(refreshed)
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        request: PageRequest,
    ) -> Result<Paged, StorageError> {
        let step = |state: &mut UserAgent, now| state.page(seat, &request, now);
        match self.step(user_agent, Confirm::Soon, step).await? {
            PageDecision::Page(picked) => Ok(Paged::Page(self.bodies(user_agent, picked).await?)),
            PageDecision::Displaced => Ok(Paged::Displaced),
            PageDecision::Unknown => Ok(Paged::Unknown),
        }
    }

    async fn release(&self, user_agent: UserAgentId, seat: Seat) -> Result<(), StorageError> {
        let step = |state: &mut UserAgent, now| state.release(seat, now);
        self.step(user_agent, Confirm::Soon, step).await
    }

    async fn acknowledge(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
        removal: Removal,
        confirm: Confirm,
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        let step = |state: &mut UserAgent, now| state.acknowledge(messages, removal, by, now);
        self.step(user_agent, confirm, step).await
    }

    async fn expect_receipt(
        &self,
        receipts: UserAgentId,
        expected: ExpectReceipt,
    ) -> Result<ReceiptExpected, StorageError> {
        self.free_space.check(self.shared.clock.now())?;
        let step = |state: &mut UserAgent, now| state.expect_receipt(&expected, now);
        self.step(receipts, Confirm::Durably, step).await
    }

    async fn settle_receipts(&self, receipts: UserAgentId, ends: &[MessageEnd]) -> Result<(), StorageError> {
        let step = |state: &mut UserAgent, now| state.settle_receipts(ends, now);
        self.step(receipts, Confirm::Durably, step).await
    }

    async fn outbox(&self, user_agent: UserAgentId, limit: usize) -> Result<Vec<MessageEnd>, StorageError> {
        let look = |state: &mut UserAgent, _| state.outbox(user_agent, limit);
        let ends = self.look(user_agent, look).await?;
        if !ends.is_empty() {
            // An acknowledgement with `Confirm::Soon` may not be synced yet.
            self.sync().await?;
        }
        Ok(ends)
    }

    async fn clear_outbox(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
    ) -> Result<(), StorageError> {
        let step = |state: &mut UserAgent, now| state.clear_outbox(messages, now);
        self.step(user_agent, Confirm::Soon, step).await
    }

    async fn with_outbox(&self, limit: usize) -> Result<Vec<UserAgentId>, StorageError> {
        self.flush().await?;
        self.readers.read(move |store| store.with_outbox(limit)).await
    }

    async fn overdue(&self, limit: usize) -> Result<Vec<Overdue>, StorageError> {
        self.flush().await?;
        let now = self.shared.clock.now();
        let looked_at = self.leases().look(limit, now);
        let read = move |store: &Store| store.overdue(now.ms(), looked_at);
        let overdue = self.readers.read(read).await?;
        Ok(self.leases().take(overdue, limit, now))
    }

    async fn trace(&self, user_agent: UserAgentId, nonce: u64) -> Result<Traced, StorageError> {
        let look = |state: &mut UserAgent, now| state.trace(user_agent, nonce, now);
        let traced = self.look(user_agent, look).await?;
        if matches!(traced, Traced::Ended(_)) {
            self.sync().await?;
        }
        Ok(traced)
    }

    async fn expire(&self, limit: usize) -> Result<Swept, StorageError> {
        let mut dropped = Swept::default();
        while dropped.total() < limit {
            // All decided steps, this loop's own sweeps included, have to be in the index before it is read.
            self.flush().await?;
            let now_ms = self.shared.clock.now().ms();
            let look_back_ms = SWEEP_LOOK_BACK.as_millis() as u64;
            let from_ms = self
                .swept_to_ms
                .load(Ordering::Relaxed)
                .saturating_sub(look_back_ms);
            let left = limit - dropped.total();
            let due = self
                .readers
                .read(move |store| store.due(from_ms, now_ms, left))
                .await?;
            if due.is_empty() {
                self.swept_to_ms.fetch_max(now_ms, Ordering::Relaxed);
                break;
            }
            for (due_ms, user_agent) in due {
                if dropped.total() < limit {
                    let left = limit - dropped.total();
                    dropped += self.sweep(due_ms, user_agent, left).await?;
                }
            }
        }
        self.flush().await?;
        Ok(dropped)
    }

    async fn inspect(&self, user_agent: UserAgentId) -> Result<Option<UserAgentReport>, StorageError> {
        let report = |state: &mut UserAgent, now| state.report(self.retention, now);
        self.look(user_agent, report).await
    }

    async fn waiting(
        &self,
        user_agent: UserAgentId,
        which: Which,
    ) -> Result<Vec<WaitingMessage>, StorageError> {
        let waiting = |state: &mut UserAgent, now| state.waiting_messages(which, now);
        self.look(user_agent, waiting).await
    }

    async fn list(&self, after: Option<&Cursor>) -> Result<Listed, StorageError> {
        let after = after.map(ExportPosition::of).transpose()?;
        self.flush().await?;
        let now = self.shared.clock.now();
        let step = self.readers.read(move |store| store.list(after)).await?;
        let summary = |(user_agent, state): (UserAgentId, UserAgent)| {
            let seated = self.shared.cache.shard(user_agent).is_seated(user_agent);
            state.summary(user_agent, seated, self.retention, now)
        };
        Ok(Listed {
            user_agents: step.found.into_iter().filter_map(summary).collect(),
            next: step.next.map(ExportPosition::cursor),
        })
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.shared.usage.read())
    }

    async fn health(&self) -> Result<(), StorageError> {
        self.shared.failure.check()?;
        self.free_space.check(self.shared.clock.now())
    }

    async fn failed(&self) -> String {
        self.shared.failure.happened().await
    }

    async fn admit_sealing_keys(&self, fingerprints: &[[u8; 8]]) -> Result<(), StorageError> {
        let in_use = self
            .readers
            .read(|store| store.metadata(SEALING_FINGERPRINT_KEY))
            .await?;
        let in_use = in_use.and_then(|fingerprint| fingerprint.try_into().ok());
        refuse_missing_key(in_use, fingerprints)?;
        match fingerprints.first() {
            Some(first) if in_use != Some(*first) => self.keep(SEALING_FINGERPRINT_KEY, first.to_vec()).await,
            _ => Ok(()),
        }
    }

    async fn is_empty(&self) -> Result<bool, StorageError> {
        self.flush().await?;
        self.readers.read(Store::is_empty).await
    }

    async fn export(&self, after: Option<&Cursor>, bytes: usize) -> Result<Exported, StorageError> {
        let after = after.map(ExportPosition::of).transpose()?;
        self.flush().await?;
        let now = self.shared.clock.now();
        self.readers
            .read(move |store| store.export(after, bytes, now))
            .await
    }

    async fn import(&self, user_agents: Vec<Portable>) -> Result<Imported, StorageError> {
        let mut imported = Imported::default();
        for mut part in user_agents {
            self.free_space.check(self.shared.clock.now())?;
            let step = |state: &mut UserAgent, now| state.import_record(&part, now);
            imported += self.step(part.user_agent, Confirm::Soon, step).await?;
            for message in &mut part.messages {
                message.sender = self.shared.senders().counted(message.sender);
                let until_ms = part.retained_until_ms;
                let step = |state: &mut UserAgent, now| state.import_message(message, until_ms, now);
                imported += self.step(part.user_agent, Confirm::Soon, step).await?;
            }
            for end in &part.outbox {
                let step = |state: &mut UserAgent, now| state.import_message_end(end, now);
                imported += self.step(part.user_agent, Confirm::Soon, step).await?;
            }
            for expected in &part.expected {
                let step = |state: &mut UserAgent, now| state.import_expectation(expected, now);
                imported += self.step(part.user_agent, Confirm::Soon, step).await?;
            }
        }
        self.sync().await?;
        Ok(imported)
    }

    async fn close(&self) -> Result<(), StorageError> {
        let (reply, closed) = commit_replies::channel();
        let synced = match self.command(WriterCommand::Close(reply)) {
            Ok(()) => self.wait_for(closed).await,
            // Closed before.
            Err(_) => Ok(()),
        };
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if self.shared.calls.are_given_up() {
            // The writer's thread may never end.
            return synced;
        }
        let readers = self.readers.clone();
        let joined = tokio::task::spawn_blocking(move || {
            readers.stop();
            threads.into_iter().all(|thread| thread.join().is_ok())
        });
        match joined.await {
            Ok(true) => synced,
            _ => Err(StorageError::Failed("a thread of the store panicked".to_owned())),
        }
    }
}
