//! That nothing is lost, in short: see [`push_tests::nothing_lost`]. The binary `nothing-lost` plays as long as you like.

use push_tests::nothing_lost::run;
use push_tests::plan::Plan;

/// Kills of the short form.
const ROUNDS: usize = 20;

/// PR-1, PR-2, PR-4, PR-9: under load from 16 connections and 20 times SIGKILL every message answered 201 arrives, in order,
/// nothing comes again after its acknowledgement was taken, and no subscription is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost() {
    println!("{}", run(Plan::new(ROUNDS)).await);
}
