//! How long storage keeps the record of a user agent after it was last needed (PR-29).
//!
//! A record is made by a request that costs little and needs no credentials, so a new one is **unused**: it is kept for
//! [`Retention::unused`] after its last subscribe. It is used from then on, and kept for [`Retention::whole`], when
//!
//! - a push is accepted for one of its subscriptions, with any TTL; or
//! - its user agent comes back: a later attach (hello, monitoring request), or a comparison of its seat
//!   ([`Storage::refresh`](super::Storage::refresh)). Storage that is not shared is not asked for comparisons. There, a session
//!   that holds the seat for [`SEAT_HELD_IS_USE`](crate::defaults::SEAT_HELD_IS_USE) counts; or
//! - it is a receipt subscription, and a receipt is expected.
//!
//! Making a subscription, or the same one again, is not use: otherwise a flood of subscribes would be kept. An acknowledgement
//! needs no rule of its own, because it names a message that was accepted before.
//!
//! **Invariant:** a used record never becomes unused. An unused record has no messages. Records of older versions do not say
//! whether they are unused, and count as used.
//!
//! It deliberately does not know how a storage writes a record or when it sweeps.

use std::time::Duration;

use crate::defaults::UNUSED_RETENTION;

/// How long records are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// From the last hello, subscribe or refresh.
    pub whole: Duration,
    /// The same for an unused record. If it is as long as `whole` or longer, no record is unused.
    pub unused: Duration,
}

impl Retention {
    /// Whether unused records are kept for a shorter time, so that a new record is unused.
    pub(super) fn distinguishes_unused(self) -> bool {
        self.unused < self.whole
    }

    /// How long a record is kept, by whether it is unused.
    pub(super) fn of(self, unused: bool) -> Duration {
        if unused {
            self.unused.min(self.whole)
        } else {
            self.whole
        }
    }
}

impl From<Duration> for Retention {
    /// With the default for unused records.
    fn from(whole: Duration) -> Self {
        Self {
            whole,
            unused: UNUSED_RETENTION,
        }
    }
}
