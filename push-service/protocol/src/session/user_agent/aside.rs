//! Messages of a paused subscription that gave their places up (PR-45, PR-46).
//!
//! In a pause only what is held is tried, and nothing of it may be given up. So if the application fails on all that a subscription may
//! hold, a message that it could handle would stay with the service, and the pause would never end. Therefore, while a subscription is
//! paused:
//!
//! - A message that arrives and doesn't fit takes the place of one on which the application failed more often since its last success.
//!   That one is *set aside*: it is held no more, stays with the service unacknowledged, and its key and its counts are kept here.
//! - One that was set aside and doesn't fit when it comes again stops none of those that follow it: they are tried less often, and it was
//!   handed over before.
//! - Once each message that is held was tried more often than one that is with the service, and the channel has been quiet for
//!   [`QUIET`], a new channel brings that one; the first time at once, then after twice as many tries each time, up to [`MOST_TRIES_BETWEEN`]. There is no new channel if the one
//!   at hand brought nothing that didn't fit: so each channel lasts until the service has come to such a message, however often its
//!   window has to be freed before (it does not wait for ever for what is unacknowledged).
//!
//! When the pause ends all of them are fetched again. Then they are messages like any other, but the pauses in which the application
//! failed on them count on. Setting aside acknowledges nothing and gives nothing up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::Limits;
use super::held::{Held, Message, Place};
use super::names::MessageKey;
use super::{Phase, UserAgent};
use crate::identifiers::SubscriptionName;
use crate::session::Moment;

/// Tries of a paused subscription between two channels that are opened for its sake. Chosen: they take at least 8 minutes then, in which
/// a service that frees its window after a minute offers the messages of eight windows.
const MOST_TRIES_BETWEEN: u32 = 16;

/// A channel that brought no message for so long has brought what it will. Chosen: longer than the minute after which our service frees
/// its window of what is unacknowledged (PR-17). A channel that still brings messages goes on, or those behind them, of other
/// subscriptions, would be brought later and later (PR-46).
const QUIET: Duration = Duration::from_secs(75);

/// Messages of one subscription that are remembered. Chosen: at one try a minute they are set aside in 17 hours, and they take 40 KB. One
/// that is not remembered counts as never tried when it comes again.
const MOST: usize = 1_024;

/// The tries that have to fail until a new channel is opened for the sake of a paused subscription.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Turns {
    channels: u32,
    next: u32,
}

impl Turns {
    /// So many tries have failed. Whether there may be a new channel.
    fn is_next(self, failures: u32) -> bool {
        failures >= self.next
    }

    fn advance(&mut self, failures: u32) {
        let tries = (1 << self.channels.min(20)).min(MOST_TRIES_BETWEEN);
        self.next = failures + tries;
        self.channels += 1;
    }
}

/// Those of one subscription.
#[derive(Debug, Default)]
pub(super) struct SetAside(BTreeMap<MessageKey, Aside>);

/// What is known of one.
#[derive(Clone, Copy, Debug)]
struct Aside {
    tries: u32,
    outages: u32,
    has_failed_in_outage: bool,
    /// The service offered it on this channel.
    was_offered: bool,
}

impl SetAside {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn begin_channel(&mut self) {
        for aside in self.0.values_mut() {
            aside.was_offered = false;
        }
    }

    /// Tries since the subscription's last success.
    fn tries(&self, key: MessageKey) -> u32 {
        self.0.get(&key).map_or(0, |aside| aside.tries)
    }

    pub(super) fn outages(&self, key: MessageKey) -> u32 {
        self.0.get(&key).map_or(0, |aside| aside.outages)
    }

    /// Tries of the one that was tried least, of those that the service offered on this channel.
    fn least_tries(&self) -> Option<u32> {
        let offered = self.0.values().filter(|aside| aside.was_offered);
        offered.map(|aside| aside.tries).min()
    }

    fn add(&mut self, key: MessageKey, message: &Message) {
        if self.0.len() >= MOST {
            self.0.retain(|_, aside| aside.was_offered);
        }
        if self.0.len() < MOST {
            let aside = Aside {
                tries: message.tries,
                outages: message.outages,
                has_failed_in_outage: message.has_failed_in_outage,
                was_offered: true,
            };
            self.0.insert(key, aside);
        }
    }

    pub(super) fn remove(&mut self, key: MessageKey) {
        self.0.remove(&key);
    }

    /// It is held again, and its counts go on.
    pub(super) fn restore(&mut self, key: MessageKey, message: &mut Message) {
        if let Some(aside) = self.0.remove(&key) {
            message.tries = aside.tries;
            message.outages = aside.outages;
            message.has_failed_in_outage = aside.has_failed_in_outage;
        }
    }

    /// The application succeeded with another message. Whether some of these are to be fetched.
    pub(super) fn end_outage(&mut self) -> bool {
        let are_away = self.0.values().any(|aside| aside.was_offered);
        self.0.retain(|_, aside| {
            aside.tries = 0;
            aside.outages += u32::from(std::mem::take(&mut aside.has_failed_in_outage));
            aside.outages > 0
        });
        are_away
    }
}

impl Held {
    /// What a message of a paused subscription takes the places of, if it fits then: those tried most often first.
    fn places_for(
        &self,
        name: SubscriptionName,
        key: MessageKey,
        bytes: usize,
        limits: &Limits,
        is_alone: bool,
    ) -> Option<Vec<MessageKey>> {
        let share = self.shares.get(name)?;
        share.outage?;
        let tries = share.set_aside.tries(key);
        let mut others: Vec<_> = self
            .of(name)
            .filter(|(_, other)| matches!(other.place, Place::Waiting(_)) && other.tries > tries)
            .map(|(key, other)| (other.tries, other.order, other.arrived.bytes(), key))
            .collect();
        others.sort_unstable();
        let mut less = (0, 0);
        let mut places = Vec::new();
        while let Some((_, _, bytes_of_other, other)) = others.pop() {
            less = (less.0 + 1, less.1 + bytes_of_other);
            places.push(other);
            if self.shares.takes_without(name, bytes, less, limits, is_alone) {
                return Some(places);
            }
        }
        None
    }

    /// Makes room for a message of a paused subscription that doesn't fit. Whether it fits now.
    pub(super) fn make_room(
        &mut self,
        name: SubscriptionName,
        key: MessageKey,
        bytes: usize,
        limits: &Limits,
        is_alone: bool,
    ) -> bool {
        let Some(places) = self.places_for(name, key, bytes, limits, is_alone) else {
            return false;
        };
        for other in places {
            if let Some(message) = self.remove(other) {
                self.shares
                    .update(name, |share| share.set_aside.add(other, &message));
            }
        }
        true
    }

    /// Whether a message that doesn't fit was tried before in the pause of its subscription. Then it is left with the service, and what
    /// follows it is not passed over.
    pub(super) fn stays_aside(&mut self, name: SubscriptionName, key: MessageKey) -> bool {
        let share = self.shares.get(name);
        if !share.is_some_and(|share| share.outage.is_some() && share.set_aside.tries(key) > 0) {
            return false;
        }
        self.shares.update(name, |share| {
            if let Some(aside) = share.set_aside.0.get_mut(&key) {
                aside.was_offered = true;
            }
        });
        true
    }
}

impl UserAgent {
    /// A message of a paused subscription was tried, and so many before it. Wants a new channel if what is with the service is to be
    /// tried now.
    pub(super) fn take_turns(
        &mut self,
        name: SubscriptionName,
        failures: u32,
        now: Moment,
        turns: &mut Turns,
    ) {
        let is_quiet = matches!(&self.phase, Phase::Live(live) if live.brought.after(QUIET) <= now);
        // A round of fetching ends by itself.
        if !is_quiet && !self.wishes.are_fetched() {
            return;
        }
        let Some(share) = self.held.shares.get(name) else {
            return;
        };
        let least = match share.has_passed_over() {
            true => Some(0),
            false => share.set_aside.least_tries(),
        };
        let is_turn = least.is_some_and(|least| self.held.of(name).all(|(_, message)| message.tries > least));
        if is_turn && turns.is_next(failures) {
            turns.advance(failures);
            self.held.shares.update(name, |share| share.wants_others = true);
        }
    }
}
