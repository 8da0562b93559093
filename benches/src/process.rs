//! What the system knows about a running process: CPU time, memory, descriptors. Read from `/proc`, without its help.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::failure::{BenchResult, Failure, While as _};

/// A process to be looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    id: u32,
}

/// CPU time used up to some moment.
#[derive(Clone, Debug)]
pub(crate) struct CpuTime {
    /// Of each thread, exactly.
    threads: BTreeMap<u32, Duration>,
    /// Of the whole process, in the clock's ticks: in user space, and in the kernel for it.
    user: Duration,
    system: Duration,
}

/// CPU time used between two moments.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct CpuUsed {
    /// All of it.
    pub(crate) total: Duration,
    /// The share that was spent in the kernel, from 0 to 1, as far as ticks can tell.
    pub(crate) in_kernel: f64,
}

impl Process {
    /// The process with this id.
    pub(crate) fn new(id: u32) -> Self {
        Self { id }
    }

    /// This program itself.
    pub(crate) fn own() -> Self {
        Self::new(std::process::id())
    }

    /// CPU time used so far.
    pub(crate) fn cpu(self) -> BenchResult<CpuTime> {
        let stat = self.read("stat")?;
        let (user, system) = ticks(&stat).ok_or_else(|| Failure::new("/proc: stat is not as expected"))?;
        Ok(CpuTime {
            threads: self.threads()?,
            user,
            system,
        })
    }

    /// Memory in use, in bytes.
    pub(crate) fn resident_bytes(self) -> BenchResult<u64> {
        // The roll-up counts pages; `status` shows counters that lag behind by some hundred kilobytes.
        let text = self.read("smaps_rollup").or_else(|_| self.read("status"))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Rss:").or(line.strip_prefix("VmRSS:")));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .map(|kilobytes| kilobytes * 1024)
            .ok_or_else(|| Failure::new("/proc: no resident memory"))
    }

    /// The most memory that it had in use, in bytes: ever, or since [`Self::forget_peak`].
    pub(crate) fn peak_bytes(self) -> BenchResult<u64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .map(|kilobytes| kilobytes * 1024)
            .ok_or_else(|| Failure::new("/proc: no peak of memory"))
    }

    /// Counts [`Self::peak_bytes`] from now on (proc(5), `clear_refs`).
    pub(crate) fn forget_peak(self) -> BenchResult<()> {
        let path = format!("/proc/{}/clear_refs", self.id);
        fs::write(&path, "5").doing(path)
    }

    /// What it has written to disks, in bytes, as far as the system counts it when it is written to its cache (proc(5), `io`).
    pub(crate) fn written_bytes(self) -> BenchResult<u64> {
        let io = self.read("io")?;
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        line.and_then(|bytes| bytes.parse().ok())
            .ok_or_else(|| Failure::new("/proc: no bytes written"))
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(self) -> BenchResult<usize> {
        let directory = format!("/proc/{}/fd", self.id);
        Ok(fs::read_dir(&directory).doing(&directory)?.count())
    }

    fn threads(self) -> BenchResult<BTreeMap<u32, Duration>> {
        let directory = format!("/proc/{}/task", self.id);
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(&directory).doing(&directory)? {
            let name = entry.doing(&directory)?.file_name();
            // A thread that ends between the two reads is missing from both samples or from the later one.
            let Some(thread) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let Ok(stat) = fs::read_to_string(format!("{directory}/{thread}/schedstat")) else {
                continue;
            };
            threads.insert(thread, exact(&stat));
        }
        Ok(threads)
    }

    fn read(self, file: &str) -> BenchResult<String> {
        let path = format!("/proc/{}/{file}", self.id);
        fs::read_to_string(&path).doing(path)
    }
}

impl CpuTime {
    /// Used so far by the thread that asks, and by no other.
    pub(crate) fn of_this_thread() -> BenchResult<Self> {
        let read = |file: &str| {
            let path = format!("/proc/thread-self/{file}");
            fs::read_to_string(&path).doing(path)
        };
        let unexpected = || Failure::new("/proc: stat is not as expected");
        let (user, system) = ticks(&read("stat")?).ok_or_else(unexpected)?;
        Ok(Self {
            threads: BTreeMap::from([(0, exact(&read("schedstat")?))]),
            user,
            system,
        })
    }

    /// What was used since `earlier`.
    ///
    /// Threads are exact to the nanosecond; but what a thread used that has ended since is known to the process alone, to
    /// a tick.
    pub(crate) fn since(&self, earlier: &Self) -> CpuUsed {
        let user = self.user.saturating_sub(earlier.user);
        let system = self.system.saturating_sub(earlier.system);
        let all_live = earlier
            .threads
            .keys()
            .all(|thread| self.threads.contains_key(thread));
        let exact = self.threads.iter().map(|(thread, used)| {
            used.saturating_sub(earlier.threads.get(thread).copied().unwrap_or_default())
        });
        let total = if all_live { exact.sum() } else { user + system };
        let in_kernel = system.as_secs_f64() / (user + system).as_secs_f64().max(f64::MIN_POSITIVE);
        CpuUsed { total, in_kernel }
    }
}

impl std::iter::Sum for CpuUsed {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let mut total = Duration::ZERO;
        let mut in_kernel = Duration::ZERO;
        for used in all {
            total += used.total;
            in_kernel += used.total.mul_f64(used.in_kernel);
        }
        let in_kernel = in_kernel.as_secs_f64() / total.as_secs_f64().max(f64::MIN_POSITIVE);
        Self { total, in_kernel }
    }
}

impl CpuUsed {
    /// Microseconds for each of `count` things.
    pub(crate) fn micros_per(&self, count: usize) -> f64 {
        self.total.as_secs_f64() * 1e6 / count as f64
    }

    /// The share of one core over `elapsed`, from 0 to 1 for each thread.
    pub(crate) fn share_of(&self, elapsed: Duration) -> f64 {
        self.total.as_secs_f64() / elapsed.as_secs_f64()
    }
}

/// The first field of `schedstat`.
fn exact(schedstat: &str) -> Duration {
    let nanoseconds = schedstat.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// `utime` and `stime`: fields 14 and 15. The second field, the name in parentheses, may hold spaces.
fn ticks(stat: &str) -> Option<(Duration, Duration)> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11).map(str::parse::<u64>);
    let a_second = rustix::param::clock_ticks_per_second() as f64;
    let mut next = || Some(Duration::from_secs_f64(fields.next()?.ok()? as f64 / a_second));
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;

    /// CPU time is what was spent, not what went by; memory and descriptors are those of the process.
    #[test]
    fn a_busy_process_is_seen() {
        let own = Process::own();
        let before = own.cpu().unwrap();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(50) {
            black_box(0);
        }
        let used = own.cpu().unwrap().since(&before);
        assert!(used.total > Duration::from_millis(5), "{used:?}");
        assert!(own.resident_bytes().unwrap() > 100_000);
        assert!(own.peak_bytes().unwrap() > 100_000);
        let twice: CpuUsed = [used, used].into_iter().sum();
        assert_eq!(twice.total, 2 * used.total);
        assert!(own.descriptors().unwrap() > 2);
    }

    /// proc(5): the name of a program may hold anything, a parenthesis and spaces too.
    #[test]
    fn names_do_not_confuse() {
        let stat = "12 (a) b c) S 1 2 3 4 5 6 7 8 9 10 300 200 0 0";
        let a_second = rustix::param::clock_ticks_per_second() as f64;
        let (user, system) = ticks(stat).unwrap();
        assert_eq!((user.as_secs_f64() * a_second).round() as u64, 300);
        assert_eq!((system.as_secs_f64() * a_second).round() as u64, 200);
    }
}
