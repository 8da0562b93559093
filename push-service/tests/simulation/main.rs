//! Both ends of the protocol against each other: the service's session over real storage, the user agent's session with
//! what it keeps, and between them the real wire on a network that loses connections, in virtual time.
//!
//! Each seed is a world of its own, the same one each time. The [`books`] say what was promised; a world in which a
//! promise is broken is shown with its seed, the rule, and what happened last.
//!
//! `docs/simulation.md` says what is simulated, what is promised, and how to repeat a seed.

mod actions;
mod agent;
mod application;
mod books;
mod chance;
mod closing;
mod compare;
mod network;
mod node;
mod plant;
mod steps;
mod trace;
mod troubles;
mod turn;
mod weather;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use books::{Counts, Violation};
use plant::{Plant, Row};
use world::World;

const USAGE: &str = "\
Both ends of the protocol against each other, in worlds that are drawn from seeds.

usage: cargo test --package push-service --test simulation [-- OPTIONS]

  --seeds N      the worlds 0 to N - 1 (10,000, and every planted bug, if nothing is asked for)
  --seed S       one world, with the last lines of what happens in it
  --lines N      so many of them (120)
  --plant BUG    with a bug planted: --seeds looks for the first world that shows it
  --survey       with --seeds: all of them, and how many break which rule
  --help         this, and the bugs
";

/// Worlds of a run without arguments.
const SEEDS: u64 = 10_000;

/// Lines of a world that are shown, unless it is said otherwise.
const LINES: usize = 120;

/// Every planted bug has to show itself within so many worlds.
const PLANTED_WITHIN: u64 = 2_000;

#[derive(Default)]
struct Options {
    seeds: Option<u64>,
    seed: Option<u64>,
    lines: Option<u64>,
    plant: Option<&'static Row>,
    survey: bool,
    help: bool,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(what) => {
            eprintln!("{what}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if options.help {
        println!("{USAGE}\nBugs:");
        for row in plant::ALL {
            println!("  {:<20}{}", row.name, row.what);
        }
        return ExitCode::SUCCESS;
    }
    let plant = options.plant.map(|row| row.plant);
    if options.survey {
        survey(options.seeds.unwrap_or(SEEDS), plant);
        return ExitCode::SUCCESS;
    }
    let passed = match (options.seed, options.seeds) {
        (Some(seed), _) => show(seed, plant, options.lines.map_or(LINES, |lines| lines as usize)),
        (None, Some(seeds)) if options.plant.is_none() => run(seeds),
        (None, seeds) => match options.plant {
            Some(row) => finds(row, seeds.unwrap_or(PLANTED_WITHIN)),
            None => run(SEEDS) && plant::ALL.iter().all(|row| finds(row, PLANTED_WITHIN)),
        },
    };
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match argument.as_str() {
            "--seeds" => options.seeds = Some(number(value()?)?),
            "--seed" => options.seed = Some(number(value()?)?),
            "--lines" => options.lines = Some(number(value()?)?),
            "--plant" => {
                let name = value()?;
                let row = plant::ALL.iter().find(|row| row.name == name);
                options.plant = Some(row.ok_or(format!("there is no bug '{name}'"))?);
            }
            "--survey" => options.survey = true,
            "--help" | "-h" => options.help = true,
            // What the test runner of other targets is told concerns none of this.
            "--quiet" | "-q" | "--nocapture" => {}
            _ => return Err(format!("what is {argument}?")),
        }
    }
    Ok(options)
}

/// One world, and what came of it.
fn world(seed: u64, plant: Option<Plant>) -> (Counts, Option<Violation>) {
    let lived = catch_unwind(AssertUnwindSafe(|| World::new(seed, plant).run()));
    match lived {
        Ok(books) => (books.counts, books.violation),
        Err(_) => {
            let what = "a session, storage or the simulation panicked".to_owned();
            let rule = "panic";
            (Counts::default(), Some(Violation { rule, what }))
        }
    }
}

/// Many worlds; shows the first one that breaks a promise.
fn run(seeds: u64) -> bool {
    let begun = Instant::now();
    let (counts, broken) = many(seeds, None);
    let took = begun.elapsed();
    if let Some((seed, _)) = broken {
        return show(seed, None, LINES);
    }
    println!(
        "{seeds} worlds kept every promise, in {:.1} s",
        took.as_secs_f64()
    );
    println!("{counts:#?}");
    true
}

/// Looks for the first world that shows a planted bug, and whether it's blamed on the right rule.
fn finds(row: &'static Row, seeds: u64) -> bool {
    let (_, broken) = many(seeds, Some(row.plant));
    let Some((seed, violation)) = broken else {
        println!("{:<20}NOT FOUND in {seeds} worlds", row.name);
        return false;
    };
    let right = row.rules.contains(&violation.rule);
    let (name, rule, what) = (row.name, violation.rule, violation.what);
    let verdict = if right {
        "found"
    } else {
        "BLAMED ON THE WRONG RULE"
    };
    println!("{name:<20}{verdict} after {} worlds, {rule}: {what}", seed + 1);
    right
}

/// Spreads worlds over the machine's cores. Stops at the first broken promise, by seed.
fn many(seeds: u64, plant: Option<Plant>) -> (Counts, Option<(u64, Violation)>) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (next, broken) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new((Counts::default(), None::<(u64, Violation)>));
    let work = || {
        while !broken.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            if plant.is_none() && seed.is_multiple_of(1_000) && seed > 0 {
                eprintln!("{seed} worlds");
            }
            let (counts, violation) = world(seed, plant);
            let Ok(mut total) = total.lock() else { return };
            total.0.add(&counts);
            if let Some(violation) = violation {
                broken.store(true, Ordering::Relaxed);
                if total.1.as_ref().is_none_or(|(earlier, _)| seed < *earlier) {
                    total.1 = Some((seed, violation));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    total.into_inner().unwrap_or_default()
}

/// Every broken promise, by rule, with the first seeds that show it.
fn survey(seeds: u64, plant: Option<Plant>) {
    let mut rules: BTreeMap<&str, Vec<(u64, String)>> = BTreeMap::new();
    for seed in 0..seeds {
        if let (_, Some(Violation { rule, what })) = world(seed, plant) {
            rules.entry(rule).or_default().push((seed, what));
        }
    }
    for (rule, broken) in rules {
        println!("{rule}: {} of {seeds} worlds", broken.len());
        for (seed, what) in broken.into_iter().take(4) {
            println!("  seed {seed}: {what}");
        }
    }
}

/// One world, with what happened last.
fn show(seed: u64, plant: Option<Plant>, lines: usize) -> bool {
    trace::begin();
    let (counts, violation) = world(seed, plant);
    for line in trace::end(lines) {
        println!("{line}");
    }
    match violation {
        None => {
            println!("{counts:#?}");
            println!("seed {seed}: every promise was kept");
            true
        }
        Some(Violation { rule, what }) => {
            println!("seed {seed}: {rule}: {what}");
            println!("again: cargo test --package push-service --test simulation -- --seed {seed}");
            false
        }
    }
}
