//! The checker: histories of what application servers and user agents saw during failures, and a pure function that
//! decides whether the promise was kept.
//!
//! - [`history`]: what happened: hello, register, push, acknowledgement, DELETE and receipt, each with the time when it began,
//!   the time when its result was known, and the result.
//! - [`check`](mod@check): the function. It has a rule for each sentence of the promise, and each rule has a test
//!   with a planted violation.
//! - [`lab`](crate::lab): machines with network namespaces of their own, and partitions between them.
//! - [`clock`]: wall clocks that leap.
//! - [`rows`]: every row of the table "What a failure costs" in docs/redis.md, and further failures, as data: the
//!   topology, the fault, what may be lost, what senders may see, and how soon the service recovers.
//! - [`trial`]: plays one row: starts the topology, the [`crowd`] (user agents, application servers, receivers of receipts),
//!   applies the [`nemesis`], heals, lets all user agents connect at the end, and checks the history.
//! - [`marathon`]: many kills and failovers in one run, with a table at its end.
//!
//! A seed gives the same plan of operations and faults again. Processes and the network are real, so the execution
//! differs.

pub mod check;
pub mod clock;
pub mod crowd;
pub mod history;
pub mod marathon;
pub mod nemesis;
pub mod rows;
pub mod topology;
pub mod trial;
