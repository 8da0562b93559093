//! The steps of the [`Storage`] trait: one script each, one round trip. What is more than that stands beside them:
//! `announcing`, `refresh`, `due`, `export`, `import`.

use std::time::Duration;

use async_trait::async_trait;
use push_protocol::{MessageId, ReceiptOutcome, SubscriptionId, SubscriptionName, Ttl, UserAgentId};
use redis::Value;

use super::answers::{self, Accepted, Acknowledged, unreadable};
use super::layout::{self, AttachNumbers, Renewed, RetentionNumbers, SubscribeNumbers, letter};
use super::links::Work;
use super::packed::{Packed as _, U48};
use super::record::Record;
use super::{Redis, founding};
use crate::defaults::{
    ATTACHES_PER_MINUTE, EMPTY_RECORD_KEPT, RECEIPT_STEP, REDIS_STEP_MESSAGES, RETENTION_GRAINS,
};
use crate::storage::clock::millis;
use crate::storage::spelling::Unreadable;
use crate::storage::{
    Attached, Confirm, Cursor, Ending, Enqueue, Enqueued, ExpectReceipt, Exported, Imported, Listed, Manner,
    MessageEnd, Overdue, PageRequest, Paged, Portable, ReceiptExpected, Refreshed, Removal, RemovalReason,
    RemovedMessage, Seat, Storage, StorageError, Subscribe, Subscribed, Swept, Traced, Usage,
    UserAgentReport, WaitingMessage, WakeUp, Which,
};

/// A step that finds nothing, and then learns that it was wrong, looks once more.
const TWICE: usize = 2;

#[async_trait]
impl Storage for Redis {
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StorageError> {
        let seat = layout::seat(subscribe.seat);
        let numbers = SubscribeNumbers {
            most: subscribe.limit.min(1 << 30) as u32,
            retention_ms: U48(self.retention_ms()),
            unused_ms: U48(millis(self.retention.unused)),
            grains: RETENTION_GRAINS as u32,
            only_known: subscribe.only_known,
        };
        let numbers = numbers.packed();
        let args: [&[u8]; 5] = [
            &subscribe.name.0,
            &subscribe.fresh_id.0,
            subscribe.key.as_ref().map_or(&[], |key| &key.0),
            &seat,
            &numbers,
        ];
        let (script, user_agent) = (&self.scripts.subscribe, subscribe.user_agent);
        for _ in 0..TWICE {
            let asked = self.asked_primary(user_agent);
            let answer = self.runner.run(self.confirmed, script, user_agent, &args).await?;
            let subscribed = answers::subscribed(&answers::text(answer)?).map_err(unreadable)?;
            let is_unknown = subscribed == Subscribed::UnknownUserAgent;
            if !is_unknown || self.is_absent(user_agent, None, asked).await? {
                return Ok(subscribed);
            }
        }
        Err(Self::contradictory())
    }

    async fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
    ) -> Result<Option<SubscriptionId>, StorageError> {
        match self.end_some(user_agent, &layout::field_of_name(name)).await? {
            Some(Ending::One(id)) => Ok(Some(id)),
            Some(Ending::All) => Err(unreadable(Unreadable)),
            None => Ok(None),
        }
    }

    async fn end(&self, user_agent: UserAgentId, ending: Ending) -> Result<bool, StorageError> {
        let which = match ending {
            Ending::One(id) => layout::field_of_id(id),
            Ending::All => Vec::new(),
        };
        let ended = self.end_some(user_agent, &which).await?;
        Ok(ended.is_some())
    }

    async fn has_subscription(
        &self,
        user_agent: UserAgentId,
        subscription: SubscriptionId,
    ) -> Result<bool, StorageError> {
        let asked = self.asked_primary(user_agent);
        if self.has(Work::Step, user_agent, Some(subscription)).await? {
            return Ok(true);
        }
        let is_absent = self.is_absent(user_agent, Some(subscription), asked).await?;
        Ok(!is_absent)
    }

    async fn enqueue(&self, mut enqueue: Enqueue) -> Result<Enqueued, StorageError> {
        if let Some(refused) = self.senders.admit(&mut enqueue) {
            return Ok(refused);
        }
        let numbers = layout::enqueue_numbers(&enqueue, self.inline_bytes, self.retention_ms());
        let nonce = enqueue.nonce.to_be_bytes();
        let value = layout::stored(enqueue.key.as_ref(), &enqueue.content);
        let args: [&[u8]; 6] = [
            &enqueue.subscription.0,
            &nonce,
            &numbers,
            enqueue
                .topic
                .as_ref()
                .map_or(&[], |topic| topic.as_str().as_bytes()),
            &value,
            enqueue.receipts.as_ref().map_or(&[], |receipts| &receipts.0),
        ];
        let (script, args) = match enqueue.receipts {
            None => (&self.scripts.enqueue, &args[..5]),
            Some(_) => (&self.scripts.enqueue_with_receipt, &args[..]),
        };
        // Of a message that is passed on, nothing is left to confirm but what its topic removed.
        let work = if enqueue.ttl == Ttl::ZERO && enqueue.topic.is_none() {
            Work::Step
        } else {
            self.confirmed
        };
        let user_agent = enqueue.user_agent;
        let subscription = Some(enqueue.subscription);
        for _ in 0..TWICE {
            let asked = self.asked_primary(user_agent);
            let answer = self.runner.run(work, script, user_agent, args).await?;
            let accepted = answers::accepted(&answers::text(answer)?).map_err(unreadable)?;
            let is_gone = matches!(accepted, Accepted::NoSubscription);
            if !is_gone || self.is_absent(user_agent, subscription, asked).await? {
                return Ok(self.enqueued(enqueue, accepted));
            }
        }
        Err(Self::contradictory())
    }

    async fn attach(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        head: PageRequest,
        manner: Manner,
    ) -> Result<Attached, StorageError> {
        let mine = layout::seat(Some(seat));
        let (wanted, scope) = layout::page_wanted(&head, REDIS_STEP_MESSAGES);
        let numbers = AttachNumbers {
            renewed: self.renewed(),
            attaches_per_minute: ATTACHES_PER_MINUTE,
            insists: manner == Manner::Insisting,
        };
        let numbers = numbers.packed();
        let args: [&[u8]; 4] = [&mine, &wanted, &scope, &numbers];
        let script = &self.scripts.attach;
        let asked = self.asked_primary(user_agent);
        let answer = self.runner.run(Work::Page, script, user_agent, &args).await?;
        let mut found = answers::list(answer)?;
        if found.is_none() {
            if self.is_absent(user_agent, None, asked).await? {
                return Ok(Attached::Unknown);
            }
            found = answers::list(self.runner.run(Work::Page, script, user_agent, &args).await?)?;
        }
        let mut values = found.ok_or_else(Self::contradictory)?;
        if let [Value::Int(_)] = &values[..] {
            let retry_after = Duration::from_millis(answers::number(&values[0])?);
            return Ok(Attached::TooOften { retry_after });
        }
        if values.is_empty() {
            return Err(unreadable(Unreadable));
        }
        let before: Option<Seat> = answers::whole(values.remove(0))?;
        let (page, garbage) = answers::page(values)?;
        if garbage {
            self.due.notice(user_agent);
        }
        let displaced = before.filter(|before| *before != seat);
        Ok(Attached::Known { page, displaced })
    }

    async fn refresh(&self, held: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError> {
        self.refresh_all(held).await
    }

    async fn page(
        &self,
        user_agent: UserAgentId,
        seat: Seat,
        page: PageRequest,
    ) -> Result<Paged, StorageError> {
        let mine = layout::seat(Some(seat));
        let (wanted, scope) = layout::page_wanted(&page, REDIS_STEP_MESSAGES);
        let args: [&[u8]; 3] = [&mine, &wanted, &scope];
        let answer = self
            .runner
            .run(Work::Page, &self.scripts.page, user_agent, &args)
            .await?;
        let Some(mut values) = answers::list(answer)? else {
            return Ok(Paged::Unknown);
        };
        if values.len() < 2 {
            return Ok(Paged::Displaced);
        }
        values.remove(0);
        let (page, garbage) = answers::page(values)?;
        if garbage {
            self.due.notice(user_agent);
        }
        Ok(Paged::Page(page))
    }

    async fn release(&self, user_agent: UserAgentId, seat: Seat) -> Result<(), StorageError> {
        let mine = layout::seat(Some(seat));
        let script = &self.scripts.release;
        let answer = self.runner.run(Work::Step, script, user_agent, &[&mine]).await?;
        let (owes, removed) = answers::released(&answers::text(answer)?).map_err(unreadable)?;
        self.senders.left(&removed.counted);
        self.tell_left(user_agent, &removed, |_, _| RemovalReason::SubscriptionEnded);
        if owes {
            self.due.notice(user_agent);
            self.announce.outbox_filled(user_agent);
        }
        Ok(())
    }

    async fn acknowledge(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
        removal: Removal,
        confirm: Confirm,
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        let work = match confirm {
            Confirm::Durably => self.confirmed,
            Confirm::Soon => Work::Step,
        };
        let asked = self.asked_primary(user_agent);
        let mut there = Vec::with_capacity(messages.len());
        for some in messages.chunks(REDIS_STEP_MESSAGES) {
            there.extend(self.acknowledge_some(work, user_agent, some, removal, by).await?);
        }
        if confirm == Confirm::Durably && there.contains(&false) {
            self.prove_primary(asked).await?;
        }
        Ok(there)
    }

    async fn expect_receipt(
        &self,
        receipts: UserAgentId,
        expected: ExpectReceipt,
    ) -> Result<ReceiptExpected, StorageError> {
        self.expect(receipts, &expected).await
    }

    async fn settle_receipts(&self, receipts: UserAgentId, ends: &[MessageEnd]) -> Result<(), StorageError> {
        for some in ends.chunks(RECEIPT_STEP) {
            self.settle(receipts, some).await?;
        }
        Ok(())
    }

    async fn outbox(&self, user_agent: UserAgentId, limit: usize) -> Result<Vec<MessageEnd>, StorageError> {
        self.outbox(user_agent, limit).await
    }

    async fn clear_outbox(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
    ) -> Result<(), StorageError> {
        for some in messages.chunks(RECEIPT_STEP) {
            let script = &self.scripts.clear;
            let ids = answers::packed(some);
            self.runner.run(Work::Step, script, user_agent, &[&ids]).await?;
        }
        Ok(())
    }

    async fn with_outbox(&self, limit: usize) -> Result<Vec<UserAgentId>, StorageError> {
        self.all_owing(limit).await
    }

    async fn overdue(&self, limit: usize) -> Result<Vec<Overdue>, StorageError> {
        self.all_overdue(limit).await
    }

    async fn trace(&self, user_agent: UserAgentId, nonce: u64) -> Result<Traced, StorageError> {
        self.trace_one(user_agent, nonce).await
    }

    async fn expire(&self, limit: usize) -> Result<Swept, StorageError> {
        self.expire_due(limit).await
    }

    async fn inspect(&self, user_agent: UserAgentId) -> Result<Option<UserAgentReport>, StorageError> {
        for _ in 0..TWICE {
            let asked = self.asked_primary(user_agent);
            if let Some(record) = self.record(user_agent).await? {
                return Ok(Some(record.report(self.retention, self.runner.now_ms())));
            }
            if self.is_absent(user_agent, None, asked).await? {
                return Ok(None);
            }
        }
        Err(Self::contradictory())
    }

    async fn waiting(
        &self,
        user_agent: UserAgentId,
        which: Which,
    ) -> Result<Vec<WaitingMessage>, StorageError> {
        self.waiting_now(user_agent, which).await
    }

    async fn list(&self, after: Option<&Cursor>) -> Result<Listed, StorageError> {
        self.list_some(after).await
    }

    fn usage(&self) -> Option<Usage> {
        None
    }

    fn queued_bytes(&self) -> Option<u64> {
        Some(self.senders.store_bytes())
    }

    fn clock_ahead_ms(&self) -> Option<i64> {
        self.runner.primaries.clock_offset_ms()
    }

    fn warnings(&self) -> Vec<String> {
        self.runner.primaries.warnings()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn others(&self) -> Result<usize, StorageError> {
        self.presence.others(&self.runner).await
    }

    async fn is_empty(&self) -> Result<bool, StorageError> {
        self.holds_nothing().await
    }

    async fn export(&self, after: Option<&Cursor>, bytes: usize) -> Result<Exported, StorageError> {
        self.export_some(after, bytes).await
    }

    async fn import(&self, user_agents: Vec<Portable>) -> Result<Imported, StorageError> {
        self.import_all(user_agents).await
    }

    async fn health(&self) -> Result<(), StorageError> {
        self.runner.primaries.health()?;
        if !self.runner.primaries.subscribed() {
            let why =
                "this node does not receive wake-ups from other nodes: its subscription in Redis is missing";
            return Err(StorageError::Unavailable(why.to_owned()));
        }
        Ok(())
    }

    async fn failed(&self) -> String {
        // Whatever happens to Redis may heal; a task of ours that panicked does not.
        self.background.failed().await
    }

    async fn admit_sealing_keys(&self, fingerprints: &[[u8; 8]]) -> Result<(), StorageError> {
        founding::admit_sealing_keys(&self.runner.primaries, &self.runner.prefix, fingerprints).await
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.end().await;
        Ok(())
    }
}

impl Redis {
    /// Ends the subscription of this field of the record, or all if it is empty. Tells the seat if it is this node's.
    async fn end_some(&self, user_agent: UserAgentId, which: &[u8]) -> Result<Option<Ending>, StorageError> {
        let empty_ms = millis(EMPTY_RECORD_KEPT).to_string();
        let args = [which, empty_ms.as_bytes()];
        let (script, asked) = (&self.scripts.unsubscribe, self.asked_primary(user_agent));
        let answer = self.runner.run(self.confirmed, script, user_agent, &args).await?;
        if answer == Value::Nil {
            self.prove_primary(asked).await?;
            return Ok(None);
        }
        let ended = answers::ended(&answers::text(answer)?).map_err(unreadable)?;
        self.note_news(user_agent, ended.news);
        self.senders.left(&ended.removed.counted);
        self.tell_left(user_agent, &ended.removed, |_, _| {
            RemovalReason::SubscriptionEnded
        });
        if let Some(seat) = self.own(ended.seat) {
            let which = match ended.ending {
                Ending::One(id) => Some(id),
                Ending::All => None,
            };
            self.tell_removed(user_agent, seat, ended.removed.ids);
            self.announce.announce(user_agent, seat, WakeUp::Ended(which));
        }
        Ok(Some(ended.ending))
    }

    async fn acknowledge_some(
        &self,
        work: Work,
        user_agent: UserAgentId,
        messages: &[MessageId],
        removal: Removal,
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        let ids = answers::packed(messages);
        let how = match removal {
            Removal::Acknowledged => ReceiptOutcome::Acknowledged,
            Removal::Cancelled | Removal::Emptied => ReceiptOutcome::GivenUp,
        };
        let how = [letter::DIGIT + how.to_byte()];
        let args: [&[u8]; 3] = [&layout::seat(by), &ids, &how];
        let script = &self.scripts.acknowledge;
        let answer = self.runner.run(work, script, user_agent, &args).await?;
        let acknowledged =
            answers::acknowledged(&answers::text(answer)?, messages.len()).map_err(unreadable)?;
        if acknowledged.owes {
            self.announce.outbox_filled(user_agent);
        }
        self.senders.left(&acknowledged.removed.counted);
        if removal != Removal::Acknowledged || acknowledged.there.contains(&false) {
            self.tell_unacknowledged(user_agent, messages, &acknowledged, removal);
        }
        if let Some(seat) = self.own(acknowledged.seat).filter(|seat| Some(*seat) != by) {
            self.tell_removed(user_agent, seat, acknowledged.removed.ids);
        }
        Ok(acknowledged.there)
    }

    /// Tells of messages that were removed by their ids, and not because their user agent had acknowledged them in time.
    fn tell_unacknowledged(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
        answer: &Acknowledged,
        removal: Removal,
    ) {
        for (id, in_time) in messages.iter().zip(&answer.there) {
            let why = match (removal, in_time) {
                (_, false) => RemovalReason::Expired,
                (Removal::Cancelled, true) => RemovalReason::Cancelled,
                (Removal::Emptied, true) => RemovalReason::Emptied,
                (Removal::Acknowledged, true) => continue,
            };
            if answer.removed.ids.contains(id) {
                let message = RemovedMessage {
                    id: *id,
                    subscription: None,
                    why,
                };
                self.announce.removed(user_agent, message);
            }
        }
    }

    /// The whole record of a user agent.
    pub(super) async fn record(&self, user_agent: UserAgentId) -> Result<Option<Record>, StorageError> {
        let answer = self
            .runner
            .run(Work::Page, &self.scripts.report, user_agent, &[])
            .await?;
        let Some(values) = answers::list(answer)? else {
            return Ok(None);
        };
        let texts = values
            .into_iter()
            .map(answers::text)
            .collect::<Result<Vec<_>, _>>()?;
        let mut texts = texts.into_iter();
        let mut pairs = Vec::with_capacity(texts.len() / 2);
        while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
            pairs.push((field, value));
        }
        Record::read(&pairs).map(Some).map_err(unreadable)
    }

    pub(super) fn renewed(&self) -> Renewed {
        Renewed {
            retention: RetentionNumbers::new(self.retention_ms()),
            empty_ms: U48(millis(EMPTY_RECORD_KEPT)),
        }
    }
}
