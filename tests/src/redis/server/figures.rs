//! What a server says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Server;

/// What the server counted of one command.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CommandStats {
    /// How often it was run.
    pub calls: u64,
    /// How long all runs took together.
    pub took: Duration,
}

impl Server {
    /// A section of `INFO`, by its names.
    pub async fn info(&self, section: &str) -> BTreeMap<String, String> {
        info(&self.command(&["INFO", section]).await.text())
    }

    /// What each command has cost since the start, or since `CONFIG RESETSTAT`; by names in small letters,
    /// `config|set` for a command in two words. Subtract two of them for what happened in between.
    pub async fn command_stats(&self) -> BTreeMap<String, CommandStats> {
        let lines = self.info("commandstats").await;
        let stats = lines.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("cmdstat_")?;
            Some((name.to_owned(), CommandStats::parse(value)))
        });
        stats.collect()
    }

    /// Processor time that it has used since the start, in its own code and in the kernel.
    pub async fn cpu(&self) -> Duration {
        let info = self.info("cpu").await;
        let seconds = |name: &str| info[name].parse::<f64>().expect("seconds");
        Duration::from_secs_f64(seconds("used_cpu_user") + seconds("used_cpu_sys"))
    }

    /// Memory that its data and buffers take, in bytes, by its own account.
    pub async fn used_memory(&self) -> u64 {
        self.info("memory").await["used_memory"]
            .parse()
            .expect("a number of bytes")
    }
}

impl CommandStats {
    fn parse(value: &str) -> Self {
        let field = |name: &str| {
            let mut fields = value.split(',').filter_map(|field| field.split_once('='));
            let (_, number) = fields.find(|(key, _)| *key == name).expect("a field of INFO");
            number.parse().expect("a number")
        };
        Self {
            calls: field("calls"),
            took: Duration::from_micros(field("usec")),
        }
    }
}

/// The names and values of an `INFO`, which `CLUSTER INFO` speaks as well.
pub(in crate::redis) fn info(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
