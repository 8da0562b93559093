//! Configurations of servers that follow another one: replicas, and sentinels.

use super::configuration::Configuration;
use super::server::Server;

impl Configuration {
    /// Starts as a replica of this server.
    pub fn replica_of(self, primary: &Server) -> Self {
        let address = primary.address();
        self.set("replicaof", &format!("{} {}", address.ip(), address.port()))
    }

    /// A sentinel that watches `primary` under this name. A second without an answer, and it takes the primary for dead;
    /// five for a failover, and it tries again. Chosen: tests wait for both.
    pub(super) fn sentinel(name: &str, primary: &Server, quorum: usize) -> Self {
        let address = primary.address();
        let mut configuration = Self {
            program: primary.program(),
            sentinel: true,
            tls: false,
            user: None,
            apart: primary.is_apart(),
            environment: Vec::new(),
            disk_bytes: None,
            lines: Vec::new(),
        };
        let mut tell = |line: String| configuration.lines.push(("sentinel".to_owned(), line));
        tell(format!(
            "monitor {name} {} {} {quorum}",
            address.ip(),
            address.port()
        ));
        tell(format!("down-after-milliseconds {name} 1000"));
        tell(format!("failover-timeout {name} 5000"));
        if let Some((user, password)) = primary.user() {
            tell(format!("auth-user {name} {user}"));
            tell(format!("auth-pass {name} {password}"));
        }
        configuration
    }
}
