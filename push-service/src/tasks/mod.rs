//! Tasks, and what happens when one panics or ends too early: nothing dies unseen.
//!
//! ```text
//! a background task (one of the service's own)   panics or ends ─► the service ends with an error that names it
//! a task of one connection, channel or request   panics         ─► it ends alone; its neighbours go on
//! both                                                              panics_total{task} counts it, the log has its place
//! ```
//!
//! Why the service ends: without the task that keeps time, no channel is ever found dead; without the one that relays
//! receipts, none arrives. A process that looks healthy and does half of its work is worse than one that is started again.
//!
//! What it deliberately does not know: what any task does.

mod background;
mod panics;
mod planted;
mod task;
#[cfg(test)]
mod tests;
mod watched;

pub use self::background::{Background, PanicAlarm};
pub use self::panics::log_panics;
pub(crate) use self::panics::panics;
pub use self::task::Task;
pub use self::watched::{Owner, Watched};
