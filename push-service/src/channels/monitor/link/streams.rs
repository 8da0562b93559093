//! How many pushed streams the peer takes, and how many are in use (PR-19).

use crate::defaults::PROMISES;

/// Promises that one connection can make: a promised stream has an even id of 31 bits, and none is used again (RFC 9113 §5.1.1).
const STREAM_IDS: u32 = (1 << 30) - 1;

pub(super) struct Streams {
    /// How many the peer takes at a time, at most [`PROMISES`].
    allowed: usize,
    in_use: usize,
    /// Stream ids that `h2` has left. `h2` uses one for each promise that it is asked for, even if it refuses the promise.
    unused_ids: u32,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            allowed: 0,
            in_use: 0,
            unused_ids: STREAM_IDS,
        }
    }
}

impl Streams {
    /// The peer takes so many at a time. Returns whether that is new.
    pub(super) fn allow(&mut self, allowed: usize) -> bool {
        let allowed = allowed.min(PROMISES);
        std::mem::replace(&mut self.allowed, allowed) != allowed
    }

    pub(super) fn takes_any(&self) -> bool {
        self.allowed > 0
    }

    pub(super) fn has_free(&self) -> bool {
        self.in_use < self.allowed
    }

    /// Whether more are in use than the peer takes now.
    pub(super) fn are_exceeded(&self) -> bool {
        self.allowed < self.in_use
    }

    pub(super) fn take(&mut self) {
        self.in_use += 1;
    }

    pub(super) fn give_back(&mut self) {
        self.in_use -= 1;
    }

    pub(super) fn has_ids(&self) -> bool {
        self.unused_ids > 0
    }

    pub(super) fn use_id(&mut self) {
        self.unused_ids = self.unused_ids.saturating_sub(1);
    }

    /// As if so many ids were left.
    #[cfg(test)]
    pub(super) fn leave_ids(&mut self, unused: u32) {
        self.unused_ids = unused;
    }
}
