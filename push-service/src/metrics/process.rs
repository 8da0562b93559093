//! What the operating system says of the process, under the names that every program exports.
//!
//! It is read when a text is made. Where the operating system does not tell, as without `/proc`, these lines are missing. Open
//! files are not counted here: that takes as long as there are files.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Counter, Gauge, IntGauge, Opts, Registry, TextEncoder};

use super::family::register;

/// What `/proc/self/stat` says.
#[derive(PartialEq, Debug)]
struct Usage {
    cpu_seconds: f64,
    resident_bytes: u64,
}

/// The lines, for a process that started then.
pub(super) fn render(started: SystemTime) -> String {
    // Made anew for each text: what the operating system counts cannot be set in a counter.
    let registry = Registry::new();
    let help = "When the process started, in seconds since 1970";
    let start = Gauge::new("process_start_time_seconds", help);
    register(&registry, start).set(since_1970(started));
    if let Some(usage) = usage() {
        let cpu = Opts::new(
            "process_cpu_seconds_total",
            "CPU time of the process, in user and system mode",
        );
        register(&registry, Counter::with_opts(cpu)).inc_by(usage.cpu_seconds);
        let memory = IntGauge::new("process_resident_memory_bytes", "Resident memory of the process");
        register(&registry, memory).set(i64::try_from(usage.resident_bytes).unwrap_or(i64::MAX));
    }
    TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap_or_default()
}

/// A time as Prometheus has it.
pub(super) fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(target_os = "linux")]
fn usage() -> Option<Usage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let ticks = rustix::param::clock_ticks_per_second();
    parse(&stat, ticks, rustix::param::page_size() as u64)
}

#[cfg(not(target_os = "linux"))]
fn usage() -> Option<Usage> {
    None
}

/// The fields 14, 15 and 24 of proc(5). The name of the program, field 2, may have spaces and parentheses in it.
fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Usage> {
    const AFTER_THE_NAME: usize = 3;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - AFTER_THE_NAME)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    Some(Usage {
        cpu_seconds: ticks as f64 / ticks_per_second as f64,
        resident_bytes: field(24)? * page_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields are found whatever the program is called, and a text that is not one of proc(5) is no usage.
    #[test]
    fn usage_is_read_from_the_fields_of_proc() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 5 0 100 1000000 300 18446744073709551615";
        assert_eq!(
            parse(stat, 100, 4096),
            Some(Usage {
                cpu_seconds: 2.0,
                resident_bytes: 300 * 4096
            })
        );
        for other in [
            "",
            "42",
            "42 (a) S 1 2",
            "42 (a) S 1 42 42 0 -1 4194560 900 0 0 0 many",
        ] {
            assert_eq!(parse(other, 100, 4096), None, "{other}");
        }
    }

    /// The lines have the names that every program exports, and values of this process.
    #[test]
    fn the_process_has_its_lines() {
        let text = render(UNIX_EPOCH + std::time::Duration::from_millis(1_500));
        assert!(text.contains("\nprocess_start_time_seconds 1.5\n"), "{text}");
        if cfg!(target_os = "linux") {
            assert!(
                text.contains("# TYPE process_cpu_seconds_total counter"),
                "{text}"
            );
            let memory = text
                .lines()
                .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
            let memory: u64 = memory.and_then(|bytes| bytes.parse().ok()).expect("a number");
            assert!(memory > 1 << 20, "{text}");
        }
    }
}
