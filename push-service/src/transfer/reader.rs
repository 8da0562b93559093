//! Reads the file, line by line, and believes it only when its end agrees.
//!
//! **Invariant:** holds one line, at most [`EXPORT_LINE_BYTES`], and one batch, at most [`EXPORT_STEP_BYTES`] and a line,
//! whatever the file says.

use std::io::{BufRead, Read as _};

use push_protocol::MessageNumber;
use ring::digest;

use super::error::FileError;
use super::lines::{AnyHeader, Counts, Facts, Line};
use super::{FORMAT, VERSION};
use crate::defaults::{EXPORT_LINE_BYTES, EXPORT_STEP_BYTES};
use crate::storage::Portable;

/// A file that is being read.
pub(super) struct Reader<R> {
    source: R,
    line: Vec<u8>,
    /// Of the line that was read last, from 1.
    number: u64,
    digest: digest::Context,
    counts: Counts,
    /// Whose lines are coming, without what they say.
    whose: Option<Portable>,
    /// A number above this one is of a time that has not come.
    latest: MessageNumber,
    is_complete: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    pub(super) fn begin(source: R, latest: MessageNumber) -> Result<(Self, Facts), FileError> {
        let mut reader = Self {
            source,
            line: Vec::new(),
            number: 0,
            digest: digest::Context::new(&digest::SHA256),
            counts: Counts::default(),
            whose: None,
            latest,
            is_complete: false,
        };
        let facts = reader.header()?;
        Ok((reader, facts))
    }

    /// What comes next, about [`EXPORT_STEP_BYTES`] of it; nothing at the end, which agrees.
    ///
    /// Until then nothing of it is certain.
    pub(super) fn batch(&mut self) -> Result<Vec<Portable>, FileError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while !self.is_complete && bytes < EXPORT_STEP_BYTES {
            let line = self.next()?;
            bytes += self.line.len();
            self.take(line, &mut batch)?;
        }
        Ok(batch)
    }

    /// What was read so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    fn header(&mut self) -> Result<Facts, FileError> {
        match self.fill() {
            Err(FileError::Cut { .. } | FileError::Line { .. }) => return Err(FileError::NotAnExport),
            other => other?,
        }
        let AnyHeader { header } = serde_json::from_slice(&self.line).map_err(|_| FileError::NotAnExport)?;
        if header.format != FORMAT {
            return Err(FileError::NotAnExport);
        }
        if header.version > VERSION {
            return Err(FileError::Newer {
                found: header.version,
            });
        }
        self.digest.update(&self.line);
        let facts = match self.parse()? {
            Line::Header(header) => header.read(),
            _ => None,
        };
        facts.ok_or_else(|| {
            self.refuse("it is not a header, or a fingerprint in `sealing_keys` is not 16 hexadecimal digits")
        })
    }

    fn take(&mut self, line: Line, batch: &mut Vec<Portable>) -> Result<(), FileError> {
        match line {
            Line::UserAgent(line) => {
                let record = line.read().map_err(|why| self.refuse(why))?;
                self.check_time(record.last)?;
                self.counts.user_agents += 1;
                self.whose = Some(record.clone());
                batch.push(record);
            }
            Line::Subscription(line) => {
                let subscription = line.read().map_err(|why| self.refuse(why))?;
                self.counts.subscriptions += 1;
                self.part(batch)?.subscriptions.push(subscription);
            }
            Line::Message(line) => {
                let message = line.read().map_err(|why| self.refuse(why))?;
                self.check_time(message.id.number)?;
                self.counts.messages += 1;
                self.part(batch)?.messages.push(message);
            }
            Line::MessageEnd(line) => {
                let part = self.part(batch)?;
                let end = line.read(part.user_agent).map_err(|why| self.refuse(why))?;
                self.check_time(end.id.number)?;
                part.outbox.push(end);
                self.counts.receipts += 1;
            }
            Line::ExpectedReceipt(line) => {
                let expected = line.read().map_err(|why| self.refuse(why))?;
                self.counts.receipts += 1;
                self.part(batch)?.expected.push(expected);
            }
            Line::End(end) => {
                let sha256 = self.digest.clone().finish();
                if !end.ends(self.counts, sha256.as_ref()) {
                    return Err(FileError::Altered);
                }
                if !self.source.fill_buf().map_err(FileError::Io)?.is_empty() {
                    return Err(FileError::Trailing);
                }
                self.is_complete = true;
            }
            Line::Header(_) => return Err(self.refuse("it is a second header")),
        }
        Ok(())
    }

    /// The part to which a line belongs: the last one, or a new one of the same user agent.
    fn part<'a>(&self, batch: &'a mut Vec<Portable>) -> Result<&'a mut Portable, FileError> {
        if batch.is_empty() {
            batch.extend(self.whose.clone());
        }
        batch
            .last_mut()
            .ok_or_else(|| self.refuse("no user agent stands before it"))
    }

    /// A number of the future would hold the clock of the storage that takes it in.
    fn check_time(&self, number: MessageNumber) -> Result<(), FileError> {
        if number > self.latest {
            return Err(self.refuse(
                "its number is in the future: the clock of this machine or of the old one is wrong",
            ));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Line, FileError> {
        self.fill()?;
        let line = self.parse()?;
        if !matches!(line, Line::End(_)) {
            self.digest.update(&self.line);
        }
        Ok(line)
    }

    fn parse(&self) -> Result<Line, FileError> {
        // The parser's own words may show what is in the line.
        let line = serde_json::from_slice(&self.line);
        line.map_err(|error| {
            self.refuse(format!(
                "it cannot be read as a line of an export (column {})",
                error.column()
            ))
        })
    }

    /// Reads a whole line.
    fn fill(&mut self) -> Result<(), FileError> {
        self.line.clear();
        let most = EXPORT_LINE_BYTES as u64;
        let mut limited = (&mut self.source).take(most);
        let read = limited.read_until(b'\n', &mut self.line).map_err(FileError::Io)?;
        if self.line.last() == Some(&b'\n') {
            self.number += 1;
            return Ok(());
        }
        if read == EXPORT_LINE_BYTES {
            return Err(FileError::too_long(self.number + 1));
        }
        Err(FileError::Cut { lines: self.number })
    }

    fn refuse(&self, why: impl Into<String>) -> FileError {
        FileError::line(self.number, why)
    }
}
