//! Real sockets on loopback: what a peer sees.

mod http1;
mod http2;
mod leaving;
mod limits;
mod rig;
mod tls;
mod upgrades;
