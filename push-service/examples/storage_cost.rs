//! What a stored message costs with embedded storage: CPU time per message, and how long a 201 waits.
//!
//! ```text
//! cargo run --release --example storage_cost -- [directory]
//! ```
//!
//! For each number of senders, every sender enqueues bodies of 1,000 bytes for 1,000 user agents and acknowledges each
//! message as soon as it is stored. CPU time is that of the whole process, the store's own threads included. The first
//! rows send at a fixed pace, as in the budgets of `benches/src/budgets.rs`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use push_protocol::{Coding, Content, SubscriptionId, SubscriptionName, Ttl, Urgency, UserAgentId};
use push_service::storage::embedded::{Embedded, Options};
use push_service::storage::{
    Caps, Confirm, Enqueue, Enqueued, NoSessions, QueueLimits, Removal, SenderTag, Storage, Subscribe,
};

const USER_AGENTS: usize = 1_000;
const MESSAGES: usize = 100_000;
const BODY_BYTES: usize = 1_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chosen = std::env::args().nth(1);
    let directory = chosen.unwrap_or_else(|| format!("/tmp/storage-cost-{}", std::process::id()));
    let started = Instant::now();
    let storage = Arc::new(Embedded::open(Options::new(&directory, Arc::new(NoSessions)))?);
    println!("opened in {:?}, resident {} KB", started.elapsed(), resident_kb());
    for n in 0..USER_AGENTS {
        storage.subscribe(subscribe(n)).await?;
    }
    for per_second in [1_000, 10_000] {
        let work = Work {
            senders: 64,
            acknowledge: true,
            per_second: Some(per_second),
        };
        work.run(&storage).await?;
    }
    for (senders, acknowledge) in [(1, true), (16, false), (16, true), (64, false), (64, true)] {
        let work = Work {
            senders,
            acknowledge,
            per_second: None,
        };
        work.run(&storage).await?;
    }
    println!("resident {} KB", resident_kb());
    storage.close().await?;
    let started = Instant::now();
    let storage = Embedded::open(Options::new(&directory, Arc::new(NoSessions)))?;
    println!("reopened in {:?}: {:?}", started.elapsed(), storage.usage());
    storage.close().await?;
    std::fs::remove_dir_all(Path::new(&directory))?;
    Ok(())
}

/// One row of the report.
#[derive(Clone, Copy)]
struct Work {
    senders: usize,
    acknowledge: bool,
    per_second: Option<usize>,
}

impl Work {
    async fn run(self, storage: &Arc<Embedded>) -> Result<(), Box<dyn std::error::Error>> {
        let messages = match (self.per_second, self.senders) {
            (Some(per_second), _) => per_second * 5,
            (None, 1) => MESSAGES / 20,
            _ => MESSAGES,
        };
        let next = Arc::new(AtomicUsize::new(0));
        let (cpu, started) = (cpu_time(), Instant::now());
        let senders: Vec<_> = (0..self.senders)
            .map(|_| tokio::spawn(self.send(Arc::clone(storage), Arc::clone(&next), messages, started)))
            .collect();
        let mut waits = Vec::with_capacity(messages);
        for sender in senders {
            waits.extend(sender.await?);
        }
        let (cpu, elapsed) = (cpu_time() - cpu, started.elapsed());
        waits.sort_unstable();
        let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize].as_secs_f64() * 1_000.0;
        println!(
            "{:>2} senders{}{}: {:>6.0}/s, {:>5.1} µs CPU per message, p50 {:.2} p99 {:.2} max {:.1} ms",
            self.senders,
            if self.acknowledge { " + ack" } else { "      " },
            self.per_second.map_or(String::new(), |n| format!(" at {n}/s")),
            messages as f64 / elapsed.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / messages as f64,
            at(0.5),
            at(0.99),
            at(1.0),
        );
        Ok(())
    }

    async fn send(
        self,
        storage: Arc<Embedded>,
        next: Arc<AtomicUsize>,
        messages: usize,
        started: Instant,
    ) -> Vec<Duration> {
        let body = Bytes::from(vec![0xa5; BODY_BYTES]);
        let mut waits = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= messages {
                return waits;
            }
            if let Some(per_second) = self.per_second {
                let due = started + Duration::from_secs_f64(n as f64 / per_second as f64);
                tokio::time::sleep_until(due.into()).await;
            }
            let asked = Instant::now();
            let answer = storage.enqueue(enqueue(n, body.clone())).await;
            waits.push(asked.elapsed());
            let Ok(Enqueued::Stored { id, .. }) = answer else {
                panic!("not stored: {answer:?}");
            };
            if self.acknowledge {
                let (ids, removal) = ([id], Removal::Acknowledged);
                let gone = storage.acknowledge(user_agent(n), &ids, removal, Confirm::Soon, None);
                assert_eq!(gone.await.ok(), Some(vec![true]));
            }
        }
    }
}

fn user_agent(n: usize) -> UserAgentId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(
        &((n % USER_AGENTS) as u64 + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_be_bytes(),
    );
    UserAgentId(id)
}

fn subscribe(n: usize) -> Subscribe {
    Subscribe {
        user_agent: user_agent(n),
        name: SubscriptionName([1; 16]),
        fresh_id: SubscriptionId([1; 8]),
        key: None,
        seat: None,
        limit: 100,
        only_known: false,
    }
}

fn enqueue(n: usize, body: Bytes) -> Enqueue {
    Enqueue {
        user_agent: user_agent(n),
        subscription: SubscriptionId([1; 8]),
        nonce: n as u64,
        ttl: Ttl::from_secs(86_400),
        urgency: Urgency::Normal,
        topic: None,
        content: Content {
            coding: Coding::Aes128gcm,
            media_type: None,
            body,
        },
        key: None,
        sealed_by: push_protocol::capability::KeyId(0),
        receipts: None,
        sender: Some(SenderTag::of_key(push_protocol::KeyDigest([1; 32]))),
        caps: Caps::default(),
        queue_limits: QueueLimits {
            messages: 100_000,
            bytes: 1 << 40,
        },
        rate: None,
    }
}

/// User and system time of this process so far. Fields 14 and 15 of `/proc/self/stat`, in ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default()
}
