//! Export: what a storage holds is written to a file.

use std::io::Write;

use super::error::TransferError;
use super::lines::{Counts, Facts};
use super::progress::Progress;
use super::writer::Writer;
use crate::defaults::EXPORT_STEP_BYTES;
use crate::storage::Storage;

/// What was not exported, because its time was over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeftBehind {
    /// Messages that had expired.
    pub expired: u64,
    /// User agents that were abandoned for longer than their retention.
    pub abandoned: u64,
}

/// Writes everything that a storage holds, page by page. Dropped, or after an error, it leaves half a file, which no
/// import takes.
///
/// Writes block the thread: nothing else runs on it.
///
/// # Errors
///
/// What storage or the file said.
pub async fn export<W: Write>(
    storage: &dyn Storage,
    facts: &Facts,
    sink: W,
    progress: &mut Progress,
) -> Result<(Counts, LeftBehind), TransferError> {
    let mut writer = Writer::begin(sink, facts).map_err(TransferError::Write)?;
    let mut left_behind = LeftBehind::default();
    let mut after = None;
    loop {
        let page = storage.export(after.as_ref(), EXPORT_STEP_BYTES).await?;
        for part in &page.user_agents {
            writer.part(part).map_err(TransferError::Write)?;
        }
        left_behind.expired += page.expired;
        left_behind.abandoned += page.abandoned;
        progress.show(writer.counts());
        after = page.next;
        if after.is_none() {
            let counts = writer.finish().map_err(TransferError::Write)?;
            return Ok((counts, left_behind));
        }
    }
}
