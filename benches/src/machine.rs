//! The machine that the measurement has to share: its cores and its limit of open files.
//!
//! Service and load tool each get a core of their own where there are two, so that neither's work shows in the other's
//! figures as waiting. A process that is started inherits both the core and the limit of its parent.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::failure::{BenchResult, While as _};

/// Descriptors that a process needs beside one for each connection.
const OTHER_DESCRIPTORS: u64 = 200;

/// Which cores the two sides run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cores {
    /// A core each.
    Apart {
        /// The service's.
        service: usize,
        /// The load tool's.
        load: usize,
    },
    /// Wherever the system puts them.
    Shared,
}

impl Cores {
    /// The first two cores that this process may use.
    pub(crate) fn choose() -> BenchResult<Self> {
        let allowed = sched_getaffinity(None).doing("asking which cores there are")?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        Ok(match (cores.next(), cores.next()) {
            (Some(service), Some(load)) => Self::Apart { service, load },
            _ => Self::Shared,
        })
    }

    /// Runs `start` on the service's core, so that the process that it starts stays there, and comes back.
    pub(crate) fn start_service<T>(self, start: impl FnOnce() -> T) -> BenchResult<T> {
        let Self::Apart { service, load } = self else {
            return Ok(start());
        };
        stay_on(service)?;
        let started = start();
        stay_on(load)?;
        Ok(started)
    }

    /// Runs `start` on the load tool's core, where what it starts stays as well.
    pub(crate) fn start_beside<T>(self, start: impl FnOnce() -> T) -> BenchResult<T> {
        if let Self::Apart { load, .. } = self {
            stay_on(load)?;
        }
        Ok(start())
    }

    /// For the reader of the figures.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Apart { service, load } => format!("service on core {service}, load tool on core {load}"),
            Self::Shared => {
                "one core for both: times and rates are less exact, CPU figures are usable".to_owned()
            }
        }
    }
}

fn stay_on(core: usize) -> BenchResult<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).doing(format_args!("staying on core {core}"))
}

/// Raises the limit of open files as far as it goes, and returns how many connections one process can hold.
pub(crate) fn raise_open_files() -> BenchResult<usize> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).doing("raising the limit of open files")?;
    let files = limit.maximum.unwrap_or(u64::from(u32::MAX));
    Ok(usize::try_from(files.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(usize::MAX))
}
