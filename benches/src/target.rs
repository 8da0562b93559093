//! The service that is measured: one that was started for it, or one that runs already.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use clap::Args;
use tempfile::TempDir;

use crate::door::Door;
use crate::failure::{Failure, Outcome, While as _};
use crate::machine::Cores;
use crate::process::Process;
use crate::service::{Recipe, Service, Storage};

/// Which service is measured.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetOptions {
    /// The push-service program to start; by default the one that lies beside this program
    #[arg(long, value_name = "PATH", help_heading = "The service")]
    service_bin: Option<PathBuf>,

    /// Where the service that is started keeps its messages
    #[arg(long, value_enum, default_value = "embedded", help_heading = "The service")]
    storage: Storage,

    /// An environment variable for the service that is started, such as
    /// PUSH_SERVICE__CHANNELS__IN_FLIGHT=64; may be given several times
    #[arg(long, value_name = "NAME=VALUE", help_heading = "The service")]
    env: Vec<String>,

    /// Measure a service that runs already, at this http:// URL. Its limits of connections per address and of pushes
    /// per second have to be off
    #[arg(long, value_name = "URL", requires = "pid", conflicts_with_all = ["service_bin", "env"], help_heading = "The service")]
    url: Option<String>,

    /// The process id of that service: CPU time and memory are read from /proc
    #[arg(long, requires = "url", help_heading = "The service")]
    pid: Option<u32>,

    /// The TLS listener of that service, as ADDRESS:PORT
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        requires = "url",
        help_heading = "The service"
    )]
    tls: Option<SocketAddr>,
}

/// A service, ready to be measured. If it was started for this, dropping it ends it.
pub(crate) struct Target {
    clear: Door,
    tls: Option<Door>,
    process: Process,
    /// The service before its data: it has to end first.
    started: Option<(Service, TempDir)>,
}

impl TargetOptions {
    /// Starts the service, or finds the one that runs.
    pub(crate) fn open(&self, cores: Cores) -> Outcome<Target> {
        match (&self.url, self.pid) {
            (Some(url), Some(pid)) => Ok(Target {
                clear: Door::clear(address_of(url)?)?,
                tls: self.tls.map(Door::tls).transpose()?,
                process: Process::new(pid),
                started: None,
            }),
            _ => {
                let data = data_directory()?;
                let service = Service::start(&self.recipe(cores)?, &data)?;
                Target::of(service, data)
            }
        }
    }

    /// How to start a service of one's own.
    pub(crate) fn recipe(&self, cores: Cores) -> Outcome<Recipe> {
        if self.url.is_some() {
            return Err(Failure::new("this needs a service of its own: leave --url out"));
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
            tls: true,
            environment: self.env.clone(),
            cores,
        })
    }

    /// For the reader of the figures.
    pub(crate) fn describe(&self) -> String {
        match (&self.url, self.storage) {
            (Some(url), _) => format!("service at {url}"),
            (None, Storage::Embedded) => "embedded storage on disk".to_owned(),
            (None, Storage::Memory) => "storage in memory".to_owned(),
        }
    }
}

impl Target {
    fn of(service: Service, data: TempDir) -> Outcome<Self> {
        let listeners = service.listeners()?;
        Ok(Self {
            clear: Door::clear(listeners.http)?,
            tls: listeners.tls.map(Door::tls).transpose()?,
            process: service.process(),
            started: Some((service, data)),
        })
    }

    /// A target without a process of its own: for tests of this program against itself.
    #[cfg(test)]
    pub(crate) fn within_this_process(address: SocketAddr) -> Self {
        Self {
            clear: Door::clear(address).unwrap(),
            tls: None,
            process: Process::own(),
            started: None,
        }
    }

    /// The listener in clear.
    pub(crate) fn clear(&self) -> &Door {
        &self.clear
    }

    /// The listener in clear, or the one over TLS.
    pub(crate) fn door(&self, over_tls: bool) -> Outcome<&Door> {
        match &self.tls {
            _ if !over_tls => Ok(&self.clear),
            Some(door) => Ok(door),
            None => Err(Failure::new("where is the TLS listener? say so with --tls")),
        }
    }

    /// The service's process.
    pub(crate) fn process(&self) -> Process {
        self.process
    }

    /// Puts the end of the service's log under a failure, if there is one to read.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match &self.started {
            Some((service, _)) => Failure::new(format!(
                "{failure}\nthe service's log ends with:\n{}",
                service.tail()
            )),
            None => failure,
        }
    }
}

/// An empty directory for a service's data.
pub(crate) fn data_directory() -> Outcome<TempDir> {
    TempDir::with_prefix("push-bench-").doing("making a data directory")
}

fn beside_this_program() -> Outcome<PathBuf> {
    let own = std::env::current_exe().doing("looking for push-service")?;
    Ok(own.with_file_name("push-service"))
}

fn address_of(url: &str) -> Outcome<SocketAddr> {
    let host = url
        .strip_prefix("http://")
        .ok_or_else(|| Failure::new("--url is an http:// URL; for TLS say --tls as well"))?;
    let host = host.trim_end_matches('/');
    let found = host.to_socket_addrs().doing(format_args!("looking up {host}"))?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| Failure::new(format!("{host} has no address")))
}
