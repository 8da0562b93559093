//! What became of messages, as their senders were told by receipts, and whether it can be true.
//!
//! Of each way to end the books know from when on it can have happened, and of each message from when on it was gone for
//! certain. A receipt that says what can't have happened by then is a breach; so is one that is missing, comes twice
//! without need, or is for a message that was replaced.

use std::time::{Duration, Instant};

use super::{Books, Connection, Message, MessageKey, NodeNumber, Outcome, Stage, Subscription};

/// Storage and the test tell the same time, but not to the millisecond; and what is due is looked at so finely.
const CLOCKS_DIFFER: Duration = Duration::from_millis(50);
/// How long a message with TTL 0 may take to be acknowledged, if a receipt was asked for. Source: PR-17, PR-21.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(60);
/// A receipt that was pushed must not come again when its connection and its node lived for so long with it: a PING goes out
/// behind it, and its answer makes it leave. Chosen: many times what that takes on a machine whose cores are busy elsewhere.
const RECEIPT_TAKEN_AFTER: Duration = Duration::from_secs(3);

/// What is wanted of a message beside its arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wish {
    /// What it replaces.
    pub topic: Option<usize>,
    /// Its time to live, in seconds.
    pub ttl: u64,
    /// Whether its sender is to be told what becomes of it.
    pub receipt: bool,
}

/// How DELETE of a message was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deleted {
    /// 204: it was there.
    There,
    /// 404: it was not there any more.
    Gone,
    /// 204, which this resource always answers: it was there or not.
    ThereOrGone,
}

/// Who can remove a message by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remover {
    /// Its user agent, which has it.
    UserAgent,
    /// Its application server, which takes it back.
    ApplicationServer,
}

/// What was done to remove a message by name.
#[derive(Debug, Default)]
pub(super) struct Removals {
    acknowledging: Option<Instant>,
    acknowledgements: usize,
    cancelling: Option<Instant>,
    gone: Option<Instant>,
    by: Option<Remover>,
}

/// A message's receipt.
#[derive(Debug)]
pub(super) struct Told {
    status: u16,
    connection: Connection,
    at: Instant,
    pub(super) times: usize,
}

impl Wish {
    /// That it arrives, and takes the place of the last of its topic.
    pub fn plain(topic: Option<usize>) -> Self {
        Self {
            topic,
            ttl: Self::LONG,
            receipt: false,
        }
    }

    /// A time to live that no test sees the end of.
    pub const LONG: u64 = 86_400;
}

impl Books {
    /// A message is about to be acknowledged: from now on it may be gone.
    pub fn acknowledges(&mut self, key: MessageKey, now: Instant) {
        let removals = &mut self.message_mut(key).removals;
        removals.acknowledging.get_or_insert(now);
        removals.acknowledgements += 1;
    }

    /// A message is about to be taken back.
    pub fn cancels(&mut self, key: MessageKey, now: Instant) {
        self.message_mut(key).removals.cancelling.get_or_insert(now);
    }

    /// DELETE of a message was answered: it's gone for certain.
    pub fn deleted(&mut self, key: MessageKey, by: Remover, how: Deleted, now: Instant) {
        let may_be_gone = self.may_be_gone(key, by);
        let message = self.message_mut(key);
        message.removals.gone.get_or_insert(now);
        if by == Remover::UserAgent {
            message.is_acknowledged = true;
        }
        let breach = match how {
            Deleted::There if message.removals.by.is_some() => Some("was removed by two DELETEs (PR-26)"),
            Deleted::There => {
                message.removals.by = Some(by);
                None
            }
            Deleted::Gone if !may_be_gone => Some("was gone though nobody had removed it"),
            Deleted::Gone | Deleted::ThereOrGone => None,
        };
        if let Some(breach) = breach {
            let history = self.history(key.0, key.1);
            self.breach(format!("message {}/{} {breach}: {history}", key.0, key.1));
        }
        self.changes.send_replace(());
    }

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
                let told = Told {
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

    /// Messages that were answered 202, and whose sender has to be told what became of them and was not yet.
    pub fn untold(&self) -> usize {
        self.fates()
            .filter(|(_, _, _, told)| told.is_none())
            .filter(|(subscription, place, ..)| self.must_be_told(subscription, *place))
            .count()
    }

    /// What is wrong with what was told, and with what was not.
    pub(super) fn broken_fates(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for (number, place, why) in self.fates().filter_map(|(subscription, place, number, told)| {
            let why = match told {
                Some(told) => self.contradicts(subscription, place, told.status)?,
                None if self.must_be_told(subscription, place) => "has no receipt",
                None => return None,
            };
            Some((number, place, why))
        }) {
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
    pub(super) fn fates_in_words(&self) -> String {
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
        let untold = self.fates().filter(|(.., told)| told.is_none()).count();
        format!(
            "{} answered 202: {untold} without a receipt, {} receipts 204 and {} 410, {} of them of unanswered ones, {again} \
             came again; {} acknowledged by DELETE, {} taken back",
            self.fates().count(),
            count(204),
            count(410),
            self.unclaimed(),
            removed(Remover::UserAgent),
            removed(Remover::ApplicationServer),
        )
    }

    /// From when on a message was gone for certain, if it is.
    pub(super) fn gone_by(&self, subscription: &Subscription, place: usize) -> Option<Instant> {
        let message = &subscription.messages[place];
        if message.outcome != Outcome::Accepted {
            return message.removals.gone;
        }
        let ended = match subscription.stage {
            Stage::Ended(then) => Some(then),
            Stage::Active | Stage::Ending(_) => None,
        };
        // With TTL 0 it's not stored; but what its user agent acknowledges in time counts (PR-21).
        let lasts = match message.wish.ttl {
            0 => ACKNOWLEDGE_WITHIN,
            ttl => Duration::from_secs(ttl),
        } + CLOCKS_DIFFER;
        let expired = message.answered.map(|answered| answered + lasts);
        let newer = subscription.messages[place + 1..].iter();
        // What isn't stored can't be replaced.
        let can_be = message.wish.topic.is_some() && message.wish.ttl > 0;
        let replaced = newer
            .filter(|newer| can_be && newer.wish.topic == message.wish.topic)
            .filter(|newer| newer.outcome == Outcome::Accepted)
            .filter_map(|newer| newer.answered);
        [message.removals.gone, ended, expired]
            .into_iter()
            .flatten()
            .chain(replaced)
            .min()
    }

    /// All messages that were answered 202, and their receipts.
    fn fates(&self) -> impl Iterator<Item = (&Subscription, usize, usize, Option<&Told>)> {
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
    fn contradicts(&self, subscription: &Subscription, place: usize, status: u16) -> Option<&'static str> {
        let message = &subscription.messages[place];
        let gone_by = self.gone_by(subscription, place);
        let in_time =
            |from: Option<Instant>| from.is_some_and(|from| gone_by.is_none_or(|gone| from <= gone));
        match (status, message.removals.by) {
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
                (!can_be).then_some("has a receipt that says 410, and nobody had given it up")
            }
            _ => None,
        }
    }

    /// All that is known of a message's end, in seconds since it was sent.
    pub(super) fn history(&self, number: usize, place: usize) -> String {
        let subscription = &self.subscriptions[number];
        let message = &subscription.messages[place];
        let seconds = |what: &str, when: Option<Instant>| {
            let since = when.map(|when| when.duration_since(message.begun).as_secs_f64());
            since.map_or(String::new(), |since| format!(", {what} at {since:.3} s"))
        };
        let ended = match subscription.stage {
            Stage::Ended(then) => Some(then),
            Stage::Active | Stage::Ending(_) => None,
        };
        let told = message.location.as_ref().and_then(|url| self.receipts.get(url));
        [
            format!("{:?} to user agent {}", message.wish, subscription.owner),
            seconds("answered", message.answered),
            seconds("acknowledging", message.removals.acknowledging),
            seconds("taking back", message.removals.cancelling),
            seconds("gone by DELETE", message.removals.gone),
            seconds("its subscription ending", subscription.ending),
            seconds("and ended", ended),
            seconds("gone by all that is known", self.gone_by(subscription, place)),
            seconds("receipt", told.map(|told| told.at)),
        ]
        .concat()
    }

    /// Whether something else than this DELETE can have removed it.
    fn may_be_gone(&self, (number, place): MessageKey, by: Remover) -> bool {
        let subscription = &self.subscriptions[number];
        let message = &subscription.messages[place];
        let others = match by {
            Remover::UserAgent => {
                message.removals.acknowledgements > 1 || message.removals.cancelling.is_some()
            }
            Remover::ApplicationServer => message.removals.acknowledging.is_some(),
        };
        let has_expired = expires_from(message).is_some_and(|from| from <= Instant::now());
        others
            || has_expired
            || subscription.stage != Stage::Active
            || self.may_be_replaced(subscription, place)
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
        let claimed = self.fates().filter(|(.., told)| told.is_some()).count();
        self.receipts.len() - claimed
    }

    fn may_be_unclaimed(&self) -> usize {
        let unanswered = self
            .messages()
            .filter(|(_, _, message)| message.wish.receipt && message.outcome == Outcome::Unknown);
        unanswered.count()
    }

    fn message_mut(&mut self, (number, place): MessageKey) -> &mut Message {
        &mut self.subscriptions[number].messages[place]
    }
}

impl Message {
    /// Whether nothing but its user agent, or another message, can have ended it in the time of a test.
    pub(super) fn must_come(&self) -> bool {
        self.wish.ttl == Wish::LONG && self.removals.cancelling.is_none()
    }
}

/// From when on its time to live can be over.
fn expires_from(message: &Message) -> Option<Instant> {
    let lasts = Duration::from_secs(message.wish.ttl).saturating_sub(CLOCKS_DIFFER);
    Some(message.begun + lasts)
}
