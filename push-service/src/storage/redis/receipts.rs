//! Receipts: which are expected, how their messages ended, and which node has to ask (PR-25).
//!
//! A receipt is owed in the receipt subscription's slot and ends in its message's, so no script sees both. Guarantees that
//! what either side says is as confirmed as a 201 when it is answered (PR-33), and that all of these steps may be repeated
//! (PR-32). It deliberately does not know who relays outcomes from one side to the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use push_protocol::{Coding, Content, MessageNumber, Receipt, UserAgentId};
use redis::{Cmd, Value, cmd};

use super::Redis;
use super::answers::{self, unreadable};
use super::bucket::Bucket;
use super::counted::Counted;
use super::keys::{self, DEADLINES, OWING};
use super::layout::{
    ExpectNumbers, ReceiptUrl, RetentionNumbers, SettleNumbers, SettledAnswer, SettledFields,
};
use super::links::Work;
use super::packed::{Nonce, Packed as _, U48};
use crate::defaults::{RECEIPT_KEPT, RECEIPT_LEASE, RECEIPT_RELAYS, RECEIPT_STEP};
use crate::storage::clock::millis;
use crate::storage::spelling::{Unreadable, put_content_header};
use crate::storage::{
    BUCKETS, ExpectReceipt, MessageEnd, Overdue, RECEIPTS, ReceiptExpected, Seat, StorageError, Traced,
    WakeUp,
};

/// Where the next look continues, so that no bucket is always the last.
#[derive(Default)]
pub(super) struct NextBuckets {
    owing: NextBucket,
    overdue: NextBucket,
}

/// The bucket from which the next look begins.
#[derive(Default)]
struct NextBucket(AtomicU16);

impl NextBucket {
    /// What was found, rotated: from that bucket on, then from the first one.
    fn rotated<T>(&self, mut found: Vec<(Bucket, T)>) -> Vec<(Bucket, T)> {
        let from = usize::from(self.0.load(Ordering::Relaxed));
        let first = found.partition_point(|(bucket, _)| bucket.index() < from);
        found.rotate_left(first);
        found
    }

    fn continue_behind(&self, bucket: Bucket) {
        let next = u16::try_from(bucket.index()).map_or(0, |index| (index + 1) % BUCKETS);
        self.0.store(next, Ordering::Relaxed);
    }
}

impl Redis {
    pub(super) async fn expect(
        &self,
        receipts: UserAgentId,
        expected: &ExpectReceipt,
    ) -> Result<ReceiptExpected, StorageError> {
        let message = [&expected.user_agent.0[..], &expected.nonce.to_be_bytes()].concat();
        let url = ReceiptUrl {
            dialect: expected.dialect,
            sealed_by: expected.sealed_by,
        };
        let numbers = ExpectNumbers {
            within_ms: U48(millis(expected.within)),
            limit: expected.limit,
            retention: RetentionNumbers::new(millis(expected.kept())),
        };
        let (url, numbers) = (url.packed(), numbers.packed());
        let args: [&[u8]; 3] = [&message, &url, &numbers];
        let (script, asked) = (&self.scripts.expect, self.asked_primary(receipts));
        let answer = self.runner.run(self.confirmed, script, receipts, &args).await?;
        let answer = answers::receipt_expected(&answers::text(answer)?).map_err(unreadable)?;
        let is_none = answer == ReceiptExpected::NoReceiptSubscription;
        if is_none && !self.is_absent(receipts, Some(RECEIPTS), asked).await? {
            return Err(Self::contradictory());
        }
        Ok(answer)
    }

    /// What has to be confirmed is told when it is; else it is told from inside the step, wherever the seat is (PR-13).
    pub(super) async fn settle(
        &self,
        receipts: UserAgentId,
        ends: &[MessageEnd],
    ) -> Result<(), StorageError> {
        let is_told_inside = self.confirmed == Work::Step;
        let numbers = SettleNumbers {
            tells: is_told_inside,
            retention: RetentionNumbers::new(millis(RECEIPT_KEPT)),
        };
        let packed: Vec<u8> = ends.iter().flat_map(pack).collect();
        let args: [&[u8]; 3] = [&numbers.packed(), &receipt_header(), &packed];
        let (script, asked) = (&self.scripts.settle, self.asked_primary(receipts));
        let answer = self.runner.run(self.confirmed, script, receipts, &args).await?;
        let SettledAnswer { seat, joined } = answers::whole(answer)?;
        // Receipts count for the store. All have the same size, and this node's clock gives about their number and expiry.
        let now_ms = self.runner.now_ms();
        let expires_at_ms = now_ms + millis(RECEIPT_KEPT);
        let number = MessageNumber(now_ms * 1_000);
        let counted = Counted::new(None, number, Receipt::BYTES as u64, expires_at_ms);
        for _ in 0..joined {
            self.senders.joined(&counted);
        }
        // A receipt that is not expected is dropped for good.
        if (joined as usize) < ends.len() {
            self.prove_primary(asked).await?;
        }
        match seat {
            Some(seat) if joined == 0 => {
                tracing::trace!(session = seat.session, "a receipt was dropped: none was expected");
            }
            Some(seat) if seat.incarnation == self.incarnation => {
                self.announce.announce(receipts, seat, WakeUp::ReadAgain);
            }
            Some(seat) if !is_told_inside => self.tell_other(receipts, seat).await,
            _ => {}
        }
        Ok(())
    }

    /// Tells a seat of another node that there is something to read. A hint: it may be lost.
    async fn tell_other(&self, user_agent: UserAgentId, seat: Seat) {
        let bucket = keys::bucket_of(user_agent);
        let mut publish = cmd("SPUBLISH");
        publish
            .arg(keys::channel(&self.runner.prefix, bucket, seat.incarnation))
            .arg(super::wake_ups::read_again(user_agent, seat.session));
        let _ = self.runner.primaries.pipeline(vec![(bucket, publish)]).await;
    }

    pub(super) async fn outbox(
        &self,
        user_agent: UserAgentId,
        limit: usize,
    ) -> Result<Vec<MessageEnd>, StorageError> {
        let limit = limit.min(RECEIPT_STEP).to_string();
        let (script, args) = (&self.scripts.outcomes, [limit.as_bytes()]);
        let answer = self.runner.run(self.confirmed, script, user_agent, &args).await?;
        let (ends, has_expired) =
            answers::outcomes(user_agent, &answers::text(answer)?).map_err(unreadable)?;
        if has_expired {
            self.due.notice(user_agent);
        }
        Ok(ends)
    }

    pub(super) async fn trace_one(
        &self,
        user_agent: UserAgentId,
        nonce: u64,
    ) -> Result<Traced, StorageError> {
        let (script, nonce) = (&self.scripts.trace, nonce.to_be_bytes());
        let asked = self.asked_primary(user_agent);
        match self
            .runner
            .run(self.confirmed, script, user_agent, &[&nonce])
            .await?
        {
            Value::Nil => {
                self.prove_primary(asked).await?;
                Ok(Traced::Nothing)
            }
            answer => answers::traced(user_agent, &answers::text(answer)?).map_err(unreadable),
        }
    }

    /// Looks at every bucket: nothing there costs Redis a microsecond. By this node's clock, because it is only said whom
    /// to ask.
    pub(super) async fn all_owing(&self, limit: usize) -> Result<Vec<UserAgentId>, StorageError> {
        let mut owing = Vec::new();
        for (bucket, members) in self.next_buckets.owing.rotated(self.due_by(OWING, limit).await?) {
            for member in members {
                owing.push(answers::spelled(&member).map_err(unreadable)?);
            }
            if owing.len() >= limit {
                self.next_buckets.owing.continue_behind(bucket);
                break;
            }
        }
        owing.truncate(limit);
        Ok(owing)
    }

    /// Looks at every bucket, and leases what it finds; a script decides, by Redis's clock. Each bucket has the same
    /// share, and the next look continues after the last bucket. An error in one bucket does not stop the others.
    pub(super) async fn all_overdue(&self, limit: usize) -> Result<Vec<Overdue>, StorageError> {
        let found = self.due_by(DEADLINES, 1).await?;
        let share = limit.div_ceil(found.len().max(1)).clamp(1, RECEIPT_STEP);
        let found = self.next_buckets.overdue.rotated(found);
        let mut waiting: VecDeque<Bucket> = found.into_iter().map(|(bucket, _)| bucket).collect();
        let (mut overdue, mut trouble) = (Vec::new(), None);
        while overdue.len() < limit && !waiting.is_empty() {
            let room = limit - overdue.len();
            let together = (room / share).clamp(1, RECEIPT_RELAYS).min(waiting.len());
            let most = share.min(room);
            let some: Vec<Bucket> = waiting.drain(..together).collect();
            let leased = join_all(some.iter().map(|bucket| self.lease(*bucket, most))).await;
            for (bucket, leased) in some.into_iter().zip(leased) {
                match leased {
                    Ok((examined, found)) => {
                        overdue.extend(found);
                        if examined >= most as u64 {
                            waiting.push_back(bucket);
                        }
                    }
                    Err(error) => trouble = Some(error),
                }
                self.next_buckets.overdue.continue_behind(bucket);
            }
        }
        match trouble {
            Some(error) if overdue.is_empty() => Err(error),
            _ => Ok(overdue),
        }
    }

    /// The overdue receipts in a bucket, and how many entries were read: some belong to a receipt subscription that
    /// has ended.
    async fn lease(&self, bucket: Bucket, most: usize) -> Result<(u64, Vec<Overdue>), StorageError> {
        let (most, lease_ms) = (most.to_string(), millis(RECEIPT_LEASE).to_string());
        let args = [most.as_bytes(), lease_ms.as_bytes()];
        let script = &self.scripts.overdue;
        let answer = self.runner.run(Work::Step, script, bucket, &args).await?;
        let mut values = answers::list(answer)?.unwrap_or_default().into_iter();
        let examined = values.next().ok_or(Unreadable).map_err(unreadable)?;
        let mut overdue = Vec::new();
        for value in values {
            overdue.push(answers::overdue(&answers::text(value)?).map_err(unreadable)?);
        }
        Ok((answers::number(&examined)?, overdue))
    }

    /// What is due of each bucket's sorted set of that name, at most `limit` members of one; buckets without any are left
    /// out. A primary in trouble does not keep what the others have.
    async fn due_by(&self, name: &str, limit: usize) -> Result<Vec<(Bucket, Vec<Vec<u8>>)>, StorageError> {
        let now_ms = self.runner.now_ms().to_string();
        let look = |bucket| (bucket, due(&self.runner.prefix, bucket, name, &now_ms, limit));
        let answers = self
            .runner
            .primaries
            .pipeline(Bucket::all().map(look).collect())
            .await;
        let (mut found, mut trouble) = (Vec::new(), None);
        for (bucket, answer) in Bucket::all().zip(answers) {
            match answer {
                Ok(answer) => {
                    let members = answers::list(answer)?.unwrap_or_default();
                    let members = members
                        .into_iter()
                        .map(answers::text)
                        .collect::<Result<Vec<_>, _>>()?;
                    if !members.is_empty() {
                        found.push((bucket, members));
                    }
                }
                Err(error) => trouble = Some(error),
            }
        }
        match trouble {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }
}

fn due(prefix: &str, bucket: Bucket, name: &str, now_ms: &str, limit: usize) -> Cmd {
    let mut look = cmd("ZRANGEBYSCORE");
    look.arg(keys::of_bucket(prefix, bucket, name))
        .arg("-inf")
        .arg(now_ms)
        .arg("LIMIT")
        .arg(0)
        .arg(limit);
    look
}

/// As the settle script takes it.
fn pack(end: &MessageEnd) -> Vec<u8> {
    let packed = SettledFields {
        user_agent: end.user_agent,
        number: end.id.number.0.to_be_bytes(),
        nonce: Nonce(end.id.nonce),
        how: end.how.to_byte(),
    };
    packed.packed()
}

/// What stands before a receipt's body.
fn receipt_header() -> Vec<u8> {
    let mut header = Vec::new();
    let content = Content {
        coding: Coding::Absent,
        media_type: None,
        body: Bytes::new(),
    };
    put_content_header(&mut header, &content);
    header
}
