//! `messages.log`: the outcomes of the last messages.
//!
//! A header of 32 bytes: `user-agent log2\n` and the id by which `state.json` names its log. Then records of 32 bytes:
//!
//! | bytes | |
//! |---|---|
//! | 1 | what follows: see below |
//! | 1 | zero |
//! | 2 | `t`, `T`: how often its application began and did not end, little-endian |
//! | 4 | `t`: how many attempts failed, little-endian |
//! | 16 | the message's key |
//! | 8 | the first bytes of the SHA-256 of those before |
//!
//! | | |
//! |---|---|
//! | `d` | the message is done |
//! | `t` | it was tried so often; both numbers 0: it counts as never tried |
//! | `D`, `T` | the same, from the log of an earlier version, which knew messages by their id alone |
//! | `x` | the `D` or `T` of this key counts no more: the message has a record of its own, if it needs one |
//!
//! The header `user-agent log1\n` is of that earlier version. Its records are `d`, and `a` with a number of beginnings in place of
//! the attempts: attempts were counted when they began. Such a log is read, and written anew in this form. An earlier version does
//! not believe the log of this one, and begins an empty one.
//!
//! Each record has its own checksum: a damaged or torn one is skipped. It is written before the message is
//! acknowledged, but not synced. That is enough: a write survives the death of its process by any signal. Only a power loss
//! takes the last records away. Messages that were acknowledged by then are gone from the service too, and the
//! others come again and are handled again. No message is lost.
//!
//! The log is written anew with what still counts when it is opened, and when it has [`MESSAGE_RECORDS`].

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use push_protocol::session::user_agent::{Change, Durable, Earlier, MessageKey, Messages, Tried};
use ring::digest;

use super::directory::StateFile;
use super::document::LogId;
use super::error::{FileError, StateError};
use crate::defaults::MESSAGE_RECORDS;

const MAGIC: &[u8; 16] = b"user-agent log2\n";

/// The format of versions that knew messages by their id alone.
const EARLIER_MAGIC: &[u8; 16] = b"user-agent log1\n";

const RECORD_BYTES: usize = 32;
const CHECKED_BYTES: usize = 24;

/// A log that was read.
#[derive(Debug)]
pub(super) struct MessagesLog {
    place: StateFile,
    id: LogId,
    /// `None` after something went wrong: then all of it is written anew with the next record.
    file: Option<File>,
    records: usize,
}

impl MessagesLog {
    /// Reads the log into `durable`, and writes it anew if that makes it any smaller or better. What can't be read is
    /// passed over, and what can't be written is said by [`append`](Self::append): a log never keeps a user agent from
    /// starting.
    pub(super) fn open(place: StateFile, id: LogId, durable: &mut Durable) -> Self {
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
            tracing::warn!(file = %log.place.path().display(), %error, "cannot record which messages were handled");
        }
        log
    }

    /// Writes down a change that `messages` knows already. It is there when this returns, unless power is lost.
    pub(super) fn append(&mut self, change: &Change, messages: &Messages) -> Result<(), StateError> {
        let mut records = Record::of(change, messages);
        let appended = records.try_for_each(|record| self.try_append(record, messages));
        appended.map_err(|error| {
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
        let is_earlier = *header == self.header(EARLIER_MAGIC);
        if !is_earlier && *header != self.header(MAGIC) {
            return Ok(false);
        }
        let read = match is_earlier {
            true => Record::from_earlier_bytes,
            false => Record::from_bytes,
        };
        let records = blocks.iter().filter_map(read);
        records.for_each(|record| record.restore(durable));
        self.records = blocks.len();
        let live = count(&durable.messages);
        Ok(!is_earlier && !was_open && torn.is_empty() && live == blocks.len())
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = Some(self.place.open_to_write()?);
        Ok(())
    }

    fn rewrite(&mut self, messages: &Messages) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES * (1 + count(messages)));
        bytes.extend_from_slice(&self.header(MAGIC));
        for record in Record::all(messages) {
            bytes.extend_from_slice(&record.to_bytes());
        }
        self.file = Some(self.place.replace(&bytes, |_| Ok(()))?);
        self.records = bytes.len() / RECORD_BYTES - 1;
        Ok(())
    }

    fn header(&self, of: &[u8; 16]) -> [u8; RECORD_BYTES] {
        let mut header = [0; RECORD_BYTES];
        let (magic, id) = header.split_at_mut(of.len());
        magic.copy_from_slice(of);
        id.copy_from_slice(&self.id);
        header
    }
}

/// The outcome of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Record {
    Done(MessageKey),
    Tried(MessageKey, Tried),
    Earlier(MessageKey, Earlier),
    EarlierOver(MessageKey),
}

impl Record {
    /// The records of a change that `messages` knows already; none of one that is not about a message. Each says how things are,
    /// and not what changed: one that is lost is made up for by the next.
    fn of(change: &Change, messages: &Messages) -> impl Iterator<Item = Self> + use<> {
        let as_it_is = |message: MessageKey| match messages.is_done(message) {
            true => Self::Done(message),
            false => Self::Tried(message, messages.tried(message)),
        };
        let records = match *change {
            Change::Done(message) => [Some(Self::Done(message)), None],
            Change::Begun(message) | Change::Released(message) | Change::Attempt { message, .. } => {
                [Some(as_it_is(message)), None]
            }
            Change::Recognised { message, earlier } => {
                [Some(as_it_is(message)), Some(Self::EarlierOver(earlier))]
            }
            _ => [None, None],
        };
        records.into_iter().flatten()
    }

    fn restore(self, durable: &mut Durable) {
        match self {
            Self::Done(message) => durable.apply(&Change::Done(message)),
            Self::Tried(message, tried) => durable.messages.restore_tried(message, tried),
            Self::Earlier(message, earlier) => durable.messages.restore_earlier(message, earlier),
            Self::EarlierOver(message) => durable.messages.forget_earlier(message),
        }
    }

    /// In an order that leads to the same memory.
    fn all(messages: &Messages) -> impl Iterator<Item = Self> {
        let done = messages.all_done().map(Self::Done);
        let tried = messages
            .all_tried()
            .map(|(message, tried)| Self::Tried(message, tried));
        let earlier = messages
            .all_earlier()
            .map(|(message, earlier)| Self::Earlier(message, earlier));
        done.chain(tried).chain(earlier)
    }

    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let (kind, message, Tried { attempts, unfinished }) = match self {
            Self::Done(message) => (b'd', message, Tried::default()),
            Self::Tried(message, tried) => (b't', message, tried),
            Self::Earlier(message, Earlier::Done) => (b'D', message, Tried::default()),
            Self::Earlier(message, Earlier::Begun(unfinished)) => {
                let attempts = 0;
                (b'T', message, Tried { attempts, unfinished })
            }
            Self::EarlierOver(message) => (b'x', message, Tried::default()),
        };
        let unfinished = u16::try_from(unfinished).unwrap_or(u16::MAX);
        let mut bytes = [0; RECORD_BYTES];
        bytes[0] = kind;
        bytes[2..4].copy_from_slice(&unfinished.to_le_bytes());
        bytes[4..8].copy_from_slice(&attempts.to_le_bytes());
        bytes[8..CHECKED_BYTES].copy_from_slice(&message.0);
        let check = check(&bytes);
        bytes[CHECKED_BYTES..].copy_from_slice(&check);
        bytes
    }

    /// `None` if it is damaged.
    fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let (kind, message, tried) = parts(bytes)?;
        match kind {
            b'd' => Some(Self::Done(message)),
            b't' => Some(Self::Tried(message, tried)),
            b'D' => Some(Self::Earlier(message, Earlier::Done)),
            b'T' => Some(Self::Earlier(message, Earlier::Begun(tried.unfinished))),
            b'x' => Some(Self::EarlierOver(message)),
            _ => None,
        }
    }

    /// As it was written by a version that knew messages by their id alone.
    fn from_earlier_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        match parts(bytes)? {
            (b'd', message, _) => Some(Self::Earlier(message, Earlier::Done)),
            (b'a', message, Tried { attempts: 0, .. }) => Some(Self::EarlierOver(message)),
            (b'a', message, tried) => Some(Self::Earlier(message, Earlier::Begun(tried.attempts))),
            _ => None,
        }
    }
}

/// `None` if the record is damaged.
fn parts(bytes: &[u8; RECORD_BYTES]) -> Option<(u8, MessageKey, Tried)> {
    if bytes[CHECKED_BYTES..] != check(bytes) {
        return None;
    }
    let unfinished = u16::from_le_bytes(bytes[2..4].try_into().ok()?).into();
    let attempts = u32::from_le_bytes(bytes[4..8].try_into().ok()?);
    let message = MessageKey(bytes[8..CHECKED_BYTES].try_into().ok()?);
    Some((bytes[0], message, Tried { attempts, unfinished }))
}

fn check(record: &[u8; RECORD_BYTES]) -> [u8; RECORD_BYTES - CHECKED_BYTES] {
    let digest = digest::digest(&digest::SHA256, &record[..CHECKED_BYTES]);
    let mut check = [0; RECORD_BYTES - CHECKED_BYTES];
    check.copy_from_slice(&digest.as_ref()[..RECORD_BYTES - CHECKED_BYTES]);
    check
}

fn count(messages: &Messages) -> usize {
    messages.all_done().count() + messages.all_tried().count() + messages.all_earlier().count()
}
