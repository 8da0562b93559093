//! Whether a history keeps the promise.
//!
//! Contract: [`check`] is a pure function of a history and of the [`Rules`] of the row that was played. It reports every
//! violation that it finds, each with the entries that prove it. It never reports what a correct service could have
//! caused: if a result is unknown, it assumes the one in the service's favour. Each [`Kind`] of violation has a
//! unit test that plants one and finds it.
//!
//! The rules, in the words of the promise:
//!
//! - [`Kind::Lost`]: a message that was answered 201 or 202 arrives, unless it was replaced, taken back, expired, or its
//!   subscription was ended (PR-1).
//! - [`Kind::Unknown`]: a registered user agent is never told "unknown". One with a subscription gets no new
//!   identity. Each push resource that a subscription ever had gets no 404 or 410 unless its end was requested. No
//!   receipt subscription disappears (PR-3, PR-9, PR-40).
//! - [`Kind::NeverSent`]: no message arrives that was never sent, that was refused with 4xx, or that is for another
//!   user agent.
//! - [`Kind::Order`]: messages of a subscription are first delivered in the order of acceptance (PR-4).
//! - [`Kind::Returned`]: a message does not return after its acknowledgement was committed, no message comes twice on
//!   one channel, and a repeated message has the same id (PR-4, PR-18).
//! - [`Kind::Receipt`]: a message answered 202 has exactly one receipt, and its status is true (PR-25).
//! - [`Kind::Undead`]: after an answer "unregistered" or "deleted" no message arrives or is accepted (PR-1, PR-9).
//! - [`Kind::Status`]: only answers that the docs name; 503 has `Retry-After`.
//! - [`Kind::Closed`]: a user agent that was connected before the failure stays connected while its node lives. One
//!   that connects during the failure may be displaced once more.

mod facts;
mod judge;

use std::fmt;

use self::facts::Facts;
use self::judge::Judge;
use super::history::{Entry, MessageNumber, RequestResult, SECOND, Time, What};

/// What may be lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// No confirmed message or answer.
    Nothing,
    /// What was confirmed shortly before the fault and during it: messages, subscriptions, and answers of any kind.
    Recent,
    /// What was confirmed shortly before the fault, and what the first node confirmed during it: that node is cut off from all
    /// others together with the deposed primary. Not what another node confirmed during the fault: it has the new primary.
    ByTheDeposed,
    /// What was confirmed shortly before the fault: not all replicas had it, and one without it was promoted. Not
    /// what was confirmed during the fault.
    JustBefore,
    /// The history ends while the service is in trouble: it does not show what will be delivered.
    NotAsked,
}

/// Whether acknowledgements that were committed may be forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledgements {
    /// No: they are kept.
    Kept,
    /// The last ones before a failover, and those during it, may be forgotten, because acknowledgements do not wait for
    /// replicas. Their messages (and receipts, which are acknowledged as well) come again, even on the same channel.
    /// Older acknowledgements are kept.
    MayReturn,
}

/// The rules of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// What may be lost.
    pub lost: Lost,
    /// What may come again.
    pub acknowledgements: Acknowledgements,
    /// How far clocks leap without being refused: by so much a message may expire early.
    pub leap: Time,
}

/// The kind of a violation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "the module's header explains each")]
pub enum Kind {
    Lost,
    Unknown,
    NeverSent,
    Order,
    Returned,
    Receipt,
    Undead,
    Status,
    Closed,
}

/// A violation, with its proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Of what kind.
    pub kind: Kind,
    /// The violation in words.
    pub what: String,
    /// The entries that prove it, by their place in the history.
    pub proof: Vec<usize>,
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Requests for messages.
    pub pushes: usize,
    /// Those that were answered 201 or 202.
    pub accepted: usize,
    /// Those that were refused with 503.
    pub refused: usize,
    /// Those that were not answered.
    pub unanswered: usize,
    /// Messages that were accepted and did not arrive, as the row allows.
    pub lost_by_rule: usize,
    /// Messages that were accepted and did not arrive, against the promise.
    pub lost: usize,
    /// Repeated deliveries.
    pub repeats: usize,
    /// Deliveries after the acknowledgement had been committed.
    pub forgotten: usize,
    /// Channels on which hello was answered with an identity.
    pub hellos: usize,
    /// Channels on which hello was refused.
    pub hellos_refused: usize,
    /// Subscriptions that were confirmed, and times that they were renewed.
    pub registers: usize,
    /// Subscriptions that were ended.
    pub unregisters: usize,
    /// Acknowledgements that reached a node.
    pub acknowledgements: usize,
    /// Messages that were taken back.
    pub cancels: usize,
    /// Receipts.
    pub receipts: usize,
    /// Channels that the service closed in trouble.
    pub closed: usize,
    /// Times that nodes went down.
    pub nodes_down: usize,
    /// The longest time until a sender got 503, in microseconds.
    pub longest_refusal: Time,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Verdict {
    /// All violations.
    pub violations: Vec<Violation>,
    /// What was counted.
    pub counts: Counts,
}

/// Checks a history against the promise.
pub fn check(history: &[Entry], rules: Rules) -> Verdict {
    let facts = Facts::read(history);
    let mut judge = Judge {
        history,
        facts: &facts,
        rules,
        verdict: Verdict::default(),
    };
    judge.count();
    judge.answers();
    judge.offers();
    judge.losses();
    judge.order();
    judge.receipts();
    judge.verdict.violations.sort_by_key(|violation| violation.kind);
    judge.verdict
}

/// Messages that were accepted, must arrive, and have not yet.
pub fn missing(history: &[Entry]) -> Vec<MessageNumber> {
    let facts = Facts::read(history);
    let messages = facts.messages.iter();
    messages
        .filter(|(number, message)| {
            message.is_accepted() && message.offers.is_empty() && !facts.may_be_absent(history, **number)
        })
        .map(|(number, _)| *number)
        .collect()
}

/// Whether a message's user agent has been connected on one channel from this time until now.
pub fn is_connected_since(history: &[Entry], message: MessageNumber, since: Time) -> bool {
    let facts = Facts::read(history);
    let subscription = facts.messages[&message].subscription;
    let Some(register) = facts.subscriptions[&subscription].registers.first() else {
        return false;
    };
    let What::Register { agent, .. } = history[*register].what else {
        return false;
    };
    let hellos = facts.hellos.get(&agent).into_iter().flatten();
    let Some((place, connection)) = hellos.last().and_then(|hello| match history[*hello].what {
        What::Hello {
            connection,
            result: RequestResult::Ok,
            ..
        } => Some((*hello, connection)),
        _ => None,
    }) else {
        return false;
    };
    let is_closed = history[place..]
        .iter()
        .any(|entry| matches!(entry.what, What::Closed { connection: closed, .. } if closed == connection));
    history[place].completed <= since && !is_closed
}

/// Messages that were answered 202, must have a receipt, and have none yet.
pub fn untold(history: &[Entry]) -> usize {
    let facts = Facts::read(history);
    facts.untold(history).len()
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pushes ({} accepted, {} refused, {} unanswered), {} lost, {} lost by rule, {} repeats, {} forgotten \
             acknowledgements; {} hellos, {} refused; {} registers, {} unregisters, {} acknowledgements, {} DELETEs, {} \
             receipts; the slowest 503 after {:.1} s",
            self.pushes,
            self.accepted,
            self.refused,
            self.unanswered,
            self.lost,
            self.lost_by_rule,
            self.repeats,
            self.forgotten,
            self.hellos,
            self.hellos_refused,
            self.registers,
            self.unregisters,
            self.acknowledgements,
            self.cancels,
            self.receipts,
            self.longest_refusal as f64 / SECOND as f64,
        )
    }
}

/// The entries that prove a violation, and the faults around them, one a line.
pub fn excerpt(history: &[Entry], violation: &Violation) -> String {
    let mut places = violation.proof.clone();
    let span = places
        .first()
        .map(|first| (*first, places[places.len() - 1]))
        .unwrap_or_default();
    places.extend(history.iter().enumerate().filter_map(|(place, entry)| {
        let is_fault = matches!(
            entry.what,
            What::NodeDown { .. } | What::StorageDown | What::WellAgain
        );
        (is_fault && (span.0.saturating_sub(2_000)..=span.1 + 2_000).contains(&place)).then_some(place)
    }));
    places.sort_unstable();
    places.dedup();
    let mut text = format!("{:?}: {}", violation.kind, violation.what);
    let hidden = places.len().saturating_sub(12);
    for place in places.into_iter().take(12) {
        let Entry {
            invoked,
            completed,
            what,
        } = &history[place];
        let (from, to) = (*invoked as f64 / SECOND as f64, *completed as f64 / SECOND as f64);
        let mut what = what.clone();
        if let What::Push { location, .. } = &mut what {
            // A URL is long, and proves nothing.
            *location = None;
        }
        text.push_str(&format!("\n    {from:.3} to {to:.3} s: {what:?}"));
    }
    if hidden > 0 {
        text.push_str(&format!("\n    and {hidden} more entries"));
    }
    text
}

#[cfg(test)]
mod tests;
