//! `messages.log`: what became of the last messages.
//!
//! A header of 32 bytes: `user-agent log1\n` and the id by which `state.json` names its log. Then records of 32 bytes:
//!
//! | bytes | |
//! |---|---|
//! | 1 | `d`: done; `a`: an attempt |
//! | 3 | zero |
//! | 4 | which attempt, little-endian; 0 for one that is done |
//! | 16 | the message's key |
//! | 8 | the first bytes of the SHA-256 of those before |
//!
//! Each record stands for itself: one that is damaged or torn is passed over. It is written before the message is
//! acknowledged, but not synced. That is right: what a process wrote outlives its death by any signal; only a power loss
//! takes the last records away, and then the messages that were acknowledged since are gone from the service too, and the
//! others come again and are handled again. None is lost.
//!
//! The log is written anew with what still counts when it is opened, and when it has [`MESSAGE_RECORDS`].

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use push_protocol::session::user_agent::{Change, Durable, MessageKey, Messages};
use ring::digest;

use super::directory::Place;
use super::document::LogId;
use super::error::{FileError, StateError};
use crate::defaults::MESSAGE_RECORDS;

const MAGIC: &[u8; 16] = b"user-agent log1\n";

const RECORD_BYTES: usize = 32;
const CHECKED_BYTES: usize = 24;

/// A log that was read.
#[derive(Debug)]
pub(super) struct MessagesLog {
    place: Place,
    id: LogId,
    /// `None` after something went wrong: then all of it is written anew with the next record.
    file: Option<File>,
    records: usize,
}

impl MessagesLog {
    /// Reads the log into `durable`, and writes it anew if that makes it any smaller or better. What can't be read is
    /// passed over, and what can't be written is said by [`append`](Self::append): a log never keeps a user agent from
    /// starting.
    pub(super) fn open(place: Place, id: LogId, durable: &mut Durable) -> Self {
        let mut log = Self {
            place,
            id,
            file: None,
            records: 0,
        };
        let opened = log.read(durable).and_then(|is_good| {
            if is_good {
                log.reopen()
            } else {
                log.rewrite(&durable.messages)
            }
        });
        if let Err(error) = opened {
            tracing::warn!(file = %log.place.path().display(), %error, "what became of the last messages can't be kept");
        }
        log
    }

    /// Writes down what `messages` knows already. It is there when this returns, unless power is lost.
    pub(super) fn append(&mut self, record: Record, messages: &Messages) -> Result<(), StateError> {
        self.try_append(record, messages).map_err(|error| {
            self.file = None;
            StateError::Messages(FileError {
                path: self.place.path().to_owned(),
                error,
            })
        })
    }

    /// Lets the next record go elsewhere.
    #[cfg(test)]
    pub(super) fn write_to(&mut self, file: File) {
        self.file = Some(file);
    }

    fn try_append(&mut self, record: Record, messages: &Messages) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.records < MESSAGE_RECORDS) else {
            return self.rewrite(messages);
        };
        let at = RECORD_BYTES * (1 + self.records);
        file.write_all_at(&record.to_bytes(), at as u64)?;
        self.records += 1;
        Ok(())
    }

    /// Whether the log can stay as it is.
    fn read(&mut self, durable: &mut Durable) -> io::Result<bool> {
        let most = RECORD_BYTES * (1 + MESSAGE_RECORDS);
        let was_open = match self.place.close_to_others() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            was_open => was_open?,
        };
        let bytes = match self.place.read_bounded(most as u64) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            bytes => bytes?.unwrap_or_default(),
        };
        let (blocks, torn) = bytes.as_chunks::<RECORD_BYTES>();
        let Some((header, blocks)) = blocks.split_first() else {
            return Ok(false);
        };
        if *header != self.header() {
            return Ok(false);
        }
        let records = blocks.iter().filter_map(Record::from_bytes);
        records.for_each(|record| durable.apply(&record.change()));
        self.records = blocks.len();
        let live = count(&durable.messages);
        Ok(!was_open && torn.is_empty() && live == blocks.len())
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = Some(self.place.open_to_write()?);
        Ok(())
    }

    fn rewrite(&mut self, messages: &Messages) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES * (1 + count(messages)));
        bytes.extend_from_slice(&self.header());
        for record in Record::all(messages) {
            bytes.extend_from_slice(&record.to_bytes());
        }
        self.file = Some(self.place.replace(&bytes, |_| Ok(()))?);
        self.records = bytes.len() / RECORD_BYTES - 1;
        Ok(())
    }

    fn header(&self) -> [u8; RECORD_BYTES] {
        let mut header = [0; RECORD_BYTES];
        let (magic, id) = header.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        id.copy_from_slice(&self.id);
        header
    }
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Record {
    Done(MessageKey),
    Attempt(MessageKey, u32),
}

impl Record {
    /// The record of a change, if it is one of a message.
    pub(super) fn of(change: &Change) -> Option<Self> {
        match change {
            Change::Done(message) => Some(Self::Done(*message)),
            Change::Attempt { message, count } => Some(Self::Attempt(*message, *count)),
            _ => None,
        }
    }

    fn change(&self) -> Change {
        match *self {
            Self::Done(message) => Change::Done(message),
            Self::Attempt(message, count) => Change::Attempt { message, count },
        }
    }

    /// In an order that leads to the same memory.
    fn all(messages: &Messages) -> impl Iterator<Item = Self> {
        let done = messages.all_done().map(Self::Done);
        let attempts = messages
            .all_attempts()
            .map(|(message, count)| Self::Attempt(message, count));
        done.chain(attempts)
    }

    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let (kind, message, count) = match self {
            Self::Done(message) => (b'd', message, 0),
            Self::Attempt(message, count) => (b'a', message, count),
        };
        let mut bytes = [0; RECORD_BYTES];
        bytes[0] = kind;
        bytes[4..8].copy_from_slice(&count.to_le_bytes());
        bytes[8..CHECKED_BYTES].copy_from_slice(&message.0);
        let check = check(&bytes);
        bytes[CHECKED_BYTES..].copy_from_slice(&check);
        bytes
    }

    /// `None` if it is damaged.
    fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        if bytes[CHECKED_BYTES..] != check(bytes) {
            return None;
        }
        let count = u32::from_le_bytes(bytes[4..8].try_into().ok()?);
        let message = MessageKey(bytes[8..CHECKED_BYTES].try_into().ok()?);
        match bytes[0] {
            b'd' => Some(Self::Done(message)),
            b'a' => Some(Self::Attempt(message, count)),
            _ => None,
        }
    }
}

fn check(record: &[u8; RECORD_BYTES]) -> [u8; RECORD_BYTES - CHECKED_BYTES] {
    let digest = digest::digest(&digest::SHA256, &record[..CHECKED_BYTES]);
    let mut check = [0; RECORD_BYTES - CHECKED_BYTES];
    check.copy_from_slice(&digest.as_ref()[..RECORD_BYTES - CHECKED_BYTES]);
    check
}

fn count(messages: &Messages) -> usize {
    messages.all_done().count() + messages.all_attempts().count()
}
