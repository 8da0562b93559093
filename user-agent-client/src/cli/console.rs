//! What people and scripts see: results on standard output, everything else on standard error.
//!
//! Sentences and results may hold words of a service or a sender. So all of them are escaped here, in the one place that
//! prints ([`push_protocol::escape`]). Only messages are printed elsewhere, by `listen`, which escapes them in the same way.

use std::fmt::Display;
use std::io::{self, Write as _};

use push_protocol::escape;

use super::exit::{Exit, Failure};
use super::flags::with_flags;

/// Prints a sentence for people. If standard error is closed, the sentence is dropped.
pub(super) fn say(sentence: impl Display) {
    let _ = writeln!(io::stderr(), "{}", shown(sentence));
}

/// Why the command ends, if that has to be said.
pub(super) fn complain(failure: &Failure) {
    if failure.why.is_empty() {
        return;
    }
    say(format_args!("user-agent-client: {}", failure.why));
}

/// Further lines are indented, so that none looks like a sentence of its own.
fn shown(sentence: impl Display) -> String {
    let sentence = with_flags(sentence.to_string());
    escape::text_except(&sentence, &['\n']).replace('\n', "\n  ")
}

/// A result, in one line. Columns are separated by tabs.
pub(super) fn print_line(line: impl Display) -> Result<(), Failure> {
    print(&escape::text_except(&line.to_string(), &['\t']))
}

/// A JSON document in one line.
pub(super) fn print_json(document: &str) -> Result<(), Failure> {
    print(&escape::json(document))
}

/// A text of our own, of several lines.
pub(super) fn print_script(script: &str) -> Result<(), Failure> {
    print(script)
}

fn print(line: &str) -> Result<(), Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// No sentence moves the cursor, changes the order of letters, or looks like two.
    #[test]
    fn sentences_are_escaped() {
        assert_eq!(
            shown("It says: \u{1b}[2Ja\u{202e}b\u{2028}\u{9b}\r\nlistening"),
            "It says: \\u{1b}[2Ja\\u{202e}b\\u{2028}\\u{9b}\\u{d}\n  listening"
        );
    }
}
