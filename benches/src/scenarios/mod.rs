//! What is measured, one file for each situation that a service gets into.
//!
//! A scenario has options, runs against a [`Target`], and returns a report: lines for readers, and
//! figures that have budgets. It returns a failure instead if anything was lost, came twice, or was harmed.

pub(crate) mod absent;
pub(crate) mod connect;
#[cfg(test)]
mod fake;
pub(crate) mod hostile;
pub(crate) mod idle;
mod sending;
pub(crate) mod startup;
pub(crate) mod storm;
#[cfg(test)]
mod tests;
pub(crate) mod throughput;
pub(crate) mod user_agents;

use std::fmt;
use std::time::{Duration, Instant};

use crate::failure::BenchResult;
use crate::process::{CpuTime, CpuUsed, Process};
use crate::redis::{Done, Redis, ServerWork};
use crate::report::Measured;
use crate::target::Target;

/// What came of a scenario. `Display` gives lines for readers, which end without a line break.
pub(crate) trait Report: fmt::Display {
    /// The figures that have budgets.
    fn figures(&self) -> Vec<Measured>;
}

/// The CPU time of all sides, from now on.
struct Meter<'a> {
    service: Vec<(Process, CpuTime)>,
    redis: Option<(&'a Redis, Done)>,
    own_before: CpuTime,
    started: Instant,
}

/// The CPU time of all sides over a while.
#[derive(Clone, Copy, Debug)]
struct Spent {
    /// Of all nodes together; `None` if their processes are not known.
    service: Option<CpuUsed>,
    /// Of the Redis under them, if there is one.
    redis: Option<ServerWork>,
    own: CpuUsed,
    elapsed: Duration,
}

/// The memory of what the Redis under a service holds, if there is one.
fn held_bytes(target: &Target) -> BenchResult<Option<u64>> {
    target.redis().map(Redis::used_bytes).transpose()
}

impl<'a> Meter<'a> {
    fn start(target: &'a Target) -> BenchResult<Self> {
        let processes = target.processes().into_iter();
        let redis = target.redis().map(|redis| Ok((redis, redis.done()?)));
        Ok(Self {
            service: processes
                .map(|process| Ok((process, process.cpu()?)))
                .collect::<BenchResult<_>>()?,
            redis: redis.transpose()?,
            own_before: Process::own().cpu()?,
            started: Instant::now(),
        })
    }

    fn stop(&self) -> BenchResult<Spent> {
        let used = self.service.iter();
        let used = used.map(|(process, before)| Ok(process.cpu()?.since(before)));
        let redis = self.redis.as_ref().map(|(redis, before)| redis.did_since(before));
        Ok(Spent {
            service: match self.service.is_empty() {
                true => None,
                false => Some(used.collect::<BenchResult<Vec<_>>>()?.into_iter().sum()),
            },
            own: Process::own().cpu()?.since(&self.own_before),
            elapsed: self.started.elapsed(),
            redis: redis.transpose()?,
        })
    }
}

impl Spent {
    fn per_second(&self, count: usize) -> f64 {
        count as f64 / self.elapsed.as_secs_f64()
    }

    /// The service's CPU for each of `count` things, in microseconds.
    fn micros_per(&self, count: usize) -> Option<f64> {
        self.service.map(|used| used.micros_per(count))
    }

    /// The same for readers.
    fn cpu_per(&self, count: usize) -> String {
        let micros = self.micros_per(count);
        micros.map_or_else(|| "? µs".to_owned(), |micros| format!("{micros:.1} µs"))
    }

    /// A further line of a report, where there is a Redis: what it did for each of `count` things.
    fn redis_line(&self, count: usize) -> String {
        let line = self.redis.map(|did| format!("\n  {}", did.each(count)));
        line.unwrap_or_default()
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |used: &CpuUsed| used.share_of(self.elapsed) * 100.0;
        write!(f, "in {:.2} s; ", self.elapsed.as_secs_f64())?;
        match &self.service {
            Some(service) => write!(
                f,
                "service {:.0} % of a core ({:.0} % of it in the kernel)",
                percent(service),
                service.in_kernel * 100.0
            )?,
            None => f.write_str("the service's CPU is not known (--pid)")?,
        }
        write!(f, ", load tool {:.0} %", percent(&self.own))
    }
}
