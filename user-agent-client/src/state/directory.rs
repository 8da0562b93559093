//! The directory: who has it, and how a file in it changes.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::document::{self, LogId, Unusable};
use super::error::StateError;
use super::snapshot::Snapshot;
use crate::defaults::STATE_BYTES;

pub(super) const LOCK: &str = "lock";
pub(super) const STATE: &str = "state.json";
pub(super) const MESSAGES: &str = "messages.log";

/// What a file is called until it is whole.
const DRAFT_EXTENSION: &str = "new";

const OWNER_ONLY_FILE: u32 = 0o600;
const OWNER_ONLY_DIRECTORY: u32 = 0o700;
/// Fails for a symbolic link.
const NO_LINK: i32 = OFlags::NOFOLLOW.bits().cast_signed();
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

/// A directory that nobody else uses, while this exists.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Directory {
    /// Makes the directory if it is missing, takes its lock, and removes what an interrupted replacement left.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        ensure(path)?;
        let lock = lock(path)?;
        for file in [STATE, MESSAGES] {
            let draft = draft_of(&path.join(file));
            remove(&draft).map_err(|error| StateError::of_file(&draft, error))?;
        }
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    #[cfg(test)]
    pub(super) fn lock_for_a_child(&self) -> File {
        self.lock.try_clone().expect("a file can be had twice")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads the state; nothing if there is none yet. A file that others could read is closed to them: refusing it would
    /// stop a user agent for what it can put right, and its owner is told that the keys were open.
    pub(super) fn read(&self) -> Result<Option<(Snapshot, LogId)>, StateError> {
        let file = self.file(STATE);
        if close_to_others(&file).map_err(|error| StateError::of_file(&file, error))? {
            tracing::warn!(
                file = %file.display(),
                "other users could read the keys of the subscriptions until now; if they may have, subscribe anew"
            );
        }
        read_state(&self.path)
    }

    /// Replaces the state, for good. Until it returns, a crash leaves the old one or the new one.
    pub(super) fn write(&self, snapshot: &Snapshot, log: LogId) -> Result<(), StateError> {
        let file = self.file(STATE);
        let text = document::write(snapshot, log);
        replace(&file, text.as_bytes(), File::sync_all)
            .and_then(|_| sync_directory(&self.path))
            .map_err(|error| StateError::of_file(&file, error))
    }
}

impl Drop for Directory {
    /// Closing the file is not enough: a child process that is just being started has it too, until it is another program.
    fn drop(&mut self) {
        self.lock.unlock().ok();
    }
}

/// Reads the state of a directory that another process may be writing to. Nothing if there is none.
pub(super) fn read_state(directory: &Path) -> Result<Option<(Snapshot, LogId)>, StateError> {
    let file = directory.join(STATE);
    let damaged = |what| StateError::Damaged {
        file: file.clone(),
        what,
    };
    let text = match read_bounded(&file, STATE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| StateError::of_file(&file, error))?,
    };
    let text = text.ok_or_else(|| damaged("it is no file of this size that was ever written"))?;
    match document::read(&text) {
        Ok(read) => Ok(Some(read)),
        Err(Unusable::Damaged(what)) => Err(damaged(what)),
        Err(Unusable::Newer(format)) => Err(StateError::NewerFormat { file, format }),
    }
}

/// Whether there is a directory of this name.
pub(super) fn check(path: &Path) -> Result<(), StateError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(StateError::NotADirectory(path.to_owned())),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => StateError::NoDirectory(path.to_owned()),
            io::ErrorKind::NotADirectory => StateError::NotADirectory(path.to_owned()),
            _ => StateError::of_file(path, error),
        }),
    }
}

/// The bytes of a regular file of at most so many; nothing if it is another kind of file, or larger.
pub(super) fn read_bounded(file: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    // Asked first, because opening a pipe waits for its other end.
    if !fs::metadata(file)?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(file)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// Writes a new file that only its owner reads and gives it the old one's name, so that nobody ever reads half of it.
/// `finish` is called before it gets the name. After an error the old file is as it was.
pub(super) fn replace(
    file: &Path,
    bytes: &[u8],
    finish: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<File> {
    let draft = draft_of(file);
    // One that was left behind may have other permissions.
    remove(&draft)?;
    let mut written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNER_ONLY_FILE)
        .open(&draft)?;
    let outcome = written
        .write_all(bytes)
        .and_then(|()| finish(&written))
        .and_then(|()| fs::rename(&draft, file));
    match outcome {
        Ok(()) => Ok(written),
        Err(error) => {
            // It may be what fills the disk. If it stays, the next start removes it.
            remove(&draft).ok();
            Err(error)
        }
    }
}

/// Takes group's and others' permissions from a file, if it is there. Whether they had any. What a link leads to is not
/// ours to close.
pub(super) fn close_to_others(file: &Path) -> io::Result<bool> {
    let mode = match fs::symlink_metadata(file) {
        Ok(metadata) if metadata.is_symlink() => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        metadata => metadata?.permissions().mode(),
    };
    let is_open = mode & OTHERS != 0;
    if is_open {
        fs::set_permissions(file, Permissions::from_mode(OWNER_ONLY_FILE))?;
    }
    Ok(is_open)
}

/// A directory that is there keeps its permissions: it may be a volume whose owner chose them, or one with files of
/// others. What is in ours is closed to others in any case.
fn ensure(path: &Path) -> Result<(), StateError> {
    match check(path) {
        Err(StateError::NoDirectory(_)) => {
            return make(path).map_err(|error| match error.kind() {
                io::ErrorKind::NotADirectory => StateError::NotADirectory(path.to_owned()),
                _ => StateError::of_file(path, error),
            });
        }
        checked => checked?,
    }
    let mode = fs::metadata(path)
        .map_err(|error| StateError::of_file(path, error))?
        .permissions()
        .mode();
    if mode & OTHERS_WRITE != 0 {
        tracing::warn!(
            directory = %path.display(), mode = %format_args!("{:o}", mode & 0o7777),
            "other users can write to the state directory, and so can take the state away or put another in its place"
        );
    }
    Ok(())
}

/// Makes a directory and those above it, for good: what is synced in a directory is lost with the directory's own name.
fn make(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if fs::metadata(parent).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        make(parent)?;
    }
    match DirBuilder::new().mode(OWNER_ONLY_DIRECTORY).create(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    sync_directory(parent)
}

fn lock(directory: &Path) -> Result<File, StateError> {
    let path = directory.join(LOCK);
    let io = |error| StateError::of_file(&path, error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(OWNER_ONLY_FILE)
        // It is emptied: whoever may put a link here must not choose which file that is.
        .custom_flags(NO_LINK)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(io(error)),
        Err(TryLockError::WouldBlock) => {
            return Err(StateError::Locked {
                directory: directory.to_owned(),
                process: holder(&file),
            });
        }
    }
    // For the error above, and nothing else: a full disk must not keep a user agent from starting.
    file.set_len(0).map_err(io)?;
    writeln!(file, "{}", std::process::id()).ok();
    Ok(file)
}

/// The process that has the lock, if it wrote that down.
fn holder(lock: &File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn draft_of(file: &Path) -> PathBuf {
    file.with_added_extension(DRAFT_EXTENSION)
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
