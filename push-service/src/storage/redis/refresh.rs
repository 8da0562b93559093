//! Seats compared with storage, many at a time (PR-14).
//!
//! Guarantees that "unknown" is never read out of a key that is not there: only a step knows whether the store lost it
//! (PR-3). It deliberately does not know when sessions are compared, or what becomes of one that was displaced: `cluster`
//! does.

use push_protocol::{MessageNumber, UserAgentId};
use redis::Value;

use super::Redis;
use super::answers::{self, unreadable};
use super::keys::{self, bucket_of};
use super::layout::{self, FORMAT};
use super::links::Work;
use super::packed::Packed as _;
use super::record::Meta;
use crate::storage::{Refreshed, Seat, StorageError};

/// A last number that is below that of every message and above that of an empty queue. A session whose cursor is above it
/// starts over; any other reads on.
const FROM_THE_START: MessageNumber = MessageNumber(1);

impl Redis {
    /// Reads the records in pipelines, and runs the script only where something is to be changed, or where nothing was
    /// found: what "unknown" is, only a step says.
    pub(super) async fn refresh_all(
        &self,
        held: &[(UserAgentId, Seat)],
    ) -> Result<Vec<Refreshed>, StorageError> {
        let read = |(user_agent, _): &(UserAgentId, Seat)| {
            let record = keys::of_user_agent(&self.runner.prefix, *user_agent, keys::RECORD);
            let mut command = redis::cmd("HGET");
            command.arg(record).arg("m");
            (bucket_of(*user_agent), command)
        };
        let answers = self
            .runner
            .primaries
            .pipeline(held.iter().map(read).collect())
            .await;
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
        let meta = Meta::read(meta).ok()?;
        if meta.format > FORMAT {
            return None;
        }
        let now_ms = self.runner.now_ms();
        let least_ms = self.retention_ms() / 10 * 9;
        match meta.seat {
            _ if meta.unused || meta.retained_until_ms <= now_ms + least_ms => None,
            Some(holder) if holder != seat => Some(Refreshed::Displaced),
            Some(_) => {
                if meta.earliest_ms > 0 && meta.earliest_ms <= now_ms {
                    self.due.notice(user_agent);
                }
                let may_be_ahead = meta.messages > 0 && self.doubts.covers(bucket_of(user_agent));
                let last = if may_be_ahead {
                    FROM_THE_START
                } else {
                    MessageNumber(meta.last)
                };
                Some(Refreshed::Held { last })
            }
            None => None,
        }
    }

    async fn refresh_one(&self, user_agent: UserAgentId, seat: Seat) -> Result<Refreshed, StorageError> {
        let (mine, numbers) = (layout::seat(Some(seat)), self.renewed().packed());
        let args: [&[u8]; 2] = [&mine, &numbers];
        let asked = self.asked_primary(user_agent);
        let answer = self
            .runner
            .run(Work::Step, &self.scripts.refresh, user_agent, &args)
            .await?;
        let (refreshed, due) = answers::refreshed(&answers::text(answer)?).map_err(unreadable)?;
        if due {
            self.due.notice(user_agent);
        }
        // Its seat may be lost because its primary has changed.
        if matches!(refreshed, Refreshed::Held { .. }) && self.doubts.covers(bucket_of(user_agent)) {
            return Ok(Refreshed::Held { last: FROM_THE_START });
        }
        // A record that reappeared meanwhile is compared next time.
        if refreshed == Refreshed::Unknown && !self.is_absent(user_agent, None, asked).await? {
            return Ok(Refreshed::Trouble);
        }
        Ok(refreshed)
    }
}
