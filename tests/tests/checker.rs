//! The short form of the checker: see [`push_tests::checker`]. The binary `checker` plays as long as you like.
//!
//! Unit tests in [`push_tests::checker`] prove that every row of the table in docs/redis.md is played, and that a
//! planted violation of each kind is found.

use std::process::Command;

use push_tests::plan::Plan;

/// Trials at a time. Chosen: they mostly wait, and two cores are busy with three.
const JOBS: &str = "3";

/// PR-1, PR-3, PR-4, PR-9, PR-13, PR-14, PR-18, PR-25, PR-32, PR-33, PR-36, PR-37, PR-40, PR-41, PR-44: in each row
/// of the table of failures, in partitions with peers on both sides, planned failovers, killed nodes and imports,
/// messages answered 201 arrive, no registered user agent is told "unknown", and confirmed answers hold, except for
/// what the row allows.
#[test]
fn every_row_keeps_the_promise() {
    // A separate program, because it has to move into its own network namespace first.
    let status = Command::new(env!("CARGO_BIN_EXE_checker"))
        .args([
            "--short",
            "--jobs",
            JOBS,
            "--seed",
            &Plan::new(0).seed.to_string(),
        ])
        .env("PUSH_SERVICE_BIN", push_tests::binaries::push_service())
        .status();
    assert!(
        status.expect("the checker starts").success(),
        "the promise was broken: see above"
    );
}
