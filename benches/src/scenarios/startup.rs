//! From nothing to listening, on an empty data directory and again on the same.

use std::fmt;
use std::time::Duration;

use clap::Args;

use super::Report;
use crate::budgets::Figure;
use crate::failure::BenchResult;
use crate::machine::Cores;
use crate::report::Measured;
use crate::service::{Recipe, Service};
use crate::target::{TargetOptions, data_directory};

/// After listening, until what starts in the background has started.
const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// Options of `startup`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Startup {
    /// How many times the service is started, on an empty directory each time; figures are medians
    #[arg(long, value_name = "N", default_value_t = Self::default().times)]
    pub(crate) times: usize,
}

impl Default for Startup {
    fn default() -> Self {
        Self { times: 9 }
    }
}

/// How long it took, and what it took.
pub(crate) struct Started {
    first: Duration,
    again: Duration,
    resident: u64,
    times: usize,
}

impl Startup {
    /// Starts the service, ends it and starts it again on what it left, several times over.
    pub(crate) async fn run(self, target: &TargetOptions, cores: Cores) -> BenchResult<Started> {
        let recipe = Recipe {
            tls: false,
            ..target.recipe(cores)?
        };
        let (mut first, mut again, mut resident) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.times.max(1) {
            let data = data_directory()?;
            first.push(Service::start(&recipe, &data)?.started_in());
            let service = Service::start(&recipe, &data)?;
            again.push(service.started_in());
            tokio::time::sleep(SETTLED_AFTER).await;
            resident.push(service.process().resident_bytes()?);
        }
        Ok(Started {
            first: median(first),
            again: median(again),
            resident: median(resident),
            times: self.times.max(1),
        })
    }
}

impl Report for Started {
    /// The first start: it is the longer one.
    fn figures(&self) -> Vec<Measured> {
        vec![
            (Figure::Startup, self.first.as_secs_f64() * 1e3),
            (Figure::Resident, self.resident as f64),
        ]
    }
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "startup, median of {}: {:.1} ms on an empty directory, {:.1} ms again after a kill; {:.1} MB at rest",
            self.times,
            millis(self.first),
            millis(self.again),
            self.resident as f64 / 1e6,
        )
    }
}

fn median<T: Ord + Copy + Default>(mut values: Vec<T>) -> T {
    values.sort();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
