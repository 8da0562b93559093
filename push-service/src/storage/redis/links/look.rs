//! Looking after the primaries: whether each answers, still has what it was given, and agrees on the time (PR-3, PR-30).
//!
//! What it deliberately does not know: what a mark is, and what is done when a primary comes back.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use redis::{Pipeline, Value};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Primaries;
use super::failure::{Failure, unavailable};
use super::inspection::Inspected;
use super::primary::{Primary, Work};
use super::reply::{explained, field, text};
use super::table::Table;
use crate::defaults::{REDIS_ANSWER_WITHIN, REDIS_CLOCK_OFFSET, REDIS_LOOK_EVERY};
use crate::storage::StorageError;
use crate::storage::clock::millis;
use crate::storage::redis::bucket::Bucket;
use crate::storage::redis::url::Address;

/// The state of one primary.
pub(super) struct Looked {
    /// How far its clock is ahead of ours in milliseconds.
    pub(super) ahead_ms: i64,
    /// How many replicas follow it.
    pub(super) replicas: u32,
}

/// What the last look found.
pub(super) struct Health {
    /// Of each primary: how far its clock is ahead of ours in milliseconds, or what is wrong.
    found: BTreeMap<Address, Result<i64, String>>,
    /// For each primary that answered: how many replicas follow it.
    replicas: BTreeMap<Address, u32>,
    /// What the last inspection of each primary found.
    inspected: BTreeMap<Address, Inspected>,
    /// Of each bucket: the primary that was last found well with it, if it is well.
    well: Vec<Option<u64>>,
}

impl Health {
    /// As it is right after the start, which has asked every primary: all are well, and none has returned.
    pub(super) fn of(table: &Table) -> Self {
        let well = Bucket::all().map(|bucket| table.primary(bucket).map(|primary| primary.id));
        Self {
            found: BTreeMap::new(),
            replicas: BTreeMap::new(),
            inspected: BTreeMap::new(),
            well: well.collect(),
        }
    }

    /// Notes what a primary answered, and returns those of its buckets that were not known to be well with it.
    pub(super) fn note(
        &mut self,
        primary: &Primary,
        buckets: Vec<Bucket>,
        answer: Result<Looked, String>,
    ) -> Vec<Bucket> {
        let now = answer.is_ok().then_some(primary.id);
        if let Ok(looked) = &answer {
            self.replicas.insert(primary.address.clone(), looked.replicas);
            primary.has_replicas(looked.replicas);
        }
        let answer = answer.map(|looked| looked.ahead_ms);
        self.found.insert(primary.address.clone(), answer);
        let mut returned = buckets;
        returned.retain(|bucket| {
            let before = std::mem::replace(&mut self.well[bucket.index()], now);
            now.is_some() && before != now
        });
        returned
    }
}

impl Primaries {
    /// Asks every primary each second for the time and for the mark of one of its buckets, another each time. Tells
    /// `on_return` the buckets of a primary that is well again, or is another one than before. Runs until it is dropped.
    pub(in crate::storage::redis) async fn look(
        &self,
        mark: impl Fn(Bucket) -> Vec<u8> + Send + Sync,
        on_return: impl Fn(&[Bucket]) + Send + Sync,
    ) {
        let mut every = interval(REDIS_LOOK_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut warned = Vec::new();
        for turn in 0_usize.. {
            every.tick().await;
            let table = self.map.now();
            let looks = table.primaries.iter().map(|primary| {
                let buckets = table.buckets_of(primary);
                let bucket = buckets[turn % buckets.len()];
                let key = mark(bucket);
                async move {
                    let answer = look_at(primary, &key).await;
                    if answer.is_ok() {
                        self.inspect_again(primary, bucket).await;
                    }
                    (primary, buckets, answer)
                }
            });
            for (primary, buckets, answer) in join_all(looks).await {
                if let Err(why) = &answer {
                    tracing::debug!(server = %primary.address, %why, "a primary in Redis cannot be used");
                    self.map.refresh();
                }
                let returned = self.health_now().note(primary, buckets, answer);
                if !returned.is_empty() {
                    on_return(&returned);
                }
            }
            let is_primary = |address: &Address| table.primaries.iter().any(|one| one.address == *address);
            {
                let mut health = self.health_now();
                health.found.retain(|address, _| is_primary(address));
                health.replicas.retain(|address, _| is_primary(address));
                health.inspected.retain(|address, _| is_primary(address));
            }
            let warnings = self.warnings();
            for warning in warnings.iter().filter(|warning| !warned.contains(*warning)) {
                tracing::warn!("{warning}");
            }
            warned = warnings;
        }
    }

    /// Inspects all primaries. What cannot be asked now is asked again by [`Primaries::look`].
    pub(super) async fn inspect(&self) {
        self.health_now().inspected.clear();
        let table = self.map.now();
        let inspections = table.primaries.iter().filter_map(|primary| {
            let bucket = *table.buckets_of(primary).first()?;
            Some(self.inspect_again(primary, bucket))
        });
        join_all(inspections).await;
    }

    /// Inspects a primary of this bucket, unless that was done a short time ago.
    async fn inspect_again(&self, primary: &Primary, bucket: Bucket) {
        let is_known = |inspected: &Inspected| !inspected.is_stale_for(primary);
        if self
            .health_now()
            .inspected
            .get(&primary.address)
            .is_some_and(is_known)
        {
            return;
        }
        match self.inspector.inspect(primary, bucket).await {
            Ok(inspected) => {
                let address = primary.address.clone();
                self.health_now().inspected.insert(address, inspected);
            }
            Err(failure) => {
                let why = failure.explained();
                tracing::debug!(server = %primary.address, %why, "a primary in Redis cannot be inspected");
            }
        }
    }

    /// Whether all of the store was well at the last look.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unavailable`] with a sentence that names the server.
    pub(in crate::storage::redis) fn health(&self) -> Result<(), StorageError> {
        if let Some(hole) = self.map.now().hole() {
            let slot = hole.slot();
            return Err(unavailable(format!(
                "no server of the Redis cluster serves slot {slot}"
            )));
        }
        let health = self.health_now();
        for (address, found) in &health.found {
            let why = match found {
                Ok(ahead) if Duration::from_millis(ahead.unsigned_abs()) > REDIS_CLOCK_OFFSET => {
                    let seconds = ahead.unsigned_abs() / 1_000;
                    let side = if *ahead > 0 { "ahead of" } else { "behind" };
                    format!(
                        "the clock of {address} is {seconds} s {side} this machine's: synchronise both (NTP)"
                    )
                }
                Ok(_) => continue,
                Err(why) => why.clone(),
            };
            return Err(unavailable(why));
        }
        Ok(())
    }

    /// Warnings, a sentence each: what works but is less safe than it may look (PR-41).
    pub(in crate::storage::redis) fn warnings(&self) -> Vec<String> {
        let health = self.health_now();
        let warning = |(primary, replicas): (&Address, &u32)| self.wait_replicas.warning(primary, *replicas);
        let inspected = health
            .inspected
            .values()
            .flat_map(|inspected| inspected.warnings.clone());
        health
            .replicas
            .iter()
            .filter_map(warning)
            .chain(inspected)
            .collect()
    }

    /// How far the clock of that primary which differs most is ahead of ours, in milliseconds (PR-30).
    pub(in crate::storage::redis) fn clock_offset_ms(&self) -> Option<i64> {
        let health = self.health_now();
        let offsets = health
            .found
            .values()
            .filter_map(|found| found.as_ref().ok().copied());
        offsets.max_by_key(|offset| offset.unsigned_abs())
    }

    fn health_now(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks one primary for its state; `Err` says what is wrong.
async fn look_at(primary: &Primary, mark: &[u8]) -> Result<Looked, String> {
    let mut questions = Pipeline::with_capacity(3);
    questions.cmd("TIME").cmd("EXISTS").arg(mark);
    questions.cmd("INFO").arg("replication");
    let (asked, since_epoch) = (Instant::now(), since_epoch());
    let answers = primary
        .send_all(Work::Step, &questions, asked + REDIS_ANSWER_WITHIN)
        .await;
    let ours = since_epoch + asked.elapsed() / 2;
    let address = &primary.address;
    let answers = answers.map_err(|failure| match failure {
        Failure::NotSent(why) if !why.contains(&address.to_string()) => format!("{address}: {why}"),
        failure => failure.explained(),
    })?;
    let [time, marked, replication] = answers.as_slice() else {
        return Err(format!("{address}: an answer is missing"));
    };
    match marked {
        Value::Int(1) => {}
        Value::Int(_) => {
            return Err(format!(
                "{address} has lost its data: the mark of this service is missing there"
            ));
        }
        // It moved since the table was made; the next look asks where it is then.
        Value::ServerError(error) if matches!(error.code(), "MOVED" | "ASK" | "TRYAGAIN") => {}
        Value::ServerError(error) => return Err(format!("{address}: {}", explained(error))),
        _ => return Err(format!("{address}: the answer to EXISTS cannot be read")),
    }
    // It still reads, but a step would be answered READONLY.
    if text(replication).and_then(|info| field(info, "role")) == Some("slave") {
        return Err(format!("{address} is a replica now and takes no writes"));
    }
    let theirs = time_of(time).ok_or_else(|| format!("{address}: the answer to TIME cannot be read"))?;
    Ok(Looked {
        ahead_ms: millis(theirs)
            .cast_signed()
            .saturating_sub(millis(ours).cast_signed()),
        replicas: text(replication).map_or(0, online_replicas),
    })
}

/// How many replicas are connected and have all that was written before, as `INFO replication` says:
/// `slave0:ip=…,port=…,state=online,…`.
fn online_replicas(info: &str) -> u32 {
    let is_online = |line: &&str| {
        let replica = line.split_once(':').filter(|(name, _)| name.starts_with("slave"));
        replica.is_some_and(|(_, about)| about.split(',').any(|part| part == "state=online"))
    };
    u32::try_from(info.lines().filter(is_online).count()).unwrap_or(u32::MAX)
}

fn time_of(answer: &Value) -> Option<Duration> {
    let Value::Array(parts) = answer else { return None };
    let [seconds, micros] = parts.as_slice() else {
        return None;
    };
    let number = |part| text(part)?.parse::<u64>().ok();
    Some(Duration::from_secs(number(seconds)?) + Duration::from_micros(number(micros)?))
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-41: only a replica that has everything counts as connected for the warning, not one that still copies.
    #[test]
    fn a_replica_that_copies_is_not_connected() {
        let info = "# Replication\r\nrole:master\r\nconnected_slaves:3\r\n\
             slave0:ip=10.0.0.1,port=6379,state=online,offset=7,lag=0\r\n\
             slave1:ip=10.0.0.2,port=6379,state=wait_bgsave,offset=0,lag=0\r\n\
             slave2:ip=10.0.0.3,port=6379,state=send_bulk,offset=0,lag=0\r\n\
             master_failover_state:no-failover\r\n";
        assert_eq!(online_replicas(info), 1);
    }
}
