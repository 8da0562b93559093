//! What a user agent's frames cost, and what happens when it cannot pay (PR-42).
//!
//! Acknowledging a message that was sent on this channel is free: its push has paid. Every other frame takes tokens
//! of the user agent and of its address. Without tokens, a channel is not read until they are earned. A channel that
//! owes too much, or was slowed down for too long, is closed. Unread bytes of a slowed channel stay in its socket.
//! Messages that the last frame of a closed channel acknowledged are sent again on the next channel.

use std::time::Duration;

use push_protocol::session::{CloseReason, Moment};

use super::WebSocketChannel;
use super::scratch::Scratch;
use crate::channels::Guard;
use crate::defaults::{CHANNEL_SLOWED_AT_MOST, CHANNEL_SLOWED_FOR, CHANNEL_SLOWED_REST};

/// A channel that is slowed down, or was until recently.
pub(super) struct Slowed {
    since: Moment,
    until: Moment,
}

impl<Io, G: Guard> WebSocketChannel<Io, G> {
    /// Takes tokens for a frame, and slows the channel down until they are earned. Returns how long that takes.
    /// `None`: the channel is closed instead, and the frame must not be carried out.
    pub(super) fn pay(&mut self, tokens: u32, now: Moment, scratch: &mut Scratch) -> Option<Duration> {
        let payer = self.guard.payer();
        let budgets = self.driver.shared.broker.budgets();
        let wait = budgets.charge(payer, self.driver.session.user_agent(), tokens);
        let is_granted = match wait {
            Some(wait) => wait.is_zero() || self.slow_down(wait, now),
            None => false,
        };
        if !is_granted {
            self.driver
                .session
                .close(CloseReason::OverBudget, &mut scratch.actions);
        }
        wait.filter(|_| is_granted)
    }

    /// Reads nothing until then. Returns whether that is enough, or the channel has to be closed.
    fn slow_down(&mut self, wait: Duration, now: Moment) -> bool {
        let since = match &self.slowed {
            Some(slowed) if now < slowed.until.after(CHANNEL_SLOWED_REST) => slowed.since,
            _ => now,
        };
        if wait > CHANNEL_SLOWED_AT_MOST || since.after(CHANNEL_SLOWED_FOR) <= now {
            return false;
        }
        let until = now.after(wait.max(Duration::from_millis(1)));
        self.slowed = Some(Box::new(Slowed { since, until }));
        self.unread_is_ready = true;
        true
    }

    /// Until when nothing is read, if that is still to come.
    pub(super) fn slowed_until(&self, now: Moment) -> Option<Moment> {
        let until = self.slowed.as_ref()?.until;
        (now < until).then_some(until)
    }
}
