//! The Redis under a service that is measured: started for it, and asked what it did.
//!
//! It keeps everything in memory, saves nothing, and shares the load tool's core: the service's own has to be the
//! service's alone. It knows how to start one server and how to read two of its tables, and nothing of what the service
//! keeps in it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::failure::{BenchResult, Failure, PATIENCE, While as _};
use crate::machine::Cores;
use crate::process::{CpuTime, CpuUsed, Process};

/// How often a server that is starting is asked whether it answers.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Redis {
    child: Child,
    address: SocketAddr,
    // Behind the process, which writes into it until it is gone.
    _directory: TempDir,
}

/// What a server did up to some moment.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    cpu: CpuTime,
    calls: Calls,
}

/// What a server did between two moments.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ServerWork {
    /// Its CPU time, of all its threads.
    pub(crate) cpu: CpuUsed,
    /// What it was asked.
    pub(crate) calls: Calls,
}

/// How often a server did what.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Calls {
    /// Scripts: each is one command of the service's, and one round trip.
    pub(crate) scripts: u64,
    /// Wake-ups that scripts published.
    pub(crate) wake_ups: u64,
    /// All else, which is what scripts call, and the few reads that the service sends by themselves.
    pub(crate) within: u64,
}

impl Redis {
    /// Starts one on a free port, and waits until it answers.
    pub(crate) fn start(cores: Cores) -> BenchResult<Self> {
        let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let directory = TempDir::with_prefix("push-bench-redis-").doing("making a directory for Redis")?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("looking for a free port")?;
        let address = free.local_addr().doing("looking for a free port")?;
        drop(free);
        let mut command = Command::new(&program);
        command
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
            .args([
                "--save",
                "",
                "--appendonly",
                "no",
                "--maxmemory-policy",
                "noeviction",
            ])
            .arg("--dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = cores.start_beside(|| command.spawn())?;
        let child = child.doing(format_args!("starting {}", program.display()))?;
        let redis = Self {
            child,
            address,
            _directory: directory,
        };
        let started = Instant::now();
        while let Err(failure) = redis.ask("PING") {
            if started.elapsed() > PATIENCE {
                return Err(failure);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(redis)
    }

    /// As `storage.url` names it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// What it did so far.
    pub(crate) fn done(&self) -> BenchResult<Done> {
        Ok(Done {
            calls: Calls::read(&self.ask("INFO commandstats")?),
            cpu: Process::new(self.child.id()).cpu()?,
        })
    }

    /// What it did since `earlier`.
    pub(crate) fn did_since(&self, earlier: &Done) -> BenchResult<ServerWork> {
        let now = self.done()?;
        Ok(ServerWork {
            cpu: now.cpu.since(&earlier.cpu),
            calls: now.calls.since(earlier.calls),
        })
    }

    /// The memory of what it holds, in bytes.
    pub(crate) fn used_bytes(&self) -> BenchResult<u64> {
        let info = self.ask("INFO memory")?;
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        line.and_then(|bytes| bytes.trim().parse().ok())
            .ok_or_else(|| Failure::new("Redis does not say what memory it uses"))
    }

    /// Sends a command on a connection of its own, and returns the string that answers it.
    fn ask(&self, command: &str) -> BenchResult<String> {
        let asking = || {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(format!("{command}\r\n").as_bytes())?;
            let mut answers = BufReader::new(stream);
            let mut head = String::new();
            answers.read_line(&mut head)?;
            let bytes = head
                .strip_prefix('$')
                .and_then(|bytes| bytes.trim().parse::<usize>().ok());
            let mut text = vec![0; bytes.unwrap_or(0)];
            answers.read_exact(&mut text)?;
            std::io::Result::Ok(String::from_utf8_lossy(&text).into_owned())
        };
        asking().doing("asking Redis")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Calls {
    /// From lines such as `cmdstat_hset:calls=12,usec=34,…`. What this program asks itself is left out.
    fn read(info: &str) -> Self {
        let mut calls = Self::default();
        for line in info.lines() {
            let read = line.strip_prefix("cmdstat_").and_then(|line| {
                let (name, figures) = line.split_once(":calls=")?;
                let (count, _) = figures.split_once(',')?;
                Some((name, count.parse::<u64>().ok()?))
            });
            match read {
                Some(("evalsha" | "eval", count)) => calls.scripts += count,
                Some(("spublish", count)) => calls.wake_ups += count,
                Some(("info" | "ping", _)) | None => {}
                Some((_, count)) => calls.within += count,
            }
        }
        calls
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            scripts: self.scripts.saturating_sub(earlier.scripts),
            wake_ups: self.wake_ups.saturating_sub(earlier.wake_ups),
            within: self.within.saturating_sub(earlier.within),
        }
    }
}

impl ServerWork {
    /// For each of `count` things, as people read it.
    pub(crate) fn each(&self, count: usize) -> String {
        let per = |calls: u64| calls as f64 / count as f64;
        let Calls {
            scripts,
            wake_ups,
            within,
        } = self.calls;
        format!(
            "Redis: {:.1} µs each, {:.2} scripts (round trips), {:.1} calls within, {:.2} wake-ups",
            self.cpu.micros_per(count),
            per(scripts),
            per(within),
            per(wake_ups),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scripts, wake-ups and the rest are told apart, and what the load tool asks is not counted.
    #[test]
    fn calls_are_counted() {
        let before = Calls::read("# Commandstats\r\ncmdstat_evalsha:calls=1,usec=9,usec_per_call=9.00\r\n");
        let after = Calls::read(
            "cmdstat_evalsha:calls=5,usec=9,usec_per_call=9.00\r\ncmdstat_eval:calls=1,usec=2\r\n\
             cmdstat_hset:calls=7,usec=1\r\ncmdstat_config|get:calls=2,usec=1\r\ncmdstat_info:calls=3,usec=1\r\n\
             cmdstat_spublish:calls=4,usec=1\r\n",
        );
        let expected = Calls {
            scripts: 5,
            wake_ups: 4,
            within: 9,
        };
        assert_eq!(after.since(before), expected);
    }
}
