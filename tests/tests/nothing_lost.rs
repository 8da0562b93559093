//! That nothing is lost, in short: see [`push_tests::nothing_lost`]. The binary `nothing-lost` plays as long as you like.

use std::time::{SystemTime, UNIX_EPOCH};

use push_tests::nothing_lost::{Plan, run};

/// Kills of the short form.
const ROUNDS: usize = 20;

/// PR-1, PR-2, PR-4, PR-9: under load from 16 connections and 20 times SIGKILL every message answered 201 arrives, in order,
/// nothing comes again after its acknowledgement was taken, and no subscription is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost() {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    println!(
        "{}",
        run(Plan {
            rounds: ROUNDS,
            seed: since_1970.as_secs(),
        })
        .await
    );
}
