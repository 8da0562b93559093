//! The test that nothing is lost, for as long as you like: `nothing-lost [--nodes N] [--reconcile S] [--rounds N] [--seed N]`.

use std::process::ExitCode;
use std::time::Duration;

use push_tests::nothing_lost::{Shape, run};
use push_tests::plan::Plan;

const USAGE: &str = "usage: nothing-lost [--nodes 1|3] [--reconcile SECONDS] [--rounds N] [--seed N]
Kills the service N times (200 unless told) under load and checks that nothing was lost.
1 node has embedded storage; 3 stand on a Redis Cluster, and compare sessions with it every 2 s unless told.
PUSH_SERVICE_BIN names the binary to test; without it, cargo builds one.";

fn main() -> ExitCode {
    let Some((shape, plan)) = read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    println!("{}", runtime.expect("a runtime").block_on(run(shape, plan)));
    ExitCode::SUCCESS
}

/// What the command line says; `None` if it can't be read.
fn read(mut arguments: impl Iterator<Item = String>) -> Option<(Shape, Plan)> {
    let (mut nodes, mut reconcile, mut others) = (1, 2, Vec::new());
    while let Some(option) = arguments.next() {
        let value = arguments.next()?;
        match option.as_str() {
            "--nodes" => nodes = value.parse().ok()?,
            "--reconcile" => reconcile = value.parse().ok()?,
            _ => others.extend([option, value]),
        }
    }
    let reconcile = Duration::from_secs(reconcile);
    let shape = match nodes {
        1 => Shape::Alone,
        3 => Shape::Cluster { reconcile },
        _ => return None,
    };
    Some((shape, Plan::new(200).changed_by(others.into_iter())?))
}
