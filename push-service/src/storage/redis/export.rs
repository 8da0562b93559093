//! Exports whole user agents from Redis (PR-37).
//!
//! Records, and outboxes that outlived theirs, are found by going over all keys of each primary, so one that changes
//! meanwhile may come twice or not at all: an export is for a store that no node writes to.

use bytes::Buf as _;
use push_protocol::{Urgency, UserAgentId};
use redis::{Value, cmd};

use super::answers::{self, unreadable};
use super::bucket::Bucket;
use super::keys::{self, bucket_of};
use super::layout;
use super::portable::{Entry, Outbox, expectations, outbox_alone, portable};
use super::record::Meta;
use super::{Redis, founding};
use crate::defaults::{LIST_STEP, MESSAGE_OVERHEAD_BYTES, REDIS_STEP_MESSAGES, WAITING_STEP};
use crate::storage::spelling::Unreadable;
use crate::storage::{
    Cursor, Exported, Listed, Portable, RECEIPTS, StorageError, UserAgentSummary, WaitingMessage, Which,
};

/// Keys that Redis looks at before it answers: well below a millisecond.
const SCANNED: usize = LIST_STEP;

/// Where an export stands: the primary that has this bucket, and its answer to the last SCAN.
struct ScanPosition {
    bucket: u16,
    scan: u64,
}

impl ScanPosition {
    fn of(cursor: Option<&Cursor>) -> Result<Self, StorageError> {
        let Some(cursor) = cursor else {
            return Ok(Self { bucket: 0, scan: 0 });
        };
        let mut bytes = &cursor.0[..];
        let mut read = || Some((bytes.try_get_u16().ok()?, bytes.try_get_u64().ok()?));
        let (bucket, scan) =
            read().ok_or_else(|| StorageError::Unavailable("this store gave no such cursor".to_owned()))?;
        Ok(Self { bucket, scan })
    }

    fn cursor(&self) -> Cursor {
        Cursor([&self.bucket.to_be_bytes()[..], &self.scan.to_be_bytes()].concat())
    }
}

/// What shows that there is a user agent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Record,
    /// It may have outlived its record.
    Outbox,
}

impl KeyKind {
    /// Of a key, and whose it is.
    fn of(key: &[u8]) -> Option<(Self, UserAgentId)> {
        let (name, id) = key.split_at_checked(key.len().checked_sub(32)?)?;
        let kind = match name {
            [.., b'r', b':'] => Self::Record,
            [.., b'o', b':'] => Self::Outbox,
            _ => return None,
        };
        Some((kind, answers::spelled(id).ok()?))
    }
}

impl Redis {
    /// Whether no primary has a record.
    pub(super) async fn holds_nothing(&self) -> Result<bool, StorageError> {
        let mut position = Some(ScanPosition { bucket: 0, scan: 0 });
        while let Some(from) = position {
            let (found, next) = self.scan(from).await?;
            if found.iter().any(|(kind, _)| *kind == KeyKind::Record) {
                return Ok(false);
            }
            position = next;
        }
        Ok(true)
    }

    pub(super) async fn export_some(
        &self,
        after: Option<&Cursor>,
        bytes: usize,
    ) -> Result<Exported, StorageError> {
        if after.is_none() {
            self.refuse_a_partial_store().await?;
        }
        let mut exported = Exported::default();
        let (mut position, mut weight) = (Some(ScanPosition::of(after)?), 0);
        while let Some(from) = position.take() {
            let (found, next) = self.scan(from).await?;
            for (kind, user_agent) in found {
                weight += self.export_one(kind, user_agent, &mut exported).await?;
            }
            position = next;
            if weight >= bytes {
                break;
            }
        }
        exported.next = position.map(|position| position.cursor());
        Ok(exported)
    }

    /// What is left of a store is not all of it, and must not be taken for it.
    async fn refuse_a_partial_store(&self) -> Result<(), StorageError> {
        match founding::missing(&self.runner.primaries, &self.runner.prefix).await? {
            0 => Ok(()),
            lost => Err(StorageError::Unavailable(format!(
                "{lost} of 1,024 parts of the store have lost their data: restore it, or give it up with \
                 `push-service storage begin-anew`"
            ))),
        }
    }

    /// What the next keys of a primary show of their user agents.
    pub(super) async fn list_some(&self, after: Option<&Cursor>) -> Result<Listed, StorageError> {
        let (found, next) = self.scan(ScanPosition::of(after)?).await?;
        let records = found.into_iter().filter(|(kind, _)| *kind == KeyKind::Record);
        let user_agents: Vec<_> = records.map(|(_, user_agent)| user_agent).collect();
        let read = |user_agent: &UserAgentId| {
            let mut read = cmd("HMGET");
            read.arg(keys::of_user_agent(
                &self.runner.prefix,
                *user_agent,
                keys::RECORD,
            ))
            .arg("m")
            .arg([&b"s"[..], &RECEIPTS.0].concat());
            (bucket_of(*user_agent), read)
        };
        let answers = self
            .runner
            .primaries
            .pipeline(user_agents.iter().map(read).collect())
            .await;
        let now_ms = self.runner.now_ms();
        let mut listed = Listed::default();
        for (user_agent, answer) in user_agents.into_iter().zip(answers) {
            let values = answers::list(answer?)?.unwrap_or_default();
            let [meta, receipts] = <[Value; 2]>::try_from(values).map_err(|_| unreadable(Unreadable))?;
            // Otherwise the record has ended meanwhile.
            if let Value::BulkString(meta) = meta {
                let meta = Meta::read(&meta).map_err(unreadable)?;
                let last_seen = meta.last_seen(receipts != Value::Nil);
                listed.user_agents.push(UserAgentSummary {
                    user_agent,
                    messages: meta.messages,
                    bytes: meta.bytes,
                    last_seen_ms: last_seen.ms(self.retention, now_ms),
                    seated: last_seen.seated,
                    receipts: last_seen.receipts,
                });
            }
        }
        listed.next = next.map(|position| position.cursor());
        Ok(listed)
    }

    /// What waits of a user agent. Its record is read first: that puts a sole message into the index.
    pub(super) async fn waiting_now(
        &self,
        user_agent: UserAgentId,
        which: Which,
    ) -> Result<Vec<WaitingMessage>, StorageError> {
        let Some(record) = self.record(user_agent).await? else {
            return Ok(Vec::new());
        };
        let (bucket, prefix) = (bucket_of(user_agent), &self.runner.prefix);
        let index = keys::of_user_agent(prefix, user_agent, keys::INDEX);
        let range = |from: &str, to: &str, limit: usize| {
            let mut range = cmd("ZRANGEBYSCORE");
            range.arg(&index).arg(from).arg(to).arg("WITHSCORES");
            range.arg("LIMIT").arg(0).arg(limit);
            (bucket, range)
        };
        let reads = match which {
            Which::First(limit) => vec![range("-inf", "+inf", limit.min(WAITING_STEP))],
            Which::One(id) => {
                let places = Urgency::ALL.map(|urgency| layout::place(urgency, id.number));
                places
                    .into_iter()
                    .flatten()
                    .map(|place| range(&place, &place, 1))
                    .collect()
            }
        };
        let now_ms = self.runner.now_ms();
        let is_asked = |entry: &Entry| match which {
            Which::First(_) => true,
            Which::One(id) => entry.id == id,
        };
        let waits = |entry: &Entry| {
            let subscribed = record.subscriptions.iter().any(|s| s.id == entry.subscription);
            subscribed && entry.expires_at_ms > now_ms && is_asked(entry)
        };
        let mut waiting = Vec::new();
        for answer in self.runner.primaries.pipeline(reads).await {
            let found = entries(answer?)?;
            waiting.extend(found.iter().filter(|entry| waits(entry)).map(Entry::shown));
        }
        Ok(waiting)
    }

    /// The next records of a primary, and where to go on; then the next primary.
    async fn scan(
        &self,
        from: ScanPosition,
    ) -> Result<(Vec<(KeyKind, UserAgentId)>, Option<ScanPosition>), StorageError> {
        let mut scan = cmd("SCAN");
        let prefix = &self.runner.prefix;
        scan.arg(from.scan)
            .arg("MATCH")
            .arg(format!("{prefix}:{{???}}:[ro]:*"))
            .arg("COUNT")
            .arg(SCANNED);
        let values = answers::list(self.read(Bucket::new(from.bucket), scan).await?)?;
        let [scan, keys] =
            <[Value; 2]>::try_from(values.unwrap_or_default()).map_err(|_| unreadable(Unreadable))?;
        let scan = String::from_utf8(answers::text(scan)?)
            .ok()
            .and_then(|text| text.parse().ok());
        let scan: u64 = scan.ok_or(Unreadable).map_err(unreadable)?;
        let mut found = Vec::new();
        for key in answers::list(keys)?.unwrap_or_default() {
            let key = answers::text(key)?;
            found.extend(KeyKind::of(&key));
        }
        let next = match scan {
            0 => self
                .next_primary(from.bucket)
                .map(|bucket| ScanPosition { bucket, scan: 0 }),
            scan => Some(ScanPosition { scan, ..from }),
        };
        Ok((found, next))
    }

    /// Of each primary its first bucket stands for it.
    fn next_primary(&self, bucket: u16) -> Option<u16> {
        let mut firsts = self
            .runner
            .primaries
            .first_buckets()
            .into_iter()
            .map(|first| first.index() as u16);
        firsts.find(|first| *first > bucket)
    }

    async fn export_one(
        &self,
        kind: KeyKind,
        user_agent: UserAgentId,
        exported: &mut Exported,
    ) -> Result<usize, StorageError> {
        let record = self.record(user_agent).await?;
        let mut portable = match (kind, &record) {
            (KeyKind::Record, Some(record)) => portable(user_agent, record),
            (KeyKind::Record, None) => {
                exported.abandoned += 1;
                return Ok(0);
            }
            // It comes, or came, with its record.
            (KeyKind::Outbox, Some(_)) => return Ok(0),
            (KeyKind::Outbox, None) => outbox_alone(user_agent),
        };
        let outbox = self.kept(&mut portable).await?;
        if record.is_some() {
            self.export_messages(&mut portable, &outbox, exported).await?;
        }
        let items = 1 + portable.subscriptions.len() + portable.outbox.len() + portable.expected.len();
        let messages = portable.messages.iter();
        let bodies: usize = messages
            .map(|message| MESSAGE_OVERHEAD_BYTES as usize + message.content.body.len())
            .sum();
        if record.is_some() || !portable.outbox.is_empty() {
            exported.user_agents.push(portable);
        }
        Ok(MESSAGE_OVERHEAD_BYTES as usize * items + bodies)
    }

    /// Adds how messages ended and which receipts are expected. Returns the outbox.
    async fn kept(&self, portable: &mut Portable) -> Result<Outbox, StorageError> {
        let user_agent = portable.user_agent;
        let key = |kind| keys::of_user_agent(&self.runner.prefix, user_agent, kind);
        let [outbox, dues, expected] = [keys::OUTBOX, keys::DUES, keys::EXPECTED].map(key);
        let bucket = bucket_of(user_agent);
        let mut in_order = cmd("ZRANGE");
        in_order.arg(dues).arg(0).arg(-1);
        let whole = |key: String| cmd("HGETALL").arg(key).clone();
        let reads = vec![
            (bucket, whole(outbox)),
            (bucket, in_order),
            (bucket, whole(expected)),
        ];
        let mut answers = self.runner.primaries.pipeline(reads).await.into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Err(unreadable(Unreadable)));
        let outbox = Outbox::read(user_agent, answers::pairs(next()?)?).map_err(unreadable)?;
        for nonce in answers::list(next()?)?.unwrap_or_default() {
            portable.outbox.extend(outbox.outcome(&answers::text(nonce)?));
        }
        portable.expected = expectations(answers::pairs(next()?)?).map_err(unreadable)?;
        Ok(outbox)
    }

    async fn export_messages(
        &self,
        portable: &mut Portable,
        outbox: &Outbox,
        exported: &mut Exported,
    ) -> Result<(), StorageError> {
        let now_ms = self.runner.now_ms();
        let (user_agent, bucket) = (portable.user_agent, bucket_of(portable.user_agent));
        let key = |kind| keys::of_user_agent(&self.runner.prefix, user_agent, kind);
        let [index, bodies] = [keys::INDEX, keys::BODIES].map(key);
        let mut range = cmd("ZRANGE");
        range.arg(index).arg(0).arg(-1).arg("WITHSCORES");
        let entries = entries(self.read(bucket, range).await?)?;
        for some in entries.chunks(REDIS_STEP_MESSAGES) {
            let mut get = cmd("HMGET");
            get.arg(&bodies);
            for entry in some {
                get.arg(&entry.id.number.0.to_be_bytes()[..]);
            }
            let values = answers::list(self.read(bucket, get).await?)?;
            for (entry, value) in some.iter().zip(values.unwrap_or_default()) {
                let subscribed = portable.subscriptions.iter().any(|s| s.id == entry.subscription);
                if entry.expires_at_ms <= now_ms {
                    exported.expired += 1;
                } else if subscribed && let Value::BulkString(stored) = value {
                    let receipts = outbox.receipts_of(entry);
                    let message = entry.clone().with(&stored, receipts).map_err(unreadable)?;
                    portable.messages.push(message);
                }
            }
        }
        portable.messages.sort_by_key(|message| message.id.number);
        Ok(())
    }

    async fn read(&self, bucket: Bucket, command: redis::Cmd) -> Result<Value, StorageError> {
        let mut answers = self.runner.primaries.pipeline(vec![(bucket, command)]).await;
        answers.pop().unwrap_or_else(|| Err(unreadable(Unreadable)))
    }
}

/// The index, entry by entry.
fn entries(answer: Value) -> Result<Vec<Entry>, StorageError> {
    let mut entries = Vec::new();
    for value in answers::list(answer)?.unwrap_or_default() {
        // Pairs of member and score.
        let pair = answers::list(value)?.unwrap_or_default();
        let [member, Value::Double(score)] =
            <[Value; 2]>::try_from(pair).map_err(|_| unreadable(Unreadable))?
        else {
            return Err(unreadable(Unreadable));
        };
        entries.push(Entry::read(&answers::text(member)?, score as u64).map_err(unreadable)?);
    }
    Ok(entries)
}
