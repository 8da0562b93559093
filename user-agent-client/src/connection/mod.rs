//! Connections to a push service: a proxy, addresses, TCP, TLS. Every connection of this crate is opened here.
//!
//! What it deliberately does not know: what is said on a connection, and how long opening it may take: a caller sets
//! its own deadline.

mod connect;
mod error;
mod tunnel;
mod wire;

#[cfg(feature = "user-agent")]
pub(crate) use connect::Connected;
pub(crate) use connect::{Destination, Speaks, connect};
pub use error::OpenError;
pub use tunnel::ProxyFailure;
#[cfg(test)]
pub(crate) use tunnel::through;
pub(crate) use wire::Wire;
