//! The command line: what a person or a script types, and what the exit codes mean.
//!
//! It knows flags, formats and exit codes; everything else is the library's. Secrets are printed only on standard output, and
//! only as results: a subscription, the URL of a message.

mod args;
mod console;
mod control;
mod escaped_log;
mod exit;
mod flags;
mod help;
mod keys;
mod list;
mod listen;
mod news;
mod probe;
mod send;
mod settings;
mod signals;
mod subscribe;
mod unsubscribe;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use args::{Command, CommandLine, Completions};
use escaped_log::EscapedStderr;
use exit::{Exit, Failure};

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    let done = match CommandLine::try_parse() {
        Ok(line) => command(line),
        Err(asked) => console::help(&asked),
    };
    done.unwrap_or_else(|failure| {
        console::complain(&failure);
        failure.exit
    })
    .into()
}

fn command(line: CommandLine) -> Result<Exit, Failure> {
    log(line.verbose);
    match line.command {
        Command::Subscribe(arguments) => run(subscribe::subscribe(arguments)),
        Command::Listen(arguments) => run(listen::listen(arguments)),
        Command::Unsubscribe(arguments) => run(unsubscribe::unsubscribe(arguments)),
        Command::List(arguments) => list::list(arguments),
        Command::Send(arguments) => run(send::send(arguments)),
        Command::Probe(arguments) => run(probe::probe(arguments)),
        Command::Keys(arguments) => keys::keys(&arguments),
        Command::Supervise(arguments) => run(listen::supervisor::supervise(arguments)),
        Command::Completions(arguments) => completions(&arguments),
    }
}

/// One thread is enough: a user agent is one task, and what a message costs is spent in commands and on the network.
fn run(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                Exit::Failed,
                format_args!("the async runtime cannot start: {error}"),
            )
        })?;
    let done = runtime.block_on(command);
    // A line that is not read must not delay the end.
    runtime.shutdown_background();
    done
}

fn completions(arguments: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let mut command = CommandLine::command();
    clap_complete::generate(arguments.shell, &mut command, "user-agent-client", &mut script);
    console::print_script(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}

/// The log goes to standard error: for people on a terminal, JSON elsewhere. Without -v it holds warnings only, because
/// what a person has to know is said anyway.
fn log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let set = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    // Errors are logged whatever else the variable names; only `off` silences them.
    let filter = set
        .as_ref()
        .map(|set| EnvFilter::builder().parse(format!("error,{set}")));
    let is_wrong = matches!(filter, Some(Err(_)));
    let ours = || EnvFilter::new(format!("off,user_agent_client={level},push_protocol={level}"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter.and_then(Result::ok).unwrap_or_else(ours))
        .log_internal_errors(false);
    // It fails only if there is a log already.
    let _ = if io::stderr().is_terminal() {
        builder.with_writer(EscapedStderr::text).try_init()
    } else {
        let builder = builder.json().flatten_event(true).with_ansi(false);
        builder.with_writer(EscapedStderr::json).try_init()
    };
    match set.as_deref().and_then(not_a_level) {
        Some(word) => tracing::error!(
            word,
            "RUST_LOG has a word that is no level, and nothing here logs by that name; it takes `error`, `warn`, `info`, `debug` or \
             `trace`, or levels for parts of the program, such as `info,user_agent_client=debug`"
        ),
        None if is_wrong => tracing::error!(
            "RUST_LOG cannot be read, so it is ignored; it takes levels for parts of the program, such as \
             `info,user_agent_client=debug`"
        ),
        None => {}
    }
}

/// The first entry of a filter that stands alone, is no level, and is no part of this program. Other programs may read the same
/// variable, so it is told and not refused.
fn not_a_level(filter: &str) -> Option<&str> {
    const PARTS: [&str; 6] = [
        "user_agent_client",
        "push_protocol",
        "h2",
        "hyper",
        "rustls",
        "tokio",
    ];
    let mut alone = filter
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty() && !entry.contains(['=', '[']));
    let is_known = |word: &&str| {
        word.parse::<LevelFilter>().is_ok() || PARTS.iter().any(|part| word.split("::").next() == Some(part))
    };
    alone.find(|word| !is_known(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word that would silence the log is told: it is neither a level nor a part of the program.
    #[test]
    fn words_that_are_no_level_are_found() {
        for good in [
            "info",
            "INFO,h2=off",
            "off",
            "user_agent_client::session",
            "other=trace",
            "",
            "2",
        ] {
            assert_eq!(not_a_level(good), None, "{good}");
        }
        assert_eq!(not_a_level("info, verbose"), Some("verbose"));
        assert_eq!(not_a_level("user-agent-client"), Some("user-agent-client"));
    }

    fn parse(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split(' '))
    }

    /// The command line is well-formed, and the commands that the documentation names are there.
    #[test]
    fn the_documented_commands_are_understood() {
        CommandLine::command().debug_assert();
        let key = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
        let lines = [
            "subscribe --server ws://127.0.0.1:8080 --state s",
            &format!(
                "subscribe --server wss://a --state s --application-server-key {key} --name n --timeout 5"
            ),
            "subscribe --server https://a --transport auto",
            "subscribe --server https://a --transport websocket",
            "listen --transport http2",
            "subscribe --ca ca.pem",
            "listen --server wss://a --state s --format text --count 3",
            "listen --format json --exec cat --exec-timeout 5 --jobs 4 --attempts 1 --on-renew cat --insecure -vv",
            "listen --exec-for a=cat --exec-for b=true --exec-dir d --jobs 2",
            "unsubscribe --state s --name n",
            "list --state s --format json",
            "send --subscription - --ttl 0 --topic -a- --urgency very-low --padding 5 Hello",
            "send --subscription s.json --vapid-key k.pem --subject mailto:a@example.com",
            "send --subscription s.json --no-data",
            "send --subscription s.json --receipt --timeout 60 Hello",
            "probe --server wss://a",
            "probe --server https://a/SECRET --transport websocket --idle 70 --timeout 5 --ca ca.pem --proxy none",
            "keys --vapid-key k.pem",
            "completions bash",
        ];
        for line in lines {
            let line = format!("user-agent-client {line}");
            assert!(parse(&line).is_ok(), "{line}: {}", parse(&line).unwrap_err());
        }
        #[cfg(feature = "notify")]
        assert!(parse("user-agent-client listen --notify").is_ok());
    }

    /// What cannot be meant is refused.
    #[test]
    fn other_command_lines_are_refused() {
        let lines = [
            "",
            "subscribe extra",
            "subscribe --application-server-key nonsense",
            "subscribe --transport quic",
            "subscribe --timeout 0",
            "subscribe --ca a --insecure",
            "listen --count 0",
            "listen --format xml",
            "listen --jobs 2",
            "unsubscribe",
            "send Hello",
            "send --subscription - --ttl -1 Hello",
            "send --subscription - --topic ä Hello",
            "send --subscription - --urgency urgent Hello",
            "send --subscription - --subject mailto:a@example.com Hello",
            "send --subscription - --no-data Hello",
            "probe",
            "probe --server wss://a --idle 0",
            "probe --server wss://a --state s",
            "keys",
            "completions tcsh",
        ];
        for line in lines {
            let line = format!("user-agent-client {line}");
            assert!(parse(line.trim()).is_err(), "{line}");
        }
    }
}
