//! Mends the journal that a power loss left torn.
//!
//! The store cuts off a last batch that breaks off. It refuses one that is whole in shape and wrong in content, which is
//! what a disk leaves that wrote the end of a batch and not its middle. Such a batch was never synced, so nobody was told
//! that it is kept, and a service that does not start for its sake keeps nothing.
//!
//! **Invariant:** only what may be unsynced is cut: the end of the newest journal, from the first wrong batch, if no
//! intact batch follows it. What is cut is kept beside the journal. Anything else is damage, for the operator to judge.
//!
//! A batch in the journal is, in little-endian: `1`, item count (4), sequence number (8); its items; `3`, their XXH3 (8),
//! `FJL\x03`. An item is `2`, type (1), compression (1), key space (8), key length (2), length (4), stored length (4), key,
//! value; or `4`, key space (8).

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Buf;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 4] = b"FJL\x03";

/// Cuts the torn end off the newest journal; tells whether there was one.
pub(super) fn mend(directory: &Path) -> io::Result<bool> {
    let Some(journal) = newest(directory)? else {
        return Ok(false);
    };
    let bytes = fs::read(&journal)?;
    let Some(tear) = find_tear(&bytes) else {
        return Ok(false);
    };
    let torn = journal.with_extension("torn");
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(tear, |last| last + 1);
    fs::write(&torn, &bytes[tear..end.max(tear)])?;
    let file = OpenOptions::new().write(true).open(&journal)?;
    file.set_len(tear as u64)?;
    file.sync_all()?;
    tracing::warn!(
        journal = %journal.display(), kept = %torn.display(), bytes = end.saturating_sub(tear),
        "the journal ended in a batch that was never synced; it was cut off"
    );
    Ok(true)
}

fn newest(directory: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| is_journal) {
            newest = newest.max(Some((number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// Where the first wrong batch starts, if nothing intact follows it.
fn find_tear(journal: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut tear = None;
    while let Some(batch) = Batch::read(&journal[at..]) {
        match (batch.is_intact, tear) {
            (true, None) => {}
            (true, Some(_)) => return None,
            (false, _) => tear = tear.or(Some(at)),
        }
        at += batch.length;
    }
    tear
}

/// A batch that is whole in shape.
struct Batch {
    length: usize,
    is_intact: bool,
}

impl Batch {
    fn read(journal: &[u8]) -> Option<Self> {
        let mut rest = journal;
        if rest.try_get_u8().ok()? != 1 {
            return None;
        }
        let count = rest.try_get_u32_le().ok()?;
        rest.try_get_u64_le().ok()?;
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
        Some(Self {
            length: journal.len() - rest.len(),
            is_intact: items == count && checksum == xxh3_64(&journal[items_start..items_end]),
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
