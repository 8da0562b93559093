//! What commands print: results on standard output, everything else on standard error.
//!
//! Nothing here panics: a full disk under standard output is told, and a reader that has gone needs no more.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use push_protocol::escape;

use super::{FAILED, OK};

/// Prints a result, and returns the exit code. If a pipe was closed (`| head -1`), its reader has what it wanted.
pub(super) fn print(result: impl Display) -> u8 {
    let mut output = io::stdout().lock();
    let printed = write!(output, "{result}").and_then(|()| output.flush());
    code(printed, OK)
}

/// Prints the help or the version that was asked for, or what is wrong with the command line, and returns the exit code.
pub(super) fn help(asked: &clap::Error) -> u8 {
    let code_of_help = u8::try_from(asked.exit_code()).unwrap_or(FAILED);
    let printed = asked.print().and_then(|()| io::stdout().flush());
    if asked.use_stderr() {
        return code_of_help;
    }
    code(printed, code_of_help)
}

fn code(printed: io::Result<()>, printed_well: u8) -> u8 {
    match printed {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain("cannot write to standard output", &error, FAILED)
        }
        _ => printed_well,
    }
}

/// Says something to the person at the terminal. If standard error cannot be written to, it is dropped.
pub(super) fn say(sentence: impl Display) {
    let _ = writeln!(io::stderr(), "{sentence}");
}

/// Says on standard error what went wrong, and passes the exit code on.
pub(super) fn complain(what: &str, why: &dyn Display, code: u8) -> u8 {
    // It may hold words of others: a peer's answer, or what an imported file says.
    let why = escape::text_except(&why.to_string(), &['\n']).replace('\n', "\n  ");
    say(format_args!("push-service: {what}:\n  {why}"));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full disk is a failure, and a reader that has gone is not.
    #[test]
    fn the_exit_code_says_whether_it_was_printed() {
        let failed = |kind| code(Err(io::Error::from(kind)), OK);
        assert_eq!(failed(ErrorKind::StorageFull), FAILED);
        assert_eq!(failed(ErrorKind::BrokenPipe), OK);
        assert_eq!(code(Ok(()), OK), OK);
    }
}
