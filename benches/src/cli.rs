//! What can be asked for on the command line.

use clap::{Parser, Subcommand, ValueEnum};

use crate::scenarios::absent::Absent;
use crate::scenarios::connect::Connect;
use crate::scenarios::hostile::Hostile;
use crate::scenarios::idle::Idle;
use crate::scenarios::startup::Startup;
use crate::scenarios::storm::Storm;
use crate::scenarios::throughput::Throughput;
use crate::scenarios::user_agents::UserAgents;
use crate::target::TargetOptions;

/// Measures a push service over its public interfaces.
///
/// It plays the application servers and the user agents, and reads the service's CPU time and memory from /proc. Every run
/// checks that each message arrived exactly once, unchanged, at the right subscription, and that none is left: if not,
/// there is no figure but a failure.
///
/// By default it starts a service of its own, with an empty data directory and on free ports, and ends it. Where there are
/// two cores, the service gets one and the load tool the other. CPU figures are steadier than times on a shared machine;
/// build both programs with --release.
#[derive(Parser, Debug)]
#[command(name = "push-bench", version)]
pub(crate) struct Cli {
    /// What to measure
    #[command(subcommand)]
    pub(crate) command: Command,

    /// The service that is measured
    #[command(flatten)]
    pub(crate) target: TargetOptions,
}

/// What to measure.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Measure every row of the budgets, each with a new service, and print the table
    Run {
        /// Only this row; can be repeated
        #[arg(long, value_enum, value_name = "ROW")]
        only: Vec<Row>,

        /// Fail if a figure is more than this number of times its budget
        #[arg(long, value_name = "TIMES")]
        fail_over: Option<f64>,
    },

    /// CPU per user agent that connects, says hello and registers
    Connect(#[command(flatten)] Connect),

    /// Memory per idle connection, and whether it is given back
    Idle(#[command(flatten)] Idle),

    /// CPU, rate and latency of messages to user agents that are connected
    Throughput(#[command(flatten)] Throughput),

    /// CPU per message stored for a user agent that is not connected
    Offline(#[command(flatten)] Absent),

    /// Rate of messages to user agents that all reconnect at once
    Drain(#[command(flatten)] Absent),

    /// The same as drain, with 5,000 user agents and two nodes on one Redis
    Storm(#[command(flatten)] Storm),

    /// Cost of hostile peers for the service and Redis, and how much they slow honest pushes down
    Hostile(#[command(flatten)] Hostile),

    /// Time from start to listening, and memory with nothing connected
    Startup(#[command(flatten)] Startup),

    /// Memory per idle user agent of the library, and its CPU per message
    UserAgents(#[command(flatten)] UserAgents),
}

/// A row of the budgets, or a few that are measured together. They run in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Row {
    /// The library's user agents
    // First: their memory is this program's, and would hide in what other rows had and gave back.
    UserAgents,
    /// Delivered messages, a fresh VAPID token each
    ThroughputFresh,
    /// Delivered messages, one VAPID token for all
    ThroughputReused,
    /// Delivered messages without VAPID
    ThroughputNone,
    /// Delivered messages over TLS WebSockets, one VAPID token for all
    ThroughputTls,
    /// Messages by server push over HTTP/2, a fresh VAPID token each
    PushFresh,
    /// Messages by server push over HTTP/2, one VAPID token for all
    PushReused,
    /// Messages by server push over HTTP/2 and TLS, one VAPID token for all
    PushTls,
    /// Messages as Server-Sent Events, one VAPID token for all
    Events,
    /// Delivered messages with a receipt each, one VAPID token for all
    Receipts,
    /// Stored messages, and user agents that come back for them
    Absent,
    /// Coming for the first time
    Connect,
    /// Coming for the first time, over TLS
    ConnectTls,
    /// Idle WebSockets
    Idle,
    /// Idle WebSockets over TLS
    IdleTls,
    /// Idle HTTP/2 connections that monitor
    IdlePush,
    /// Idle HTTP/2 connections that monitor, over TLS
    IdlePushTls,
    /// Idle streams of Server-Sent Events
    IdleEvents,
    /// Latency of delivery at 750 messages/s
    Delivery,
    /// Latency of 201 at 1,000 messages/s
    Acceptance,
    /// Start and memory with nothing connected
    Startup,
}
