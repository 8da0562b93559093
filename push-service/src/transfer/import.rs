//! Import: a file is verified, then added to what a storage holds.

use std::io::BufRead;
use std::time::Duration;

use push_protocol::MessageNumber;

use super::error::{FileError, TransferError};
use super::lines::{Counts, Facts};
use super::progress::Progress;
use super::reader::Reader;
use crate::defaults::IMPORT_CLOCK_AHEAD;
use crate::storage::{Imported, Storage};

/// Reads the whole file and says what is in it. Changes nothing.
///
/// `now` is since 1970, and tells numbers of the future.
///
/// # Errors
///
/// Everything for which a file is refused.
pub fn verify<R: BufRead>(source: R, now: Duration) -> Result<(Facts, Counts), FileError> {
    let (mut reader, facts) = Reader::begin(source, latest(now))?;
    while !reader.batch()?.is_empty() {}
    Ok((facts, reader.counts()))
}

/// Takes in a file that was verified, batch by batch; what a batch brought is durable before the next one is read.
///
/// `imported` counts along, so that a caller that drops this, or gets an error, knows how far it came. What was added stays,
/// and a repeated import adds the rest.
///
/// Reads block the thread: nothing else runs on it.
///
/// # Errors
///
/// What storage said, or that the file is no longer what was verified.
pub async fn import<R: BufRead>(
    storage: &dyn Storage,
    source: R,
    now: Duration,
    progress: &mut Progress,
    imported: &mut Imported,
) -> Result<(), TransferError> {
    let (mut reader, _) = Reader::begin(source, latest(now))?;
    loop {
        let batch = reader.batch()?;
        if batch.is_empty() {
            return Ok(());
        }
        *imported += storage.import(batch).await?;
        progress.show(reader.counts());
    }
}

fn latest(now: Duration) -> MessageNumber {
    let latest = now.saturating_add(IMPORT_CLOCK_AHEAD).as_micros();
    MessageNumber(u64::try_from(latest).unwrap_or(u64::MAX))
}
