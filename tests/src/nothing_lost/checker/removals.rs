//! How messages can have ended: of each way from when on it can have happened, and of each message from when on it was gone
//! for certain.

use std::time::{Duration, Instant};

use super::{Checker, Message, MessageKey, RequestResult, Stage, Subscription};

/// Storage and the test tell the same time, but not to the millisecond; and what is due is looked at so finely.
const CLOCKS_DIFFER: Duration = Duration::from_millis(50);
/// How long a message with TTL 0 may take to be acknowledged, if a receipt was asked for. Source: PR-17, PR-21.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(60);
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
    pub(super) acknowledging: Option<Instant>,
    acknowledgements: usize,
    pub(super) cancelling: Option<Instant>,
    gone: Option<Instant>,
    /// Whose DELETE was told that the message was there.
    pub(super) by: Option<Remover>,
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

impl Checker {
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
            Deleted::Gone if !may_be_gone => Some("was gone although it was not removed"),
            Deleted::Gone | Deleted::ThereOrGone => None,
        };
        if let Some(breach) = breach {
            let history = self.history(key.0, key.1);
            self.breach(format!("message {}/{} {breach}: {history}", key.0, key.1));
        }
        self.changes.send_replace(());
    }

    /// From when on a message was gone for certain, if it is.
    pub(super) fn gone_by(&self, subscription: &Subscription, place: usize) -> Option<Instant> {
        let message = &subscription.messages[place];
        if message.result != RequestResult::Accepted {
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
            .filter(|newer| newer.result == RequestResult::Accepted)
            .filter_map(|newer| newer.answered);
        [message.removals.gone, ended, expired]
            .into_iter()
            .flatten()
            .chain(replaced)
            .min()
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
        let tried = match by {
            Remover::UserAgent => message.removals.acknowledging,
            Remover::ApplicationServer => message.removals.cancelling,
        };
        // A node that lost its connection to storage asks again, and finds what it has removed itself (PR-32).
        let was_repeated = tried.is_some_and(|tried| self.faults.storage_was_away_since(tried));
        // It may have been offered before it was stored, by a node that was killed then (PR-2).
        let was_accepted = message.result == RequestResult::Accepted;
        others
            || !was_accepted
            || has_expired
            || was_repeated
            || subscription.stage != Stage::Active
            || self.may_be_replaced(subscription, place)
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
pub(super) fn expires_from(message: &Message) -> Option<Instant> {
    let lasts = Duration::from_secs(message.wish.ttl).saturating_sub(CLOCKS_DIFFER);
    Some(message.begun + lasts)
}
