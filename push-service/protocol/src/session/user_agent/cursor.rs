//! Where the search for the next request to the service continues. To search all subscriptions after each answer would cost the
//! square of their number.

use std::ops::Bound;

use crate::identifiers::SubscriptionName;

/// **Invariant:** nothing is to be asked about a subscription before the cursor, unless a request about it is under way or waits
/// for its time. A change after which something is to be asked about it moves the cursor [`back_to`](Self::back_to) it, or lets the
/// search [begin anew](Self::begin_anew).
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Cursor {
    #[default]
    Start,
    At(SubscriptionName),
    End,
}

impl Cursor {
    /// Where the search goes on; `None` at the end.
    pub(super) fn next(self) -> Option<Bound<SubscriptionName>> {
        match self {
            Self::Start => Some(Bound::Unbounded),
            Self::At(name) => Some(Bound::Included(name)),
            Self::End => None,
        }
    }

    pub(super) fn begin_anew(&mut self) {
        *self = Self::Start;
    }

    /// A request about this one is over.
    pub(super) fn back_to(&mut self, name: SubscriptionName) {
        *self = match *self {
            Self::Start => Self::Start,
            Self::At(next) => Self::At(next.min(name)),
            Self::End => Self::At(name),
        };
    }
}
