//! Redis, as operators run it: real servers of this machine, alone, in a cluster, under sentinels, and mistreated.
//!
//! Nothing is mocked, and nothing of the service is used: [`connection`] is a client of our own, no larger than the tests
//! need.
//!
//! - [`server`]: one process, Redis or Valkey ([`program`] says which), with a [`configuration`] and a directory of its
//!   own; killed, stopped, started again with or without its data, asked what it did.
//! - [`cluster`]: Redis Cluster, whose primaries fail over and whose slots move while a test looks on.
//! - [`sentinels`]: a primary with replicas, and three sentinels that promote one.
//! - [`gate`]: a network that stalls or loses connections, all of them or only those that said a certain word.
//!
//! A server belongs to the test process and to no async runtime, so a suite may share one between its tests. A gate
//! belongs to the runtime in which it was opened.

use std::future::Future;
use std::time::Duration;

pub mod cluster;
pub mod configuration;
pub mod connection;
mod following;
pub mod gate;
pub mod program;
pub mod sentinels;
pub mod server;

#[cfg(test)]
mod tests;

pub use cluster::Cluster;
pub use configuration::Configuration;
pub use connection::{Connection, Reply};
pub use gate::Gate;
pub use sentinels::Sentinels;
pub use server::Server;

/// How long servers may take to agree with each other. A failover takes two to four seconds of an idle machine, most of
/// it timeouts that servers wait out; chosen with room for two shared cores that compile at the same time.
const AGREEMENT: Duration = Duration::from_secs(45);

/// Between two looks at something that servers tell only when asked. Chosen: far below every timeout of theirs.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a failover did, in numbers of servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailOver {
    /// The primary that is dead now; it can be started again, and becomes a replica then.
    pub killed: usize,
    /// The replica that is primary now.
    pub promoted: usize,
}

/// Waits until servers agree on something, which they do not announce: asks again and again.
///
/// # Panics
///
/// When they don't within 45 s, and so never will; `what` names what they should have agreed on.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let found = tokio::time::timeout(AGREEMENT, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    match found.await {
        Ok(found) => found,
        Err(_) => panic!("not within {AGREEMENT:?}: {what}"),
    }
}
