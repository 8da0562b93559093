//! Whether another user agent seems to use a copy of our state. The service takes both for one user agent, which has one channel:
//! so each takes the channel from the other, again and again.

use push_protocol::session::user_agent::{ChannelEnd, DisconnectReason};
use tokio::time::Instant;

use crate::defaults::{TAKEOVER_WITHIN, TAKEOVERS};

/// The sentence for people.
pub(super) const HINT: &str = "this happened soon after each of the last channels opened: another user agent may use a copy of this \
     state. Stop one of them, and `subscribe` there with its own state directory";

/// Counts channels in a row that the service ended soon, in the way in which it ends a channel when a newer one comes: with code 1011
/// on a WebSocket, with the end of the monitoring request over HTTP/2 (PR-10, WS-HEL-11).
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    connected_at: Option<Instant>,
    in_a_row: u32,
}

impl Takeovers {
    pub(super) fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// Notes the end of a channel. Returns whether another user agent seems to take the channels.
    pub(super) fn channel_ended(&mut self, why: DisconnectReason, now: Instant) -> bool {
        let Some(lived) = self.connected_at.take().map(|since| now - since) else {
            return false;
        };
        self.in_a_row = match why {
            DisconnectReason::Ended(ChannelEnd::Closed(Some(1011) | None)) if lived < TAKEOVER_WITHIN => {
                self.in_a_row + 1
            }
            _ => 0,
        };
        self.in_a_row >= TAKEOVERS
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
        let mut takeovers = Takeovers::default();
        let mut lives = |why, seconds| {
            takeovers.connected(now);
            now += Duration::from_secs(seconds);
            takeovers.channel_ended(why, now)
        };
        let closed = |code| DisconnectReason::Ended(ChannelEnd::Closed(code));
        let taken = closed(Some(1011));
        assert_eq!(
            [lives(taken, 0), lives(closed(None), 20), lives(taken, 1)],
            [false, false, true]
        );
        assert!(lives(taken, 5), "as long as it goes on");
        for other in [
            closed(Some(1001)),
            closed(Some(1012)),
            DisconnectReason::Ended(ChannelEnd::Lost),
            DisconnectReason::NoAnswer,
        ] {
            assert!(!lives(other, 1));
            assert_eq!([lives(taken, 1), lives(taken, 1)], [false; 2]);
        }
        assert!(!lives(taken, 3_600), "a channel that was a good one");
        assert!(!takeovers.channel_ended(taken, now), "none was open");
    }
}
