//! Receipts, and whether they can be true.
//!
//! A receipt that says what can't have happened before its message was gone is a breach; so is one that is missing, comes
//! twice without need, or is for a message that was replaced (PR-25).

use std::time::{Duration, Instant};

use super::removals::{Remover, expires_from};
use super::{Checker, Connection, MessageKey, NodeNumber, RequestResult, Stage, Subscription};

/// A receipt that was pushed must not come again when its connection and its node lived for so long with it: a PING goes out
/// behind it, and its answer makes it leave. Chosen: many times what that takes on a machine whose cores are busy elsewhere.
const RECEIPT_TAKEN_AFTER: Duration = Duration::from_secs(3);

/// A message's receipt.
#[derive(Debug)]
pub(super) struct HeardReceipt {
    status: u16,
    connection: Connection,
    pub(super) at: Instant,
    times: usize,
}

impl Checker {
    /// An application server opens a connection to be told of receipts.
    pub fn listens(&mut self, node: NodeNumber, now: Instant) -> Connection {
        self.connections += 1;
        Connection {
            number: self.connections,
            node,
            opened: now,
        }
    }

    /// That connection has ended.
    pub fn heard_out(&mut self, connection: Connection, now: Instant) {
        self.heard_out.insert(connection.number, now);
    }

    /// A receipt came: for the message of this URL. `once` says that this connection began behind all receipts that had
    /// come before.
    pub fn told(&mut self, url: &str, status: u16, on: Connection, once: bool, now: Instant) {
        let breach = match self.receipts.get_mut(url) {
            _ if !matches!(status, 204 | 410) => Some(format!("says {status}")),
            None => {
                let told = HeardReceipt {
                    status,
                    connection: on,
                    at: now,
                    times: 1,
                };
                self.receipts.insert(url.to_owned(), told);
                None
            }
            Some(before) => {
                before.times += 1;
                let ended = self.heard_out.get(&before.connection.number);
                let until = ended.map_or(on.opened, |ended| on.opened.min(*ended));
                let lived = self.faults.lived_with(before.connection, before.at, until);
                if before.status != status {
                    Some(format!("says {status} after {}", before.status))
                } else if before.connection.number == on.number {
                    Some("came twice on one connection".to_owned())
                } else if once {
                    Some("came again though its event was named as the last".to_owned())
                } else if lived.is_some_and(|lived| lived > RECEIPT_TAKEN_AFTER) {
                    Some(format!(
                        "came again though its connection had lived for {lived:?}"
                    ))
                } else {
                    (before.connection, before.at) = (on, now);
                    None
                }
            }
        };
        if let Some(breach) = breach {
            let whose = self.key_of(url);
            self.breach(format!("the receipt of {whose:?} {breach} (PR-25)"));
        }
        self.changes.send_replace(());
    }

    /// Messages that were answered 202, and whose receipt has to come and has not come yet.
    pub fn untold(&self) -> usize {
        self.with_receipts()
            .filter(|(_, _, _, told)| told.is_none())
            .filter(|(subscription, place, ..)| self.must_be_told(subscription, *place))
            .count()
    }

    /// What is wrong with what was told, and with what was not.
    pub(super) fn broken_receipts(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for (number, place, why) in self
            .with_receipts()
            .filter_map(|(subscription, place, number, told)| {
                let why = match told {
                    Some(told) => self.contradicts(subscription, place, told)?,
                    None if self.must_be_told(subscription, place) => "has no receipt",
                    None => return None,
                };
                Some((number, place, why))
            })
        {
            let history = self.history(number, place);
            breaches.push(format!("message {number}/{place} {why} (PR-25): {history}"));
        }
        let (unclaimed, unanswered) = (self.unclaimed(), self.may_be_unclaimed());
        if unclaimed > unanswered {
            breaches.push(format!(
                "{unclaimed} receipts are for no message that was answered 202, and only {unanswered} were not answered"
            ));
        }
        breaches
    }

    /// Receipts in one line.
    pub(super) fn receipts_in_words(&self) -> String {
        let count = |status| {
            self.receipts
                .values()
                .filter(|told| told.status == status)
                .count()
        };
        let again: usize = self.receipts.values().map(|told| told.times - 1).sum();
        let removed = |by| {
            self.messages()
                .filter(|(_, _, message)| message.removals.by == Some(by))
                .count()
        };
        let untold = self.with_receipts().filter(|(.., told)| told.is_none()).count();
        format!(
            "{} answered 202: {untold} without a receipt, {} receipts 204 and {} 410, {} of them of unanswered ones, {again} \
             came again; {} acknowledged by DELETE, {} taken back",
            self.with_receipts().count(),
            count(204),
            count(410),
            self.unclaimed(),
            removed(Remover::UserAgent),
            removed(Remover::ApplicationServer),
        )
    }

    /// All messages that were answered 202, and their receipts.
    fn with_receipts(&self) -> impl Iterator<Item = (&Subscription, usize, usize, Option<&HeardReceipt>)> {
        let numbered = self.subscriptions.iter().enumerate();
        numbered.flat_map(move |(number, subscription)| {
            let messages = subscription.messages.iter().enumerate();
            messages.filter_map(move |(place, message)| {
                let promised = message.location.as_deref().filter(|_| message.wish.receipt)?;
                Some((subscription, place, number, self.receipts.get(promised)))
            })
        })
    }

    /// Not if it may have been replaced, unless a DELETE was told that it was there; nor yet with TTL 0, whose receipt may be
    /// a minute in coming (PR-21).
    fn must_be_told(&self, subscription: &Subscription, place: usize) -> bool {
        let message = &subscription.messages[place];
        let may_be_silent = self.may_be_replaced(subscription, place) || message.wish.ttl == 0;
        message.removals.by.is_some() || !may_be_silent
    }

    /// Why a receipt can't be true.
    fn contradicts(
        &self,
        subscription: &Subscription,
        place: usize,
        told: &HeardReceipt,
    ) -> Option<&'static str> {
        let message = &subscription.messages[place];
        // At the latest when it was told: so the time to live of a message that waits is no excuse.
        let gone = self.gone_by(subscription, place);
        let gone = gone.map_or(told.at, |gone| gone.min(told.at));
        let in_time = |from: Option<Instant>| from.is_some_and(|from| from <= gone);
        match (told.status, message.removals.by) {
            (204, Some(Remover::ApplicationServer)) => {
                Some("was taken back for certain, and its receipt says 204")
            }
            (410, Some(Remover::UserAgent)) => Some("was acknowledged for certain, and its receipt says 410"),
            (204, _) if !in_time(message.removals.acknowledging) => {
                Some("has a receipt that says 204, and was not acknowledged in time")
            }
            (410, _) => {
                let ending = match subscription.stage {
                    Stage::Active => None,
                    Stage::Ending(from) => Some(from),
                    Stage::Ended(_) => subscription.ending,
                };
                let ends = [message.removals.cancelling, ending, expires_from(message)];
                let can_be = ends.into_iter().any(in_time);
                (!can_be).then_some("has a receipt that says 410, and it was not given up")
            }
            _ => None,
        }
    }

    fn key_of(&self, url: &str) -> Option<MessageKey> {
        let mut all = self
            .subscriptions
            .iter()
            .enumerate()
            .flat_map(|(number, subscription)| {
                let messages = subscription.messages.iter().enumerate();
                messages.map(move |(place, message)| ((number, place), message))
            });
        let found = all.find(|(_, message)| message.location.as_deref() == Some(url));
        found.map(|(key, _)| key)
    }

    /// Receipts of messages whose sender was not answered.
    fn unclaimed(&self) -> usize {
        let claimed = self.with_receipts().filter(|(.., told)| told.is_some()).count();
        self.receipts.len() - claimed
    }

    fn may_be_unclaimed(&self) -> usize {
        let unanswered = self
            .messages()
            .filter(|(_, _, message)| message.wish.receipt && message.result == RequestResult::Unknown);
        unanswered.count()
    }
}
