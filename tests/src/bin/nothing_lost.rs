//! The test that nothing is lost, for as long as you like: `nothing-lost [--rounds N] [--seed N]`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use push_tests::nothing_lost::{Plan, run};

const USAGE: &str = "usage: nothing-lost [--rounds N] [--seed N]
Kills the service N times (200 unless told) under load and checks that nothing was lost.
PUSH_SERVICE_BIN names the binary to test; without it, cargo builds one.";

fn main() -> ExitCode {
    let Some(plan) = plan(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    println!("{}", runtime.expect("a runtime").block_on(run(plan)));
    ExitCode::SUCCESS
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Option<Plan> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut plan = Plan {
        rounds: 200,
        seed: since_1970.as_secs(),
    };
    while let Some(option) = arguments.next() {
        let value = arguments.next()?;
        match option.as_str() {
            "--rounds" => plan.rounds = value.parse().ok()?,
            "--seed" => plan.seed = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(plan)
}
