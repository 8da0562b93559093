//! Where the log is written: standard error, escaped.

use std::borrow::Cow;
use std::io::{self, Write};

use push_protocol::escape;

/// Standard error for whole records. Each is escaped, because it may hold words of a peer.
pub(super) struct EscapedStderr(fn(&str) -> Cow<'_, str>);

impl EscapedStderr {
    /// For records as text.
    pub(super) fn text() -> Self {
        Self(escape::text)
    }

    /// For records as text that the library colours. It escapes ESC in the messages and errors that they hold.
    pub(super) fn coloured() -> Self {
        Self(|record| escape::text_except(record, &['\u{1b}']))
    }

    /// For records as JSON.
    pub(super) fn json() -> Self {
        Self(escape::json)
    }

    /// The record with the line feed at its end.
    fn escaped(&self, record: &str) -> String {
        [&*self.0(record.trim_end_matches('\n')), "\n"].concat()
    }
}

impl Write for EscapedStderr {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let escaped = self.escaped(&String::from_utf8_lossy(record));
        io::stderr().write_all(escaped.as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record stays one line and moves no cursor, whatever words of a peer it holds.
    #[test]
    fn a_record_is_one_line() {
        let record = "\u{1b}[2mWARN\u{1b}[0m why=a\nb\u{202e}c\r\n";
        let coloured = EscapedStderr::coloured().escaped(record);
        assert_eq!(coloured, "\u{1b}[2mWARN\u{1b}[0m why=a\\u{a}b\\u{202e}c\\u{d}\n");
        let text = EscapedStderr::text().escaped(record);
        assert_eq!(text, "\\u{1b}[2mWARN\\u{1b}[0m why=a\\u{a}b\\u{202e}c\\u{d}\n");
        let json = EscapedStderr::json().escaped("{\"why\":\"a\\nb\u{9b}\"}\n");
        assert_eq!(json, "{\"why\":\"a\\nb\\u009b\"}\n");
    }
}
