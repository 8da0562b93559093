//! Every row, one after the other, each with a fresh service.

use crate::application_server::Vapid;
use crate::cli::Row;
use crate::connector::Transport;
use crate::failure::BenchResult;
use crate::machine::Cores;
use crate::report::{Measured, print};
use crate::scenarios::Report;
use crate::scenarios::absent::Absent;
use crate::scenarios::connect::Connect;
use crate::scenarios::idle::Idle;
use crate::scenarios::startup::Startup;
use crate::scenarios::throughput::{Mode, Throughput};
use crate::scenarios::user_agents::UserAgents;
use crate::target::{Target, TargetOptions};

/// The rates at which latency has budgets, in messages per second, and for how many seconds they are held.
const DELIVERY_RATE: u32 = 750;
const ACCEPTANCE_RATE: u32 = 1_000;
const HELD_SECS: u32 = 12;

/// HTTP/2 connections that are held idle, and how often. Chosen: some ten times as large as a WebSocket, in pieces of many
/// sizes, so that the allocator only finds its shape after five rounds.
const MONITORS: usize = 1_000;
const MONITORS_ROUNDS: usize = 6;

/// Measures one row, prints its report, and returns its figures.
pub(crate) async fn row(row: Row, target: &TargetOptions, cores: Cores) -> BenchResult<Vec<Measured>> {
    if row == Row::Startup {
        return shown(&Startup::default().run(target, cores).await?);
    }
    let target = target.open(cores)?;
    measure(row, &target)
        .await
        .map_err(|failure| target.explain(failure))
}

/// Prints a report and returns its figures.
pub(crate) fn shown(report: &impl Report) -> BenchResult<Vec<Measured>> {
    print(format_args!("{report}\n"))?;
    Ok(report.figures())
}

async fn measure(row: Row, target: &Target) -> BenchResult<Vec<Measured>> {
    match row {
        Row::UserAgents => shown(&UserAgents::default().run(target).await?),
        Row::ThroughputFresh => closed(with(Vapid::Fresh), target).await,
        Row::ThroughputReused => closed(with(Vapid::Reused), target).await,
        Row::ThroughputNone => closed(with(Vapid::None), target).await,
        Row::ThroughputTls => closed(to(Transport::WebSocket, true), target).await,
        Row::PushFresh => {
            let options = Throughput {
                vapid: Vapid::Fresh,
                ..to(Transport::Http2, false)
            };
            closed(options, target).await
        }
        Row::PushReused => closed(to(Transport::Http2, false), target).await,
        Row::PushTls => closed(to(Transport::Http2, true), target).await,
        Row::Events => closed(to(Transport::Events, false), target).await,
        Row::Receipts => {
            let options = Throughput {
                receipts: true,
                ..Throughput::default()
            };
            closed(options, target).await
        }
        Row::Absent => shown(&Absent::default().run(target).await?),
        Row::Connect => connect(false, target).await,
        Row::ConnectTls => connect(true, target).await,
        Row::Idle => idle(Transport::WebSocket, false, target).await,
        Row::IdleTls => idle(Transport::WebSocket, true, target).await,
        Row::IdlePush => idle_push(false, target).await,
        Row::IdlePushTls => idle_push(true, target).await,
        Row::IdleEvents => idle(Transport::Events, false, target).await,
        Row::Delivery => shown(&open(DELIVERY_RATE).run(target).await?),
        Row::Acceptance => {
            let delivered = open(ACCEPTANCE_RATE).run(target).await?;
            shown(&delivered)?;
            Ok(delivered.acceptance_figures())
        }
        Row::Startup => Ok(Vec::new()),
    }
}

async fn closed(options: Throughput, target: &Target) -> BenchResult<Vec<Measured>> {
    shown(&options.run(target).await?)
}

fn with(vapid: Vapid) -> Throughput {
    Throughput {
        vapid,
        ..Throughput::default()
    }
}

fn to(over: Transport, over_tls: bool) -> Throughput {
    Throughput {
        over,
        over_tls,
        ..Throughput::default()
    }
}

fn open(rate: u32) -> Throughput {
    Throughput {
        mode: Mode::Open,
        rate: rate.into(),
        messages: (rate * HELD_SECS) as usize,
        ..Throughput::default()
    }
}

async fn connect(over_tls: bool, target: &Target) -> BenchResult<Vec<Measured>> {
    let options = Connect {
        over_tls,
        ..Connect::default()
    };
    shown(&options.run(target).await?)
}

async fn idle_push(over_tls: bool, target: &Target) -> BenchResult<Vec<Measured>> {
    let options = Idle {
        over: Transport::Http2,
        over_tls,
        connections: MONITORS,
        rounds: MONITORS_ROUNDS,
    };
    shown(&options.run(target).await?)
}

async fn idle(over: Transport, over_tls: bool, target: &Target) -> BenchResult<Vec<Measured>> {
    let options = Idle {
        over,
        over_tls,
        ..Idle::default()
    };
    shown(&options.run(target).await?)
}
