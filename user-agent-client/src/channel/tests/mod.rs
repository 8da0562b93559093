//! A channel against a service in the same process, which does what no service should.

mod endings;
mod frames;
mod opening;
pub(crate) mod proxies;
mod rig;
mod tls;
