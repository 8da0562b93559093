//! Every row, one after the other, each with a fresh service.

use crate::application_server::Vapid;
use crate::cli::Row;
use crate::failure::Outcome;
use crate::machine::Cores;
use crate::report::Measured;
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

/// Measures one row, prints its report, and returns its figures.
pub(crate) async fn row(row: Row, target: &TargetOptions, cores: Cores) -> Outcome<Vec<Measured>> {
    if row == Row::Startup {
        return Ok(shown(&Startup::default().run(target, cores).await?));
    }
    let target = target.open(cores)?;
    measure(row, &target)
        .await
        .map_err(|failure| target.explain(&failure))
}

/// Prints a report and returns its figures.
pub(crate) fn shown(report: &impl Report) -> Vec<Measured> {
    println!("{report}\n");
    report.figures()
}

async fn measure(row: Row, target: &Target) -> Outcome<Vec<Measured>> {
    match row {
        Row::UserAgents => Ok(shown(&UserAgents::default().run(target).await?)),
        Row::ThroughputFresh => closed(Vapid::Fresh, target).await,
        Row::ThroughputReused => closed(Vapid::Reused, target).await,
        Row::ThroughputNone => closed(Vapid::None, target).await,
        Row::Absent => Ok(shown(&Absent::default().run(target).await?)),
        Row::Connect => connect(false, target).await,
        Row::ConnectTls => connect(true, target).await,
        Row::Idle => idle(false, target).await,
        Row::IdleTls => idle(true, target).await,
        Row::Delivery => Ok(shown(&open(DELIVERY_RATE).run(target).await?)),
        Row::Acceptance => {
            let delivered = open(ACCEPTANCE_RATE).run(target).await?;
            shown(&delivered);
            Ok(delivered.acceptance_figures())
        }
        Row::Startup => Ok(Vec::new()),
    }
}

async fn closed(vapid: Vapid, target: &Target) -> Outcome<Vec<Measured>> {
    let options = Throughput {
        vapid,
        ..Throughput::default()
    };
    Ok(shown(&options.run(target).await?))
}

fn open(rate: u32) -> Throughput {
    Throughput {
        mode: Mode::Open,
        rate: rate.into(),
        messages: (rate * HELD_SECS) as usize,
        ..Throughput::default()
    }
}

async fn connect(over_tls: bool, target: &Target) -> Outcome<Vec<Measured>> {
    let options = Connect {
        over_tls,
        ..Connect::default()
    };
    Ok(shown(&options.run(target).await?))
}

async fn idle(over_tls: bool, target: &Target) -> Outcome<Vec<Measured>> {
    let options = Idle {
        over_tls,
        ..Idle::default()
    };
    Ok(shown(&options.run(target).await?))
}
