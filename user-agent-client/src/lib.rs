//! Receive Web Push without a browser.
//!
//! In the order in which a message meets them:
//!
//! - [`application_server`]: whoever sends, for those who have no other sender.
//! - [`channel`]: the connection to a push service. [`server_url`], [`tls`]: where that is, and whom to trust.
//!   [`network`]: when it is worth looking whether it is still there.
//! - [`user_agent`]: one user agent: its task, the handle and the stream of events.
//! - [`state`]: what it keeps, so that a crash loses neither keys nor subscriptions.
//! - [`subscription`]: what an application server is told. [`message`]: what an application gets.
//! - [`declarative`]: messages that are notifications.
//! - [`defaults`]: what bounds it all.

pub mod application_server;
pub mod channel;
pub mod declarative;
pub mod defaults;
pub mod message;
pub mod network;
pub mod server_url;
pub mod state;
pub mod subscription;
pub mod tls;
pub mod user_agent;
