//! Whether another user agent seems to use a copy of our state: to the service both are one, which has one channel, so each takes
//! it from the other, again and again.

use push_protocol::session::user_agent::{Ended, Why};
use tokio::time::Instant;

use crate::defaults::{SEAT_TAKEN_TIMES, SEAT_TAKEN_WITHIN};

/// What people have to know then.
pub(super) const COPY: &str = "it did so soon after each of the last channels: another user agent may be using a copy of this state; \
                               stop one of them, and let it `subscribe` with a state directory of its own";

/// Channels in a row that the service ended soon, in the way in which it ends one whose place another one takes: with code 1011 on
/// a WebSocket, with the end of the monitoring request over HTTP/2 (PR-10, WS-HEL-11).
#[derive(Debug, Default)]
pub(super) struct Seat {
    since: Option<Instant>,
    taken: u32,
}

impl Seat {
    pub(super) fn connected(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// A channel is gone, or was not opened, which tells nothing. Whether it looks as if another one had taken the seat.
    pub(super) fn ended(&mut self, why: Why, now: Instant) -> bool {
        let Some(lived) = self.since.take().map(|since| now - since) else {
            return false;
        };
        self.taken = match why {
            Why::Ended(Ended::Closed(Some(1011) | None)) if lived < SEAT_TAKEN_WITHIN => self.taken + 1,
            _ => 0,
        };
        self.taken >= SEAT_TAKEN_TIMES
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Only a service that ends channel after channel, soon and in this way, is likely to have another user agent of this state.
    #[tokio::test]
    async fn a_copy_is_guessed_late() {
        let mut now = Instant::now();
        let mut seat = Seat::default();
        let mut lives = |why, seconds| {
            seat.connected(now);
            now += Duration::from_secs(seconds);
            seat.ended(why, now)
        };
        let closed = |code| Why::Ended(Ended::Closed(code));
        let taken = closed(Some(1011));
        assert_eq!(
            [lives(taken, 0), lives(closed(None), 20), lives(taken, 1)],
            [false, false, true]
        );
        assert!(lives(taken, 5), "as long as it goes on");
        for other in [
            closed(Some(1001)),
            closed(Some(1012)),
            Why::Ended(Ended::Lost),
            Why::NoAnswer,
        ] {
            assert!(!lives(other, 1));
            assert_eq!([lives(taken, 1), lives(taken, 1)], [false; 2]);
        }
        assert!(!lives(taken, 3_600), "a channel that was a good one");
        assert!(!seat.ended(taken, now), "none was open");
    }
}
