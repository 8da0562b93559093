//! The files of the store: opened, checked and read. Only the writer writes them.
//!
//! Calls here block on the disk, so only threads of the store make them.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use push_protocol::{MessageNumber, PushMessage, UserAgentId};

use super::guard;
use super::journal;
use super::layout::{self, DecodedMessage, FORMAT, FORMAT_KEY, STATE_KEY, StoreState, Unreadable, Value};
use super::marks::Marks;
use super::open_error::OpenError;
use crate::defaults::{STORE_CACHE_BYTES, STORE_JOURNAL_BYTES, STORE_OPEN_FILES, STORE_THREADS};
use crate::storage::queue::UserAgent;
use crate::storage::senders::Sums;
use crate::storage::{Overdue, StorageError};

/// A user agent as it is stored.
pub(super) struct Loaded {
    pub(super) state: UserAgent,
    /// Whether a body of one of its messages is stored separately.
    pub(super) has_separate_bodies: bool,
}

/// An open store. Clones share it; dropping the last one closes it.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) database: Database,
    pub(super) keys: Keyspace,
    pub(super) marks: Marks,
}

impl Store {
    /// Opens a store, or makes one in a directory that is new or empty.
    pub(super) fn open(directory: &Path, memtable_bytes: u64) -> Result<(Self, StoreState), OpenError> {
        let io = |error| OpenError::Io {
            directory: directory.to_owned(),
            error,
        };
        guard::prepare(directory).map_err(io)?;
        let marks = Marks::load(directory).map_err(io)?;
        journal::mend(directory, marks.as_ref())?;
        // A new store, or one of format 1: `mend` found no batch that needs a key.
        let marks = marks.map_or_else(|| Marks::make(directory), Ok).map_err(io)?;
        let store = Self::open_files(directory, marks, memtable_bytes)
            .map_err(|error| open_error(directory, error))?;
        let state = store.check_format(directory)?;
        // Not before: only now it is known to be a store of ours.
        guard::close_to_others(directory);
        Ok((store, state))
    }

    /// The files alone, their format unchecked.
    pub(super) fn open_files(directory: &Path, marks: Marks, memtable_bytes: u64) -> fjall::Result<Self> {
        let database = Database::builder(directory)
            .cache_size(STORE_CACHE_BYTES)
            .max_journaling_size(STORE_JOURNAL_BYTES)
            .max_cached_files(Some(STORE_OPEN_FILES))
            .worker_threads(STORE_THREADS)
            .manual_journal_persist(true)
            .open()?;
        let keys = database.keyspace("push-service", || {
            KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .max_memtable_size(memtable_bytes)
        })?;
        Ok(Self {
            database,
            keys,
            marks,
        })
    }

    /// PR-3, PR-35: a store without a format mark, or with a newer one, is not touched.
    fn check_format(&self, directory: &Path) -> Result<StoreState, OpenError> {
        let fault = |error| open_error(directory, error);
        let unreadable = |what: &str| OpenError::Damaged {
            directory: directory.to_owned(),
            why: format!("its {what} cannot be read"),
        };
        let Some(mark) = self.keys.get(FORMAT_KEY).map_err(fault)? else {
            if !self.keys.is_empty().map_err(fault)? {
                return Err(OpenError::Unmarked(directory.to_owned()));
            }
            return self.write_format(StoreState::default()).map_err(fault);
        };
        let found = u32::from_be_bytes(mark[..].try_into().map_err(|_| unreadable("format mark"))?);
        if found > FORMAT {
            return Err(OpenError::Newer {
                directory: directory.to_owned(),
                found,
            });
        }
        let state = self.keys.get(STATE_KEY).map_err(fault)?;
        let state = state.map_or(Ok(StoreState::default()), |state| {
            StoreState::decode(&state).map_err(|_| unreadable("state"))
        })?;
        if found < FORMAT {
            return self.write_format(state).map_err(fault);
        }
        Ok(state)
    }

    /// Records that the store has this format from now on: in the first batch of a new store, or of one in an older
    /// format.
    fn write_format(&self, state: StoreState) -> fjall::Result<StoreState> {
        let state = self.put(state, FORMAT_KEY, &FORMAT.to_be_bytes())?;
        self.database.persist(PersistMode::SyncAll)?;
        Ok(state)
    }

    /// Writes one value of the store about itself, in a batch of its own. Returns the state in the batch.
    pub(super) fn put(&self, state: StoreState, key: &[u8], value: &[u8]) -> fjall::Result<StoreState> {
        let (mut batch, state) = self.batch(state);
        batch.insert(&self.keys, key, value);
        batch.commit()?;
        Ok(state)
    }

    /// The next batch, and the state of the store in it. Every batch begins with its mark and that state (PR-38).
    pub(super) fn batch(&self, state: StoreState) -> (fjall::OwnedWriteBatch, StoreState) {
        let mut batch = self.database.batch().durability(Some(PersistMode::Buffer));
        let state = StoreState {
            mark: state.mark.next(),
            ..state
        };
        batch.insert(&self.keys, STATE_KEY, state.encode(&self.marks));
        (batch, state)
    }

    /// A value of the store about itself.
    pub(super) fn metadata(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let value = self.keys.get(key).map_err(read_error)?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// The sums of all senders.
    pub(super) fn senders(&self, directory: &Path) -> Result<Sums, OpenError> {
        let mut sums = Sums::default();
        for entry in self.keys.range(layout::sender_keys()) {
            let (key, value) = entry.into_inner().map_err(|error| open_error(directory, error))?;
            let (sender, bytes) = layout::sender_of(&key, &value).map_err(|_| OpenError::Damaged {
                directory: directory.to_owned(),
                why: "the sum of a sender cannot be read".to_owned(),
            })?;
            sums.set(sender, bytes);
        }
        Ok(sums)
    }

    /// The user agent with its index, as last committed; `None` if there is no record. Long bodies are not read
    /// (PR-43).
    pub(super) fn load(&self, user_agent: UserAgentId) -> Result<Loaded, StorageError> {
        let all = layout::queue_key(user_agent, MessageNumber(0))
            ..=layout::queue_key(user_agent, MessageNumber(u64::MAX));
        let mut state = UserAgent::default();
        let mut has_separate_bodies = false;
        for entry in self.keys.range(all) {
            let (key, value) = entry.into_inner().map_err(read_error)?;
            let number = layout::number_of(&key).map_err(unreadable)?;
            if number == MessageNumber::START {
                state = layout::decode_record(&value).map_err(unreadable)?;
            } else {
                let value = Value::decode(number, &value).map_err(unreadable)?;
                has_separate_bodies |=
                    matches!(&value, Value::Message(read) if read.separate_bytes.is_some());
                value.load_into(&mut state, number);
            }
        }
        state.receipt_state.finish_loading();
        Ok(Loaded {
            state,
            has_separate_bodies,
        })
    }

    /// A message, unless it was removed meanwhile.
    pub(super) fn message(
        &self,
        user_agent: UserAgentId,
        number: MessageNumber,
    ) -> Result<Option<PushMessage>, StorageError> {
        let value = self
            .keys
            .get(layout::queue_key(user_agent, number))
            .map_err(read_error)?;
        let value = value.map(|value| Value::decode(number, &value).map_err(unreadable));
        let Some(Value::Message(read)) = value.transpose()? else {
            return Ok(None);
        };
        let read = self.with_body(user_agent, number, read)?;
        Ok(read.map(|read| read.message))
    }

    /// A message with its separately stored body; `None` if it was removed after its header was read.
    pub(super) fn with_body(
        &self,
        user_agent: UserAgentId,
        number: MessageNumber,
        read: DecodedMessage,
    ) -> Result<Option<DecodedMessage>, StorageError> {
        if read.separate_bytes.is_none() {
            return Ok(Some(read));
        }
        let body = self
            .keys
            .get(layout::body_key(user_agent, number))
            .map_err(read_error)?;
        body.map(|body| read.with_body(&body).map_err(unreadable))
            .transpose()
    }

    /// The entries of the sweep index between two times, at most `limit`, the longest overdue first.
    pub(super) fn due(
        &self,
        from_ms: u64,
        to_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, UserAgentId)>, StorageError> {
        let first = layout::sweep_key(from_ms, UserAgentId([0; 16]));
        let last = layout::sweep_key(to_ms, UserAgentId([u8::MAX; 16]));
        let entries = self.keys.range(first..=last).take(limit);
        entries
            .map(|entry| layout::sweep_of(&entry.key().map_err(read_error)?).map_err(unreadable))
            .collect()
    }

    /// User agents that have an outbox, at most so many.
    pub(super) fn with_outbox(&self, limit: usize) -> Result<Vec<UserAgentId>, StorageError> {
        let first = layout::outbox_key(UserAgentId([0; 16]));
        let last = layout::outbox_key(UserAgentId([u8::MAX; 16]));
        let entries = self.keys.range(first..=last).take(limit);
        entries
            .map(|entry| layout::outbox_of(&entry.key().map_err(read_error)?).map_err(unreadable))
            .collect()
    }

    /// Expected receipts whose deadline is not after `to_ms`, at most `limit`, the longest overdue first.
    pub(super) fn overdue(&self, to_ms: u64, limit: usize) -> Result<Vec<Overdue>, StorageError> {
        let first = layout::deadline_key(0, UserAgentId([0; 16]), MessageNumber(0));
        let last = layout::deadline_key(to_ms, UserAgentId([u8::MAX; 16]), MessageNumber(u64::MAX));
        let entries = self.keys.range(first..=last).take(limit);
        let read = |entry: fjall::Guard| {
            let (key, value) = entry.into_inner().map_err(read_error)?;
            layout::deadline_of(&key, &value).map_err(unreadable)
        };
        entries.map(read).collect()
    }
}

fn open_error(directory: &Path, error: fjall::Error) -> OpenError {
    let directory = directory.to_owned();
    match error {
        fjall::Error::Locked => OpenError::Locked(directory),
        fjall::Error::Io(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            OpenError::Io { directory, error }
        }
        error => OpenError::Damaged {
            directory,
            why: error.to_string(),
        },
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
pub(super) fn read_error(error: fjall::Error) -> StorageError {
    StorageError::Unavailable(format!("the store cannot be read: {error}"))
}

pub(super) fn unreadable(_: Unreadable) -> StorageError {
    StorageError::Unavailable("the store has a value that this version cannot read".to_owned())
}
