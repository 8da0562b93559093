//! Whole user agents out of Redis and into it (PR-37).
//!
//! Records are found by going over all keys of each primary, so one that changes meanwhile may come twice or not at all:
//! an export is for a store that nobody writes to.

use bytes::Buf as _;
use push_protocol::UserAgentId;
use redis::{Value, cmd};

use super::answers::{self, unreadable};
use super::carried::{Entry, pack_message, pack_subscription, portable};
use super::layout::{Keys, bucket_of, six};
use super::links::Bucket;
use super::{Redis, founding};
use crate::defaults::{MESSAGE_OVERHEAD_BYTES, REDIS_STEP_MESSAGES};
use crate::storage::portable::{PortableMessage, PortableSubscription};
use crate::storage::spelling::Unreadable;
use crate::storage::{Cursor, Exported, Imported, Portable, StorageError};

/// Keys that Redis looks at before it answers. Chosen: well below a millisecond.
const SCANNED: usize = 200;

/// Where an export stands: the primary that has this bucket, and what it said last.
struct Place {
    bucket: u16,
    scan: u64,
}

impl Place {
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

impl Redis {
    /// Whether no primary has a record.
    pub(super) async fn holds_nothing(&self) -> Result<bool, StorageError> {
        let mut place = Some(Place { bucket: 0, scan: 0 });
        while let Some(from) = place {
            let (found, next) = self.scan(from).await?;
            if !found.is_empty() {
                return Ok(false);
            }
            place = next;
        }
        Ok(true)
    }

    pub(super) async fn export_some(
        &self,
        after: Option<&Cursor>,
        bytes: usize,
    ) -> Result<Exported, StorageError> {
        if after.is_none() {
            self.refuse_a_ruin().await?;
        }
        let mut exported = Exported::default();
        let (mut place, mut weight) = (Some(Place::of(after)?), 0);
        while let Some(from) = place.take() {
            let (found, next) = self.scan(from).await?;
            for user_agent in found {
                weight += self.export_one(user_agent, &mut exported).await?;
            }
            place = next;
            if weight >= bytes {
                break;
            }
        }
        exported.next = place.map(|place| place.cursor());
        Ok(exported)
    }

    /// What is left of a store is not all of it, and must not be taken for it.
    async fn refuse_a_ruin(&self) -> Result<(), StorageError> {
        match founding::missing(&self.primaries, &self.prefix).await? {
            0 => Ok(()),
            lost => Err(StorageError::Unavailable(format!(
                "{lost} of 1,024 parts of the store have lost their data: bring it back, or give it up with \
                 `push-service storage begin-anew`"
            ))),
        }
    }

    /// The next records of a primary, and where to go on; then the next primary.
    async fn scan(&self, from: Place) -> Result<(Vec<UserAgentId>, Option<Place>), StorageError> {
        let mut scan = cmd("SCAN");
        let prefix = &self.prefix;
        scan.arg(from.scan)
            .arg("MATCH")
            .arg(format!("{prefix}:{{???}}:r:*"))
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
            let id = key
                .len()
                .checked_sub(32)
                .and_then(|at| std::str::from_utf8(&key[at..]).ok());
            found.extend(id.and_then(UserAgentId::parse));
        }
        let next = match scan {
            0 => self
                .next_primary(from.bucket)
                .map(|bucket| Place { bucket, scan: 0 }),
            scan => Some(Place { scan, ..from }),
        };
        Ok((found, next))
    }

    /// Of each primary its first bucket stands for it.
    fn next_primary(&self, bucket: u16) -> Option<u16> {
        let mut firsts = self
            .primaries
            .first_buckets()
            .into_iter()
            .map(|first| first.index() as u16);
        firsts.find(|first| *first > bucket)
    }

    async fn export_one(
        &self,
        user_agent: UserAgentId,
        exported: &mut Exported,
    ) -> Result<usize, StorageError> {
        let Some(record) = self.record(user_agent).await? else {
            exported.abandoned += 1;
            return Ok(0);
        };
        let now_ms = self.now_ms();
        let mut portable = portable(user_agent, &record);
        let mut weight = MESSAGE_OVERHEAD_BYTES as usize * (1 + portable.subscriptions.len());
        let keys = Keys::of(&self.prefix, user_agent);
        let [.., index, bodies] = keys.all();
        let mut range = cmd("ZRANGE");
        range.arg(index).arg(0).arg(-1).arg("WITHSCORES");
        let entries = self.entries(self.read(bucket_of(user_agent), range).await?)?;
        for some in entries.chunks(REDIS_STEP_MESSAGES) {
            let mut get = cmd("HMGET");
            get.arg(bodies);
            for entry in some {
                get.arg(&entry.id.number.0.to_be_bytes()[..]);
            }
            let values = answers::list(self.read(bucket_of(user_agent), get).await?)?;
            for (entry, value) in some.iter().zip(values.unwrap_or_default()) {
                let subscribed = record.subscriptions.iter().any(|s| s.id == entry.subscription);
                if entry.expires_at_ms <= now_ms {
                    exported.expired += 1;
                } else if subscribed && let Value::BulkString(stored) = value {
                    weight += MESSAGE_OVERHEAD_BYTES as usize + stored.len();
                    portable
                        .messages
                        .push(entry.clone().with(&stored).map_err(unreadable)?);
                }
            }
        }
        portable.messages.sort_by_key(|message| message.id.number);
        exported.user_agents.push(portable);
        Ok(weight)
    }

    /// The index, entry by entry.
    fn entries(&self, answer: Value) -> Result<Vec<Entry>, StorageError> {
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

    pub(super) async fn import_all(&self, user_agents: Vec<Portable>) -> Result<Imported, StorageError> {
        let mut imported = Imported::default();
        for part in user_agents {
            if part.retained_until_ms <= self.now_ms() {
                imported.abandoned += (part.subscriptions.len() + part.messages.len()) as u64;
                continue;
            }
            // What ended here is freed first: a subscription that comes back must not find it.
            self.sweep(part.user_agent, usize::MAX).await?;
            // Subscriptions first, then messages in bounded steps.
            imported += self.import_some(&part, &part.subscriptions, &[]).await?;
            for some in part.messages.chunks(REDIS_STEP_MESSAGES) {
                imported += self.import_some(&part, &[], some).await?;
            }
        }
        Ok(imported)
    }

    async fn import_some(
        &self,
        part: &Portable,
        subscriptions: &[PortableSubscription],
        messages: &[PortableMessage],
    ) -> Result<Imported, StorageError> {
        let mut head = Vec::with_capacity(18);
        head.extend(part.last.0.to_be_bytes());
        head.extend(six(part.retained_until_ms));
        head.extend((subscriptions.len() as u32).to_be_bytes());
        let packed: Vec<Vec<u8>> = [head]
            .into_iter()
            .chain(subscriptions.iter().map(pack_subscription))
            .chain(messages.iter().map(pack_message))
            .collect();
        let args: Vec<&[u8]> = packed.iter().map(|packed| &packed[..]).collect();
        let answer = self
            .run(self.confirmed, part.user_agent, &self.scripts.import, &args)
            .await?;
        let counts = answers::list(answer)?.unwrap_or_default();
        let counts = counts
            .iter()
            .map(answers::number)
            .collect::<Result<Vec<_>, _>>()?;
        let [subscriptions, messages, present, in_the_way, expired] =
            counts.try_into().map_err(|_| unreadable(Unreadable))?;
        Ok(Imported {
            subscriptions,
            messages,
            receipts: 0,
            present,
            in_the_way,
            expired,
            abandoned: 0,
        })
    }

    async fn read(&self, bucket: Bucket, command: redis::Cmd) -> Result<Value, StorageError> {
        let mut answers = self.primaries.pipeline(vec![(bucket, command)]).await;
        answers.pop().unwrap_or_else(|| Err(unreadable(Unreadable)))
    }
}
