//! Which messages of its queue a user agent wants on a channel.
//!
//! It deliberately doesn't know to which of several monitors a message goes: the channel that writes the message decides.

use super::queue::Scope;
use crate::identifiers::SubscriptionId;
use crate::urgency::Urgency;

/// What a channel is to bring. What it leaves out stays stored.
// R30-URG-6.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Whatever comes with at least this urgency.
    Everything(Urgency),
    /// What at least one of these monitors wants. Boxed whole: hundreds of thousands of channels have no monitors.
    Monitored(Box<Interests>),
}

/// What some monitors want.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interests(Vec<Interest>);

/// What one monitoring request asks for (RFC 8030 §6, §6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest {
    /// The messages of this subscription, or with `None` of all subscriptions.
    pub subscription: Option<SubscriptionId>,
    /// From this urgency on.
    pub minimum: Urgency,
}

impl Interest {
    /// Whether it asks for such a message.
    pub fn covers(&self, subscription: SubscriptionId, urgency: Urgency) -> bool {
        self.minimum <= urgency
            && self
                .subscription
                .is_none_or(|monitored| monitored == subscription)
    }
}

impl Wanted {
    /// What at least one of these monitors wants.
    pub fn monitored(interests: impl IntoIterator<Item = Interest>) -> Self {
        Self::Monitored(Box::new(Interests(interests.into_iter().collect())))
    }

    /// Whether such a message is to be brought.
    pub fn covers(&self, subscription: SubscriptionId, urgency: Urgency) -> bool {
        match self {
            Self::Everything(minimum) => *minimum <= urgency,
            Self::Monitored(interests) => interests.0.iter().any(|one| one.covers(subscription, urgency)),
        }
    }

    /// Below this nothing is wanted.
    pub(super) fn minimum(&self) -> Urgency {
        match self {
            Self::Everything(minimum) => *minimum,
            Self::Monitored(interests) => {
                let lowest = interests.0.iter().map(|one| one.minimum).min();
                lowest.unwrap_or(Urgency::High)
            }
        }
    }

    /// Which subscriptions to read, but these.
    pub(super) fn scope(&self, except: Vec<SubscriptionId>) -> Scope {
        let interests = match self {
            Self::Monitored(interests) if interests.0.iter().all(|one| one.subscription.is_some()) => {
                interests
            }
            _ => return Scope::AllBut(except),
        };
        let mut these: Vec<_> = interests.0.iter().filter_map(|one| one.subscription).collect();
        these.sort_unstable();
        these.dedup();
        these.retain(|one| !except.contains(one));
        Scope::These(these)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SubscriptionId = SubscriptionId([1; 8]);
    const TWO: SubscriptionId = SubscriptionId([2; 8]);

    fn interest(subscription: Option<SubscriptionId>, minimum: Urgency) -> Interest {
        Interest {
            subscription,
            minimum,
        }
    }

    /// PR-15, R30-URG-6: monitors of one set want what one of them wants; each keeps its own lowest urgency.
    #[test]
    fn monitors_are_united() {
        let wanted = Wanted::monitored([
            interest(Some(ONE), Urgency::High),
            interest(Some(TWO), Urgency::Low),
            interest(Some(TWO), Urgency::High),
        ]);
        let rows = [
            (ONE, Urgency::High, true),
            (ONE, Urgency::Normal, false),
            (TWO, Urgency::Low, true),
            (TWO, Urgency::VeryLow, false),
            (SubscriptionId([3; 8]), Urgency::High, false),
        ];
        for (subscription, urgency, covered) in rows {
            assert_eq!(
                wanted.covers(subscription, urgency),
                covered,
                "{subscription} {urgency:?}"
            );
        }
        assert_eq!(wanted.minimum(), Urgency::Low);
        assert_eq!(wanted.scope(vec![ONE]), Scope::These(vec![TWO]));
    }

    /// A set's monitor beside a subscription's reads everything.
    #[test]
    fn a_set_covers_all() {
        let wanted = Wanted::monitored([
            interest(Some(ONE), Urgency::VeryLow),
            interest(None, Urgency::High),
        ]);
        assert!(wanted.covers(TWO, Urgency::High) && !wanted.covers(TWO, Urgency::Low));
        assert!(wanted.covers(ONE, Urgency::VeryLow));
        assert_eq!(wanted.scope(vec![TWO]), Scope::AllBut(vec![TWO]));
    }
}
