//! The end of a world: whether every promised message and every receipt has arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use push_protocol::{MessageNumber, Receipt, ReceiptOutcome, Urgency, UserAgentId};
use push_service::storage::{Attached, Manner, PageRequest, Scope, Seat, Storage as _};

use crate::checker::Record;
use crate::sender::LONG;
use crate::store::at_once;
use crate::world::World;

/// A message that is sent after the troubles is acknowledged within this time, in milliseconds: no wake-up is lost
/// any more, so it waits for no comparison. Chosen: several times the delays on its way.
const PROBE: u64 = 3_000;

/// How long receipts may take, in milliseconds: those of messages with TTL 0 are due after 90 s, others 30 s after
/// the message's expiry; one node at a time looks for them, every 10 s.
const RECEIPTS_WITHIN: u64 = 125_000;

impl World {
    /// PR-1, PR-7, PR-11, PR-14, PR-17, PR-18: every promised message has arrived, and left storage.
    pub(crate) fn everything_has_come(&self) {
        let Some(message) = self.missing() else { return };
        let mut checker = self.checker();
        let record = &checker.records[message];
        let furthest = checker
            .furthest
            .get(&record.user_agent)
            .copied()
            .unwrap_or_default();
        let (rule, what) = match record.id {
            None => ("PR-1", "was never stored"),
            Some(id) if record.offered == 0 && id.number < furthest => ("PR-7", "was passed over"),
            Some(_) if record.offered == 0 => ("PR-14", "was never offered"),
            Some(_) if record.acknowledged => ("PR-18", "was acknowledged, and is stored still"),
            Some(_) => ("PR-17", "was offered, and not again"),
        };
        let what = format!(
            "message {message} {:?} for user agent {}, answered 201, {what}",
            record.id, record.agent
        );
        checker.violate(rule, what);
    }

    /// The first promised message that has not arrived.
    pub(crate) fn missing(&self) -> Option<usize> {
        let is_missing = |record: &Record| {
            let is_owed = record.promised && record.ttl_secs >= LONG && record.excused.is_none();
            is_owed && record.left.is_none()
        };
        self.checker().records.iter().position(is_missing)
    }

    /// PR-10, PR-12, PR-13: connected user agents are told at once. A session that lost its seat to a second device,
    /// and got it back when that device left, may keep window places for messages that the other one acknowledged
    /// until it is compared (PR-14).
    pub(crate) async fn probe(self: &Arc<Self>) {
        let mut probes = Vec::new();
        for agent in 0..self.agents.len() {
            let within = match self.agents[agent].is_double() {
                true => PROBE + self.parameters.reconcile,
                false => PROBE,
            };
            for standing in self.standing(agent) {
                let end = self.time_ms() + within;
                probes.extend(self.send(agent, &standing).map(|message| (message, end)));
            }
        }
        probes.sort_by_key(|(_, end)| *end);
        for (message, end) in probes {
            self.until(end).await;
            let mut checker = self.checker();
            let record = &checker.records[message];
            if record.left.is_none() {
                let what = format!(
                    "message {message} {:?} for user agent {}, sent when all was calm, did not come in time: \
                     promised: {}, offered: {}",
                    record.id, record.agent, record.promised, record.offered
                );
                return checker.violate("PR-13", what);
            }
        }
    }

    /// Runs until every promised receipt has arrived, or should have.
    pub(crate) async fn until_receipts_are_told(&self) {
        let is_told = |world: &Self| {
            let checker = world.checker();
            let is_owed = |record: &Record| record.wants_receipt && record.promised;
            let is_settled =
                |record: &Record| record.id.is_some_and(|id| checker.settled.contains(&id.nonce));
            checker
                .records
                .iter()
                .filter(|record| is_owed(record))
                .all(is_settled)
        };
        if self.checker().violation.is_some() || is_told(self) {
            return;
        }
        // One node is enough to carry the remaining receipts.
        (1..self.parameters.nodes)
            .filter_map(|place| self.node(place))
            .for_each(|node| node.kill());
        self.until_or(self.parameters.lasts + RECEIPTS_WITHIN, is_told)
            .await;
    }

    /// PR-25: exactly one receipt of each message that was answered 202, or none if it was replaced. PR-18: no
    /// message is left in storage.
    pub(crate) fn close_books(&self) {
        let receipts = self.receipts();
        let mut checker = self.checker();
        checker.counts.receipts = receipts.values().map(|ends| ends.len() as u64).sum();
        for message in 0..checker.records.len() {
            let record = &checker.records[message];
            let told = record.id.and_then(|id| receipts.get(&id.nonce));
            let told = told.map_or(&[][..], Vec::as_slice);
            if let Err(expected) = is_told_right(record, told) {
                let what = format!(
                    "message {message} {:?}, answered 202: {}, left as {:?}, excused: {:?}; receipts: {told:?}, {expected}",
                    record.id, record.promised, record.left, record.excused
                );
                return checker.violate("PR-25", what);
            }
        }
        drop(checker);
        at_once(self.store.memory.expire(10_000));
        let waiting: u64 = receipts.values().map(|ends| ends.len() as u64).sum();
        let left = self.store.memory.usage().map_or(0, |usage| usage.messages);
        // Messages that were not promised may wait until they expire.
        let may_wait = |record: &&Record| {
            let is_owed = record.promised && record.ttl_secs >= LONG && record.excused.is_none();
            record.id.is_some() && record.left.is_none() && !is_owed
        };
        let may_wait = self.checker().records.iter().filter(may_wait).count() as u64;
        if left > waiting + may_wait {
            let what = format!("{left} messages are left in storage, and {waiting} of them are receipts");
            self.checker().violate("PR-18", what);
        }
    }

    /// How the messages ended, by their nonces, as receipt subscriptions say.
    fn receipts(&self) -> BTreeMap<u64, Vec<ReceiptOutcome>> {
        let queues: BTreeSet<UserAgentId> = self
            .checker()
            .expected
            .values()
            .map(|(receipts, _)| *receipts)
            .collect();
        let mut told: BTreeMap<u64, Vec<ReceiptOutcome>> = BTreeMap::new();
        for queue in queues {
            for receipt in self.read(queue) {
                told.entry(receipt.message.id.nonce)
                    .or_default()
                    .push(receipt.how);
            }
        }
        told
    }

    fn read(&self, receipts: UserAgentId) -> Vec<Receipt> {
        let reader = Seat {
            incarnation: 0,
            session: 0,
        };
        let mut read = Vec::new();
        let mut after = MessageNumber::START;
        loop {
            let head = PageRequest {
                after,
                scope: Scope::AllBut(Vec::new()),
                minimum: Urgency::VeryLow,
                messages: 100,
                bytes: 1 << 20,
            };
            let memory = &self.store.memory;
            let Attached::Known { page, .. } =
                at_once(memory.attach(receipts, reader, head, Manner::Insisting))
            else {
                return read;
            };
            let bodies = page.messages.iter().map(|message| &message.content.body);
            read.extend(bodies.filter_map(|body| Receipt::from_bytes(body)));
            if !page.more {
                return read;
            }
            after = page.upto;
        }
    }
}

/// The possible receipts of a message.
fn is_told_right(record: &Record, told: &[ReceiptOutcome]) -> Result<(), &'static str> {
    if told.len() > 1 {
        return Err("and one is the most");
    }
    if !record.wants_receipt || !record.promised {
        return Ok(());
    }
    // It may have expired or been evicted before it was replaced: both outcomes are right.
    let is_evicted = record.excused.is_some_and(|(_, why)| why == "evicted");
    let may_expire = record.ttl_secs > 0 && record.ttl_secs < LONG;
    let expected = match record.left {
        Some((ReceiptOutcome::Replaced, _)) if may_expire || is_evicted => return Ok(()),
        Some((ReceiptOutcome::Replaced, _)) => None,
        Some((ReceiptOutcome::Acknowledged, _)) => Some(ReceiptOutcome::Acknowledged),
        Some((ReceiptOutcome::GivenUp, _)) | None => Some(ReceiptOutcome::GivenUp),
    };
    match (expected, told.first()) {
        (None, None) => Ok(()),
        (Some(expected), Some(told)) if expected == *told => Ok(()),
        (None, Some(_)) => Err("and there has to be none of what was replaced"),
        (Some(ReceiptOutcome::Acknowledged), _) => Err("and it has to be 204"),
        (Some(_), _) => Err("and it has to be 410"),
    }
}
