//! The steps of the [`Storage`] trait: one script each, one round trip. What is more than that stands beside them:
//! `telling`, `refresh`, `due`, `moving`.

use std::time::Duration;

use async_trait::async_trait;
use push_protocol::{Fate, MessageId, SubscriptionId, SubscriptionName, Ttl, UserAgentId};
use redis::Value;

use super::answers::{self, Accepted, unreadable};
use super::layout::{self, Keys, Record, bucket_of};
use super::links::{Script, Work};
use super::{Redis, founding};
use crate::defaults::{
    ATTACHES_PER_MINUTE, EMPTY_RECORD_KEPT, RECEIPT_STEP, REDIS_STEP_MESSAGES, RETENTION_GRAINS,
};
use crate::storage::spelling::Unreadable;
use crate::storage::{
    Attached, Confirm, Cursor, Ending, Enqueue, Enqueued, Expected, Expecting, Exported, Imported, Manner,
    Outcome, Overdue, PageRequest, Paged, Portable, Refreshed, Removal, Seat, Storage, StorageError,
    Subscribe, Subscribed, Swept, Traced, Usage, UserAgentReport, WakeUp,
};

/// A step that finds nothing, and then learns that it was wrong, looks once more.
const TWICE: usize = 2;

#[async_trait]
impl Storage for Redis {
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StorageError> {
        let seat = subscribe.seat.map(layout::seat);
        let mut numbers = Vec::with_capacity(21);
        numbers.extend((subscribe.limit.min(1 << 30) as u32).to_be_bytes());
        numbers.extend(layout::six(self.retention_ms()));
        numbers.extend(layout::six(self.retention.unused.as_millis() as u64));
        numbers.extend((RETENTION_GRAINS as u32).to_be_bytes());
        numbers.push(u8::from(subscribe.only_known));
        let args: [&[u8]; 5] = [
            &subscribe.name.0,
            &subscribe.fresh_id.0,
            subscribe.key.as_ref().map_or(&[], |key| &key.0),
            seat.as_ref().map_or(&[], |seat| &seat[..]),
            &numbers,
        ];
        let (script, user_agent) = (&self.scripts.subscribe, subscribe.user_agent);
        for _ in 0..TWICE {
            let witness = self.witness(user_agent);
            let answer = self.run_owing(self.confirmed, user_agent, script, &args).await?;
            let subscribed = answers::subscribed(&answers::text(answer)?).map_err(unreadable)?;
            let is_unknown = subscribed == Subscribed::UnknownUserAgent;
            if !is_unknown || self.is_absent(user_agent, None, witness).await? {
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
        let which = [&b"n"[..], &name.0].concat();
        match self.end_some(user_agent, &which).await? {
            Some(Ending::One(id)) => Ok(Some(id)),
            Some(Ending::All) => Err(unreadable(Unreadable)),
            None => Ok(None),
        }
    }

    async fn end(&self, user_agent: UserAgentId, ending: Ending) -> Result<bool, StorageError> {
        let which = match ending {
            Ending::One(id) => [&b"s"[..], &id.0].concat(),
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
        let witness = self.witness(user_agent);
        if self.has(Work::Step, user_agent, Some(subscription)).await? {
            return Ok(true);
        }
        let is_absent = self.is_absent(user_agent, Some(subscription), witness).await?;
        Ok(!is_absent)
    }

    async fn enqueue(&self, mut enqueue: Enqueue) -> Result<Enqueued, StorageError> {
        if let Some(refused) = self.senders.admit(&mut enqueue) {
            return Ok(refused);
        }
        let numbers = layout::enqueue_numbers(&enqueue, self.inline_bytes, self.retention_ms());
        let nonce = enqueue.nonce.to_be_bytes();
        let value = layout::stored(enqueue.key.as_ref(), &enqueue.content);
        let receipts = enqueue.receipts;
        let args: [&[u8]; 6] = [
            &enqueue.subscription.0,
            &nonce,
            &numbers,
            enqueue
                .topic
                .as_ref()
                .map_or(&[], |topic| topic.as_str().as_bytes()),
            &value,
            receipts.as_ref().map_or(&[], |receipts| &receipts.0),
        ];
        // Of a message that is passed on, nothing is left to confirm but what its topic removed.
        let work = if enqueue.ttl == Ttl::ZERO && enqueue.topic.is_none() {
            Work::Step
        } else {
            self.confirmed
        };
        let user_agent = enqueue.user_agent;
        let scripts = (&self.scripts.enqueue, &self.scripts.enqueue_owing);
        let subscription = Some(enqueue.subscription);
        for _ in 0..TWICE {
            let witness = self.witness(user_agent);
            let answer = match receipts {
                None => self.run_either(work, user_agent, scripts, &args[..5]).await?,
                Some(_) => self.run_owing(work, user_agent, scripts.1, &args).await?,
            };
            let accepted = answers::accepted(&answers::text(answer)?).map_err(unreadable)?;
            let is_gone = matches!(accepted, Accepted::NoSubscription);
            if !is_gone || self.is_absent(user_agent, subscription, witness).await? {
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
        let mine = layout::seat(seat);
        let (wanted, scope) = layout::page_wanted(&head, REDIS_STEP_MESSAGES);
        let mut numbers = self.retention_numbers();
        numbers.push(ATTACHES_PER_MINUTE);
        numbers.push(u8::from(manner == Manner::Insisting));
        let args: [&[u8]; 4] = [&mine, &wanted, &scope, &numbers];
        let script = &self.scripts.attach;
        let witness = self.witness(user_agent);
        let answer = self.run(Work::Page, user_agent, script, &args).await?;
        let mut found = answers::list(answer)?;
        if found.is_none() {
            if self.is_absent(user_agent, None, witness).await? {
                return Ok(Attached::Unknown);
            }
            found = answers::list(self.run(Work::Page, user_agent, script, &args).await?)?;
        }
        let mut values = found.ok_or_else(Self::contradictory)?;
        if let [Value::Int(_)] = &values[..] {
            let retry_after = Duration::from_millis(answers::number(&values[0])?);
            return Ok(Attached::TooOften { retry_after });
        }
        if values.is_empty() {
            return Err(unreadable(Unreadable));
        }
        let before = holder(values.remove(0))?;
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
        let mine = layout::seat(seat);
        let (wanted, scope) = layout::page_wanted(&page, REDIS_STEP_MESSAGES);
        let args: [&[u8]; 3] = [&mine, &wanted, &scope];
        let answer = self
            .run(Work::Page, user_agent, &self.scripts.page, &args)
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
        let mine = layout::seat(seat);
        let script = &self.scripts.release;
        let answer = self.run_whole(Work::Step, user_agent, script, &[&mine]).await?;
        let (owes, removed) = answers::released(&answers::text(answer)?).map_err(unreadable)?;
        self.senders.left(&removed.counted);
        if owes {
            self.due.notice(user_agent);
            self.announce.owes(user_agent);
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
        let witness = self.witness(user_agent);
        let mut there = Vec::with_capacity(messages.len());
        for some in messages.chunks(REDIS_STEP_MESSAGES) {
            let fate = match removal {
                Removal::Acknowledged => Fate::Acknowledged,
                Removal::Cancelled => Fate::GivenUp,
            };
            there.extend(self.acknowledge_some(work, user_agent, some, fate, by).await?);
        }
        if confirm == Confirm::Durably && there.contains(&false) {
            self.is_proved(witness).await?;
        }
        Ok(there)
    }

    async fn expect_receipt(
        &self,
        receipts: UserAgentId,
        expected: Expected,
    ) -> Result<Expecting, StorageError> {
        self.expect(receipts, &expected).await
    }

    async fn settle_receipts(&self, receipts: UserAgentId, outcomes: &[Outcome]) -> Result<(), StorageError> {
        for some in outcomes.chunks(RECEIPT_STEP) {
            self.settle(receipts, some).await?;
        }
        Ok(())
    }

    async fn outcomes(&self, user_agent: UserAgentId, limit: usize) -> Result<Vec<Outcome>, StorageError> {
        self.outbox(user_agent, limit).await
    }

    async fn clear_outcomes(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
    ) -> Result<(), StorageError> {
        for some in messages.chunks(RECEIPT_STEP) {
            let script = &self.scripts.clear;
            self.run_whole(Work::Step, user_agent, script, &[&answers::packed(some)])
                .await?;
        }
        Ok(())
    }

    async fn owing(&self, limit: usize) -> Result<Vec<UserAgentId>, StorageError> {
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
            let witness = self.witness(user_agent);
            if let Some(record) = self.record(user_agent).await? {
                return Ok(Some(record.report(self.now_ms())));
            }
            if self.is_absent(user_agent, None, witness).await? {
                return Ok(None);
            }
        }
        Err(Self::contradictory())
    }

    fn usage(&self) -> Option<Usage> {
        None
    }

    fn queued_bytes(&self) -> Option<u64> {
        Some(self.senders.store_bytes())
    }

    fn clock_ahead_ms(&self) -> Option<i64> {
        self.primaries.clock_offset_ms()
    }

    fn warnings(&self) -> Vec<String> {
        self.primaries.warnings()
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn others(&self) -> Result<usize, StorageError> {
        self.presence.others(&self.primaries).await
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
        self.primaries.health()?;
        if !self.primaries.subscribed() {
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
        founding::admit_sealing_keys(&self.primaries, &self.prefix, fingerprints).await
    }

    async fn close(&self) -> Result<(), StorageError> {
        self.end().await;
        Ok(())
    }
}

impl Redis {
    /// Runs a script on the keys of a user agent.
    pub(super) async fn run(
        &self,
        work: Work,
        user_agent: UserAgentId,
        script: &Script,
        args: &[&[u8]],
    ) -> Result<Value, StorageError> {
        let keys = Keys::of(&self.prefix, user_agent);
        self.run_on(work, user_agent, script, &keys.all(), args).await
    }

    /// Runs a script that does without the outbox, or where it needs it the same with it: then it has changed nothing.
    async fn run_either(
        &self,
        work: Work,
        user_agent: UserAgentId,
        (without, owing): (&Script, &Script),
        args: &[&[u8]],
    ) -> Result<Value, StorageError> {
        match self.run(work, user_agent, without, args).await? {
            Value::BulkString(answer) if answer == b"O" => {
                self.run_owing(work, user_agent, owing, args).await
            }
            answer => Ok(answer),
        }
    }

    /// Runs a script on the keys of the queue and the outbox.
    async fn run_owing(
        &self,
        work: Work,
        user_agent: UserAgentId,
        script: &Script,
        args: &[&[u8]],
    ) -> Result<Value, StorageError> {
        let keys = Keys::of(&self.prefix, user_agent).and_receipts(&self.prefix, user_agent);
        let [mark, record, index, bodies, outbox, dues, owing, ..] = keys.all();
        let keys = [mark, record, index, bodies, outbox, dues, owing];
        self.run_on(work, user_agent, script, &keys, args).await
    }

    /// Runs a script on all keys of a user agent, those of receipts too.
    pub(super) async fn run_whole(
        &self,
        work: Work,
        user_agent: UserAgentId,
        script: &Script,
        args: &[&[u8]],
    ) -> Result<Value, StorageError> {
        let keys = Keys::of(&self.prefix, user_agent).and_receipts(&self.prefix, user_agent);
        self.run_on(work, user_agent, script, &keys.all(), args).await
    }

    async fn run_on(
        &self,
        work: Work,
        user_agent: UserAgentId,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Value, StorageError> {
        let now = self.time();
        let mut all: Vec<&[u8]> = Vec::with_capacity(args.len() + 2);
        all.push(now.as_bytes());
        all.push(&self.incarnation_bytes);
        all.extend(args);
        let bucket = bucket_of(user_agent);
        self.primaries.run(work, bucket, script, keys, &all).await
    }

    /// Ends what `which` names in the record, and tells the seat if it is this node's.
    async fn end_some(&self, user_agent: UserAgentId, which: &[u8]) -> Result<Option<Ending>, StorageError> {
        let empty_ms = EMPTY_RECORD_KEPT.as_millis().to_string();
        let args = [which, empty_ms.as_bytes()];
        let (script, witness) = (&self.scripts.unsubscribe, self.witness(user_agent));
        let answer = self.run_whole(self.confirmed, user_agent, script, &args).await?;
        if answer == Value::Nil {
            self.is_proved(witness).await?;
            return Ok(None);
        }
        let ended = answers::ended(&answers::text(answer)?).map_err(unreadable)?;
        if ended.due {
            self.due.notice(user_agent);
        }
        if ended.owes {
            self.announce.owes(user_agent);
        }
        self.senders.left(&ended.removed.counted);
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
        fate: Fate,
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        let by_bytes = by.map(layout::seat);
        let ids = answers::packed(messages);
        let fate = [b'0' + fate.to_byte()];
        let args: [&[u8]; 3] = [by_bytes.as_ref().map_or(&[], |seat| &seat[..]), &ids, &fate];
        let scripts = (&self.scripts.acknowledge, &self.scripts.acknowledge_owing);
        let answer = self.run_either(work, user_agent, scripts, &args).await?;
        let acknowledged =
            answers::acknowledged(&answers::text(answer)?, messages.len()).map_err(unreadable)?;
        if acknowledged.owes {
            self.announce.owes(user_agent);
        }
        self.senders.left(&acknowledged.removed.counted);
        if let Some(seat) = self.own(acknowledged.seat).filter(|seat| Some(*seat) != by) {
            self.tell_removed(user_agent, seat, acknowledged.removed.ids);
        }
        Ok(acknowledged.there)
    }

    /// The whole record of a user agent.
    pub(super) async fn record(&self, user_agent: UserAgentId) -> Result<Option<Record>, StorageError> {
        let answer = self
            .run(Work::Page, user_agent, &self.scripts.report, &[])
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

    pub(super) fn retention_numbers(&self) -> Vec<u8> {
        let mut numbers = Vec::with_capacity(18);
        numbers.extend(layout::six(self.retention_ms()));
        numbers.extend((RETENTION_GRAINS as u32).to_be_bytes());
        numbers.extend(layout::six(EMPTY_RECORD_KEPT.as_millis() as u64));
        numbers
    }
}

/// Sixteen bytes of an answer, or trouble.
pub(super) fn seat_of(bytes: &[u8]) -> Result<Option<Seat>, StorageError> {
    let bytes = bytes.try_into().map_err(|_| unreadable(Unreadable))?;
    Ok(layout::seat_of(bytes))
}

fn holder(value: Value) -> Result<Option<Seat>, StorageError> {
    seat_of(&answers::text(value)?)
}
