//! What is wrong with a file, as a sentence for the operator, and what can end an export or an import.

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
            Self::NotAnExport => f.write_str("the file is not an export of push-service"),
            Self::Newer { found } => write!(
                f,
                "the file has version {found}, but this push-service reads only up to {VERSION}: import it \
                 with a newer push-service"
            ),
            Self::Line { number, why } => write!(f, "line {number} of the file is refused: {why}"),
            Self::Cut { lines } => write!(
                f,
                "the file is incomplete: it stops after {lines} lines, because the export or the copy was \
                 interrupted; export or copy it again"
            ),
            Self::Altered => f.write_str(
                "the file was changed or damaged after the export: its digest or its counts are wrong; copy \
                 it again",
            ),
            Self::Trailing => f.write_str("the file goes on after its last line: copy it again"),
        }
    }
}

impl std::error::Error for FileError {}

/// Why an export or an import did not come to its end.
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
