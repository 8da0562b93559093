//! What a node owes to its sessions because others write to the same storage.
//!
//! A wake-up of another node is a hint that may be lost on its way here. So each session is compared with storage once in
//! a while, and at once after a gap (PR-14): the last message before a quiet night has no later one that would show that
//! it's missing.
//!
//! Guarantees that every session which holds a seat is compared within the period while storage answers, and that no
//! comparison is forgotten while it doesn't. It deliberately doesn't know how wake-ups travel, or what a session makes
//! of what it's told.

mod announcer;
mod owed;
mod reconcile;
#[cfg(test)]
mod tests;

pub use self::announcer::Announcer;
pub use self::reconcile::Reconciler;
