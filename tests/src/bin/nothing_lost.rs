//! The test that nothing is lost, for as long as you like: `nothing-lost [--rounds N] [--seed N]`.

use std::process::ExitCode;

use push_tests::nothing_lost::run;
use push_tests::plan::Plan;

const USAGE: &str = "usage: nothing-lost [--rounds N] [--seed N]
Kills the service N times (200 unless told) under load and checks that nothing was lost.
PUSH_SERVICE_BIN names the binary to test; without it, cargo builds one.";

fn main() -> ExitCode {
    let Some(plan) = Plan::new(200).changed_by(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    println!("{}", runtime.expect("a runtime").block_on(run(plan)));
    ExitCode::SUCCESS
}
