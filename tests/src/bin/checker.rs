//! The checker by hand: see [`push_tests::checker`].

use std::process::ExitCode;
use std::time::{Duration, Instant};

use push_tests::checker::marathon::{self, Marathon};
use push_tests::checker::rows::{ROWS, Row};
use push_tests::checker::topology::Topology;
use push_tests::checker::trial::{Report, play};
use push_tests::lab;
use push_tests::plan::Plan;
use tokio::task::JoinSet;

const USAGE: &str = "usage: checker [--short] [--only ROW]... [--rounds N] [--minutes N] [--seed N] [--jobs N] [--wait N|all]
       checker --kills N --failovers N [--seed N] [--jobs N] [--wait N|all]
       checker --list
Plays failures against the service and checks what application servers and user agents saw against the promise.
Without --only: all rows, or those of the short form. N rounds (1), or as many as begin within N minutes.
With --kills and --failovers: that many in one run, on embedded storage, Redis, Redis Cluster and Sentinel, and a table.
--wait sets storage.redis.wait_replicas under Sentinel, instead of what the row says.
PUSH_SERVICE_BIN names the binary to test; without it, cargo builds one. Partitions take root.";

/// The arguments of the command line.
struct Options {
    only: Vec<String>,
    is_short: bool,
    rounds: usize,
    minutes: Option<u64>,
    seed: u64,
    jobs: usize,
    list: bool,
    kills: Option<usize>,
    failovers: usize,
    wait: Option<&'static str>,
}

fn main() -> ExitCode {
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if options.list {
        for row in ROWS {
            println!("{:34} {:?}, {:?}", row.id, row.start.topology, row.nemesis);
        }
        return ExitCode::SUCCESS;
    }
    if let Err(why) = lab::enter() {
        println!("checker: everything is on loopback, and rows with partitions are left out: {why}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let broken = match options.kills {
        None => runtime.block_on(run(&options)),
        Some(kills) => runtime.block_on(marathon::run(Marathon {
            kills,
            failovers: options.failovers,
            seed: options.seed,
            jobs: options.jobs,
            wait_replicas: options.wait.unwrap_or("2"),
        })),
    };
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

async fn run(options: &Options) -> usize {
    let began = Instant::now();
    let mut rows: Vec<&'static Row> = Vec::new();
    for row in ROWS {
        let is_chosen = match options.only.is_empty() {
            true => row.is_short || !options.is_short,
            false => options.only.iter().any(|name| name == row.id),
        };
        match row.cannot_be_played() {
            _ if !is_chosen => {}
            Some(why) => println!("left out: {}: {why}", row.id),
            None => rows.push(row),
        }
    }
    println!("checker: {} rows, seed {}", rows.len(), options.seed);
    let mut reports: Vec<Report> = Vec::new();
    let mut trials = JoinSet::new();
    let mut round = 0;
    'rounds: loop {
        for row in &rows {
            let is_over = match options.minutes {
                Some(minutes) => began.elapsed() > Duration::from_secs(60 * minutes),
                None => round >= options.rounds,
            };
            if is_over {
                break 'rounds;
            }
            while trials.len() >= options.jobs {
                reports.extend(finished(trials.join_next().await));
            }
            let (mut row, seed) = (**row, options.seed + round as u64);
            if let (Some(wait), Topology::Sentinel(_)) = (options.wait, row.start.topology) {
                row.start.wait_replicas = wait;
            }
            trials.spawn(async move {
                (
                    row,
                    seed,
                    tokio::spawn(async move { play(&row, seed).await }).await,
                )
            });
        }
        round += 1;
        if rows.is_empty() {
            break;
        }
    }
    while let Some(ended) = trials.join_next().await {
        reports.extend(finished(Some(ended)));
    }
    let broken = reports.iter().filter(|report| !report.is_well()).count();
    let sum = |of: fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
    println!(
        "checker: {} trials, {broken} broken, in {:.0} s: {} messages, {} accepted, {} lost, {} lost by rule, {} repeats; \
         seed {}",
        reports.len(),
        began.elapsed().as_secs_f64(),
        sum(|report| report.verdict.counts.pushes),
        sum(|report| report.verdict.counts.accepted),
        sum(|report| report.verdict.counts.lost),
        sum(|report| report.verdict.counts.lost_by_rule),
        sum(|report| report.verdict.counts.repeats),
        options.seed,
    );
    broken
}

type FinishedTrial = (Row, u64, Result<Report, tokio::task::JoinError>);

/// Prints the result of a trial.
fn finished(ended: Option<Result<FinishedTrial, tokio::task::JoinError>>) -> Option<Report> {
    let (row, seed, report) = ended?.expect("a trial's task ends");
    let report = report.unwrap_or_else(|panic| {
        let why = vec![format!("the trial could not go on: {panic}")];
        push_tests::checker::trial::judge(row.id, seed, &[], Default::default(), why)
    });
    println!("{report}");
    Some(report)
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            only: Vec::new(),
            is_short: false,
            rounds: 1,
            minutes: None,
            seed: Plan::new(0).seed,
            jobs: 3,
            list: false,
            kills: None,
            failovers: 0,
            wait: None,
        };
        while let Some(option) = arguments.next() {
            match option.as_str() {
                "--short" => options.is_short = true,
                "--list" => options.list = true,
                "--only" => {
                    let name = arguments.next()?;
                    let known = ROWS.iter().any(|row| row.id == name);
                    if !known {
                        eprintln!("there is no row {name}; --list names them");
                        return None;
                    }
                    options.only.push(name);
                }
                "--kills" => options.kills = Some(arguments.next()?.parse().ok()?),
                "--failovers" => options.failovers = arguments.next()?.parse().ok()?,
                // Once in a run: it lives as long as the rows.
                "--wait" => options.wait = Some(arguments.next()?.leak()),
                "--rounds" => options.rounds = arguments.next()?.parse().ok()?,
                "--minutes" => options.minutes = Some(arguments.next()?.parse().ok()?),
                "--seed" => options.seed = arguments.next()?.parse().ok()?,
                "--jobs" => options.jobs = arguments.next()?.parse().ok().filter(|jobs| *jobs > 0)?,
                _ => return None,
            }
        }
        Some(options)
    }
}
