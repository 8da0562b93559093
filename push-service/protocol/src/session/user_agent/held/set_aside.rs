//! Messages of a paused subscription that were set aside to make room for others (PR-45, PR-46).
//!
//! In a pause only what is held is tried, and nothing of it may be given up. So if the application fails on all that a subscription may
//! hold, a message that it could handle would stay with the service, and the pause would never end. Therefore, while a subscription is
//! paused:
//!
//! - A message that arrives and doesn't fit takes the place of one on which the application failed more often since its last success.
//!   That one is *set aside*: it is held no more, stays with the service unacknowledged, and its key and its counts are kept here.
//! - A message that was set aside may come again and not fit. The messages behind it are still taken: they were tried less often, and
//!   it was handed over before.
//! - A new channel is opened when each held message was tried more often than one that is with the service, and the channel has
//!   been quiet for [`QUIET`](crate::session::user_agent::outages::QUIET): the first time at once, then after twice as many tries each
//!   time, up to [`MOST_TRIES_BETWEEN`](super::outage::MOST_TRIES_BETWEEN). A channel on which everything fitted is not replaced: so
//!   each lasts until the service has come to a message that does not fit, however often it has to free its window before.
//!
//! When the pause ends all of them are fetched again. Then they are messages like any other, but the pauses in which the application
//! failed on them count on. Setting aside acknowledges nothing and gives nothing up.

use std::collections::BTreeMap;

use super::message::Message;
use crate::session::user_agent::names::MessageKey;

/// Messages of one subscription that are remembered. Chosen: at one try a minute they are set aside in 17 hours, and they take 40 KB. One
/// that is not remembered counts as never tried when it comes again.
const MOST: usize = 1_024;

/// Those of one subscription.
#[derive(Debug, Default)]
pub(crate) struct SetAside(BTreeMap<MessageKey, Aside>);

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
    /// The service offered it again on this channel.
    pub(super) fn mark_offered(&mut self, key: MessageKey) {
        if let Some(aside) = self.0.get_mut(&key) {
            aside.was_offered = true;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn begin_channel(&mut self) {
        for aside in self.0.values_mut() {
            aside.was_offered = false;
        }
    }

    /// Tries since the subscription's last success.
    pub(super) fn tries(&self, key: MessageKey) -> u32 {
        self.0.get(&key).map_or(0, |aside| aside.tries)
    }

    pub(crate) fn outages(&self, key: MessageKey) -> u32 {
        self.0.get(&key).map_or(0, |aside| aside.outages)
    }

    /// Tries of the one that was tried least, of those that the service offered on this channel.
    pub(crate) fn least_tries(&self) -> Option<u32> {
        let offered = self.0.values().filter(|aside| aside.was_offered);
        offered.map(|aside| aside.tries).min()
    }

    pub(super) fn add(&mut self, key: MessageKey, message: &Message) {
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

    pub(crate) fn remove(&mut self, key: MessageKey) {
        self.0.remove(&key);
    }

    /// It is held again, and its counts go on.
    pub(crate) fn restore(&mut self, key: MessageKey, message: &mut Message) {
        if let Some(aside) = self.0.remove(&key) {
            message.tries = aside.tries;
            message.outages = aside.outages;
            message.has_failed_in_outage = aside.has_failed_in_outage;
        }
    }

    /// The application succeeded with another message. Whether some of these are to be fetched.
    pub(crate) fn end_outage(&mut self) -> bool {
        let are_away = self.0.values().any(|aside| aside.was_offered);
        self.0.retain(|_, aside| {
            aside.tries = 0;
            aside.outages += u32::from(std::mem::take(&mut aside.has_failed_in_outage));
            aside.outages > 0
        });
        are_away
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identifiers::SubscriptionName;
    use crate::session::Moment;
    use crate::session::user_agent::messages::Tried;
    use crate::session::user_agent::tests;

    fn key(number: usize) -> MessageKey {
        MessageKey::of("news", &number.to_string())
    }

    fn message(tries: u32, outages: u32, has_failed_in_outage: bool) -> Message {
        let name = SubscriptionName([1; 16]);
        let arrived = tests::message(name, "a").into();
        let mut message = Message::new(arrived, name, 0, Tried::default(), Moment(0));
        message.tries = tries;
        message.outages = outages;
        message.has_failed_in_outage = has_failed_in_outage;
        message
    }

    /// PR-45: counts of what was set aside go on when it is held again; only what is at the service on this channel can be fetched.
    #[test]
    fn counts_go_on() {
        let mut aside = SetAside::default();
        assert!(aside.is_empty());
        aside.add(key(1), &message(3, 1, true));
        aside.add(key(2), &message(5, 0, false));
        let counts = |aside: &SetAside, number| (aside.tries(key(number)), aside.outages(key(number)));
        assert_eq!([1, 2, 3].map(|n| counts(&aside, n)), [(3, 1), (5, 0), (0, 0)]);
        assert_eq!(aside.least_tries(), Some(3));
        aside.begin_channel();
        assert_eq!(aside.least_tries(), None);
        aside.mark_offered(key(2));
        aside.mark_offered(key(3));
        assert_eq!(aside.least_tries(), Some(5));
        let mut again = message(0, 0, false);
        aside.restore(key(3), &mut again);
        assert_eq!(again.tries, 0);
        aside.restore(key(1), &mut again);
        assert_eq!(
            (again.tries, again.outages, again.has_failed_in_outage),
            (3, 1, true)
        );
        assert_eq!(counts(&aside, 1), (0, 0));
        aside.remove(key(2));
        assert!(aside.is_empty());
    }

    /// PR-45: when the pause ends, only the pauses in which a message failed stay counted; what is at the service is to be fetched.
    #[test]
    fn the_end_of_a_pause() {
        let mut aside = SetAside::default();
        aside.add(key(1), &message(3, 1, true));
        aside.add(key(2), &message(4, 0, true));
        aside.add(key(3), &message(5, 0, false));
        assert!(aside.end_outage());
        assert_eq!([1, 2, 3].map(|n| aside.outages(key(n))), [2, 1, 0]);
        assert_eq!(aside.0.len(), 2, "of the third there is nothing to be remembered");
        assert_eq!(aside.tries(key(1)), 0);
        aside.begin_channel();
        assert!(!aside.end_outage(), "nothing was offered on this channel");
        assert_eq!(
            [1, 2].map(|n| aside.outages(key(n))),
            [2, 1],
            "each pause counts once"
        );
        aside.clear();
        assert!(aside.is_empty());
    }

    /// PR-46: so many are remembered and no more; those of earlier channels make room.
    #[test]
    fn memory_is_bounded() {
        let mut aside = SetAside::default();
        for number in 0..=MOST {
            aside.add(key(number), &message(1, 0, false));
        }
        assert_eq!((aside.0.len(), aside.tries(key(MOST))), (MOST, 0));
        aside.begin_channel();
        aside.mark_offered(key(7));
        aside.add(key(MOST), &message(1, 0, false));
        assert_eq!(
            (aside.0.len(), aside.tries(key(7)), aside.tries(key(MOST))),
            (2, 1, 1)
        );
    }
}
