//! The test of a user agent that is killed, for as long as you like:
//! `agent-killed [--only lines|handlers|handlers-over-http2] [--rounds N] [--seed N]`.

use std::process::ExitCode;

use push_tests::agent_killed::{Over, handlers, lines};
use push_tests::plan::Plan;

const USAGE: &str = "usage: agent-killed [--only lines|handlers|handlers-over-http2] [--rounds N] [--seed N]
Kills the user agent's command N times (200 unless told) under load and checks that nothing was lost: while it prints lines;
and N times kills, stops or starves it while it runs handlers. --only chooses one of these.
PUSH_SERVICE_BIN and USER_AGENT_CLIENT_BIN name the binaries to test; without them, cargo builds them.";

fn main() -> ExitCode {
    let Some((only, plan)) = read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let is_chosen = |name| only.as_deref().is_none_or(|only| only == name);
        if is_chosen("lines") {
            println!("{}", lines::run(plan).await);
        }
        if is_chosen("handlers") {
            println!("{}", handlers::run(Over::WebSocket, plan).await);
        }
        if is_chosen("handlers-over-http2") {
            println!("{}", handlers::run(Over::Http2, plan).await);
        }
    });
    ExitCode::SUCCESS
}

/// What the command line says; `None` if it can't be read.
fn read(mut arguments: impl Iterator<Item = String>) -> Option<(Option<String>, Plan)> {
    let (mut only, mut others) = (None, Vec::new());
    while let Some(option) = arguments.next() {
        let value = arguments.next()?;
        match (option.as_str(), value.as_str()) {
            ("--only", "lines" | "handlers" | "handlers-over-http2") => only = Some(value),
            ("--only", _) => return None,
            _ => others.extend([option, value]),
        }
    }
    Some((only, Plan::new(200).changed_by(others.into_iter())?))
}
