//! How a simulation is run from the command line: many worlds, one world, and planted bugs.
//!
//! Guarantees that a world with a broken promise is shown with its seed, the rule, the last events, and the command
//! that repeats it; and that a run without arguments fails unless every planted bug is found by the right rule. It
//! does not know what a world is.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::trace;

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

/// A bug that can be planted, what it does, and the rules of which the checker must name one.
pub(crate) struct Row<Plant> {
    pub(crate) plant: Plant,
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) rules: &'static [&'static str],
}

pub(crate) const fn row<Plant: Copy>(
    plant: Plant,
    name: &'static str,
    what: &'static str,
    rules: &'static [&'static str],
) -> Row<Plant> {
    Row {
        plant,
        name,
        what,
        rules,
    }
}

/// Counters of events, which show that the worlds were not empty.
pub(crate) trait Tally: Clone + Default + Debug + Send {
    fn add(&mut self, more: &Self);
}

/// Declares the counters of a simulation. `sums` are added, and `digests` mixed: they differ if two runs of a world differ.
macro_rules! counts {
    (
        sums { $($(#[$about_sum:meta])* $sum:ident,)* }
        digests { $($(#[$about_digest:meta])* $digest:ident,)* }
    ) => {
        /// Counters of events.
        #[derive(Clone, Copy, Default, Debug)]
        pub(crate) struct Counts {
            $($(#[$about_sum])* pub(crate) $sum: u64,)*
            $($(#[$about_digest])* pub(crate) $digest: u64,)*
        }

        impl $crate::runner::Tally for Counts {
            fn add(&mut self, more: &Self) {
                $(self.$sum += more.$sum;)*
                $(self.$digest ^= more.$digest;)*
            }
        }
    };
}
pub(crate) use counts;

/// A simulation.
pub(crate) struct Simulation<Plant: 'static, Counts> {
    /// The name of its test target.
    pub(crate) name: &'static str,
    /// One line about the simulation, for the help.
    pub(crate) about: &'static str,
    pub(crate) plants: &'static [Row<Plant>],
    /// One world: the same each time for the same seed.
    pub(crate) world: fn(u64, Option<Plant>) -> (Counts, Option<Violation>),
}

const OPTIONS: &str = "\
  --seeds N      the worlds 0 to N - 1 (10,000, and every planted bug, if nothing is asked for)
  --seed S       one world, with the last lines of what happens in it
  --lines N      so many of them (120)
  --plant BUG    with a bug planted: --seeds looks for the first world that shows it
  --survey       with --seeds: all of them, and how many break which rule
  --help         this, and the bugs
";

/// Worlds of a run without arguments.
const SEEDS: u64 = 10_000;

/// Lines of a world that are shown by default.
const LINES: usize = 120;

/// The number of worlds within which every planted bug has to be found.
const PLANTED_WITHIN: u64 = 2_000;

/// The number of worlds that are run twice, to check that a seed gives the same world each time.
const TWICE: u64 = 20;

struct Options<Plant: 'static> {
    seeds: Option<u64>,
    seed: Option<u64>,
    lines: Option<u64>,
    plant: Option<&'static Row<Plant>>,
    survey: bool,
    help: bool,
}

impl<Plant: Copy + Sync, Counts: Tally> Simulation<Plant, Counts> {
    /// Does what the command line asks for.
    pub(crate) fn main(&self) -> ExitCode {
        let options = match self.parse(std::env::args().skip(1)) {
            Ok(options) => options,
            Err(what) => {
                eprintln!("{what}\n\n{}", self.usage());
                return ExitCode::from(2);
            }
        };
        if options.help {
            println!("{}\nBugs:", self.usage());
            for row in self.plants {
                println!("  {:<24}{}", row.name, row.what);
            }
            return ExitCode::SUCCESS;
        }
        let plant = options.plant.map(|row| row.plant);
        if options.survey {
            self.survey(options.seeds.unwrap_or(SEEDS), plant);
            return ExitCode::SUCCESS;
        }
        let passed = match (options.seed, options.seeds) {
            (Some(seed), _) => self.show(seed, plant, options.lines.map_or(LINES, |lines| lines as usize)),
            (None, Some(seeds)) if options.plant.is_none() => self.run(seeds),
            (None, seeds) => match options.plant {
                Some(row) => self.finds(row, seeds.unwrap_or(PLANTED_WITHIN)),
                None => {
                    self.run(SEEDS)
                        && self.is_the_same_each_time()
                        && self.plants.iter().all(|row| self.finds(row, PLANTED_WITHIN))
                }
            },
        };
        if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn usage(&self) -> String {
        let Self { name, about, .. } = self;
        format!("{about}\n\nusage: cargo test --workspace --test {name} [-- OPTIONS]\n\n{OPTIONS}")
    }

    fn parse(&self, mut arguments: impl Iterator<Item = String>) -> Result<Options<Plant>, String> {
        let mut options = Options {
            seeds: None,
            seed: None,
            lines: None,
            plant: None,
            survey: false,
            help: false,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
            let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
            match argument.as_str() {
                "--seeds" => options.seeds = Some(number(value()?)?),
                "--seed" => options.seed = Some(number(value()?)?),
                "--lines" => options.lines = Some(number(value()?)?),
                "--plant" => {
                    let name = value()?;
                    let row = self.plants.iter().find(|row| row.name == name);
                    options.plant = Some(row.ok_or(format!("there is no bug '{name}'"))?);
                }
                "--survey" => options.survey = true,
                "--help" | "-h" => options.help = true,
                // Arguments for the standard test runner are ignored.
                "--quiet" | "-q" | "--nocapture" => {}
                _ => return Err(format!("what is {argument}?")),
            }
        }
        Ok(options)
    }

    /// One world, and its result.
    fn world(&self, seed: u64, plant: Option<Plant>) -> (Counts, Option<Violation>) {
        let lived = catch_unwind(AssertUnwindSafe(|| (self.world)(seed, plant)));
        lived.unwrap_or_else(|_| {
            let what = "the code under test or the simulation panicked".to_owned();
            let rule = "panic";
            (Counts::default(), Some(Violation { rule, what }))
        })
    }

    /// Many worlds; shows the first one that breaks a promise.
    fn run(&self, seeds: u64) -> bool {
        let begun = Instant::now();
        let (counts, broken) = self.many(seeds, None);
        let took = begun.elapsed();
        if let Some((seed, _)) = broken {
            return self.show(seed, None, LINES);
        }
        println!(
            "{seeds} worlds kept every promise, in {:.1} s",
            took.as_secs_f64()
        );
        println!("{counts:#?}");
        true
    }

    fn is_the_same_each_time(&self) -> bool {
        for seed in 0..TWICE {
            let [first, second] = [0, 1].map(|_| {
                let (counts, violation) = self.world(seed, None);
                format!("{counts:?} {violation:?}")
            });
            if first != second {
                println!("seed {seed} is another world each time:\n{first}\n{second}");
                return false;
            }
        }
        true
    }

    /// Looks for the first world that shows a planted bug, and checks that the right rule finds it.
    fn finds(&self, row: &'static Row<Plant>, seeds: u64) -> bool {
        let (_, broken) = self.many(seeds, Some(row.plant));
        let Some((seed, violation)) = broken else {
            println!("{:<24}NOT FOUND in {seeds} worlds", row.name);
            return false;
        };
        let right = row.rules.contains(&violation.rule);
        let (name, rule, what) = (row.name, violation.rule, violation.what);
        let verdict = if right {
            "found"
        } else {
            "BLAMED ON THE WRONG RULE"
        };
        println!("{name:<24}{verdict} after {} worlds, {rule}: {what}", seed + 1);
        right
    }

    /// Spreads worlds over the machine's cores. Stops at the first broken promise, by seed.
    fn many(&self, seeds: u64, plant: Option<Plant>) -> (Counts, Option<(u64, Violation)>) {
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
                let (counts, violation) = self.world(seed, plant);
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
    fn survey(&self, seeds: u64, plant: Option<Plant>) {
        let mut rules: BTreeMap<&str, Vec<(u64, String)>> = BTreeMap::new();
        for seed in 0..seeds {
            if let (_, Some(Violation { rule, what })) = self.world(seed, plant) {
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

    /// One world, with its last events.
    fn show(&self, seed: u64, plant: Option<Plant>, lines: usize) -> bool {
        trace::begin();
        let (counts, violation) = self.world(seed, plant);
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
                let name = self.name;
                println!("again: cargo test --workspace --test {name} -- --seed {seed}");
                false
            }
        }
    }
}
