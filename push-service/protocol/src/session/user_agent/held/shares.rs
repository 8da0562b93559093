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

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;
    use crate::session::user_agent::names::MessageKey;
    use crate::session::user_agent::tests::limits;

    const A: SubscriptionName = SubscriptionName([1; 16]);
    const B: SubscriptionName = SubscriptionName([2; 16]);
    const C: SubscriptionName = SubscriptionName([3; 16]);
    const D: SubscriptionName = SubscriptionName([4; 16]);

    /// Of the four messages and 10,000 bytes that [`limits`] allow, these are held.
    fn holding(held: &[(SubscriptionName, usize)]) -> Shares {
        let mut shares = Shares::default();
        for (name, bytes) in held {
            shares.add(*name, *bytes);
        }
        shares
    }

    /// PR-46: a single subscription takes all that may be held, by number and by bytes, and not more; and one message of any size
    /// when nothing is held.
    #[test]
    fn one_alone_takes_all() {
        let limits = limits();
        assert!(Shares::default().takes(A, 1 << 20, &limits, true));
        let mut shares = holding(&[(A, 2_000); 3]);
        for (bytes, fits) in [(0, true), (4_000, true), (4_001, false)] {
            assert_eq!(shares.takes(A, bytes, &limits, true), fits, "{bytes}");
        }
        shares.add(A, 0);
        assert!(!shares.takes(A, 0, &limits, true), "four are held");
        for less in [(1, 0), (1, 2_000)] {
            assert!(shares.takes_without(A, 4_000 + less.1, less, &limits, true));
            assert!(!shares.takes_without(A, 4_001 + less.1, less, &limits, true));
        }
    }

    /// PR-46: beside others, each subscription holds as much as is left free after it, and one that holds nothing takes what is free.
    #[test]
    fn each_leaves_as_much_as_it_holds() {
        let limits = limits();
        for (held, name, fits) in [
            (&[(A, 0)][..], A, true),
            (&[(A, 0), (A, 0)], A, false),
            (&[(A, 0), (A, 0)], B, true),
            (&[(A, 0), (A, 0), (B, 0)], B, false),
            (&[(A, 0), (A, 0), (B, 0)], C, true),
            (&[(A, 0), (A, 0), (B, 0), (C, 0)], D, false),
        ] {
            assert_eq!(
                holding(held).takes(name, 0, &limits, false),
                fits,
                "{held:?} {name:?}"
            );
        }
        let shares = holding(&[(A, 2_000)]);
        for (name, bytes, fits) in [
            (A, 3_000, true),
            (A, 3_001, false),
            (B, 8_000, true),
            (B, 8_001, false),
        ] {
            assert_eq!(shares.takes(name, bytes, &limits, false), fits, "{bytes}");
        }
        let shares = holding(&[(A, 1_000), (A, 2_000)]);
        assert!(shares.takes_without(A, 3_000, (1, 1_000), &limits, false));
        assert!(!shares.takes_without(A, 3_001, (1, 1_000), &limits, false));
    }

    /// PR-46, WS-ACK-5: behind a message that was passed over nothing of its subscription is taken on this channel; others are.
    #[test]
    fn order_is_kept_behind_what_was_passed_over() {
        let limits = limits();
        let mut shares = holding(&[(A, 0)]);
        shares.pass_over(A, 100);
        shares.add(A, 0);
        shares.subtract(A, 0);
        assert_eq!(shares.passed_over, 1, "counted once");
        assert!(!shares.takes(A, 0, &limits, false) && shares.takes(B, 0, &limits, false));
        assert!(shares.get(A).is_some_and(Share::has_passed_over));
        shares.begin_channel();
        assert!(shares.takes(A, 0, &limits, false) && !shares.get(A).unwrap().has_passed_over());
        assert!(!shares.can_catch_up(&limits, false));
    }

    /// PR-46: a new channel is worth while when half of what was in the way is done, by number and by bytes, and what was passed over
    /// first fits.
    #[test]
    fn half_done_is_enough_to_catch_up() {
        let limits = limits();
        for (held, bytes, is_alone, can) in [
            (&[(A, 0); 3][..], 0, true, false),
            (&[(A, 0); 2], 0, true, true),
            (&[(A, 5_000)], 5_000, true, true),
            (&[(A, 5_000)], 5_001, true, false),
            (&[(A, 5_001)], 0, true, false),
            (&[(A, 0); 2], 0, false, false),
            (&[(A, 0)], 0, false, true),
            (&[(A, 0), (B, 0), (B, 0)], 0, false, false),
            (&[(B, 0), (B, 0)], 0, false, true),
            (&[(A, 2_500)], 0, false, true),
            (&[(A, 2_501)], 0, false, false),
            (&[(A, 1_500), (B, 4_000)], 1_500, false, true),
            (&[(A, 1_500), (B, 4_000)], 1_501, false, false),
            (&[(A, 1_501), (B, 4_000)], 0, false, false),
        ] {
            let mut shares = holding(held);
            assert!(
                !shares.can_catch_up(&limits, is_alone),
                "nothing was passed over: {held:?}"
            );
            shares.pass_over(A, bytes);
            shares.pass_over(A, 9_999);
            assert_eq!(
                shares.can_catch_up(&limits, is_alone),
                can,
                "{held:?} {bytes} {is_alone}"
            );
            let is_empty = held.iter().all(|(name, _)| *name != A);
            assert_eq!(
                shares.is_one_empty_handed(&limits, is_alone),
                can && is_empty,
                "{held:?}"
            );
        }
    }

    /// PR-46: a paused subscription whose turn it is wants a channel whatever is held.
    #[test]
    fn one_that_wants_others_wants_a_channel() {
        let limits = limits();
        let mut shares = holding(&[(A, 0); 4]);
        shares.update(A, |share| share.wants_others = true);
        assert!(shares.can_catch_up(&limits, false) && shares.is_one_empty_handed(&limits, false));
        assert!(!shares.get(A).unwrap().has_passed_over());
        shares.begin_channel();
        assert!(!shares.can_catch_up(&limits, false) && !shares.is_one_empty_handed(&limits, false));
    }

    /// PR-46: a subscription of which nothing is known takes no memory.
    #[test]
    fn the_others_take_no_memory() {
        let mut shares = holding(&[(A, 10), (A, 20)]);
        shares.subtract(A, 10);
        assert_eq!((shares.messages, shares.bytes), (1, 20));
        assert!(shares.get(A).is_some());
        shares.subtract(A, 20);
        assert!(shares.shares.is_empty());
        let keeps: [fn(&mut Share); 5] = [
            |share| share.pass_over(0),
            |share| {
                let tried = crate::session::user_agent::Tried::default();
                let arrived = crate::session::user_agent::tests::message(A, "a").into();
                let message = Message::new(arrived, A, 0, tried, crate::session::Moment(0));
                share.set_aside.add(MessageKey([0; 16]), &message);
            },
            |share| share.wants_others = true,
            |share| {
                let _ = share.streak.add(MessageKey([0; 16]));
            },
            |share| share.messages += 1,
        ];
        for keep in keeps {
            let mut shares = Shares::default();
            shares.update(A, keep);
            assert!(shares.get(A).is_some());
            assert_eq!(shares.get(B).map(|share| share.messages), None);
        }
    }
}
