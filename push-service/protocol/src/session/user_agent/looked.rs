//! How far the subscriptions were looked through for what is to be asked of the service. Looking through all of them after each
//! answer would cost the square of them.

use std::ops::Bound;

use crate::identifiers::SubscriptionName;

/// **Invariant:** nothing is to be asked about a subscription that was looked at, unless a request about it is under way or waits
/// for its time. Whatever makes one that was looked at ask for something goes [`back_to`](Self::back_to) it, or
/// [begins anew](Self::begin_anew).
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Looked {
    #[default]
    AtNothing,
    Before(SubscriptionName),
    AtAll,
}

impl Looked {
    /// Where to look next.
    pub(super) fn next(self) -> Option<Bound<SubscriptionName>> {
        match self {
            Self::AtNothing => Some(Bound::Unbounded),
            Self::Before(name) => Some(Bound::Included(name)),
            Self::AtAll => None,
        }
    }

    pub(super) fn begin_anew(&mut self) {
        *self = Self::AtNothing;
    }

    /// A request about this one is over.
    pub(super) fn back_to(&mut self, name: SubscriptionName) {
        *self = match *self {
            Self::AtNothing => Self::AtNothing,
            Self::Before(next) => Self::Before(next.min(name)),
            Self::AtAll => Self::Before(name),
        };
    }
}
