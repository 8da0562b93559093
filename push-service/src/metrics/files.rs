//! How many files the process has open, and how many it may have. Connections count as files.

use std::fs;

use prometheus::Registry;
use rustix::process::{Resource, getrlimit};

use super::{Metrics, registration};

/// The open files of this process. `None` if the system does not tell, or sets no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenFiles {
    open: Option<u64>,
    limit: Option<u64>,
}

impl OpenFiles {
    /// Counts them. Off the runtime, because an older system is slow at it.
    pub async fn now() -> Self {
        let counted = tokio::task::spawn_blocking(|| Self {
            open: count(),
            // Asked each time: `prlimit` may change it.
            limit: getrlimit(Resource::Nofile).current,
        });
        let nothing = Self {
            open: None,
            limit: None,
        };
        counted.await.unwrap_or(nothing)
    }

    /// Sets the gauges.
    pub fn show_on(self, metrics: &Metrics) {
        let show = |gauge: &std::sync::OnceLock<prometheus::IntGauge>,
                    register: fn(&Registry) -> prometheus::IntGauge,
                    value: Option<u64>| {
            if let Some(value) = value {
                let gauge = gauge.get_or_init(|| register(&metrics.registry));
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        };
        show(&metrics.files_open, registration::files_open, self.open);
        show(&metrics.files_limit, registration::files_limit, self.limit);
    }
}

/// Linux 6.2 and newer tell the number as the size of the directory. Before, the entries have to be counted.
fn count() -> Option<u64> {
    const OPEN: &str = "/proc/self/fd";
    match fs::metadata(OPEN).ok()?.len() {
        // The directory is open itself meanwhile.
        0 => Some((fs::read_dir(OPEN).ok()?.count() as u64).saturating_sub(1)),
        open => Some(open),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The count follows the files that the process opens, and is the same however the system tells it.
    #[test]
    fn open_files_are_counted() {
        let before = count().unwrap();
        let held: Vec<_> = (0..200).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let after = count().unwrap();
        // Other tests of this process open and close files, too.
        assert!(after.abs_diff(before + 200) < 100, "{before} {after}");
        let entries = fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
        assert!(after.abs_diff(entries) < 100, "{after} {entries}");
        drop(held);
    }
}
