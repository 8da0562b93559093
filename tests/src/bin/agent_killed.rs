//! The test of a user agent that is killed, for as long as you like: `agent-killed [--rounds N] [--seed N]`.

use std::process::ExitCode;

use push_tests::agent_killed::run;
use push_tests::plan::Plan;

const USAGE: &str = "usage: agent-killed [--rounds N] [--seed N]
Kills the user agent's command N times (500 unless told) under load and checks that nothing was lost.
PUSH_SERVICE_BIN and USER_AGENT_CLIENT_BIN name the binaries to test; without them, cargo builds them.";

fn main() -> ExitCode {
    let Some(plan) = Plan::new(500).changed_by(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    println!("{}", runtime.expect("a runtime").block_on(run(plan)));
    ExitCode::SUCCESS
}
