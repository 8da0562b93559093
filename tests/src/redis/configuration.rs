//! What one server is configured with.
//!
//! Without further words: Redis, in clear, without users, everything in memory and nothing on disk, and no waiting that
//! has no use on one machine.

use std::fmt::Write;

use super::program::Program;

/// The configuration of one server.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub(super) program: Program,
    pub(super) sentinel: bool,
    pub(super) tls: bool,
    pub(super) user: Option<(String, String)>,
    pub(super) apart: bool,
    pub(super) environment: Vec<(String, String)>,
    pub(super) disk_bytes: Option<u64>,
    pub(super) lines: Vec<(String, String)>,
}

impl Configuration {
    /// Redis that keeps everything in memory only.
    pub fn new() -> Self {
        let configuration = Self {
            program: Program::Redis,
            sentinel: false,
            tls: false,
            user: None,
            apart: false,
            environment: Vec::new(),
            disk_bytes: None,
            lines: Vec::new(),
        };
        configuration
            .set("save", "\"\"")
            // A replica that comes is served at once; the default waits five seconds for more of them.
            .set("repl-diskless-sync-delay", "0")
            // A replica counts in a cluster once it has received anything; the default lets ten seconds pass.
            .set("repl-ping-replica-period", "1")
    }

    /// Each server in a machine of its own: see [`lab`](crate::lab).
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Sets an environment variable of the process.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its directory is a disk of this size: see [`lab`](crate::lab).
    pub fn disk_bytes(mut self, size: u64) -> Self {
        self.disk_bytes = Some(size);
        self
    }

    /// Valkey instead of Redis.
    pub fn valkey(mut self) -> Self {
        self.program = Program::Valkey;
        self
    }

    /// Sets one line of the configuration file; the value as it stands there. Where a key is set twice, the later counts,
    /// unless the server takes both.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.lines.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Whatever was answered is on disk: an append-only file, synced before each answer.
    pub fn durable(self) -> Self {
        self.set("appendonly", "yes").set("appendfsync", "always")
    }

    /// Holds so many bytes, and treats what comes then by this policy (`noeviction`, `allkeys-lru`, ...).
    pub fn memory(self, bytes: u64, policy: &str) -> Self {
        self.set("maxmemory", &bytes.to_string())
            .set("maxmemory-policy", policy)
    }

    /// Answers this user alone, who may do everything. `default` is the user of those who name none.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        if name != "default" {
            // Off, but with its rights: with these the server reads its append-only file.
            self = self.set("user", "default off ~* &* +@all");
        }
        self.user = Some((name.to_owned(), password.to_owned()));
        self.set("user", &format!("{name} on >{password} ~* &* +@all"))
            .set("masteruser", name)
            .set("masterauth", password)
    }

    /// Speaks TLS as well, on a port of its own. Clients show no certificate.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// The configuration file, without what depends on addresses and directories.
    pub(super) fn file(&self) -> String {
        let mut file = String::new();
        for (key, value) in &self.lines {
            writeln!(file, "{key} {value}").expect("a string takes everything");
        }
        file
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.lines
            .iter()
            .any(|(key, value)| key == "cluster-enabled" && value == "yes")
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self::new()
    }
}
