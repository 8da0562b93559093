//! A user agent that is killed, in short: see [`push_tests::agent_killed`]. The binary `agent-killed` plays as long as you
//! like.

use push_tests::agent_killed::{Over, handlers, lines};
use push_tests::plan::Plan;

/// Kills of the short form.
const KILLS: usize = 50;
/// Rounds of the short form with handlers.
const ROUNDS: usize = 25;

/// PR-1, WS-ACK-5: under load and 50 times SIGKILL of the user agent, and some of the service, every message answered 201 is
/// printed, in order; what was printed and recorded never comes again; keys and subscriptions stay as they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_loses_nothing() {
    println!("{}", lines::run(Plan::new(KILLS)).await);
}

/// PR-45, WP-RCV-5, WP-RCV-6: while the user agent is killed and stopped, handlers are killed, and what they need is away,
/// every message answered 201 is handled; none is given up; what was handled and recorded is not handled again; and no
/// handler works beside those of the next run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_die_or_starve_lose_nothing() {
    println!("{}", handlers::run(Over::WebSocket, Plan::new(ROUNDS)).await);
}
