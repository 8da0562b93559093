//! A Web Push service (RFC 8030, RFC 8292) that anyone can run.
//!
//! The life of a push message, and the modules that it passes:
//!
//! ```text
//! listeners   a connection comes in: HTTP/1.1, HTTP/2, or an upgrade to a channel
//! resources   a request becomes types, a refusal becomes a status
//! broker      the message's life: admit, accept, deliver, acknowledge, expire
//! storage     where it waits, durably; one step at a time
//! cluster     what a node that shares its storage does about wake-ups that were lost
//! channels    live connections to user agents; a session decides what each is offered
//! ```
//!
//! Beside them: [`budgets`] limit how much work a peer may cause; [`tls`] carries connections; [`transfer`] moves
//! everything to another storage; [`config`], [`defaults`], [`cli`] and [`admin`] are the operator's side;
//! [`metrics`], [`history`] and [`logging`] tell what happens; [`private`] keeps secrets in files that only their owner reads;
//! [`tasks`] notices each that panics or ends too early; [`service`] wires everything, runs it
//! and drains it. The protocols themselves, without I/O, are the crate `push-protocol`.

pub mod admin;
pub mod broker;
pub mod budgets;
pub mod channels;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod defaults;
pub mod history;
mod html;
pub mod listeners;
pub mod logging;
pub mod metrics;
mod nearest;
pub mod private;
pub mod random;
pub mod resources;
pub mod service;
pub mod storage;
pub mod tasks;
pub mod tls;
pub mod transfer;
