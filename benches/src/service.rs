//! Starts the service, finds out where it listens, and ends it.
//!
//! The service gets a data directory of its own, free ports, and no limit that stands in the way of thousands of
//! connections from one machine; all else is as an operator would have it. It is known by what it logs and by its process
//! id alone, and is ended by that id, whatever happens to the measurement.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::Value;
use tempfile::TempDir;

use crate::failure::{BenchResult, Failure, PATIENCE, While as _};
use crate::machine::Cores;
use crate::process::Process;

/// Lines of the service's log that a failure shows.
const LOG_TAIL: usize = 12;

/// Configuration of every service that is started here, as environment variables without their prefix.
const CONFIGURATION: &[(&str, &str)] = &[("LISTEN__HTTP", "127.0.0.1:0"), ("LISTEN__ADMIN", "127.0.0.1:0")];

/// Raises or removes the limits that thousands of connections from one machine would reach.
const UNLIMITED_CONFIGURATION: &[(&str, &str)] = &[
    ("LIMITS__UNLIMITED_NETWORKS", "127.0.0.0/8,::1"),
    ("LIMITS__PUSHES_PER_SECOND", "0"),
    ("LIMITS__QUEUE_MESSAGES", "100000"),
    ("LIMITS__QUEUE_BYTES", "268435456"),
    ("LIMITS__SUBSCRIPTIONS_PER_USER_AGENT", "100000"),
];

/// What opens a TLS listener beside.
const TLS_CONFIGURATION: &[(&str, &str)] = &[("LISTEN__TLS", "127.0.0.1:0"), ("TLS__SELF_SIGNED", "true")];

/// What nodes that share a store have to agree on. The key keeps no secret: it stands here.
const NODES_CONFIGURATION: &[(&str, &str)] = &[
    ("PUBLIC_URL", "http://push.test"),
    (
        "SECURITY__SEALING_KEYS",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
    ),
];

/// Where the service keeps its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Storage {
    /// On disk, synced before each 201
    Embedded,
    /// In memory, gone with the process: what the service costs without a store
    Memory,
    /// In a Redis that is started for this and shares the load tool's core
    Redis,
}

/// How to start the service.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its storage.
    pub(crate) storage: Storage,
    /// Where Redis is, if that is its storage.
    pub(crate) redis: Option<String>,
    /// Whether it listens over TLS too, with a certificate that it makes at its first start.
    pub(crate) tls: bool,
    /// Whether it has its default limits, instead of none.
    pub(crate) default_limits: bool,
    /// Further environment variables, `NAME=VALUE`.
    pub(crate) environment: Vec<String>,
    /// Where it runs.
    pub(crate) cores: Cores,
}

/// A running service. Dropping it ends it.
pub(crate) struct Service {
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
    listeners: Option<Listeners>,
    started_in: Duration,
}

/// Where it listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listeners {
    /// In clear.
    pub(crate) http: SocketAddr,
    /// Over TLS.
    pub(crate) tls: Option<SocketAddr>,
    /// The admin listener's address.
    pub(crate) admin: Option<SocketAddr>,
}

impl Service {
    /// Starts a service on this data directory, and waits until it listens.
    pub(crate) fn start(recipe: &Recipe, data: &TempDir) -> BenchResult<Self> {
        let mut command = recipe.command(data.path());
        let started = Instant::now();
        let spawned = recipe.cores.start_service(|| command.spawn())?;
        let mut child = spawned.doing(format_args!("starting {}", recipe.program.display()))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let listening = child
            .stderr
            .take()
            .map(|stderr| read_log(stderr, Arc::clone(&log)));
        let mut service = Self {
            child,
            log,
            listeners: None,
            started_in: Duration::ZERO,
        };
        // From here on the service is ended whatever fails.
        let heard = listening.and_then(|listening| listening.recv_timeout(PATIENCE).ok());
        service.started_in = started.elapsed();
        service.listeners = heard.and_then(|record| Listeners::read(&record));
        service.listeners().map(|_| service)
    }

    /// Where it listens.
    pub(crate) fn listeners(&self) -> BenchResult<Listeners> {
        self.listeners.ok_or_else(|| {
            Failure::new(format!(
                "the service does not listen; its log is:\n{}",
                self.tail()
            ))
        })
    }

    /// The process.
    pub(crate) fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// From its start to the line that says that it listens.
    pub(crate) fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(|line| format!("  {line}\n")).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Recipe {
    fn command(&self, data: &Path) -> Command {
        let storage = match (self.storage, &self.redis) {
            (Storage::Redis, Some(url)) => url.clone(),
            (Storage::Memory, _) => "memory:".to_owned(),
            _ => format!("embedded:{}", data.join("store").display()),
        };
        let mut command = Command::new(&self.program);
        command
            .arg("serve")
            .current_dir(data)
            // Backtraces are collected even for errors that are handled, and would be measured.
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LOG")
            // It is for tests, and the service refuses variables that it does not know.
            .env_remove("PUSH_SERVICE_BIN")
            .env("PUSH_SERVICE__STORAGE__URL", storage)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let tls = if self.tls { TLS_CONFIGURATION } else { &[] };
        let nodes = if self.redis.is_some() {
            NODES_CONFIGURATION
        } else {
            &[]
        };
        let limits = if self.default_limits {
            &[]
        } else {
            UNLIMITED_CONFIGURATION
        };
        for (key, value) in CONFIGURATION.iter().chain(limits).chain(tls).chain(nodes) {
            command.env(format!("PUSH_SERVICE__{key}"), value);
        }
        for (name, value) in self.environment.iter().filter_map(|pair| pair.split_once('=')) {
            command.env(name, value);
        }
        command
    }
}

impl Listeners {
    fn read(record: &Value) -> Option<Self> {
        let first = |name: &str| {
            let listed = record.get(name)?.as_str()?;
            listed.split(',').next()?.trim().parse().ok()
        };
        Some(Self {
            http: first("http")?,
            tls: first("tls"),
            admin: first("admin"),
        })
    }
}

/// Reads the log on a thread of its own, so that the service never waits for a reader. The record that says where it
/// listens comes out of the channel.
fn read_log(stderr: ChildStderr, tail: Arc<Mutex<VecDeque<String>>>) -> mpsc::Receiver<Value> {
    let (tell, listening) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some(record) = listening_record(&line) {
                // A second one is not waited for.
                let _ = tell.send(record);
            }
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() == LOG_TAIL {
                tail.pop_front();
            }
            tail.push_back(line);
        }
    });
    listening
}

/// The fields of the line that says where the service listens.
fn listening_record(line: &str) -> Option<Value> {
    let mut record: Value = serde_json::from_str(line).ok()?;
    let fields = match record.get_mut("fields").map(Value::take) {
        Some(fields) if fields.is_object() => fields,
        _ => record,
    };
    (fields.get("message")? == "listening").then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one line that matters is found among the others, whether its fields are nested or not.
    #[test]
    fn the_log_tells_where() {
        let lines = [
            r#"{"level":"INFO","fields":{"message":"listening","http":"127.0.0.1:81, [::1]:81","tls":"127.0.0.1:82"}}"#,
            r#"{"level":"INFO","message":"listening","http":"127.0.0.1:81","tls":"127.0.0.1:82"}"#,
        ];
        for line in lines {
            let listeners = Listeners::read(&listening_record(line).unwrap()).unwrap();
            let ports = (listeners.http.port(), listeners.tls.map(|tls| tls.port()));
            assert_eq!(ports, (81, Some(82)));
        }
        assert!(listening_record(r#"{"message":"opening the store"}"#).is_none());
        assert!(listening_record("thread panicked").is_none());
    }
}
