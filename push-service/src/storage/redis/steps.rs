//! The steps of the [`Storage`] trait: one script each, one round trip.

use std::sync::Arc;

use async_trait::async_trait;
use push_protocol::{
    MessageId, MessageNumber, PushMessage, SubscriptionId, SubscriptionName, Ttl, UserAgentId,
};
use redis::Value;

use super::answers::{self, Accepted, Holder, StoredAnswer, unreadable};
use super::layout::{self, Keys, Record, bucket_of};
use super::links::{Script, Work};
use super::{Redis, founding};
use crate::defaults::{ATTACHES_PER_MINUTE, EMPTY_RECORD_KEPT, REDIS_STEP_MESSAGES, RETENTION_GRAINS};
use crate::storage::spelling::{Unreadable, put_content_header};
use crate::storage::{
    Attached, Confirm, Cursor, Enqueue, Enqueued, Exported, Imported, Manner, PageRequest, Paged, Portable,
    Refreshed, Removal, Seat, Storage, StorageError, Subscribe, Subscribed, Swept, Usage, UserAgentReport,
    WakeUp,
};

#[async_trait]
impl Storage for Redis {
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StorageError> {
        let seat = subscribe.seat.map(layout::seat);
        let mut numbers = Vec::with_capacity(14);
        numbers.extend((subscribe.limit.min(1 << 30) as u32).to_be_bytes());
        numbers.extend(layout::six(self.retention_ms()));
        numbers.extend((RETENTION_GRAINS as u32).to_be_bytes());
        let args: [&[u8]; 5] = [
            &subscribe.name.0,
            &subscribe.fresh_id.0,
            subscribe.key.as_ref().map_or(&[], |key| &key.0),
            seat.as_ref().map_or(&[], |seat| &seat[..]),
            &numbers,
        ];
        let script = &self.scripts.subscribe;
        let answer = self
            .run(self.confirmed, subscribe.user_agent, script, &args)
            .await?;
        answers::subscribed(&answers::text(answer)?).map_err(unreadable)
    }

    async fn unsubscribe(
        &self,
        user_agent: UserAgentId,
        name: SubscriptionName,
    ) -> Result<Option<SubscriptionId>, StorageError> {
        let empty_ms = EMPTY_RECORD_KEPT.as_millis().to_string();
        let args: [&[u8]; 2] = [&name.0, empty_ms.as_bytes()];
        let script = &self.scripts.unsubscribe;
        match self.run(self.confirmed, user_agent, script, &args).await? {
            Value::Nil => Ok(None),
            answer => {
                self.due.notice(user_agent);
                let id = answers::text(answer)?.try_into();
                Ok(Some(SubscriptionId(id.map_err(|_| unreadable(Unreadable))?)))
            }
        }
    }

    async fn enqueue(&self, enqueue: Enqueue) -> Result<Enqueued, StorageError> {
        let numbers = layout::enqueue_numbers(&enqueue, self.inline_bytes);
        let nonce = enqueue.nonce.to_be_bytes();
        let body = &enqueue.content.body;
        let mut value = Vec::with_capacity(body.len() + 16);
        put_content_header(&mut value, &enqueue.content);
        value.extend_from_slice(body);
        let args: [&[u8]; 5] = [
            &enqueue.subscription.0,
            &nonce,
            &numbers,
            enqueue
                .topic
                .as_ref()
                .map_or(&[], |topic| topic.as_str().as_bytes()),
            &value,
        ];
        // Of a message that is passed on, nothing is left to confirm but what its topic removed.
        let work = if enqueue.ttl == Ttl::ZERO && enqueue.topic.is_none() {
            Work::Step
        } else {
            self.confirmed
        };
        let answer = self
            .run(work, enqueue.user_agent, &self.scripts.enqueue, &args)
            .await?;
        let accepted = answers::accepted(&answers::text(answer)?).map_err(unreadable)?;
        Ok(self.enqueued(enqueue, accepted))
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
        let answer = self
            .run(Work::Page, user_agent, &self.scripts.attach, &args)
            .await?;
        let Some(mut values) = answers::list(answer)? else {
            return Ok(Attached::Unknown);
        };
        if let [Value::Int(_)] = &values[..] {
            let retry_after = std::time::Duration::from_millis(answers::number(&values[0])?);
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
        self.run(Work::Step, user_agent, &self.scripts.release, &[&mine])
            .await
            .map(drop)
    }

    async fn acknowledge(
        &self,
        user_agent: UserAgentId,
        messages: &[MessageId],
        _removal: Removal,
        confirm: Confirm,
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        let work = match confirm {
            Confirm::Durably => self.confirmed,
            Confirm::Soon => Work::Step,
        };
        let mut there = Vec::with_capacity(messages.len());
        for some in messages.chunks(REDIS_STEP_MESSAGES) {
            there.extend(self.acknowledge_some(work, user_agent, some, by).await?);
        }
        Ok(there)
    }

    async fn expire(&self, limit: usize) -> Result<Swept, StorageError> {
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

    async fn inspect(&self, user_agent: UserAgentId) -> Result<Option<UserAgentReport>, StorageError> {
        let record = self.record(user_agent).await?;
        Ok(record.map(|record| record.report(self.now_ms())))
    }

    fn usage(&self) -> Option<Usage> {
        None
    }

    fn clock_ahead_ms(&self) -> Option<i64> {
        self.primaries.clock_offset_ms()
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
            let why = "wake-ups of other nodes are not heard yet, or not any more";
            return Err(StorageError::Unavailable(why.to_owned()));
        }
        Ok(())
    }

    async fn failed(&self) -> String {
        // Whatever happens to Redis may heal.
        std::future::pending().await
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
        let now = self.clock.as_ref().map(|clock| clock.now_us().to_string());
        let mut all: Vec<&[u8]> = Vec::with_capacity(args.len() + 2);
        all.push(now.as_deref().unwrap_or_default().as_bytes());
        all.push(&self.incarnation_bytes);
        all.extend(args);
        let bucket = bucket_of(user_agent);
        self.primaries.run(work, bucket, script, &keys.all(), &all).await
    }

    /// What came of a message, told to the seat if it is this node's: another node's was told inside the step.
    fn enqueued(&self, enqueue: Enqueue, accepted: Accepted) -> Enqueued {
        let user_agent = enqueue.user_agent;
        match accepted {
            Accepted::NoSubscription => Enqueued::NoSubscription,
            Accepted::QueueFull => Enqueued::QueueFull,
            Accepted::RateLimited(retry_after) => Enqueued::RateLimited { retry_after },
            Accepted::Passed(holder) => {
                let id = MessageId {
                    number: MessageNumber::START,
                    nonce: enqueue.nonce,
                };
                let seated = holder.seat.is_some();
                if let Some(seat) = self.own(holder.seat) {
                    self.tell_removed(user_agent, seat, holder.removed);
                    let message = Arc::new(message(enqueue, id, holder.name, self.now_ms()));
                    self.announce.announce(user_agent, seat, WakeUp::Passing(message));
                }
                Enqueued::Passed { id, seated }
            }
            Accepted::Stored(stored) => self.stored(enqueue, stored),
        }
    }

    fn stored(&self, enqueue: Enqueue, stored: StoredAnswer) -> Enqueued {
        let user_agent = enqueue.user_agent;
        let Holder { seat, name, removed } = stored.holder;
        let id = MessageId {
            number: stored.number,
            nonce: enqueue.nonce,
        };
        if stored.due {
            self.due.notice(user_agent);
        }
        if let Some(seat) = self.own(seat) {
            self.tell_removed(user_agent, seat, removed);
            let message = Arc::new(message(enqueue, id, name, stored.accepted_at_ms));
            let previous = stored.previous;
            self.announce
                .announce(user_agent, seat, WakeUp::Stored { message, previous });
        }
        Enqueued::Stored {
            id,
            replaced: stored.replaced,
            evicted: stored.evicted,
            expired: stored.expired,
        }
    }

    async fn acknowledge_some(
        &self,
        work: Work,
        user_agent: UserAgentId,
        messages: &[MessageId],
        by: Option<Seat>,
    ) -> Result<Vec<bool>, StorageError> {
        let by_bytes = by.map(layout::seat);
        let ids = answers::packed(messages);
        let args: [&[u8]; 2] = [by_bytes.as_ref().map_or(&[], |seat| &seat[..]), &ids];
        let answer = self
            .run(work, user_agent, &self.scripts.acknowledge, &args)
            .await?;
        let acknowledged =
            answers::acknowledged(&answers::text(answer)?, messages.len()).map_err(unreadable)?;
        if let Some(seat) = self.own(acknowledged.seat).filter(|seat| Some(*seat) != by) {
            self.tell_removed(user_agent, seat, acknowledged.removed);
        }
        Ok(acknowledged.there)
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
                .run(Work::Step, user_agent, &self.scripts.expire, &args)
                .await?;
            let mut values = answers::list(answer)?.unwrap_or_default();
            if values.len() < 4 {
                return Err(unreadable(Unreadable));
            }
            let rest = values.split_off(4);
            swept += Swept {
                expired: answers::number(&values[0])? as usize,
                freed: answers::number(&values[1])? as usize,
            };
            let [seat, removed] = answers::texts(values.split_off(2))?;
            if let Some(seat) = self.own(seat_of(&seat)?) {
                let removed = answers::ids(&removed).map_err(unreadable)?;
                self.tell_removed(user_agent, seat, removed);
            }
            if rest.is_empty() {
                return Ok((swept, true));
            }
            go_on = answers::texts(rest)?;
        }
        Ok((swept, false))
    }

    /// Reads the records in pipelines, and runs the script only where something is to be changed, or where nothing was
    /// found: what "unknown" is, only a step says.
    async fn refresh_all(&self, held: &[(UserAgentId, Seat)]) -> Result<Vec<Refreshed>, StorageError> {
        let read = |(user_agent, _): &(UserAgentId, Seat)| {
            let keys = Keys::of(&self.prefix, *user_agent);
            let [_, record, ..] = keys.all();
            let mut command = redis::cmd("HGET");
            command.arg(record).arg("m");
            (bucket_of(*user_agent), command)
        };
        let answers = self.primaries.pipeline(held.iter().map(read).collect()).await;
        let mut refreshed = Vec::with_capacity(held.len());
        for ((user_agent, seat), answer) in held.iter().zip(answers) {
            let compared = match answer {
                Ok(Value::BulkString(meta)) => self.compared(*user_agent, *seat, &meta),
                Ok(_) => None,
                // One primary's trouble is not the others'.
                Err(_) => Some(Refreshed::Trouble),
            };
            refreshed.push(match compared {
                Some(compared) => compared,
                None => {
                    let one = self.refresh_one(*user_agent, *seat).await;
                    one.unwrap_or(Refreshed::Trouble)
                }
            });
        }
        Ok(refreshed)
    }

    /// What a record says of a seat, if that is all there is to do.
    fn compared(&self, user_agent: UserAgentId, seat: Seat, meta: &[u8]) -> Option<Refreshed> {
        let meta = layout::Meta::read(meta).ok()?;
        if meta.format > super::scripts::FORMAT {
            return None;
        }
        let now_ms = self.now_ms();
        let least_ms = self.retention_ms() / 10 * 9;
        match meta.seat {
            _ if meta.retained_until_ms <= now_ms + least_ms => None,
            Some(holder) if holder != seat => Some(Refreshed::Displaced),
            Some(_) => {
                if meta.earliest_ms > 0 && meta.earliest_ms <= now_ms {
                    self.due.notice(user_agent);
                }
                let last = MessageNumber(meta.last);
                Some(Refreshed::Held { last })
            }
            None => None,
        }
    }

    async fn refresh_one(&self, user_agent: UserAgentId, seat: Seat) -> Result<Refreshed, StorageError> {
        let (mine, numbers) = (layout::seat(seat), self.retention_numbers());
        let args: [&[u8]; 2] = [&mine, &numbers];
        let answer = self
            .run(Work::Step, user_agent, &self.scripts.refresh, &args)
            .await?;
        let (refreshed, due) = answers::refreshed(&answers::text(answer)?).map_err(unreadable)?;
        if due {
            self.due.notice(user_agent);
        }
        Ok(refreshed)
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

    fn retention_numbers(&self) -> Vec<u8> {
        let mut numbers = Vec::with_capacity(18);
        numbers.extend(layout::six(self.retention_ms()));
        numbers.extend((RETENTION_GRAINS as u32).to_be_bytes());
        numbers.extend(layout::six(EMPTY_RECORD_KEPT.as_millis() as u64));
        numbers
    }

    fn tell_removed(&self, user_agent: UserAgentId, seat: Seat, removed: Vec<MessageId>) {
        if !removed.is_empty() {
            self.announce.announce(user_agent, seat, WakeUp::Removed(removed));
        }
    }

    /// A seat of this process.
    fn own(&self, seat: Option<Seat>) -> Option<Seat> {
        seat.filter(|seat| seat.incarnation == self.incarnation)
    }
}

fn seat_of(bytes: &[u8]) -> Result<Option<Seat>, StorageError> {
    let bytes = bytes.try_into().map_err(|_| unreadable(Unreadable))?;
    Ok(layout::seat_of(bytes))
}

fn holder(value: Value) -> Result<Option<Seat>, StorageError> {
    seat_of(&answers::text(value)?)
}

fn message(enqueue: Enqueue, id: MessageId, name: SubscriptionName, accepted_at_ms: u64) -> PushMessage {
    PushMessage {
        id,
        subscription: enqueue.subscription,
        name,
        urgency: enqueue.urgency,
        content: enqueue.content,
        accepted_at_ms,
        remaining_ms: u64::from(enqueue.ttl.as_secs()) * 1_000,
    }
}
