//! The output: a table for people, JSON for programs.

use std::fmt::Write as _;

use serde_json::json;

use super::Row;

/// The head of the table.
pub(super) const HEADINGS: &str = "\
attack                 conns       sent/s   node  Redis    node +   store +    p50 quiet → attacked         p99 quiet → attacked         failed  readyz  answers";

impl Row {
    /// One line of the table.
    pub(super) fn line(&self) -> String {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let redis = self.redis.map_or_else(|| "–".to_owned(), percent);
        let mut answers = String::new();
        for (status, count) in &self.seen.statuses {
            // A String takes every write.
            let _ = write!(answers, "{status}: {count}  ");
        }
        if self.seen.broken > 0 {
            let _ = write!(answers, "ended: {}  ", self.seen.broken);
        }
        if self.seen.unprepared > 0 {
            let _ = write!(answers, "never came: {}", self.seen.unprepared);
        }
        format!(
            "{:<22} {:>5} {:>12.0} {:>6} {:>6} {:>9} {:>9}  {}  {}  {:>6} {:>7}  {}",
            self.attack.name(),
            self.connections,
            self.per_second(),
            percent(self.node),
            redis,
            size(self.node_bytes),
            size(self.stored_bytes),
            self.times(0.5),
            self.times(0.99),
            self.attacked.failed,
            format!(
                "{}/{}",
                self.attacked.asked - self.attacked.not_ready,
                self.attacked.asked
            ),
            answers.trim_end(),
        )
    }

    /// One JSON object.
    pub(super) fn json(&self) -> String {
        let times = |latencies: &super::Latencies| {
            json!({
                "p50_ms": latencies.quantile(0.5),
                "p99_ms": latencies.quantile(0.99),
                "failed": latencies.failed,
                "readyz_asked": latencies.asked,
                "readyz_failed": latencies.not_ready,
            })
        };
        let row = json!({
            "attack": self.attack.name(),
            "connections": self.connections,
            "sent_per_second": self.per_second(),
            "node_share": self.node,
            "redis_share": self.redis,
            "node_bytes": self.node_bytes,
            "stored_bytes": self.stored_bytes,
            "quiet": times(&self.quiet),
            "attacked": times(&self.attacked),
            "ratio": self.ratio(),
            "answers": self.seen.statuses,
            "ended": self.seen.broken,
            "never_came": self.seen.unprepared,
        });
        row.to_string()
    }

    fn per_second(&self) -> f64 {
        self.seen.sent as f64 / self.elapsed.as_secs_f64()
    }

    fn times(&self, quantile: f64) -> String {
        let (quiet, attacked) = (self.quiet.quantile(quantile), self.attacked.quantile(quantile));
        let ratio = format!("({:.1} times)", attacked / quiet);
        format!("{quiet:>6.2} → {attacked:>7.2} ms {ratio:<13}")
    }
}

fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes.abs() >= 1e6 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.0} KB", bytes / 1e3),
    }
}
