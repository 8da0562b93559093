//! Writes the file, line by line.

use std::io::{self, Write};

use push_protocol::UserAgentId;
use ring::digest;

use super::lines::{
    Counts, End, EndedMessage, Expectation, Facts, Header, Line, Message, Subscription, UserAgent,
};
use crate::defaults::EXPORT_LINE_BYTES;
use crate::storage::Portable;

/// A file on its way. Half a file until [`Writer::finish`].
pub(super) struct Writer<W> {
    sink: W,
    digest: digest::Context,
    counts: Counts,
    /// Whose lines were the last ones.
    whose: Option<UserAgentId>,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(sink: W, facts: &Facts) -> io::Result<Self> {
        let mut writer = Self {
            sink,
            digest: digest::Context::new(&digest::SHA256),
            counts: Counts::default(),
            whose: None,
            line: Vec::new(),
        };
        writer.write(&Line::Header(Header::new(facts)))?;
        Ok(writer)
    }

    /// A further part of the user agent before adds its messages; its record stands there already.
    pub(super) fn part(&mut self, part: &Portable) -> io::Result<()> {
        if self.whose.replace(part.user_agent) != Some(part.user_agent) {
            self.write(&Line::UserAgent(UserAgent::new(part)))?;
            self.counts.user_agents += 1;
            for subscription in &part.subscriptions {
                self.write(&Line::Subscription(Subscription::new(subscription)))?;
                self.counts.subscriptions += 1;
            }
        }
        for message in &part.messages {
            self.write(&Line::Message(Message::new(message)))?;
            self.counts.messages += 1;
        }
        for end in &part.outbox {
            self.write(&Line::MessageEnd(EndedMessage::new(end)))?;
            self.counts.receipts += 1;
        }
        for expected in &part.expected {
            self.write(&Line::ExpectedReceipt(Expectation::new(expected)))?;
            self.counts.receipts += 1;
        }
        Ok(())
    }

    /// What was written so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Writes the end.
    pub(super) fn finish(mut self) -> io::Result<Counts> {
        let sha256 = self.digest.clone().finish();
        self.write(&Line::End(End::new(self.counts, sha256.as_ref())))?;
        self.sink.flush()?;
        Ok(self.counts)
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        if self.line.len() > EXPORT_LINE_BYTES {
            let why = "a message is longer than any that can be accepted";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.digest.update(&self.line);
        self.sink.write_all(&self.line)
    }
}
