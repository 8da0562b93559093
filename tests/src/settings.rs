//! What a node of a test is configured with, and how its process is started.
//!
//! Every node gets a loopback address of its own and lets the system choose its ports: nodes of tests that run side by
//! side never meet, and the ports are still free when the node comes back after a kill, because outgoing connections
//! take their ports on 127.0.0.1. Limits that stand in the way of hundreds of connections from one address are off.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::{Value, json};

use crate::binaries;
use crate::lab::Machine;

/// The sealing key of all nodes on one Redis. It is no secret: it stands here.
const SHARED_SEALING_KEY: &str = "q7Zt1xVhYc0mP4uKfW2dBn9sLr6eJo8gTi3aXvQyEzw";

/// The configuration of one node.
#[derive(Clone, Debug)]
pub struct Settings {
    address: IpAddr,
    values: BTreeMap<String, Value>,
    environment: Vec<(String, String)>,
    directory: Option<PathBuf>,
    disk_bytes: Option<u64>,
    open_files: Option<(u32, u32)>,
    machine: Option<Arc<Machine>>,
}

impl Settings {
    /// Clear HTTP and the admin listener on a free loopback address, embedded storage, no limits per address.
    pub fn new() -> Self {
        let address = own_address();
        let any_port = json!([format!("{address}:0")]);
        Self {
            address,
            values: BTreeMap::new(),
            environment: Vec::new(),
            directory: None,
            disk_bytes: None,
            open_files: None,
            machine: None,
        }
        .set("listen.http", any_port.clone())
        .set("listen.admin", any_port)
        .set("limits.connections_per_address", 0)
        .set("limits.work_per_address", 0)
        .set("limits.work_per_sender", 0)
        .set("limits.records_per_address", 0)
        .set("limits.pushes_per_second", 0)
    }

    /// Runs on its own machine: at that address, on fixed ports.
    pub fn machine(mut self, machine: Machine) -> Self {
        self.address = machine.address();
        let (http, admin) = (format!("{}:8080", self.address), format!("{}:9090", self.address));
        self.machine = Some(Arc::new(machine));
        self.set("listen.http", json!([http]))
            .set("listen.admin", json!([admin]))
    }

    /// Sets one key of the configuration file.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.values.insert(key.to_owned(), value.into());
        self
    }

    /// Stores in this Redis, with the sealing key that all nodes of a test share.
    pub fn redis(self, url: &str) -> Self {
        self.set("storage.url", url).shared_sealing_key()
    }

    /// Uses the sealing key that all nodes of a test share.
    pub fn shared_sealing_key(self) -> Self {
        self.set("security.sealing_keys", vec![SHARED_SEALING_KEY])
    }

    /// Listens over TLS as well, with a certificate that the harness makes and its clients trust.
    pub fn tls(self) -> Self {
        let any_port = json!([format!("{}:0", self.address)]);
        self.set("listen.tls", any_port)
    }

    /// Listens over TLS only, with a certificate that the service makes for itself and that no client trusts.
    pub fn self_signed(self) -> Self {
        let any_port = json!([format!("{}:0", self.address)]);
        self.set("listen.http", json!([]))
            .set("listen.tls", any_port)
            .set("tls.self_signed", true)
    }

    /// Sets an environment variable of the process.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Uses this data directory, which outlives the node, instead of one of its own.
    pub fn data_directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Puts the data directory on a disk of this size, which vanishes with the process.
    pub fn disk_bytes(mut self, size: u64) -> Self {
        self.disk_bytes = Some(size);
        self
    }

    /// Starts the process with this soft and this hard limit of open files.
    pub fn open_files(mut self, soft: u32, hard: u32) -> Self {
        self.open_files = Some((soft, hard));
        self
    }

    /// The loopback address that only this node uses.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    pub(crate) fn wants_tls(&self) -> bool {
        let has_its_own = ["tls.self_signed", "tls.acme.domains"];
        self.values.contains_key("listen.tls")
            && !has_its_own.iter().any(|key| self.values.contains_key(*key))
    }

    /// Where the data lives: a directory that was chosen, else one below the node's own.
    pub(crate) fn data_below(&self, own: &Path) -> PathBuf {
        self.directory.clone().unwrap_or_else(|| own.join("data"))
    }

    /// The configuration as a TOML file: one dotted key a line. JSON's scalars and lists are TOML's.
    pub(crate) fn file(&self, data: &Path) -> String {
        let storage = json!(format!("embedded:{}", data.display()));
        let mut lines = String::new();
        if !self.values.contains_key("storage.url") {
            lines.push_str(&format!("storage.url = {storage}\n"));
        }
        for (key, value) in &self.values {
            lines.push_str(&format!("{key} = {value}\n"));
        }
        lines
    }

    /// The command that becomes the service.
    pub(crate) fn command(&self, configuration: &Path, data: &Path) -> Command {
        let disk = self.disk_bytes.map(|size| (data, size));
        let mut command = binaries::limited(binaries::push_service(), disk, self.open_files);
        command.arg("serve").arg("--config").arg(configuration);
        if let Some(machine) = &self.machine {
            command = machine.run(&command);
            binaries::without_ours(&mut command);
        }
        command.envs(self.environment.iter().cloned());
        command
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

/// A free port of an address. The address is the test's own, so no other process takes the port.
///
/// # Panics
///
/// When the address can't be bound.
pub fn free_port(address: IpAddr) -> SocketAddr {
    let probe = std::net::TcpListener::bind((address, 0)).expect("a free port");
    probe.local_addr().expect("a bound port")
}

/// An address below 127.0.0.0/8 that no other node or server of this process has, nor any of a test process running
/// beside it.
pub(crate) fn own_address() -> IpAddr {
    static TAKEN: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = TAKEN.fetch_add(1, Ordering::Relaxed) % 250 + 1;
    IpAddr::V4(Ipv4Addr::new(127, high, low, last))
}
