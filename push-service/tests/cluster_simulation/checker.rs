//! The checker records what was promised and what was kept, and finds the first broken promise.
//!
//! It records what can be seen from outside: requests and their answers, bytes at the nodes' ends of connections,
//! and steps of storage when they run. It never looks into a session, a registry or a reconciler.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use push_protocol::{MessageId, MessageNumber, ReceiptOutcome, SubscriptionId, UserAgentId};
use push_service::defaults::ATTACH_DELAY_LONGEST;
use push_service::storage::{Enqueued, ExpectReceipt, PASSING_WITH_RECEIPT, Removal, Seat, WakeUp};

use crate::process::Health;
use crate::runner::{Violation, counts};
use crate::sender::LONG;

/// A push message, by its number in the checker. Times are milliseconds of the world.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) agent: usize,
    pub(crate) user_agent: UserAgentId,
    pub(crate) subscription: SubscriptionId,
    pub(crate) ttl_secs: u32,
    pub(crate) topic: Option<&'static str>,
    /// A receipt was asked for.
    pub(crate) wants_receipt: bool,
    /// It was answered 201, or 202.
    pub(crate) promised: bool,
    pub(crate) id: Option<MessageId>,
    /// Since when it need not arrive: taken back, replaced, evicted, or its subscription ended.
    pub(crate) excused: Option<(u64, &'static str)>,
    /// How it left storage, and when.
    pub(crate) left: Option<(ReceiptOutcome, u64)>,
    /// A node read an acknowledgement.
    pub(crate) acknowledged: bool,
    /// A step of storage took the acknowledgement.
    pub(crate) committed_at: Option<u64>,
    /// Wake-ups that could deliver it, if its TTL is 0.
    pub(crate) copies: u32,
    pub(crate) offered: u32,
}

counts! {
    sums {
        messages,
        promised,
        passing,
        unanswered,
        offered,
        offered_again,
        acknowledged,
        excused,
        receipts,
        settled,
        overdue,
        channels,
        attached,
        delayed,
        displaced,
        compared,
        wake_ups_lost,
        wake_ups_repeated,
        storage_troubles,
        kills,
        pauses,
        drains,
        cuts,
    }
    digests {
        /// A digest of all events and times: two runs of a world that differ have different ones.
        digest,
    }
}

/// Where and when something was offered.
#[derive(Clone, Copy)]
pub(crate) struct Where {
    pub(crate) now: u64,
    pub(crate) connection: u64,
    pub(crate) user_agent: Option<UserAgentId>,
    /// The node may have decided this long ago.
    pub(crate) may_be_late: bool,
}

/// An acknowledgement that a node has read and has to commit soon.
struct Owed {
    message: usize,
    since: u64,
    connection: u64,
    health: Arc<Health>,
}

/// The checker of one world.
#[derive(Default)]
pub(crate) struct Checker {
    pub(crate) records: Vec<Record>,
    by_nonce: BTreeMap<u64, usize>,
    topics: BTreeMap<(SubscriptionId, &'static str), usize>,
    /// The number of the last message that was offered for the first time.
    first_offered: BTreeMap<SubscriptionId, MessageNumber>,
    /// The same for all subscriptions of a user agent.
    pub(crate) furthest: BTreeMap<UserAgentId, MessageNumber>,
    owed: Vec<Owed>,
    /// The seats, as storage answered.
    pub(crate) seats: BTreeMap<UserAgentId, Seat>,
    /// Since when a user agent has a confirmed subscription that never ends.
    confirmed: BTreeMap<UserAgentId, u64>,
    /// The receipts that each receipt subscription is owed, by the nonce of the message.
    pub(crate) expected: BTreeMap<u64, (UserAgentId, ExpectReceipt)>,
    /// When a session that attached too often may attach again.
    may_insist_at: BTreeMap<(u64, u64), u64>,
    /// Messages whose outcome storage knows.
    pub(crate) settled: BTreeSet<u64>,
    pub(crate) counts: Counts,
    pub(crate) violation: Option<Violation>,
}

impl Checker {
    /// Only the first broken promise counts: others may follow from it.
    pub(crate) fn violate(&mut self, rule: &'static str, what: String) {
        self.violation.get_or_insert(Violation { rule, what });
    }

    pub(crate) fn sent(&mut self, record: Record) -> usize {
        self.counts.messages += 1;
        self.records.push(record);
        self.records.len() - 1
    }

    pub(crate) fn answered_201(&mut self, message: usize) {
        self.counts.promised += 1;
        self.records[message].promised = true;
    }

    pub(crate) fn confirmed(&mut self, user_agent: UserAgentId, now: u64) {
        self.confirmed.entry(user_agent).or_insert(now);
    }

    pub(crate) fn is_confirmed_before(&self, user_agent: UserAgentId, moment: u64) -> bool {
        self.confirmed.get(&user_agent).is_some_and(|at| *at < moment)
    }

    pub(crate) fn excuse(&mut self, message: usize, now: u64, why: &'static str) {
        let record = &mut self.records[message];
        if record.excused.is_none() {
            self.counts.excused += 1;
            record.excused = Some((now, why));
        }
    }

    /// Messages for which `of` holds need not arrive any more.
    pub(crate) fn excuse_all(&mut self, now: u64, why: &'static str, of: impl Fn(&Record) -> bool) {
        for message in 0..self.records.len() {
            if of(&self.records[message]) {
                self.excuse(message, now, why);
            }
        }
    }

    /// The step that stores a message ran. Its body says which message it is.
    pub(crate) fn enqueued(&mut self, body: &Bytes, enqueued: &Enqueued, now: u64) {
        let Some(message) = message_of(body) else { return };
        let id = match enqueued {
            Enqueued::Stored { id, evicted, .. } => {
                if *evicted > 0 {
                    let user_agent = self.records[message].user_agent;
                    self.excuse_all(now, "evicted", |record| {
                        record.user_agent == user_agent && record.id.is_some() && record.left.is_none()
                    });
                }
                *id
            }
            Enqueued::Passed { id, .. } => {
                self.counts.passing += 1;
                *id
            }
            Enqueued::NoSubscription
            | Enqueued::QueueFull
            | Enqueued::SenderFull
            | Enqueued::StoreFull
            | Enqueued::RateLimited { .. } => return,
        };
        self.digest(id.nonce, now);
        let record = &mut self.records[message];
        record.id = Some(id);
        self.by_nonce.insert(id.nonce, message);
        let Some(topic) = record.topic else { return };
        let place = (record.subscription, topic);
        let before = match record.ttl_secs {
            0 => self.topics.remove(&place),
            _ => self.topics.insert(place, message),
        };
        if let Some(before) = before {
            self.excuse(before, now, "replaced");
            self.records[before]
                .left
                .get_or_insert((ReceiptOutcome::Replaced, now));
        }
    }

    /// A wake-up is on its way that may deliver a message with TTL 0.
    pub(crate) fn woken(&mut self, wake_up: &WakeUp) {
        let WakeUp::Passing(message) = wake_up else { return };
        if let Some(message) = self.by_nonce.get(&message.id.nonce) {
            self.records[*message].copies += 1;
        }
    }

    /// PR-4, PR-6, PR-9, PR-21, PR-30, R30-TOP-3: a node writes a message to a channel. `slack` is how long an
    /// undisturbed node may not know of a change in storage.
    pub(crate) fn offered(&mut self, id: Option<MessageId>, at: Where, slack: u64) {
        let known = id.and_then(|id| self.by_nonce.get(&id.nonce).copied().zip(Some(id)));
        let Some((message, id)) = known else {
            return self.violate("PR-6", format!("{id:?} was offered, which was never sent"));
        };
        self.digest(id.nonce, at.now);
        self.counts.offered += 1;
        let connection = at.connection;
        let record = &mut self.records[message];
        record.offered += 1;
        let (offered, number) = (record.offered, id.number);
        if record.id != Some(id) {
            let what = format!("message {message} {:?} was offered as {id:?}", record.id);
            return self.violate("PR-6", what);
        }
        if at.user_agent != Some(record.user_agent) {
            let what =
                format!("message {message} was offered on connection {connection} of another user agent");
            return self.violate("PR-9", what);
        }
        if record.ttl_secs == 0 {
            if record.offered > record.copies {
                let what = format!("message {message} with TTL 0 was offered more often than it was told");
                self.violate("PR-21", what);
            }
            return;
        }
        if offered > 1 {
            self.counts.offered_again += 1;
        } else {
            let (subscription, user_agent) = (record.subscription, record.user_agent);
            let last = self.first_offered.entry(subscription).or_default();
            let before = std::mem::replace(last, number.max(*last));
            let furthest = self.furthest.entry(user_agent).or_default();
            *furthest = number.max(*furthest);
            // A message that had ended when the later one was delivered may have been read before: by a session that
            // is being displaced.
            let may_be_over = record.ttl_secs < LONG || record.excused.is_some() || record.left.is_some();
            if before > number && !may_be_over {
                let what = format!(
                    "message {message} {id:?} was first offered after a later one of its subscription ({})",
                    before.0
                );
                return self.violate("PR-4", what);
            }
        }
        let record = &self.records[message];
        let long_ago = |since: u64| !at.may_be_late && since + slack < at.now;
        if record.committed_at.is_some_and(long_ago) {
            let what = format!(
                "message {message} {id:?} was offered on connection {connection} after its acknowledgement was committed"
            );
            self.violate("PR-4", what);
        } else if let Some((since, why)) = record.excused
            && matches!(why, "replaced" | "cancelled")
            && long_ago(since)
        {
            let what = format!("message {message} {id:?} was offered although it is {why}");
            self.violate("R30-TOP-3", what);
        }
    }

    /// A node has read an acknowledgement.
    pub(crate) fn acknowledgement_read(
        &mut self,
        id: MessageId,
        now: u64,
        connection: u64,
        health: &Arc<Health>,
    ) {
        let Some(message) = self.by_nonce.get(&id.nonce).copied() else {
            return;
        };
        self.digest(!id.nonce, now);
        let record = &mut self.records[message];
        record.acknowledged = true;
        if record.committed_at.is_some() || id.number <= PASSING_WITH_RECEIPT {
            return;
        }
        self.owed.push(Owed {
            message,
            since: now,
            connection,
            health: Arc::clone(health),
        });
    }

    /// PR-4, PR-18: an acknowledgement that an undisturbed node has read is committed soon, even if the channel has
    /// ended.
    pub(crate) fn look_at_acknowledgements(&mut self, now: u64, within: u64) {
        let mut late = None;
        let records = &self.records;
        self.owed.retain(|owed| {
            let record = &records[owed.message];
            // A message that has left already need not be removed.
            let is_gone = record.committed_at.is_some() || record.left.is_some();
            if is_gone || owed.health.was_disturbed_since(owed.since) {
                return false;
            }
            if owed.since + within < now {
                late.get_or_insert((owed.message, owed.since, owed.connection, owed.health.place));
                return false;
            }
            true
        });
        if let Some((message, since, connection, place)) = late {
            let what = format!(
                "node {place} read the acknowledgement of message {message} {:?} on connection {connection} \
                 {} ms ago, and storage has not got it",
                self.records[message].id,
                now - since
            );
            self.violate("PR-18", what);
        }
    }

    /// A step of storage removed messages by name.
    pub(crate) fn removed(&mut self, ids: &[MessageId], found: &[bool], removal: Removal, now: u64) {
        for (id, found) in ids.iter().zip(found) {
            let Some(message) = self.by_nonce.get(&id.nonce).copied() else {
                continue;
            };
            self.digest(id.nonce.rotate_left(7), now);
            let record = &mut self.records[message];
            let how = match removal {
                Removal::Acknowledged => ReceiptOutcome::Acknowledged,
                Removal::Cancelled | Removal::Emptied => ReceiptOutcome::GivenUp,
            };
            if *found {
                record.left.get_or_insert((how, now));
            }
            match removal {
                Removal::Acknowledged => {
                    self.counts.acknowledged += u64::from(*found);
                    record.committed_at.get_or_insert(now);
                }
                Removal::Cancelled | Removal::Emptied if *found => self.excuse(message, now, "cancelled"),
                Removal::Cancelled | Removal::Emptied => {}
            }
        }
    }

    /// PR-10: a session that was given the seat holds it until another one takes it.
    pub(crate) fn displaced(&mut self, user_agent: UserAgentId, seat: Seat) {
        if self.seats.get(&user_agent) == Some(&seat) {
            let what =
                format!("a session of {user_agent} was told that another one has its seat, which none took");
            self.violate("PR-10", what);
        }
    }

    /// A session was told to wait before it attaches.
    pub(crate) fn attaches_too_often(&mut self, seat: Seat, now: u64, retry_after: Duration) {
        self.counts.delayed += 1;
        let wait = retry_after.min(ATTACH_DELAY_LONGEST).as_millis() as u64;
        self.may_insist_at
            .insert((seat.incarnation, seat.session), now + wait);
    }

    /// PR-15: a session that attaches too often waits before it attaches.
    pub(crate) fn insists(&mut self, seat: Seat, now: u64) {
        match self.may_insist_at.get(&(seat.incarnation, seat.session)) {
            Some(from) if *from <= now => {}
            Some(from) => {
                let early = from - now;
                self.violate(
                    "PR-15",
                    format!("a session that attached too often came back {early} ms too early"),
                );
            }
            None => self.violate("PR-15", "a session insisted that was not told to wait".to_owned()),
        }
    }

    fn digest(&mut self, what: u64, now: u64) {
        let mixed = (self.counts.digest ^ what ^ now.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.counts.digest = mixed ^ (mixed >> 29);
    }
}

/// The message that a body belongs to.
fn message_of(body: &Bytes) -> Option<usize> {
    let bytes = body.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes) as usize)
}
