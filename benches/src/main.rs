//! The load generator: measures a push service from outside, and compares it with its budgets.
//!
//! ```text
//! target ─ service    the process under test: started, found, ended      machine, process   cores, CPU time, memory
//! fleet ─ user_agent  hello, register, take, acknowledge ┐
//!         application_server   POST, 201                 ├─ ledger ─ body     each message exactly once, unchanged
//!         receipts    202, 204                           │
//! scenarios           situations that a service gets into┘
//! leftovers           what is unsubscribed at a service that goes on
//! run ─ report ─ budgets                                 the table
//! ```
//!
//! It knows the service by its protocols, by what it logs, and by what the system knows of its process. It shares the
//! protocols' parsers with it, and nothing else. Its user agents are those of the library `user-agent-client`.

mod application_server;
mod body;
mod budgets;
mod cli;
mod connector;
mod each;
mod failure;
mod fleet;
mod http1;
mod ledger;
mod leftovers;
mod machine;
mod process;
mod receipts;
mod redis;
mod report;
mod run;
mod scenarios;
mod service;
mod target;
mod user_agent;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser as _, ValueEnum as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, Command, Row};
use crate::failure::{BenchResult, Failure, While as _};
use crate::machine::Cores;
use crate::report::Measured;
use crate::target::{Target, TargetOptions};

fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => measure(&cli),
        Err(asked) => return help(&asked),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure);
            ExitCode::FAILURE
        }
    }
}

/// Prints the help or the version that was asked for, or what is wrong with the command line.
fn help(asked: &clap::Error) -> ExitCode {
    let printed = asked.print().and_then(|()| io::stdout().flush());
    match printed {
        Err(error) if !asked.use_stderr() => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                say(&Failure::new(format!("cannot write to standard output: {error}")));
            }
            ExitCode::FAILURE
        }
        _ => u8::try_from(asked.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

/// Says why it fails. If standard error cannot be written to, that is lost.
fn say(failure: &Failure) {
    if !failure.is_quiet() {
        let _ = writeln!(io::stderr(), "push-bench: {failure}");
    }
}

/// One thread: the load tool has one core, and must not take the service's.
fn measure(cli: &Cli) -> BenchResult<()> {
    let connections = machine::raise_open_files()?;
    let options = match cli.command {
        // One node, or a store that is not shared, would be no storm.
        Command::Storm(_) => cli.target.across_nodes(),
        _ => cli.target.clone(),
    };
    let cores = Cores::choose()?;
    report::print(format_args!(
        "{}; {}; at most {connections} connections\n",
        options.describe(),
        cores.describe()
    ))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.doing("starting a runtime")?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).doing("listening for signals")?;
        let done = tokio::select! {
            done = command(&cli.command, &options, cores) => done,
            // What was started is ended on the way out.
            _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted")),
            _ = terminate.recv() => Err(Failure::new("interrupted")),
        };
        let ended = tokio::select! {
            ended = options.leftovers().end() => ended,
            _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted twice: user agents are left at the service")),
            _ = terminate.recv() => Err(Failure::new("interrupted twice: user agents are left at the service")),
        };
        if let (Err(_), Err(failure)) = (&done, &ended) {
            say(failure);
        }
        done.and(ended)
    })
}

async fn command(command: &Command, options: &TargetOptions, cores: Cores) -> BenchResult<()> {
    if let Command::Run { only, fail_over } = command {
        return rows(only, *fail_over, options, cores).await;
    }
    if let Command::Hostile(hostile) = command {
        return hostile.run(options, cores).await;
    }
    let figures = match command {
        Command::Startup(startup) => run::shown(&startup.run(options, cores).await?)?,
        command => {
            let target = options.open(cores)?;
            let measured = scenario(command, &target).await;
            measured.map_err(|failure| target.explain(failure))?
        }
    };
    report::print(report::table(&figures, options.storage()))
}

async fn scenario(command: &Command, target: &Target) -> BenchResult<Vec<Measured>> {
    match command {
        Command::Connect(connect) => run::shown(&connect.run(target).await?),
        Command::Idle(idle) => run::shown(&idle.run(target).await?),
        Command::Throughput(throughput) => run::shown(&throughput.run(target).await?),
        Command::Offline(absent) | Command::Drain(absent) => run::shown(&absent.run(target).await?),
        Command::Storm(storm) => run::shown(&storm.run(target).await?),
        Command::UserAgents(agents) => run::shown(&agents.run(target).await?),
        Command::Startup(_) | Command::Run { .. } | Command::Hostile(_) => Ok(Vec::new()),
    }
}

/// A row that fails does not keep the others from being measured, but it does fail the whole.
async fn rows(only: &[Row], fail_over: Option<f64>, target: &TargetOptions, cores: Cores) -> BenchResult<()> {
    let (mut figures, mut failed) = (Vec::new(), 0);
    let wanted = |row: &&Row| only.is_empty() || only.contains(row);
    for row in Row::value_variants().iter().filter(wanted) {
        match run::row(*row, target, cores).await {
            Ok(measured) => figures.extend(measured),
            Err(failure) if failure.is_quiet() => return Err(failure),
            Err(failure) => {
                failed += 1;
                report::print(format_args!("{row:?} FAILED: {failure}\n"))?;
            }
        }
    }
    report::print(report::table(&figures, target.storage()))?;
    let is_over = |(figure, value): &&Measured| {
        let excess = figure
            .budget()
            .and_then(|(_, budget)| budget.limit_on(target.storage()).excess(*value));
        fail_over.is_some_and(|times| excess.is_some_and(|excess| excess > times))
    };
    match (failed, figures.iter().filter(is_over).count()) {
        (0, 0) => Ok(()),
        (0, over) => Err(Failure::new(format!(
            "{over} figures exceed their budgets by more than --fail-over"
        ))),
        (failed, _) => Err(Failure::new(format!("{failed} rows failed"))),
    }
}
