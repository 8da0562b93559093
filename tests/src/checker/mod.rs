//! The checker: histories of what application servers and user agents saw while the service was mistreated, and a pure
//! function that says whether the promise was kept.
//!
//! - [`history`]: what happened: hello, register, push, acknowledgement, DELETE and receipt, each with the time when it began,
//!   the time when its outcome was known, and the outcome.
//! - [`check`](mod@check): the function. It has a rule for each sentence of the promise, and a test with a planted violation for each rule.
//! - [`lab`]: machines with network namespaces of their own, and partitions between them.
//! - [`clock`]: wall clocks that leap.
//! - [`rows`]: every row of the table "What a failure costs" in docs/redis.md, and the failures beside it, as data: the
//!   topology, the fault, what may be lost, what senders may see, how soon all is well again.
//! - [`trial`]: plays one row: starts the topology, the [`crowd`] (user agents, application servers, receivers of receipts),
//!   applies the [`nemesis`], heals, lets everybody connect at the end, and checks the history.
//! - [`marathon`]: many kills and failovers in one run, with a table at its end.
//!
//! A seed brings back the plan of operations and faults. What processes and the network make of it is real, so a seed names a
//! plan and not an execution.

pub mod check;
pub mod clock;
pub mod crowd;
pub mod history;
pub mod lab;
pub mod marathon;
pub mod nemesis;
pub mod rows;
pub mod topology;
pub mod trial;
