//! The agent killed: the user agent's command under load, while it is killed again and again.
//!
//! One user agent has a few subscriptions, and for each an application server sends one message after the other. In
//! [`lines`] the command prints each message; in [`handlers`] it runs a command for each, and more goes wrong than a kill.
//! In the end the checker judges: everything that was answered 201 arrived; what arrived came again only if a kill fell
//! between the work and the record of it; and no key or subscription has changed.
//!
//! What a user agent prints it has decrypted, so what is sent has to be encrypted. That is done with `push-protocol`, the
//! service's and the user agent's own, because other libraries are too slow for a load. It is no proof of the
//! encryption, then: that both directions agree with independent libraries is shown elsewhere.

use self::sent::Sent;

pub use self::stage::Over;

pub mod handlers;
pub mod lines;
pub mod sent;

mod sender;
mod stage;
mod world;

/// Names of the subscriptions; each has a sender of its own.
const SUBSCRIPTIONS: [&str; 8] = [
    "alerts", "build", "chat", "door", "größe", "mail", "tea time", "z",
];

/// The checker of a trial.
pub trait Ledger: Send + 'static {
    /// What was sent, and what of it has arrived.
    fn sent(&mut self) -> &mut Sent;

    /// Something broke a promise.
    fn breach(&mut self, breach: &str);
}
