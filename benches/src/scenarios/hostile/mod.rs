//! Hostile peers: what each cheap request costs the service and Redis, and how it slows honest pushes down.
//!
//! ```text
//! for each attack, and for one and for many hostile connections, on a service of its own:
//!   honest     pushes at a modest rate: quiet, then under attack        this thread
//!   field      hostile connections, as fast as the service lets them    a thread of its own, with low priority
//! ```
//!
//! Each row has a time limit: preparing [`PREPARE_WITHIN`], quiet and attack `--seconds` each. Unlike in other
//! measurements the service has its default limits. Hostile peers come from other addresses than honest ones unless
//! they are told to share.

mod attacks;
mod channel;
mod field;
mod ground;
mod honest;
mod table;

use std::time::Duration;

use clap::{Args, ValueEnum as _};

pub(crate) use self::attacks::Attack;
use self::field::Field;
use self::ground::Seen;
use self::honest::{Honest, Latencies};
use super::Meter;
use crate::failure::{BenchResult, Failure};
use crate::machine::Cores;
use crate::report::print;
use crate::service::Storage;
use crate::target::{Target, TargetOptions};

/// How long hostile peers may take to make subscriptions and to fill queues. A service that defends itself makes this
/// slow; then they attack with what they have.
const PREPARE_WITHIN: Duration = Duration::from_secs(8);

/// Options of `hostile`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Hostile {
    /// Only this attack; may be given several times
    #[arg(long, value_enum, value_name = "ATTACK")]
    only: Vec<Attack>,

    /// How many hostile connections there are; may be given several times, and makes a row for each
    #[arg(long, value_name = "N", default_values_t = [1, 400])]
    connections: Vec<usize>,

    /// How long honest pushes are measured, first quiet and then under attack
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    seconds: f64,

    /// Honest pushes per second, over all honest subscriptions
    #[arg(long, value_name = "PER_SECOND", default_value_t = 50.0)]
    rate: f64,

    /// From how many addresses hostile connections come
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=250))]
    addresses: u16,

    /// Hostile connections use the address of the honest peers, and so spend its budgets
    #[arg(long, conflicts_with = "addresses")]
    share_address: bool,

    /// One JSON object for each row instead of a table
    #[arg(long)]
    json: bool,

    /// End with an error if the median honest push takes more than this many times as long under attack
    #[arg(long, value_name = "TIMES")]
    fail_over: Option<f64>,
}

/// The result of one attack.
pub(crate) struct Row {
    attack: Attack,
    connections: usize,
    quiet: Latencies,
    attacked: Latencies,
    seen: Seen,
    /// Shares of a core.
    node: f64,
    redis: Option<f64>,
    /// Growth in bytes, which may be negative.
    node_bytes: f64,
    stored_bytes: f64,
    elapsed: Duration,
}

impl Hostile {
    /// Measures every row, and prints each as soon as it is there.
    pub(crate) async fn run(&self, options: &TargetOptions, cores: Cores) -> BenchResult<()> {
        let mut failed = 0;
        let mut over = 0;
        // Nobody else's service is attacked.
        options.recipe(cores)?;
        if !self.json {
            print(table::HEADINGS)?;
        }
        for attack in Attack::value_variants() {
            if !self.only.is_empty() && !self.only.contains(attack) {
                continue;
            }
            for connections in &self.connections {
                match self.row(*attack, *connections, options, cores).await {
                    Ok(row) => {
                        over += usize::from(self.fail_over.is_some_and(|times| row.ratio() > times));
                        print(if self.json { row.json() } else { row.line() })?;
                    }
                    Err(failure) => {
                        failed += 1;
                        print(format_args!(
                            "{:<22} {connections:>5}  FAILED: {failure}",
                            attack.name()
                        ))?;
                    }
                }
            }
        }
        match (failed, over) {
            (0, 0) => Ok(()),
            (0, over) => Err(Failure::new(format!(
                "{over} attacks slow honest pushes down by more than --fail-over"
            ))),
            (failed, _) => Err(Failure::new(format!("{failed} rows failed"))),
        }
    }

    async fn row(
        &self,
        attack: Attack,
        connections: usize,
        options: &TargetOptions,
        cores: Cores,
    ) -> BenchResult<Row> {
        let options = options.with_default_limits();
        let options = match options.storage() {
            // Two nodes, so that channels displace each other across nodes.
            Storage::Redis if attack == Attack::DuplicateLogin => options.across_nodes(),
            _ => options,
        };
        let target = options.open(cores)?;
        let row = self.on(&target, attack, connections).await;
        row.map_err(|failure| target.explain(failure))
    }

    async fn on(&self, target: &Target, attack: Attack, connections: usize) -> BenchResult<Row> {
        let duration = Duration::from_secs_f64(self.seconds);
        let mut honest = Honest::connect(target, self.rate).await?;
        // Connections, caches and the allocator are warm before anything counts.
        honest.measure(duration.min(Duration::from_secs(1))).await;
        let quiet = honest.measure(duration).await;
        let sources = (!self.share_address).then_some(self.addresses);
        let field = Field::prepare(target, attack, connections, sources, PREPARE_WITHIN).await?;
        let node_before = target.resident_bytes()?;
        let stored_before = target.stored_bytes()?;
        let meter = Meter::start(target)?;
        field.attack();
        let attacked = honest.measure(duration).await;
        let spent = meter.stop()?;
        let (node_after, stored_after) = (target.resident_bytes()?, target.stored_bytes()?);
        let seen = field.end().await?;
        Ok(Row {
            attack,
            connections,
            quiet,
            attacked,
            seen,
            node: spent.service.map_or(0.0, |used| used.share_of(spent.elapsed)),
            redis: spent.redis.map(|did| did.cpu.share_of(spent.elapsed)),
            node_bytes: node_after as f64 - node_before as f64,
            stored_bytes: stored_after as f64 - stored_before as f64,
            elapsed: spent.elapsed,
        })
    }
}

impl Row {
    /// How many times as long the median honest push takes under attack.
    fn ratio(&self) -> f64 {
        self.attacked.quantile(0.5) / self.quiet.quantile(0.5)
    }
}
