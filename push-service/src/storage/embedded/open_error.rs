//! Why a store could not be opened.

use std::path::PathBuf;

use super::layout::FORMAT;

/// Why a store could not be opened: a sentence for the operator, with what to do.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    Locked(PathBuf),
    /// A newer version of the service wrote it.
    Newer {
        /// Where it is.
        directory: PathBuf,
        /// Its format.
        found: u32,
    },
    /// There is data, but nothing that says in which format.
    Unmarked(PathBuf),
    /// It does not read as a store.
    Damaged {
        /// Where it is.
        directory: PathBuf,
        /// What was found.
        why: String,
    },
    /// The operating system refused.
    Io {
        /// Where it is.
        directory: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Locked(directory) => write!(
                f,
                "another process has the store {} open: stop it, or give this one another storage.url",
                directory.display()
            ),
            Self::Newer { directory, found } => write!(
                f,
                "the store {} has format {found}, but this version reads only up to {FORMAT}: run the newer \
                 version that wrote it",
                directory.display()
            ),
            Self::Unmarked(directory) => write!(
                f,
                "the store {} has data but no format mark, so nothing was changed: restore it from a \
                 backup, or move it away to start empty, which ends every subscription",
                directory.display()
            ),
            Self::Damaged { directory, why } => write!(
                f,
                "the store {} is damaged ({why}): restore it from a backup, or move it away to start empty, \
                 which ends every subscription",
                directory.display()
            ),
            Self::Io { directory, error } => write!(
                f,
                "the store {} cannot be opened: {error}; check that the directory exists on a working disk and \
                 belongs to the user that runs the service",
                directory.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {}
