//! Server-Sent Events (WHATWG HTML §9.2), as far as receipts need them: bytes become events.

use crate::defaults::RECEIPT_BYTES;

/// What is read and no event yet.
///
/// **Invariant:** it holds [`RECEIPT_BYTES`] at most, twice: a line and an event.
#[derive(Default)]
pub(super) struct Events {
    line: Vec<u8>,
    /// A line feed that follows belongs to the carriage return before it.
    after_return: bool,
    kind: String,
    data: String,
}

/// An event.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) data: String,
}

/// More in one line or event than any receipt has.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct TooLong;

impl Events {
    /// Reads on until an event is whole, and returns it with how many bytes that took; `None` when all are read.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Option<(Event, usize)>, TooLong> {
        for (at, byte) in bytes.iter().enumerate() {
            let is_second = std::mem::take(&mut self.after_return) && *byte == b'\n';
            match byte {
                b'\n' if is_second => {}
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    if let Some(event) = self.end_line()? {
                        return Ok(Some((event, at + 1)));
                    }
                }
                _ if self.line.len() >= RECEIPT_BYTES => return Err(TooLong),
                byte => self.line.push(*byte),
            }
        }
        Ok(None)
    }

    fn end_line(&mut self) -> Result<Option<Event>, TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_start_matches('\u{feff}');
        if line.is_empty() {
            return Ok(self.end_event());
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.kind),
            "data" if self.data.len() + value.len() >= RECEIPT_BYTES => return Err(TooLong),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            // Also a comment, whose name is empty.
            _ => {}
        }
        Ok(None)
    }

    /// One without data is none.
    fn end_event(&mut self) -> Option<Event> {
        let (kind, mut data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        data.pop().map(|_| Event { kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All events in these bytes, which come in pieces of this size.
    fn events(text: &str, size: usize) -> Result<Vec<(String, String)>, TooLong> {
        let (mut events, mut all) = (Events::default(), Vec::new());
        for mut piece in text.as_bytes().chunks(size) {
            while let Some((event, taken)) = events.read(piece)? {
                all.push((event.kind, event.data));
                piece = &piece[taken..];
            }
        }
        Ok(all)
    }

    /// WHATWG HTML §9.2.6: fields, comments, line ends of three kinds, and events without data, in whatever pieces they come.
    #[test]
    fn streams_are_read_as_browsers_do() {
        let event = |kind: &str, data: &str| (kind.to_owned(), data.to_owned());
        let rows = [
            ("event: receipt\ndata: {}\n\n", vec![event("receipt", "{}")]),
            ("\u{feff}data:x\r\n\r\n", vec![event("", "x")]),
            ("data:x\r\rdata:y\r\r", vec![event("", "x"), event("", "y")]),
            (
                ": hello\n\nid: 1\nretry: 5\nevent: e\n\ndata\n\n",
                vec![event("", "")],
            ),
            (
                "data:  two\ndata:lines\nevent:e\n\n",
                vec![event("e", " two\nlines")],
            ),
            ("data: cut\n", vec![]),
        ];
        for (text, expected) in rows {
            for size in [1, 2, 3, 1_000] {
                assert_eq!(events(text, size), Ok(expected.clone()), "{text:?}");
            }
        }
    }

    /// Whatever a service sends, no more than the bound is kept.
    #[test]
    fn nothing_grows() {
        let long = "x".repeat(RECEIPT_BYTES + 1);
        assert_eq!(events(&long, 100), Err(TooLong));
        assert_eq!(events(&"data:1234567\n".repeat(RECEIPT_BYTES), 100), Err(TooLong));
        assert_eq!(events(&": comment\n".repeat(RECEIPT_BYTES), 100), Ok(vec![]));
    }
}
