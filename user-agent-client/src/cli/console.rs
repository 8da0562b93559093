//! What people and scripts see: results on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::{self, Write as _};

use super::exit::{Exit, Failure};
use super::flags::with_flags;

/// Prints a sentence for people. If standard error is closed, the sentence is dropped.
pub(super) fn say(sentence: impl Display) {
    let _ = writeln!(io::stderr(), "{}", with_flags(sentence.to_string()));
}

/// Why the command ends, if that has to be said.
pub(super) fn complain(failure: &Failure) {
    if failure.why.is_empty() {
        return;
    }
    say(format_args!(
        "user-agent-client: {}",
        failure.why.replace('\n', "\n  ")
    ));
}

/// A result, in one line.
pub(super) fn print_line(line: impl Display) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")
        .and_then(|()| output.flush())
        .map_err(|error| not_printed(&error))
}

/// Prints the help or the version that was asked for, or what is wrong with the command line.
pub(super) fn help(asked: &clap::Error) -> Result<Exit, Failure> {
    let printed = asked.print().and_then(|()| io::stdout().flush());
    match printed {
        Err(error) if !asked.use_stderr() => Err(not_printed(&error)),
        _ if asked.use_stderr() => Ok(Exit::Usage),
        _ => Ok(Exit::Done),
    }
}

/// A result that cannot be printed. If a pipe was closed (`| head -1`), its reader has what it wanted, and nothing is said.
fn not_printed(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Exit::OutputClosed, ""),
        _ => output_closed(error),
    }
}

/// What it means that standard output can't be written to.
pub(super) fn output_closed(error: &io::Error) -> Failure {
    Failure::new(
        Exit::OutputClosed,
        format_args!("cannot write to standard output: {error}"),
    )
}
