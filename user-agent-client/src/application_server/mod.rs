//! An application server: it encrypts a message, signs the request and sends it to the push
//! service (RFC 8030 §5, RFC 8291, RFC 8292).
//!
//! ```text
//! PushSubscription + Push ──► Sender: encrypt, sign, one POST ──► Accepted, or a SendError that says what to do
//!                                            ReceiptSubscription ◄──┘ ──► Receipts: was it delivered?
//! ```
//!
//! One call is one request with a deadline, on a connection of its own: right for scripts, tests and alarms, and not for
//! thousands of messages a second. It follows no redirects and repeats nothing: whether a message may arrive twice is for the
//! caller to say.
//!
//! - [`Sender`], [`Push`]: sending. [`VapidKey`]: who sends. [`key_file`]: where its key is kept.
//! - [`SendError`]: what can be done when it isn't accepted.
//! - [`ReceiptSubscription`], [`Receipts`]: whether it arrived.

mod connection;
mod der;
mod error;
pub mod key_file;
mod receipts;
mod sender;
#[cfg(test)]
mod tests;
mod vapid_key;

pub use error::SendError;
pub use push_protocol::vapid::SigningKey;
pub use receipts::{Receipt, ReceiptError, ReceiptSubscription, ReceiptSubscriptionError, Receipts};
pub use sender::{Accepted, Push, Sender};
pub use vapid_key::{SubjectError, VapidKey};
