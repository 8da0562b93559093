//! How much of what is held one subscription may take, so that a broken or slow one does not stop the others (PR-46).
//!
//! A single subscription may take all. With more, each may hold as much as is left free: the first takes half at most, a second
//! one half of the rest, and so on. So a subscription that holds nothing finds room, however many others are stuck.
//!
//! What doesn't fit is passed over, and with it all that follows in the same subscription, so that its order is kept. It stays with
//! the service. Once half of what was in the way is done, a new channel brings it again.
//!
//! While a subscription is paused, nothing of it is done. Then a message on which the application has failed gives its place up to one
//! that was tried less often ([`set_aside`](super::set_aside)), and a new channel brings what was passed over.

use std::collections::BTreeMap;

use super::outage::{FailureStreak, Outage};
use super::set_aside::SetAside;
use crate::identifiers::SubscriptionName;
use crate::session::user_agent::action::Limits;

/// The subscriptions of which something is held or was passed over, or that fail. The others take no memory.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// On the heap, because a map keeps room for eleven in one piece, and most have one.
    shares: BTreeMap<SubscriptionName, Box<Share>>,
    messages: usize,
    bytes: usize,
    /// Subscriptions of which something was passed over, or is wanted back.
    passed_over: usize,
}

/// One subscription.
#[derive(Debug, Default)]
pub(crate) struct Share {
    messages: usize,
    bytes: usize,
    /// Something was passed over on this channel, and the first of that has so many bytes.
    passed_over: Option<usize>,
    pub(crate) streak: FailureStreak,
    pub(crate) outage: Option<Outage>,
    pub(crate) set_aside: SetAside,
    /// It is paused and its turn has come to try what is with the service: a new channel is to bring that.
    pub(crate) wants_others: bool,
}

impl Share {
    /// Whether something was passed over on this channel.
    pub(crate) fn has_passed_over(&self) -> bool {
        self.passed_over.is_some()
    }

    /// Of what is with the service, the first has so many bytes.
    pub(crate) fn pass_over(&mut self, bytes: usize) {
        self.passed_over.get_or_insert(bytes);
    }

    fn waits_for_channel(&self) -> bool {
        self.passed_over.is_some() || self.wants_others
    }

    fn is_empty(&self) -> bool {
        self.messages == 0
            && !self.waits_for_channel()
            && self.set_aside.is_empty()
            && self.streak == FailureStreak::default()
            && self.outage.is_none()
    }
}

impl Shares {
    pub(crate) fn get(&self, name: SubscriptionName) -> Option<&Share> {
        self.shares.get(&name).map(|share| &**share)
    }

    /// Changes the share of a subscription.
    pub(crate) fn update<T>(&mut self, name: SubscriptionName, change: impl FnOnce(&mut Share) -> T) -> T {
        let share = self.shares.entry(name).or_default();
        let before = (share.messages, share.bytes, share.waits_for_channel());
        let changed = change(share);
        self.messages = self.messages - before.0 + share.messages;
        self.bytes = self.bytes - before.1 + share.bytes;
        self.passed_over = self.passed_over - usize::from(before.2) + usize::from(share.waits_for_channel());
        if share.is_empty() {
            self.shares.remove(&name);
        }
        changed
    }

    pub(crate) fn add(&mut self, name: SubscriptionName, bytes: usize) {
        self.update(name, |share| {
            share.messages += 1;
            share.bytes += bytes;
        });
    }

    pub(crate) fn subtract(&mut self, name: SubscriptionName, bytes: usize) {
        self.update(name, |share| {
            share.messages -= 1;
            share.bytes -= bytes;
        });
    }

    /// A message of so many bytes was not taken, or given back. All that follows in its subscription is passed over.
    pub(crate) fn pass_over(&mut self, name: SubscriptionName, bytes: usize) {
        self.update(name, |share| share.pass_over(bytes));
    }

    /// Another channel brings again what was passed over.
    pub(crate) fn begin_channel(&mut self) {
        self.passed_over = 0;
        self.shares.retain(|_, share| {
            share.passed_over = None;
            share.wants_others = false;
            share.set_aside.begin_channel();
            !share.is_empty()
        });
    }

    /// Whether a message is to be taken. One always fits when nothing is held, however large: it would come again for ever,
    /// and everything behind it with it.
    pub(crate) fn takes(
        &self,
        name: SubscriptionName,
        bytes: usize,
        limits: &Limits,
        is_alone: bool,
    ) -> bool {
        self.takes_without(name, bytes, (0, 0), limits, is_alone)
    }

    /// The same, if it gives up so many messages of so many bytes.
    pub(crate) fn takes_without(
        &self,
        name: SubscriptionName,
        bytes: usize,
        less: (usize, usize),
        limits: &Limits,
        is_alone: bool,
    ) -> bool {
        let share = self.get(name);
        !share.is_some_and(Share::has_passed_over) && self.fits(share, bytes, less, limits, is_alone)
    }

    fn fits(
        &self,
        share: Option<&Share>,
        bytes: usize,
        less: (usize, usize),
        limits: &Limits,
        is_alone: bool,
    ) -> bool {
        let (messages, all_bytes) = (self.messages - less.0, self.bytes - less.1);
        if messages == 0 {
            return true;
        }
        let free = limits.held_messages.saturating_sub(messages);
        let free_bytes = limits.held_bytes.saturating_sub(all_bytes);
        if is_alone {
            return free > 0 && bytes <= free_bytes;
        }
        // After this message it has no more than is left free.
        match share.map_or((0, 0), |share| (share.messages - less.0, share.bytes - less.1)) {
            (0, _) => free > 0 && bytes <= free_bytes,
            (held, held_bytes) => held < free && held_bytes + 2 * bytes <= free_bytes,
        }
    }

    /// Whether a subscription of which something was passed over has done half of what was in its way, or a paused one wants to try
    /// what is with the service.
    pub(crate) fn can_catch_up(&self, limits: &Limits, is_alone: bool) -> bool {
        let mut shares = self.shares.values();
        self.passed_over > 0
            && shares.any(|share| share.wants_others || self.has_room_again(share, limits, is_alone))
    }

    /// Whether nothing is held of a subscription of which something was passed over, or a paused one wants to try what is with the
    /// service.
    pub(crate) fn is_one_empty_handed(&self, limits: &Limits, is_alone: bool) -> bool {
        let mut shares = self.shares.values();
        self.passed_over > 0
            && shares.any(|share| {
                share.wants_others || share.messages == 0 && self.has_room_again(share, limits, is_alone)
            })
    }

    fn has_room_again(&self, share: &Share, limits: &Limits, is_alone: bool) -> bool {
        let Some(bytes) = share.passed_over else {
            return false;
        };
        // What it may hold while the others keep what they have.
        let all = limits
            .held_messages
            .saturating_sub(self.messages - share.messages);
        let all_bytes = limits.held_bytes.saturating_sub(self.bytes - share.bytes);
        let parts = if is_alone { 1 } else { 2 };
        share.messages <= all.div_ceil(parts) / 2
            && share.bytes <= all_bytes / parts / 2
            && self.fits(Some(share), bytes, (0, 0), limits, is_alone)
    }
}
