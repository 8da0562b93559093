//! The mark with which each batch begins: its number, up to which batch everything was synced when it was written, and
//! proof that this store wrote it.
//!
//! Senders, user agents and other servers choose bytes that are in the journal: bodies, topics, header fields, names of
//! subscriptions. If the journal is torn, the lengths that lead past those bytes are lost, so what follows must be
//! recognizable by itself. A mark is: it ends in an HMAC under a key that never leaves this machine, and it appears
//! in no answer, export or log, so no peer can forge or repeat one.
//!
//! **Invariant:** bytes that verify as a mark were written by this store as the first item of a batch. **Invariant:**
//! numbers rise by one with each batch, across journals and restarts, so an old mark that reappears on the disk
//! claims nothing about later batches.
//!
//! The key is in a file of its own, [`KEY_FILE`], because it is needed before the store opens. A copy of the store's
//! directory includes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use ring::hmac;

use crate::private;

/// Where the key is, in the store's directory.
pub(super) const KEY_FILE: &str = "journal.key";

const KEY_BYTES: usize = 32;
const PROOF_BYTES: usize = 16;

/// Number, synced number, proof.
pub(super) const MARK_BYTES: usize = 8 + 8 + PROOF_BYTES;

/// What a mark says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// The number of the batch that it begins.
    pub(super) number: u64,
    /// Everything up to this batch was synced when this mark was written.
    pub(super) synced: u64,
}

impl Mark {
    /// The mark before the first batch. Every mark claims that something was synced, so that damage of data without
    /// marks, from older versions, is not taken for a torn end.
    pub(super) const START: Self = Self { number: 1, synced: 1 };

    pub(super) fn next(self) -> Self {
        Self {
            number: self.number + 1,
            ..self
        }
    }
}

/// Makes and verifies marks.
#[derive(Clone)]
pub(super) struct Marks(hmac::Key);

impl Marks {
    /// The key of the store in this directory, if it has one.
    pub(super) fn load(directory: &Path) -> io::Result<Option<Self>> {
        match fs::read(directory.join(KEY_FILE)) {
            Ok(key) if key.len() == KEY_BYTES => Ok(Some(Self::of(&key))),
            Ok(_) => Err(io::Error::other(format!(
                "{KEY_FILE} does not have {KEY_BYTES} bytes"
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a key and stores it durably, before the first batch that needs it.
    pub(super) fn make(directory: &Path) -> io::Result<Self> {
        let key: [u8; KEY_BYTES] = crate::random::bytes();
        let under_way = directory.join(format!("{KEY_FILE}.new"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let mut file = private::create(&mut options, &under_way, private::FILE_MODE)?;
        file.write_all(&key)?;
        file.sync_all()?;
        fs::rename(&under_way, directory.join(KEY_FILE))?;
        File::open(directory)?.sync_all()?;
        Ok(Self::of(&key))
    }

    fn of(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    pub(super) fn encode(&self, mark: Mark) -> [u8; MARK_BYTES] {
        let mut value = [0; MARK_BYTES];
        value[..8].copy_from_slice(&mark.number.to_be_bytes());
        value[8..16].copy_from_slice(&mark.synced.to_be_bytes());
        let proof = hmac::sign(&self.0, &value[..16]);
        value[16..].copy_from_slice(&proof.as_ref()[..PROOF_BYTES]);
        value
    }

    /// The content of a mark, if it was made by [`encode`](Self::encode) under this key.
    pub(super) fn verify(&self, value: &[u8]) -> Option<Mark> {
        let value: &[u8; MARK_BYTES] = value.try_into().ok()?;
        let mark = read(value)?;
        // Not in constant time: no peer can measure a start.
        (self.encode(mark) == *value).then_some(mark)
    }
}

/// What a mark says, unverified.
pub(super) fn read(value: &[u8]) -> Option<Mark> {
    let (number, rest) = value.split_first_chunk()?;
    let (synced, _) = rest.split_first_chunk()?;
    Some(Mark {
        number: u64::from_be_bytes(*number),
        synced: u64::from_be_bytes(*synced),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-38: a mark verifies only with the key of the store that wrote it, and not with any byte changed.
    #[test]
    fn only_its_own_store_takes_a_mark() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Marks::load(directory.path()).unwrap().is_none());
        let marks = Marks::make(directory.path()).unwrap();
        let mark = Mark { number: 7, synced: 5 };
        let value = marks.encode(mark);
        let again = Marks::load(directory.path()).unwrap().unwrap();
        assert_eq!(again.verify(&value), Some(mark));
        let elsewhere = tempfile::tempdir().unwrap();
        assert_eq!(Marks::make(elsewhere.path()).unwrap().verify(&value), None);
        for position in 0..value.len() {
            let mut changed = value;
            changed[position] ^= 1;
            assert_eq!(marks.verify(&changed), None, "byte {position}");
        }
        assert_eq!(marks.verify(&value[1..]), None);
    }
}
