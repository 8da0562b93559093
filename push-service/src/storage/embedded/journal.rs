//! Reads the journal before the store does, and cuts off the end that a power loss left torn.
//!
//! The store itself cuts a journal off at the first place that does not read, whatever stands behind it: one flipped bit in
//! a batch's frame, and all that was confirmed after it would be unknown (PR-3). And it refuses a batch that is whole in
//! shape and wrong in content, which is what a disk leaves that wrote the end of a last batch and not its middle. So both
//! are judged here, on the files alone and under the store's lock, before the store touches anything:
//!
//! - Nothing intact stands behind the place: the newest journal ends in a torn batch. It was never synced, so nobody was
//!   told that it is kept; it is cut off, kept beside the journal, and logged.
//! - An intact batch stands behind it, or the journal is not the newest and so was synced as a whole: damage, for the
//!   operator to judge. Nothing is touched.
//!
//! **Invariant:** no batch is ever cut off that an intact one follows.
//!
//! What cannot be told from the bytes: whether a last batch was torn or damaged after its sync, so it counts as torn; and
//! a batch's sequence number, which no checksum covers. A wrong one breaks the rise of the numbers and is found, but for
//! one that is too high in the last batch, which changes nothing, one too low in the first batch of all, and one that
//! falls into a gap, which tables leave that were synced before a journal was. A batch that was never synced and got to the
//! disk whole while its forerunner did not counts as damage too: better asked once too often than silently forgotten.
//! The same is said of a body that was made to look like a batch, if a power loss tears the batch around it.
//!
//! A batch in the journal is, in little-endian: `1`, item count (4), sequence number (8); its items; `3`, their XXH3 (8),
//! `FJL\x03`. An item is `2`, type (1), compression (1), key space (8), key length (2), length (4), stored length (4), key,
//! value; or `4`, key space (8). A journal has its full length from the start; behind the last batch it is zeros.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Buf;
use xxhash_rust::xxh3::xxh3_64;

use super::store::OpenError;

const MAGIC: &[u8; 4] = b"FJL\x03";

/// What is read at a time: large enough for the zeros of 64 MiB to be passed in some 20 ms.
const READ_BYTES: usize = 1 << 16;

/// How often the lock is tried, and the pause between. Source: the store's own way (fjall 3.1.13), whose threads may hold
/// it for a moment after they were told to end.
const LOCK_TRIES: u32 = 3;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Cuts the torn end off the newest journal, if there is one. Refuses a damaged store, with nothing changed.
pub(super) fn mend(directory: &Path) -> Result<(), OpenError> {
    let io = |error| OpenError::Io {
        directory: directory.to_owned(),
        error,
    };
    let Some(_lock) = lock(directory)? else {
        return Ok(());
    };
    let journals = journals(directory).map_err(io)?;
    let mut sequence = None;
    for (n, path) in journals.iter().enumerate() {
        let journal = read_used(path).map_err(io)?;
        let end = Walk::over(&journal, &mut sequence);
        let is_newest = n + 1 == journals.len();
        match end {
            Walk::ToItsEnd => {}
            Walk::Torn(at) if is_newest => cut(path, &journal, at).map_err(io)?,
            Walk::Torn(at) | Walk::Damaged(at) => {
                return Err(OpenError::Damaged {
                    directory: directory.to_owned(),
                    why: format!(
                        "its journal {} is wrong at byte {at}, with more that was confirmed behind it",
                        path.display()
                    ),
                });
            }
        }
    }
    Ok(())
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

/// The journals, oldest first.
fn journals(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| is_journal) {
            journals.push((number, path));
        }
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
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
    fs::write(&torn, &journal[at..])?;
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(at as u64)?;
    file.sync_all()?;
    tracing::warn!(
        journal = %path.display(), kept = %torn.display(), bytes = journal.len() - at,
        "the journal ended in a batch that was never synced; it was cut off"
    );
    Ok(())
}

/// How far a journal reads.
#[derive(PartialEq, Eq, Debug)]
enum Walk {
    ToItsEnd,
    /// Up to here, and nothing intact follows.
    Torn(usize),
    /// Up to here, and something intact follows.
    Damaged(usize),
}

impl Walk {
    /// Walks over a journal's used bytes. `sequence` is the last sequence number before it and becomes the last in it.
    fn over(journal: &[u8], sequence: &mut Option<u64>) -> Self {
        let mut at = 0;
        while let Some(batch) = Batch::read(&journal[at..]).filter(|batch| Some(batch.sequence) > *sequence) {
            *sequence = Some(batch.sequence);
            at += batch.length;
        }
        if at == journal.len() {
            return Self::ToItsEnd;
        }
        // The lengths behind the place are not to be believed, so every byte may be a batch's first, also the one here,
        // if only its number is wrong.
        let intact_follows = (at..journal.len()).any(|start| Batch::read(&journal[start..]).is_some());
        match intact_follows {
            true => Self::Damaged(at),
            false => Self::Torn(at),
        }
    }
}

/// An intact batch.
struct Batch {
    length: usize,
    sequence: u64,
}

impl Batch {
    fn read(journal: &[u8]) -> Option<Self> {
        let mut rest = journal;
        if rest.try_get_u8().ok()? != 1 {
            return None;
        }
        let count = rest.try_get_u32_le().ok()?;
        let sequence = rest.try_get_u64_le().ok()?;
        let items_start = journal.len() - rest.len();
        let mut items = 0;
        let mut items_end = items_start;
        loop {
            match rest.try_get_u8().ok()? {
                2 => rest = skip_item(rest)?,
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
        })
    }
}

fn skip_item(item: &[u8]) -> Option<&[u8]> {
    let mut rest = item.get(10..)?;
    let key = usize::from(rest.try_get_u16_le().ok()?);
    rest.try_get_u32_le().ok()?;
    let value = rest.try_get_u32_le().ok()? as usize;
    rest.get(key + value..)
}
