//! What a user agent's frames cost it, and what happens when it can't pay (PR-42).
//!
//! Acknowledging what was offered on this channel is free: whoever pushed it has paid. Every other frame takes tokens of
//! the user agent and of its address. Short of tokens, a channel is not read until they are earned; one that needs too many,
//! or goes on for too long, is closed. What a slowed channel has not read waits in
//! its socket; what the last frame of a closed one acknowledged comes again on the next channel.

use std::time::Duration;

use push_protocol::session::{CloseReason, Moment};

use super::WebSocketChannel;
use super::scratch::Scratch;
use crate::budgets::Payer;
use crate::defaults::{CHANNEL_SLOWED_AT_MOST, CHANNEL_SLOWED_FOR, CHANNEL_SLOWED_REST};
use crate::listeners::Permit;

/// Whatever has to live as long as a connection, and who pays for it.
pub(in crate::channels) trait Guard: Unpin {
    /// Who pays for what the connection brings.
    fn payer(&self) -> Payer;
}

impl Guard for Permit {
    fn payer(&self) -> Payer {
        Self::payer(self)
    }
}

/// A connection without a permit: nothing but its payer is known.
impl Guard for Payer {
    fn payer(&self) -> Payer {
        *self
    }
}

/// A channel that is slowed down, or was a moment ago.
pub(super) struct Slowed {
    since: Moment,
    until: Moment,
}

impl<Io, G: Guard> WebSocketChannel<Io, G> {
    /// Takes tokens for a frame. Says how long it has to wait for them, and slows the channel down for as long. `None` if the
    /// channel is closed instead, and what the frame asks for is not to be done.
    pub(super) fn pay(&mut self, tokens: u32, now: Moment, scratch: &mut Scratch) -> Option<Duration> {
        let payer = self.guard.payer();
        let budgets = self.shared.broker.budgets();
        let wait = budgets.charge(payer, self.session.user_agent(), tokens);
        match wait {
            None => self.session.close(CloseReason::OverBudget, &mut scratch.actions),
            Some(wait) if !wait.is_zero() => self.slow_down(wait, now, scratch),
            Some(_) => {}
        }
        wait.filter(|_| !self.session.is_closed())
    }

    fn slow_down(&mut self, wait: Duration, now: Moment, scratch: &mut Scratch) {
        let since = match &self.slowed {
            Some(slowed) if now < slowed.until.after(CHANNEL_SLOWED_REST) => slowed.since,
            _ => now,
        };
        if wait > CHANNEL_SLOWED_AT_MOST || since.after(CHANNEL_SLOWED_FOR) <= now {
            return self.session.close(CloseReason::OverBudget, &mut scratch.actions);
        }
        let until = now.after(wait.max(Duration::from_millis(1)));
        self.slowed = Some(Box::new(Slowed { since, until }));
        self.unread_is_ready = true;
    }

    /// Until when nothing is read, if that is still to come.
    pub(super) fn slowed_until(&self, now: Moment) -> Option<Moment> {
        let until = self.slowed.as_ref()?.until;
        (now < until).then_some(until)
    }
}
