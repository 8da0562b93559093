//! Real sockets on loopback: what a peer sees.

mod budgets;
mod http1;
mod http2;
mod http2_floods;
mod http2_slow;
mod leaving;
mod limits;
mod monitoring;
mod promises;
mod receipts;
mod rig;
mod tls;
mod upgrades;
