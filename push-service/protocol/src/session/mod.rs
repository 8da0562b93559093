//! The state machines of both ends of a channel, without the channel.
//!
//! A session is told what happened and what time it is, and answers with what to do. It owns no socket, no timer and no
//! storage, so that it can be run against its counterpart on a simulated network with virtual time.
//!
//! - [`Session`]: the service's end: which messages are offered, when, within which window.
//! - [`Wanted`]: which messages of its queue the user agent asks for.
//! - [`Window`]: the messages on the wire of one channel.
//! - [`user_agent`]: the other end: when to connect, what to ask, which message the application sees and when it is
//!   acknowledged.
//! - [`queue`]: pages of a user agent's queue, and wake-ups about it.

mod action;
mod delivery;
pub mod queue;
mod service;
#[cfg(test)]
mod tests;
pub mod user_agent;
mod wanted;
mod window;

use std::time::Duration;

pub use action::{Action, AttachOutcome, CloseReason, Limits, PageOutcome};
pub use queue::{Page, PageRequest, Scope, WakeUp};
pub use service::Session;
pub use wanted::{Interest, Interests, Wanted};
pub use window::Window;

/// A moment, in milliseconds of a clock that never goes back and whose start means nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Later than every moment: never.
    pub const NEVER: Self = Self(u64::MAX);

    /// So much later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait.as_millis() as u64))
    }

    /// How long it is since `earlier`; nothing if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
