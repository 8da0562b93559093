//! The service that is measured: one that was started for it, or one that runs already.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tempfile::TempDir;

use crate::connector::Connector;
use crate::failure::{BenchResult, Failure, While as _};
use crate::leftovers::Leftovers;
use crate::machine::Cores;
use crate::process::Process;
use crate::redis::Redis;
use crate::service::{Recipe, Service, Storage};

/// Which service is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetOptions {
    /// The push-service program to start. Default: the one in the directory of this program
    #[arg(long, value_name = "PATH", help_heading = "The service")]
    service_bin: Option<PathBuf>,

    /// Storage of the service that is started
    #[arg(long, value_enum, default_value = "embedded", help_heading = "The service")]
    storage: Storage,

    /// How many nodes are started on one Redis. User agents connect to the first node, application servers to the last
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=16),
        conflicts_with = "url",
        help_heading = "The service"
    )]
    nodes: u8,

    /// An environment variable for the service that is started, such as PUSH_SERVICE__CHANNELS__IN_FLIGHT=64; can be
    /// repeated
    #[arg(long, value_name = "NAME=VALUE", help_heading = "The service")]
    env: Vec<String>,

    /// Measure a running service, at this http(s):// or ws(s):// URL, with the secret that it wants in the path. Switch its
    /// limits of connections per address and of pushes per second off. All user agents are unsubscribed at the end
    #[arg(long, value_name = "URL", conflicts_with_all = ["service_bin", "env"], help_heading = "The service")]
    url: Option<String>,

    /// The process id of the running service, if it runs on this machine: its CPU time and memory are read from /proc.
    /// Without it there are only rates and latencies
    #[arg(long, requires = "url", help_heading = "The service")]
    pid: Option<u32>,

    /// The TLS listener of the running service, as ADDRESS:PORT, if --url is that of a listener in clear
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        requires = "url",
        help_heading = "The service"
    )]
    tls: Option<SocketAddr>,

    #[arg(skip)]
    default_limits: bool,

    #[arg(skip)]
    leftovers: Leftovers,
}

/// A service, ready to be measured. If it was started for this, dropping it ends it.
pub(crate) struct Target {
    /// At least one.
    nodes: Vec<Node>,
    /// What is under them, if it was started for them. Behind them: they have to end first.
    redis: Option<Redis>,
    /// How they were started, if they were.
    recipe: Option<Recipe>,
}

struct Node {
    clear: Connector,
    tls: Option<Connector>,
    admin: Option<SocketAddr>,
    /// Not known of a service that was not started for this, unless it is named.
    process: Option<Process>,
    /// The service before its data: it has to end first.
    started: Option<(Service, TempDir)>,
}

impl TargetOptions {
    /// Starts the service, or finds the one that runs.
    pub(crate) fn open(&self, cores: Cores) -> BenchResult<Target> {
        let Some(url) = &self.url else {
            return self.start(cores);
        };
        let clear = Connector::at(url)?.leaving(&self.leftovers);
        if self.tls.is_some() && clear.url().is_secure() {
            return Err(Failure::new("--tls is for a --url in clear: remove it"));
        }
        let node = Node {
            tls: match self.tls {
                Some(tls) => Some(Connector::tls(tls, &clear)?),
                None => Some(clear.clone()).filter(|own| own.url().is_secure()),
            },
            clear,
            admin: None,
            process: self.pid.map(Process::new),
            started: None,
        };
        Ok(Target {
            nodes: vec![node],
            redis: None,
            recipe: None,
        })
    }

    /// What was made at a running service.
    pub(crate) fn leftovers(&self) -> &Leftovers {
        &self.leftovers
    }

    /// The same on Redis, and with two nodes at least.
    pub(crate) fn across_nodes(&self) -> Self {
        Self {
            storage: Storage::Redis,
            nodes: self.nodes.max(2),
            ..self.clone()
        }
    }

    /// The same with the limits that a service has by default.
    pub(crate) fn with_default_limits(&self) -> Self {
        Self {
            default_limits: true,
            ..self.clone()
        }
    }

    /// Whether and how Redis is under what is measured.
    pub(crate) fn storage(&self) -> Storage {
        self.storage
    }

    fn start(&self, cores: Cores) -> BenchResult<Target> {
        if self.nodes > 1 && self.storage != Storage::Redis {
            return Err(Failure::new(
                "several nodes need a shared store: add --storage redis",
            ));
        }
        let redis = match self.storage {
            Storage::Redis => Some(Redis::start(cores)?),
            Storage::Embedded | Storage::Memory => None,
        };
        let recipe = Recipe {
            redis: redis.as_ref().map(Redis::url),
            ..self.recipe(cores)?
        };
        let node = |_| Node::start(&recipe);
        let nodes = (0..self.nodes).map(node).collect::<BenchResult<_>>()?;
        Ok(Target {
            nodes,
            redis,
            recipe: Some(recipe),
        })
    }

    /// How to start a service of one's own.
    pub(crate) fn recipe(&self, cores: Cores) -> BenchResult<Recipe> {
        if self.url.is_some() {
            return Err(Failure::new("this command starts its own service: remove --url"));
        }
        let program = match &self.service_bin {
            Some(program) => program.clone(),
            None => beside_this_program()?,
        };
        // The service runs in its data directory: a relative path would not lead there.
        let absolute = program
            .canonicalize()
            .doing(format_args!("looking for {}", program.display()))?;
        Ok(Recipe {
            program: absolute,
            storage: self.storage,
            redis: None,
            tls: true,
            default_limits: self.default_limits,
            environment: self.env.clone(),
            cores,
        })
    }

    /// For the reader of the figures.
    pub(crate) fn describe(&self) -> String {
        match (&self.url, self.storage) {
            (Some(url), _) => format!("service at {}", without_path(url)),
            (None, Storage::Embedded) => "embedded storage on disk".to_owned(),
            (None, Storage::Memory) => "storage in memory".to_owned(),
            (None, Storage::Redis) if self.nodes == 1 => {
                "storage in Redis, on the load tool's core".to_owned()
            }
            (None, Storage::Redis) => format!("{} nodes on one Redis, on the load tool's core", self.nodes),
        }
    }
}

impl Node {
    fn start(recipe: &Recipe) -> BenchResult<Self> {
        let data = data_directory()?;
        let service = Service::start(recipe, &data)?;
        let listeners = service.listeners()?;
        let clear = Connector::clear(listeners.http)?;
        Ok(Self {
            tls: listeners.tls.map(|tls| Connector::tls(tls, &clear)).transpose()?,
            clear,
            admin: listeners.admin,
            process: Some(service.process()),
            started: Some((service, data)),
        })
    }
}

impl Target {
    /// A target without a process of its own: for tests of this program against itself.
    #[cfg(test)]
    pub(crate) fn within_this_process(address: SocketAddr) -> Self {
        let node = Node {
            clear: Connector::clear(address).unwrap(),
            tls: None,
            admin: None,
            process: Some(Process::own()),
            started: None,
        };
        Self {
            nodes: vec![node],
            redis: None,
            recipe: None,
        }
    }

    /// Another service of the same recipe, which has nothing in it. Where nodes share a store, it has one of its own.
    pub(crate) fn another(&self) -> BenchResult<Self> {
        let Some(recipe) = &self.recipe else {
            return Err(Failure::new("this command starts its own service: remove --url"));
        };
        let storage = match recipe.storage {
            Storage::Redis => Storage::Memory,
            own => own,
        };
        let recipe = Recipe {
            storage,
            redis: None,
            ..recipe.clone()
        };
        Ok(Self {
            nodes: vec![Node::start(&recipe)?],
            redis: None,
            recipe: Some(recipe),
        })
    }

    /// The listener in clear to which user agents come.
    pub(crate) fn clear(&self) -> &Connector {
        &self.nodes[0].clear
    }

    /// The listener in clear to which application servers come: the last node's, so that messages have to cross where
    /// there are several.
    pub(crate) fn sending(&self) -> &Connector {
        &self.nodes[self.nodes.len() - 1].clear
    }

    /// The listeners in clear of all nodes.
    pub(crate) fn all_clear(&self) -> Vec<Connector> {
        self.nodes.iter().map(|node| node.clear.clone()).collect()
    }

    /// The listener in clear, or the one over TLS.
    pub(crate) fn connector(&self, over_tls: bool) -> BenchResult<&Connector> {
        match &self.nodes[0].tls {
            _ if !over_tls => Ok(self.clear()),
            Some(connector) => Ok(connector),
            None => Err(Failure::new(
                "the TLS listener of the service is not known: add --tls ADDRESS:PORT",
            )),
        }
    }

    /// The process to which user agents come.
    pub(crate) fn process(&self) -> BenchResult<Process> {
        let process = self.nodes[0].process;
        process.ok_or_else(|| Failure::new("memory is read from the service's process: add --pid"))
    }

    /// The processes of all nodes, if they are known.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.nodes.iter().filter_map(|node| node.process).collect()
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it was started for this, and further ones can be.
    pub(crate) fn is_own(&self) -> bool {
        self.recipe.is_some()
    }

    /// The admin listener of the first node, if it is known.
    pub(crate) fn admin(&self) -> Option<SocketAddr> {
        self.nodes[0].admin
    }

    /// Memory of all nodes, in bytes.
    pub(crate) fn resident_bytes(&self) -> BenchResult<u64> {
        self.processes()
            .iter()
            .map(|process| process.resident_bytes())
            .sum()
    }

    /// Bytes that stored data take: in the memory of Redis, or on disk.
    pub(crate) fn stored_bytes(&self) -> BenchResult<u64> {
        if let Some(redis) = &self.redis {
            return redis.used_bytes();
        }
        let directories = self.nodes.iter().filter_map(|node| node.started.as_ref());
        Ok(directories.map(|(_, data)| allocated(data.path())).sum())
    }

    /// What is under the nodes, if it was started for them.
    pub(crate) fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// Puts the end of the service's log under a failure, if there is one to read.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        if failure.is_quiet() {
            return failure;
        }
        let tails = self.nodes.iter().filter_map(|node| node.started.as_ref());
        let tails: Vec<_> = tails
            .map(|(service, _)| format!("\nthe service's log ends with:\n{}", service.tail()))
            .collect();
        Failure::new(format!("{failure}{}", tails.concat()))
    }
}

/// An empty directory for a service's data.
pub(crate) fn data_directory() -> BenchResult<TempDir> {
    TempDir::with_prefix("push-bench-").doing("making a data directory")
}

/// The size on disk of the files below a directory, in bytes. A file that disappears meanwhile counts as 0.
fn allocated(directory: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => allocated(&entry.path()),
        Ok(about) => about.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

fn beside_this_program() -> BenchResult<PathBuf> {
    let own = std::env::current_exe().doing("looking for push-service")?;
    Ok(own.with_file_name("push-service"))
}

/// A URL without what may be a secret.
fn without_path(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find('/').map_or(url.len(), |slash| host + slash);
    &url[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A secret in the path is not shown.
    #[test]
    fn a_secret_is_not_shown() {
        for (url, shown) in [
            ("https://push.example/s3cret", "https://push.example"),
            ("ws://h:1/", "ws://h:1"),
            ("http://h", "http://h"),
        ] {
            assert_eq!(without_path(url), shown);
        }
    }
}
