//! The checker records what was promised and what was done, and finds the first promise that was broken.
//!
//! It sees what crosses the borders of both ends, and never looks into a session.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use push_protocol::session::user_agent::{GiveUpReason, Limits, MessageKey};
use push_protocol::{MessageId, SubscriptionId, SubscriptionName, Topic, Urgency};

use crate::runner::{Violation, counts};

/// A push message, by its number in the checker.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) agent: usize,
    pub(crate) name: SubscriptionName,
    /// Which life of the subscription: the application's count of its wishes for it.
    pub(crate) life: u32,
    pub(crate) subscription: SubscriptionId,
    pub(crate) ttl_secs: u32,
    pub(crate) topic: Option<Topic>,
    /// The encryption keys for which it was sealed.
    pub(crate) keys: u32,
    /// In which order it has to come: among those of its urgency, where a filter may hold others back.
    pub(crate) lane: u8,
    pub(crate) urgency: Urgency,
    /// The application dies of it, each time.
    pub(crate) kills: bool,
    /// How often its application fails on it.
    pub(crate) fails: u32,
    /// It was answered 201.
    pub(crate) promised: bool,
    pub(crate) id: Option<MessageId>,
    pub(crate) expires_at: u64,
    /// It need not come: taken back, replaced, evicted, or its subscription ended. Since then.
    pub(crate) excused: Option<(u64, &'static str)>,
    pub(crate) acknowledged_at: Option<u64>,
    pub(crate) offered: u32,
    pub(crate) attempts: u32,
    pub(crate) released: u32,
    /// Failures that the session did not count, or took back.
    pub(crate) uncounted: u32,
    /// How often the application said that it failed on it.
    pub(crate) failed: u32,
    /// Of those, the ones for which the message was to blame.
    pub(crate) own_failures: u32,
    /// How often the process died while the application had it.
    pub(crate) crashed: u32,
    /// What its user agent is told for its id.
    pub(crate) alias: String,
    pub(crate) done: Option<Done>,
}

impl Record {
    /// When storage took it, if it did.
    pub(crate) fn stored_at(&self) -> Option<u64> {
        let ttl = u64::from(self.ttl_secs) * 1_000;
        self.expires_at.checked_sub(ttl)
    }
}

/// What the user agent keeps of a message that is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Done {
    Handled,
    GivenUp,
    NotDecrypted,
    /// Its subscription ended.
    Dropped,
}

counts! {
    sums {
        events,
        messages,
        promised,
        passing,
        unanswered,
        handled,
        given_up,
        offered_again,
        excused,
        expired,
        channels,
        catch_ups,
        cuts,
        deaths,
        stops,
        node_restarts,
        drains,
        displaced,
        stalls,
        wake_ups_lost,
        storage_troubles,
        acknowledged_again,
        in_outages,
        outages,
        stuck,
        identities_lost,
        /// Lies about an identity that user agents heard.
        lies,
        renewed,
        unsubscribed,
    }
    digests {}
}

/// The checker of one world.
#[derive(Default)]
pub(crate) struct Checker {
    pub(crate) records: Vec<Record>,
    by_nonce: BTreeMap<u64, usize>,
    by_key: BTreeMap<MessageKey, usize>,
    topics: HashMap<(SubscriptionId, Topic), usize>,
    /// How many messages each subscription of a user agent got so far.
    numbers: BTreeMap<(usize, SubscriptionName), u64>,
    /// The messages on which an application failed since its last success: in each subscription, and in all of them.
    streaks: BTreeMap<(usize, Option<SubscriptionName>), BTreeSet<usize>>,
    /// The number of the last message that was handed over for the first time.
    first_handed: BTreeMap<(usize, SubscriptionId, u8), u64>,
    /// The number of the last message that was offered for the first time.
    first_offered: BTreeMap<(usize, SubscriptionId, u8), u64>,
    pub(crate) counts: Counts,
    pub(crate) violation: Option<Violation>,
}

impl Checker {
    /// Only the first one counts: what follows may follow from it.
    pub(crate) fn violate(&mut self, rule: &'static str, what: String) {
        self.violation.get_or_insert(Violation { rule, what });
    }

    pub(crate) fn sent(&mut self, record: Record) -> usize {
        self.counts.messages += 1;
        self.records.push(record);
        self.records.len() - 1
    }

    pub(crate) fn by_id(&self, id: MessageId) -> Option<usize> {
        self.by_nonce.get(&id.nonce).copied()
    }

    pub(crate) fn by_key(&self, key: MessageKey) -> Option<usize> {
        self.by_key.get(&key).copied()
    }

    /// Storage took it under this id.
    pub(crate) fn stored(&mut self, message: usize, id: MessageId, equal_ids: bool, now: u64) {
        let record = &mut self.records[message];
        let number = self.numbers.entry((record.agent, record.name)).or_default();
        *number += 1;
        record.alias = match equal_ids {
            true => number.to_string(),
            false => id.to_base64url().to_string(),
        };
        record.id = Some(id);
        record.expires_at = now + u64::from(record.ttl_secs) * 1_000;
        self.by_nonce.insert(id.nonce, message);
        let key = MessageKey::of(&record.name.to_string(), &record.alias);
        self.by_key.insert(key, message);
        let topic = record.topic.map(|topic| (record.subscription, topic));
        let Some(topic) = topic else { return };
        if let Some(before) = self.topics.insert(topic, message) {
            self.excuse(before, now, "replaced");
        }
    }

    pub(crate) fn answered_201(&mut self, message: usize) {
        self.counts.promised += 1;
        self.records[message].promised = true;
    }

    pub(crate) fn excuse(&mut self, message: usize, now: u64, why: &'static str) {
        let record = &mut self.records[message];
        if record.excused.is_none() && record.done.is_none() {
            self.counts.excused += 1;
        }
        record.excused.get_or_insert((now, why));
    }

    /// Everything for which `of` holds need not come any more.
    pub(crate) fn excuse_all(&mut self, now: u64, why: &'static str, of: impl Fn(&Record) -> bool) {
        for message in 0..self.records.len() {
            if of(&self.records[message]) {
                self.excuse(message, now, why);
            }
        }
    }

    /// PR-30, R30-TOP-3, PR-4: the service offers nothing that is over, but for what was under way. `slack`
    /// is how long storage's answer to a page can be.
    pub(crate) fn offered(&mut self, id: MessageId, now: u64, slack: u64) {
        let Some(message) = self.by_id(id) else {
            return self.violate("PR-6", format!("{id:?} was offered, which was never sent"));
        };
        let record = &mut self.records[message];
        record.offered += 1;
        if record.offered > 1 {
            self.counts.offered_again += 1;
        }
        let queue = (record.agent, record.subscription, record.lane);
        if record.offered == 1 && id.number.0 > 0 {
            let last = self.first_offered.entry(queue).or_default();
            let before = std::mem::replace(last, id.number.0);
            if before > id.number.0 {
                let what = format!("message {message} was first offered after a later one ({before})");
                return self.violate("PR-4", what);
            }
        }
        let record = &self.records[message];
        let long_ago = |at: u64| at + slack < now;
        if record.ttl_secs == 0 {
            if record.offered > 1 {
                self.violate("PR-21", format!("message {message} with TTL 0 was offered again"));
            }
        } else if long_ago(record.expires_at) {
            let late = now - record.expires_at;
            self.violate(
                "PR-30",
                format!("message {message} was offered {late} ms after it expired"),
            );
        } else if record.acknowledged_at.is_some_and(long_ago) {
            self.violate(
                "PR-4",
                format!("message {message} was offered after its acknowledgement was committed"),
            );
        } else if let Some((at, why)) = record.excused
            && matches!(why, "replaced" | "cancelled")
            && long_ago(at)
        {
            self.violate(
                "R30-TOP-3",
                format!("message {message} was offered although it is {why}"),
            );
        }
    }

    /// Storage removed it because the user agent said so.
    pub(crate) fn acknowledged(&mut self, id: MessageId, now: u64) {
        let Some(message) = self.by_id(id) else { return };
        let record = &mut self.records[message];
        record.acknowledged_at.get_or_insert(now);
    }

    /// The user agent puts it into the hands of its application. `attempts`: how often that can happen, crashes included, apart
    /// from what does not count.
    pub(crate) fn handed_over(&mut self, message: usize, subscription: SubscriptionId, attempts: u32) {
        let record = &mut self.records[message];
        record.attempts += 1;
        let (tried, released, number) = (
            record.attempts,
            record.released + record.uncounted,
            record.id.map_or(0, |id| id.number.0),
        );
        if let Some(done) = record.done {
            return self.violate(
                "WS-NOT-2",
                format!("message {message} was handed over although it was kept as done ({done:?})"),
            );
        }
        if tried > attempts + released {
            return self.violate(
                "WP-RCV-6",
                format!("message {message} was handed over for the {tried}. time, of {attempts}"),
            );
        }
        if tried == 1 && number > 0 {
            let last = self
                .first_handed
                .entry((
                    self.records[message].agent,
                    subscription,
                    self.records[message].lane,
                ))
                .or_default();
            if *last > number {
                let before = *last;
                return self.violate(
                    "PR-4",
                    format!("message {message} ({number}) was handed over after a later one ({before})"),
                );
            }
            *last = number;
        }
    }

    /// Whether a message of another subscription, with the same id for its user agent, is done.
    pub(crate) fn is_done_elsewhere(&self, record: &Record) -> bool {
        let mut others = self.records.iter();
        others.any(|other| {
            let is_equal = (other.agent, &other.alias) == (record.agent, &record.alias);
            is_equal && other.name != record.name && other.done.is_some()
        })
    }

    /// The application failed on it.
    pub(crate) fn failed(&mut self, message: usize) {
        let record = &mut self.records[message];
        record.failed += 1;
        if record.excused.is_some_and(|(_, why)| why == "unsubscribed") {
            // The application has it from before, and there is no other attempt.
            return;
        }
        let (agent, name) = (record.agent, record.name);
        for of in [None, Some(name)] {
            self.streaks.entry((agent, of)).or_default().insert(message);
        }
    }

    /// The application succeeded with it.
    pub(crate) fn succeeded(&mut self, message: usize) {
        let (agent, name) = (self.records[message].agent, self.records[message].name);
        self.streaks.remove(&(agent, None));
        self.streaks.remove(&(agent, Some(name)));
    }

    /// The process of a user agent ended, or a subscription.
    pub(crate) fn forget_streaks(&mut self, agent: usize, name: Option<SubscriptionName>) {
        self.streaks
            .retain(|(of, subscription), _| *of != agent || name.is_some() && *subscription != name);
    }

    /// PR-45: a message is given up only after so many failures or crashes as there may be; and not for failures while the
    /// application failed on others, too.
    pub(crate) fn gave_up(&mut self, message: usize, reason: GiveUpReason, limits: &Limits) {
        let record = &self.records[message];
        let (failed, crashed) = (record.failed, record.crashed);
        let is_enough = match reason {
            GiveUpReason::Attempts => failed >= limits.attempts,
            GiveUpReason::Crashes => failed + crashed >= limits.crashes,
            GiveUpReason::Outages => failed >= limits.attempts,
        };
        if !is_enough {
            let what = format!(
                "message {message} was given up after {failed} failures and {crashed} crashes: {reason:?}"
            );
            return self.violate("PR-45", what);
        }
        let (agent, name) = (record.agent, record.name);
        for of in [None, Some(name)] {
            let others = self.streaks.get(&(agent, of));
            if reason == GiveUpReason::Attempts
                && let Some(others) = others.filter(|streak| streak.len() > 1 && streak.contains(&message))
            {
                let what = format!("message {message} was given up although {others:?} failed in a row");
                return self.violate("PR-45", what);
            }
        }
    }

    /// Kept by the user agent.
    pub(crate) fn done(&mut self, message: usize, done: Done) {
        let record = &mut self.records[message];
        if record.done.is_none() {
            match done {
                Done::Handled => self.counts.handled += 1,
                Done::GivenUp => self.counts.given_up += 1,
                Done::NotDecrypted | Done::Dropped => {}
            }
        }
        record.done.get_or_insert(done);
    }
}
