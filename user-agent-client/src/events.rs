//! Server-Sent Events (WHATWG HTML §9.2): bytes become events. For messages where there is no server push, and for receipts.

use crate::defaults::EVENT_SKIPPED_BYTES;

/// A reader of events: it keeps what is read and is no whole event yet.
///
/// **Invariant:** it holds twice as many bytes as an event may have, at most: a line and an event.
pub(crate) struct Events {
    /// Bytes that a line, and the data of an event, may have.
    most: usize,
    line: Vec<u8>,
    /// Nothing of the line that is being read has come yet.
    is_line_empty: bool,
    /// A line feed that follows belongs to the carriage return before it.
    after_return: bool,
    kind: String,
    data: String,
    /// Bytes that were skipped of an event that is too long; else 0.
    skipped: usize,
}

/// An event.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) data: String,
}

/// What was read.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Read {
    Event(Event),
    /// An event that is too long was passed over.
    Oversized,
}

/// An event that doesn't end: more than [`EVENT_SKIPPED_BYTES`] were passed over.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Endless;

impl Events {
    /// Reads events of so many bytes.
    pub(crate) fn of_at_most(bytes: usize) -> Self {
        Self {
            most: bytes,
            line: Vec::new(),
            is_line_empty: true,
            after_return: false,
            kind: String::new(),
            data: String::new(),
            skipped: 0,
        }
    }

    /// Reads on until an event is whole, and returns it with how many bytes that took; `None` when all are read.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Option<(Read, usize)>, Endless> {
        for (at, byte) in bytes.iter().enumerate() {
            let is_second = std::mem::take(&mut self.after_return) && *byte == b'\n';
            match byte {
                b'\n' if is_second => {}
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    if let Some(read) = self.end_line() {
                        return Ok(Some((read, at + 1)));
                    }
                }
                byte => self.add(*byte)?,
            }
        }
        Ok(None)
    }

    fn add(&mut self, byte: u8) -> Result<(), Endless> {
        self.is_line_empty = false;
        if self.skipped == 0 && self.line.len() < self.most {
            self.line.push(byte);
            return Ok(());
        }
        self.skip();
        if self.skipped > EVENT_SKIPPED_BYTES {
            return Err(Endless);
        }
        Ok(())
    }

    fn skip(&mut self) {
        self.skipped += 1;
        (self.line, self.kind, self.data) = (Vec::new(), String::new(), String::new());
    }

    fn end_line(&mut self) -> Option<Read> {
        let line = std::mem::take(&mut self.line);
        let is_empty = std::mem::replace(&mut self.is_line_empty, true);
        if self.skipped > 0 {
            if is_empty {
                self.skipped = 0;
                return Some(Read::Oversized);
            }
            return None;
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_start_matches('\u{feff}');
        if line.is_empty() {
            return self.end_event().map(Read::Event);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.kind),
            "data" if self.data.len() + value.len() >= self.most => self.skip(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            // Also a comment, whose name is empty.
            _ => {}
        }
        None
    }

    /// An event without data is ignored.
    fn end_event(&mut self) -> Option<Event> {
        let (kind, mut data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        data.pop().map(|_| Event { kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 100;

    /// All events in these bytes, which come in pieces of this size.
    fn events(text: &[u8], size: usize) -> Result<Vec<Option<(String, String)>>, Endless> {
        let (mut events, mut all) = (Events::of_at_most(MOST), Vec::new());
        for mut piece in text.chunks(size) {
            while let Some((read, taken)) = events.read(piece)? {
                all.push(match read {
                    Read::Event(event) => Some((event.kind, event.data)),
                    Read::Oversized => None,
                });
                piece = &piece[taken..];
            }
        }
        assert!(events.line.len() <= MOST && events.data.len() <= MOST);
        Ok(all)
    }

    /// WHATWG HTML §9.2.6: fields, comments, line ends of three kinds, and events without data, in whatever pieces they come;
    /// what is no UTF-8 breaks nothing.
    #[test]
    fn streams_are_read_as_browsers_do() {
        let event = |kind: &str, data: &str| Some((kind.to_owned(), data.to_owned()));
        let rows: [(&[u8], _); 7] = [
            (b"event: receipt\ndata: {}\n\n", vec![event("receipt", "{}")]),
            (b"\xef\xbb\xbfdata:x\r\n\r\n", vec![event("", "x")]),
            (b"data:x\r\rdata:y\r\r", vec![event("", "x"), event("", "y")]),
            (
                b": hello\n\nid: 1\nretry: 5\nevent: e\n\ndata\n\n",
                vec![event("", "")],
            ),
            (
                b"data:  two\ndata:lines\nevent:e\n\n",
                vec![event("e", " two\nlines")],
            ),
            (b"data: cut\n", vec![]),
            (b"data: \xff\n\n", vec![event("", "\u{fffd}")]),
        ];
        for (text, expected) in rows {
            for size in [1, 2, 3, 1_000] {
                assert_eq!(events(text, size), Ok(expected.clone()), "{text:?}");
            }
        }
    }

    /// PR-16: whatever a service sends, no more than the bound is kept. An event that is too long is passed over, and the next
    /// one is read; one without end is given up.
    #[test]
    fn nothing_grows() {
        let next = "data:next\n\n";
        let expected = Ok(vec![None, Some((String::new(), "next".to_owned()))]);
        let long_line = format!("event:e\ndata:{}\n\n{next}", "x".repeat(MOST + 1));
        let many_lines = format!("{}\n{next}", "data:1234567\n".repeat(MOST));
        for size in [1, 7, 10_000] {
            assert_eq!(events(long_line.as_bytes(), size), expected);
            assert_eq!(events(many_lines.as_bytes(), size), expected);
        }
        let endless = "x".repeat(EVENT_SKIPPED_BYTES + MOST + 1);
        assert_eq!(events(endless.as_bytes(), 1_000), Err(Endless));
        assert_eq!(events(": comment\n".repeat(MOST).as_bytes(), 100), Ok(vec![]));
    }
}
