//! A channel against a service in the same process, which does what no service should.

mod endings;
mod frames;
mod opening;
mod rig;
mod tls;
