//! The test harness: everything outside the push service, seen from outside.
//!
//! The black-box tests run the real binaries as processes and meet them only where their users do: their command lines,
//! their sockets, their logs. Nothing here uses the code under test, so a misreading of a protocol in it is not repeated
//! in its tests; but for one place, [`recipient`], which says why.
//!
//! In the order in which a test needs them:
//!
//! - [`settings`], [`node`]: a service process with a configuration and a data directory of its own; killed, stopped,
//!   started again; its [`log`] in hand when a test fails. [`certificate`] is what it shows over TLS. [`acme_server`]: who
//!   issues another. [`binaries`]: what is run.
//! - [`process`]: what else is run and stays.
//! - [`redis`]: the servers that nodes may store in, and the ways in which they fail.
//! - [`proxy`]: what people put in front of a node.
//! - [`connector`]: one address of a node, in clear or over TLS, and how to connect to it.
//! - [`user_agent`]: a user agent on the WebSocket. [`frames`]: the same one layer below, for frames that no library
//!   would send, and [`raw_http2`]: the same for HTTP/2. [`listener`]: the user agent's command, a process as well.
//! - [`monitor`]: who monitors by HTTP/2 server push, user agent or application server; [`events`]: the same by
//!   Server-Sent Events.
//! - [`liar`]: push services that lie, for the user agent's command.
//! - [`application_server`]: a sender of push messages; [`vapid`]: how it signs; [`payload`]: what it sends, and
//!   [`recipient`]: what it sends encrypted.
//! - [`nothing_lost`]: the whole system while the service is killed, [`agent_killed`] while the user agent is, and the
//!   checkers that show whether anything was lost. [`plan`], [`chance`]: how often, and by which random choices.

use std::future::Future;
use std::time::Duration;

pub mod acme_server;
pub mod agent_killed;
pub mod application_server;
pub mod binaries;
pub mod certificate;
pub mod chance;
pub mod checker;
pub mod connector;
pub mod events;
pub mod frames;
pub mod lab;
pub mod liar;
pub mod listener;
pub mod log;
pub mod monitor;
pub mod node;
pub mod nothing_lost;
pub mod payload;
pub mod plan;
pub mod process;
pub mod proxy;
pub mod raw_http2;
pub mod recipient;
pub mod redis;
pub mod settings;
pub mod user_agent;
pub mod vapid;

/// How long a test waits for something that normally takes milliseconds. Chosen, because two shared cores that
/// compile at the same time can hold a process back for seconds, and a test that fails is never in a hurry.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Waits for an event, but not for ever.
///
/// # Panics
///
/// When the event did not come within [`PATIENCE`]; `what` names it.
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
