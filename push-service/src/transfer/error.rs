//! What is wrong with a file, as a sentence for the operator, and what can end a move.

use std::fmt;
use std::io;

use super::VERSION;
use crate::defaults::EXPORT_LINE_BYTES;
use crate::storage::StorageError;

/// Why a file is refused. Never shows what is in it.
#[derive(Debug)]
pub enum FileError {
    /// It cannot be read.
    Io(io::Error),
    /// It does not begin as an export does.
    NotAnExport,
    /// A newer version of the service wrote it.
    Newer {
        /// Its version.
        found: u32,
    },
    /// A line does not read.
    Line {
        /// Which, from 1.
        number: u64,
        /// What is wrong with it.
        why: String,
    },
    /// It ends before its end.
    Cut {
        /// Lines that were whole.
        lines: u64,
    },
    /// Its content is not what was written: the digest or a count at its end says so.
    Altered,
    /// Something stands behind its end.
    Trailing,
}

impl FileError {
    pub(super) fn line(number: u64, why: impl Into<String>) -> Self {
        Self::Line {
            number,
            why: why.into(),
        }
    }

    pub(super) fn too_long(number: u64) -> Self {
        Self::line(number, format!("it is longer than {EXPORT_LINE_BYTES} bytes"))
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the file cannot be read: {error}"),
            Self::NotAnExport => f.write_str("the file is no export of push-service"),
            Self::Newer { found } => write!(
                f,
                "the file has version {found}, written by a newer push-service; this one reads up to {VERSION}: \
                 import it with the newer one"
            ),
            Self::Line { number, why } => write!(f, "line {number} of the file is refused: {why}"),
            Self::Cut { lines } => write!(
                f,
                "the file ends after {lines} lines, before its end: the export or the copy was interrupted; make it again"
            ),
            Self::Altered => f.write_str(
                "the file was altered or damaged after it was written: its digest or its counts differ; copy it again",
            ),
            Self::Trailing => f.write_str("something stands behind the end of the file: copy it again"),
        }
    }
}

impl std::error::Error for FileError {}

/// What ended a move before its end.
#[derive(Debug)]
pub enum TransferError {
    /// The storage.
    Storage(StorageError),
    /// The file that is read.
    File(FileError),
    /// The file that is written.
    Write(io::Error),
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::File(error) => error.fmt(f),
            Self::Write(error) => write!(f, "the file cannot be written: {error}"),
        }
    }
}

impl std::error::Error for TransferError {}

impl From<StorageError> for TransferError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<FileError> for TransferError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}
