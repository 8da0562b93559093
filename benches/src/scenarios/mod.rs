//! What is measured, one file for each situation that a service gets into.
//!
//! A scenario has options, runs against a [`Target`](crate::target::Target), and returns a report: lines for readers, and
//! figures that have budgets. It returns a failure instead if anything was lost, came twice, or was harmed.

pub(crate) mod absent;
pub(crate) mod connect;
#[cfg(test)]
mod fake;
pub(crate) mod idle;
mod sending;
pub(crate) mod startup;
#[cfg(test)]
mod tests;
pub(crate) mod throughput;
pub(crate) mod user_agents;

use std::fmt;
use std::time::{Duration, Instant};

use crate::failure::Outcome;
use crate::process::{CpuTime, CpuUsed, Process};
use crate::report::Measured;

/// What came of a scenario. `Display` gives lines for readers, which end without a line break.
pub(crate) trait Report: fmt::Display {
    /// The figures that have budgets.
    fn figures(&self) -> Vec<Measured>;
}

/// The CPU time of both sides, from now on.
struct Meter {
    service: Process,
    service_before: CpuTime,
    own_before: CpuTime,
    started: Instant,
}

/// The CPU time of both sides over a while.
#[derive(Clone, Copy, Debug)]
struct Spent {
    service: CpuUsed,
    own: CpuUsed,
    elapsed: Duration,
}

impl Meter {
    fn start(service: Process) -> Outcome<Self> {
        Ok(Self {
            service,
            service_before: service.cpu()?,
            own_before: Process::own().cpu()?,
            started: Instant::now(),
        })
    }

    fn stop(&self) -> Outcome<Spent> {
        Ok(Spent {
            service: self.service.cpu()?.since(&self.service_before),
            own: Process::own().cpu()?.since(&self.own_before),
            elapsed: self.started.elapsed(),
        })
    }
}

impl Spent {
    fn per_second(&self, count: usize) -> f64 {
        count as f64 / self.elapsed.as_secs_f64()
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |used: &CpuUsed| used.share_of(self.elapsed) * 100.0;
        write!(
            f,
            "in {:.2} s; service {:.0} % of a core ({:.0} % of it in the kernel), load tool {:.0} %",
            self.elapsed.as_secs_f64(),
            percent(&self.service),
            self.service.in_kernel * 100.0,
            percent(&self.own),
        )
    }
}
