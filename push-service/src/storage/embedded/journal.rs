//! Reads the journal before fjall does, and cuts off an end that a power loss or a kill left torn.
//!
//! fjall cuts a journal off at the first batch that it cannot read, whatever follows: after one flipped bit in a batch, all
//! that was confirmed later would be unknown (PR-3). And it refuses a batch with a right frame and wrong content, which a disk
//! leaves that wrote the end of the last batch and not its middle. So both cases are decided here, from the files alone and
//! under fjall's lock, before fjall touches anything.
//!
//! **The rule.** Batches are read from the first on, each by the lengths in its frame. Each begins with a
//! [mark](super::marks): its number, and up to which batch everything was synced before it. Reading ends at the first batch
//! that cannot be read, has no mark of this store, or does not have the next number. From there on nothing is taken for a
//! batch, a length or an end. Only marks are searched for, at every byte.
//!
//! - If a mark there says that a batch was synced that was not read, or if a newer journal follows (then this one was synced as
//!   a whole), confirmed data is damaged. The operator has to decide, and nothing is touched.
//! - Otherwise nothing from there on is known to be synced. It is a torn end: it is cut off, kept beside the journal, and
//!   logged.
//!
//! **Why no bytes that a peer chose are taken for structure** (PR-38). Before that point, such bytes are skipped by lengths
//! that this store wrote, and a damaged length leads to no mark with the next number. After it, only marks count, and no
//! peer can forge one. So it does not matter what a body contains, at which byte it was torn, and what follows it.
//!
//! **Invariant:** no batch is cut off if a later write says that it was synced. The writer says so with its next batch. If none
//! follows, it writes an empty batch soon after ([`STORE_MARK_AFTER`]), and when it is closed.
//!
//! Two things cannot be known from the bytes. Until such a write follows: whether the last batch was torn, or damaged after its
//! sync (it counts as torn). And errors in fjall's sequence numbers, which no checksum covers. A wrong number breaks the rising
//! order and is found, with two exceptions: one that is too high in the last batch, which changes nothing, and one within a
//! gap, which tables leave that were synced before a journal.
//!
//! A store of format 1 has no marks and no key, so nothing can be recognized after an unreadable batch. It is opened only if
//! all its journals can be read to their ends, as after an orderly stop.
//!
//! **The format** is that of fjall 3.1.13, which is pinned exactly for this reason. A batch is, in little-endian: `1`, item count (4), sequence number (8); its items; `3`, their XXH3 (8), `FJL\x03`. An
//! item is `2`, type (1), compression (1), key space (8), key length (2), length (4), stored length (4), key, value; or `4`,
//! key space (8). The first item is the store's state, which begins with the mark. A journal has its full length from the
//! start; after the last batch it is zeros.
//!
//! Searching for marks costs one pass over the torn end, for any content.
//!
//! [`STORE_MARK_AFTER`]: crate::defaults::STORE_MARK_AFTER

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Buf;
use xxhash_rust::xxh3::xxh3_64;

use super::layout::STATE_KEY;
use super::marks::{self, KEY_FILE, Mark, Marks};
use super::open_error::OpenError;
use crate::defaults::{TORN_BYTES, TORN_FILES, TORN_KEPT};
use crate::private;

const MAGIC: &[u8; 4] = b"FJL\x03";

/// The bytes of a batch before its first item.
const BATCH_HEADER_BYTES: usize = 1 + 4 + 8;

/// What is read at a time: large enough for the zeros of 64 MiB to be passed in some 20 ms.
const READ_BYTES: usize = 1 << 16;

/// How often the lock is tried, and the pause between. Source: the store's own way (fjall 3.1.13), whose threads may hold
/// it for a moment after they were told to end.
const LOCK_TRIES: u32 = 3;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Cuts the torn end off the newest journal, if there is one. Refuses a damaged store, with nothing changed.
pub(super) fn mend(directory: &Path, marks: Option<&Marks>) -> Result<(), OpenError> {
    let io = |error| OpenError::Io {
        directory: directory.to_owned(),
        error,
    };
    let Some(_lock) = lock(directory)? else {
        return Ok(());
    };
    if let Some(torn) = read(directory, marks)? {
        cut(&torn.path, &torn.journal, torn.at).map_err(io)?;
    }
    forget_torn(directory).map_err(io)
}

/// Reads the journals as [`mend`] does, and changes nothing.
///
/// # Errors
///
/// The store is damaged, or another process has it open.
pub(super) fn inspect(directory: &Path, marks: Option<&Marks>) -> Result<(), OpenError> {
    match lock(directory)? {
        Some(_lock) => read(directory, marks).map(drop),
        None => Ok(()),
    }
}

/// A newest journal that ends in a torn batch.
struct Torn {
    path: PathBuf,
    journal: Vec<u8>,
    at: usize,
}

/// Reads all journals, and answers the torn end, if there is one.
fn read(directory: &Path, marks: Option<&Marks>) -> Result<Option<Torn>, OpenError> {
    let io = |error| OpenError::Io {
        directory: directory.to_owned(),
        error,
    };
    let damaged = |why| OpenError::Damaged {
        directory: directory.to_owned(),
        why,
    };
    let journals = numbered(directory, "jnl").map_err(io)?;
    let mut walk = Walk::new(marks);
    for (n, path) in journals.iter().enumerate() {
        let journal = read_used(path).map_err(io)?;
        let is_newest = n + 1 == journals.len();
        let shown = path.display();
        match walk.over(&journal) {
            End::Whole => {}
            End::Torn(at) if is_newest && marks.is_some() => {
                let path = path.clone();
                return Ok(Some(Torn { path, journal, at }));
            }
            End::Torn(at) | End::Damaged(at) if marks.is_some() => {
                return Err(damaged(format!(
                    "its journal {shown} is damaged at byte {at}, and confirmed data follow"
                )));
            }
            End::Torn(at) | End::Damaged(at) => {
                return Err(damaged(format!(
                    "its journal {shown} is damaged at byte {at}, and the file {KEY_FILE} is missing, which \
                     would tell whether that is only a torn end"
                )));
            }
        }
    }
    Ok(None)
}

/// The store's lock, or nothing if there is no store yet. A journal that another process writes must not be cut.
fn lock(directory: &Path) -> Result<Option<File>, OpenError> {
    let io = |error| OpenError::Io {
        directory: directory.to_owned(),
        error,
    };
    let file = match OpenOptions::new()
        .read(true)
        .write(true)
        .open(directory.join("lock"))
    {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(io)?,
    };
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(io(error)),
            Err(TryLockError::WouldBlock) if attempt == LOCK_TRIES => {
                return Err(OpenError::Locked(directory.to_owned()));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
        }
    }
    Ok(Some(file))
}

/// The files that are a number with this extension, the lowest first.
fn numbered(directory: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        let is_one = path.extension().is_some_and(|found| found == extension);
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| is_one) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// A journal without the zeros at its end. A batch ends in something else, so nothing of one is missing.
fn read_used(path: &Path) -> io::Result<Vec<u8>> {
    let zeros = [0; READ_BYTES];
    let mut block = [0; READ_BYTES];
    let mut file = File::open(path)?;
    let mut used = Vec::new();
    let mut zeros_before = 0;
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        if block[..read] == zeros[..read] {
            zeros_before += read;
            continue;
        }
        used.resize(used.len() + zeros_before, 0);
        zeros_before = 0;
        used.extend_from_slice(&block[..read]);
    }
    let end = used
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    used.truncate(end);
    Ok(used)
}

fn cut(path: &Path, journal: &[u8], at: usize) -> io::Result<()> {
    let torn = path.with_extension("torn");
    let kept = &journal[at..journal.len().min(at + TORN_BYTES)];
    // For the operator to examine. The store does not need it, so it opens even if the disk is full.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let saved = private::create(&mut options, &torn, private::FILE_MODE);
    if let Err(error) = saved.and_then(|mut saved| saved.write_all(kept)) {
        tracing::warn!(%error, file = %torn.display(), "the torn end of the journal could not be saved to a file");
    }
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(at as u64)?;
    file.sync_all()?;
    tracing::warn!(
        journal = %path.display(), kept = %torn.display(), bytes = journal.len() - at,
        "the journal ended in an incomplete batch, which was never confirmed; it was cut off"
    );
    Ok(())
}

/// Removes torn ends older than [`TORN_KEPT`], and all but the newest [`TORN_FILES`].
fn forget_torn(directory: &Path) -> io::Result<()> {
    let now = SystemTime::now();
    let torn = numbered(directory, "torn")?;
    let surplus = torn.len().saturating_sub(TORN_FILES);
    for (n, path) in torn.iter().enumerate() {
        let age = now
            .duration_since(fs::metadata(path)?.modified()?)
            .unwrap_or_default();
        if n < surplus || age > TORN_KEPT {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// How far a journal reads.
#[derive(PartialEq, Eq, Debug)]
enum End {
    Whole,
    /// Readable up to here, and no mark says that more was synced.
    Torn(usize),
    /// Readable up to here, and a mark says that more was synced.
    Damaged(usize),
}

/// A walk over the journals of a store, one after the other.
struct Walk<'a> {
    marks: Option<&'a Marks>,
    /// The last sequence number that was read.
    sequence: Option<u64>,
    /// The number of the last batch that was read, once one has a mark.
    number: Option<u64>,
}

impl<'a> Walk<'a> {
    fn new(marks: Option<&'a Marks>) -> Self {
        Self {
            marks,
            sequence: None,
            number: None,
        }
    }

    /// Goes on over a journal's used bytes.
    fn over(&mut self, journal: &[u8]) -> End {
        let mut at = 0;
        while let Some(batch) = Batch::read(&journal[at..]).filter(|batch| self.takes(batch)) {
            at += batch.length;
        }
        let behind = &journal[at..];
        let read_to = self
            .number
            .or_else(|| self.begins_behind(behind))
            .unwrap_or_default();
        match self.marks {
            _ if behind.is_empty() => End::Whole,
            Some(marks) if claims(behind, marks).any(|mark| mark.synced > read_to) => End::Damaged(at),
            _ => End::Torn(at),
        }
    }

    /// The number before a torn batch's own, if its mark is there: for the first batch it is known from nowhere else.
    fn begins_behind(&self, torn: &[u8]) -> Option<u64> {
        let first = torn.get(BATCH_HEADER_BYTES..)?.strip_prefix(&[2])?;
        let item = Item::read(first).filter(|item| item.key == STATE_KEY)?;
        let mark = self.marks?.verify(item.value.get(..marks::MARK_BYTES)?)?;
        mark.number.checked_sub(1)
    }

    /// Whether an intact batch is the one that comes next.
    fn takes(&mut self, batch: &Batch<'_>) -> bool {
        if Some(batch.sequence) <= self.sequence {
            return false;
        }
        let number = match (self.marks, batch.mark) {
            // Written by format 1, before there were marks.
            (_, None) if self.number.is_none() => None,
            (Some(marks), Some(mark)) => {
                let mark = marks.verify(mark);
                let comes_next = |mark: &Mark| self.number.is_none_or(|last| mark.number == last + 1);
                match mark.filter(comes_next) {
                    Some(mark) => Some(mark.number),
                    None => return false,
                }
            }
            _ => return false,
        };
        self.sequence = Some(batch.sequence);
        self.number = number;
        true
    }
}

/// All marks in these bytes. Each candidate costs a hash of 16 bytes.
fn claims<'a>(bytes: &'a [u8], marks: &'a Marks) -> impl Iterator<Item = Mark> + 'a {
    candidates(bytes).filter_map(|value| marks.verify(value))
}

/// The places where a mark may be: after the key of the store's state.
fn candidates(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let key = rest
            .windows(STATE_KEY.len())
            .position(|window| window == STATE_KEY)?;
        rest = &rest[key + STATE_KEY.len()..];
        Some(&rest[..rest.len().min(marks::MARK_BYTES)])
    })
}

/// A batch that is intact by the store's own format.
struct Batch<'a> {
    length: usize,
    sequence: u64,
    /// The bytes at the position of the mark.
    mark: Option<&'a [u8]>,
}

impl<'a> Batch<'a> {
    fn read(journal: &'a [u8]) -> Option<Self> {
        let mut rest = journal;
        if rest.try_get_u8().ok()? != 1 {
            return None;
        }
        let count = rest.try_get_u32_le().ok()?;
        let sequence = rest.try_get_u64_le().ok()?;
        let items_start = journal.len() - rest.len();
        let mut items = 0;
        let mut items_end = items_start;
        let mut mark = None;
        loop {
            match rest.try_get_u8().ok()? {
                2 => {
                    let item = Item::read(rest)?;
                    if items == 0 && item.key == STATE_KEY {
                        mark = item
                            .value
                            .get(..marks::MARK_BYTES)
                            .filter(|_| item.value.len() > marks::MARK_BYTES);
                    }
                    rest = item.rest;
                }
                4 => rest = rest.get(8..)?,
                3 => break,
                _ => return None,
            }
            items += 1;
            items_end = journal.len() - rest.len();
        }
        let checksum = rest.try_get_u64_le().ok()?;
        rest = rest.strip_prefix(MAGIC)?;
        let is_intact = items == count && checksum == xxh3_64(&journal[items_start..items_end]);
        is_intact.then_some(Self {
            length: journal.len() - rest.len(),
            sequence,
            mark,
        })
    }
}

/// An item of a batch, behind its tag.
struct Item<'a> {
    key: &'a [u8],
    value: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Item<'a> {
    fn read(item: &'a [u8]) -> Option<Self> {
        let mut rest = item.get(10..)?;
        let key = usize::from(rest.try_get_u16_le().ok()?);
        rest.try_get_u32_le().ok()?;
        let value = rest.try_get_u32_le().ok()? as usize;
        let (key, rest) = rest.split_at_checked(key)?;
        let (value, rest) = rest.split_at_checked(value)?;
        Some(Self { key, value, rest })
    }
}

#[cfg(test)]
mod tests;
