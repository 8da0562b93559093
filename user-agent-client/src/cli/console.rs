//! What people and scripts see: results on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::{self, Write as _};

use super::exit::{Exit, Failure};
use super::flags::with_flags;

/// Prints a sentence for people. If standard error is closed, the sentence is dropped.
pub(super) fn say(sentence: impl Display) {
    let _ = writeln!(io::stderr(), "{}", with_flags(sentence.to_string()));
}

/// Why the command ends.
pub(super) fn complain(failure: &Failure) {
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
        .map_err(|error| output_closed(&error))
}

/// What it means that standard output can't be written to.
pub(super) fn output_closed(error: &io::Error) -> Failure {
    Failure::new(
        Exit::OutputClosed,
        format_args!("cannot write to standard output: {error}"),
    )
}
