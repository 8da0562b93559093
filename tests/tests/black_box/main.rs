//! The push service as its users meet it: one process, its sockets, its log, its exit code.
//!
//! Each test has a node of its own and runs beside the others. In the order of a message's life, then of what goes
//! wrong:
//!
//! - [`whole_message`]: from an application server to a user agent and out of storage.
//! - [`waiting`]: what is stored, for how long, and what takes its place. [`unused`]: subscriptions that were never used.
//! - [`signed`]: who may send.
//! - [`limits`]: who asks for more than there is.
//! - [`bad_frames`], [`bad_requests`]: peers that do not keep to the protocol.
//! - [`attacks`]: hostile peers.
//! - [`starting`], [`leaving`]: a service that will not start, and one that goes.
//! - [`before_storage`]: what a service answers while it starts, and how it is stopped then.
//! - [`open_files`]: as many channels as the limit of open files allows.
//! - [`commands`]: the other commands, where what they print cannot be written.
//! - [`panics`]: what a panic takes down. [`logging`]: what the log says of connections.
//! - [`inspecting`]: what an operator learns of a message, and does by hand.
//! - [`private_files`]: which files other users of the machine can read.
//! - [`tls`]: resumption at another node, and what metrics say of the certificate.
//! - [`moving`]: everything goes to another storage.
//! - [`agent_alone`], [`agent_and_service`], [`agent_over_http2`]: the same of the user agent's command, and what becomes of
//!   it with its service. [`agent_wishes`]: what it asks to be brought. [`agent_behind_nginx`]: where no server push gets
//!   through.

mod agent_alone;
mod agent_and_service;
mod agent_behind_nginx;
mod agent_over_http2;
mod agent_wishes;
mod attacks;
mod bad_frames;
mod bad_requests;
mod before_storage;
mod commands;
mod inspecting;
mod leaving;
mod limits;
mod logging;
mod moving;
mod open_files;
mod panics;
mod private_files;
mod signed;
mod starting;
mod tls;
mod unused;
mod waiting;
mod whole_message;
