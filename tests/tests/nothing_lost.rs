//! That nothing is lost, in short, on one node and on several: see [`push_tests::nothing_lost`]. The binary `nothing-lost` plays as long as you like.

use std::time::Duration;

use push_tests::nothing_lost::{Shape, run};
use push_tests::plan::Plan;

/// Kills of the short form: one node.
const ROUNDS: usize = 20;

/// Kills of the short form: several nodes. Chosen: two of them lie about a second apart.
const CLUSTER_ROUNDS: usize = 40;

/// PR-1, PR-2, PR-4, PR-9, PR-19, PR-20, PR-25, PR-26, R30-MON-15, R30-ACK-4, R30-RDL-2, R30-RDL-3, R30-RDL-6: under load from
/// 16 connections and 20 times SIGKILL every message answered 201 arrives, in order, nothing comes again after its
/// acknowledgement was taken, every message answered 202 has one true receipt, and no subscription is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost() {
    println!("{}", run(Shape::Alone, Plan::new(ROUNDS)).await);
}

/// PR-1, PR-4, PR-9, PR-13, PR-14, PR-18, PR-25: the same with nodes on a Redis Cluster, 40 times SIGKILL, and wake-ups that stall, lose
/// their connections, and in the end don't come at all. Who stays at a node that lives gets everything there and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_a_cluster() {
    let reconcile = Duration::from_secs(2);
    println!(
        "{}",
        run(Shape::Cluster { reconcile }, Plan::new(CLUSTER_ROUNDS)).await
    );
}
