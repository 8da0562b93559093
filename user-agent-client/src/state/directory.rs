//! The state directory: its lock, and how a file in it is replaced.
//!
//! It is held open, and every file is opened relative to it: if the directory is renamed while it is used, it stays in use, and
//! another directory with its old name is not touched. Both the directory and the file `lock` are locked: the file
//! alone could be deleted, and earlier versions know nothing but the file.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::document::{self, LogId, Unusable};
use super::error::StateError;
use super::snapshot::Snapshot;
use crate::defaults::STATE_BYTES;

pub(super) const LOCK: &str = "lock";
pub(super) const STATE: &str = "state.json";
pub(super) const MESSAGES: &str = "messages.log";

/// The extension of a file that is being written.
const DRAFT_EXTENSION: &str = "new";

const OWNER_ONLY_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const OWNER_ONLY_DIRECTORY: u32 = 0o700;
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;

/// A directory that is locked for this process, while this exists.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    handle: Arc<File>,
    lock: File,
    /// It was logged that the path leads to another directory.
    is_said_to_be_moved: bool,
}

impl Directory {
    /// Makes the directory if it is missing, takes its lock, and removes what an interrupted replacement left. Links in the
    /// place of its files are refused: the file behind one would be left behind by the first change.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        ensure(path)?;
        let handle = open_directory(path)?;
        let lock = lock(&handle, path)?;
        close_directory(&handle, path);
        let directory = Self {
            path: path.to_owned(),
            handle,
            lock,
            is_said_to_be_moved: false,
        };
        for name in [STATE, MESSAGES] {
            let place = directory.place(name);
            place.refuse_link()?;
            place.remove_draft().map_err(|error| place.error(error))?;
        }
        Ok(directory)
    }

    #[cfg(test)]
    pub(super) fn locks_for_a_child(&self) -> [File; 2] {
        [&self.handle, &self.lock].map(|file| file.try_clone().expect("a file can be had twice"))
    }

    pub(super) fn place(&self, name: &'static str) -> StateFile {
        StateFile::of(&self.handle, &self.path, name)
    }

    /// Reads the state; `None` if there is no state yet. A file that others could read is closed to them: refusing it would
    /// stop a user agent for what it can put right, and its owner is told that the keys were open.
    pub(super) fn read(&self) -> Result<Option<(Snapshot, LogId)>, StateError> {
        let place = self.place(STATE);
        if place.close_to_others().map_err(|error| place.error(error))? {
            tracing::warn!(
                file = %place.path.display(),
                "other users could read the keys of the subscriptions until now: unsubscribe and subscribe \
                 again if that is a risk"
            );
        }
        read_state_file(&place)
    }

    /// Replaces the state, for good. Until it returns, a crash leaves the old one or the new one. How many bytes it has.
    pub(super) fn write(&mut self, snapshot: &Snapshot, log: LogId) -> Result<usize, StateError> {
        let place = self.place(STATE);
        let text = document::write(snapshot, log);
        #[cfg(test)]
        WRITTEN.with(|written| written.set((written.get().0 + 1, written.get().1 + text.len())));
        let written = place
            .replace(text.as_bytes(), File::sync_all)
            .and_then(|_| self.handle.sync_all());
        match written {
            Ok(()) => self.look_where_it_is(),
            Err(_) if self.is_deleted() => return Err(StateError::Deleted(self.path.clone())),
            Err(error) => return Err(place.error(error)),
        }
        Ok(text.len())
    }

    fn is_deleted(&self) -> bool {
        self.handle.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Says it, once, if the path doesn't lead to the directory any more.
    fn look_where_it_is(&mut self) {
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let here = self.handle.metadata().map(identity);
        let there = fs::metadata(&self.path).map(identity);
        if !self.is_said_to_be_moved && here.ok() != there.ok() {
            self.is_said_to_be_moved = true;
            tracing::warn!(
                directory = %self.path.display(),
                "the state directory was moved while it is in use; the state is written to its new place"
            );
        }
    }
}

impl Drop for Directory {
    /// Closing the files is not enough: a child process that is just being started has them too, until it is another program.
    fn drop(&mut self) {
        self.lock.unlock().ok();
        self.handle.unlock().ok();
    }
}

#[cfg(test)]
thread_local! {
    /// States that this thread has written, and their bytes.
    pub(crate) static WRITTEN: std::cell::Cell<(usize, usize)> = const { std::cell::Cell::new((0, 0)) };
}

/// A file of a state directory, in that directory whatever its name has become.
#[derive(Debug)]
pub(super) struct StateFile {
    directory: Arc<File>,
    name: &'static str,
    /// As it was when the directory was opened: for sentences.
    path: PathBuf,
}

impl StateFile {
    fn of(directory: &Arc<File>, path: &Path, name: &'static str) -> Self {
        Self {
            directory: Arc::clone(directory),
            name,
            path: path.join(name),
        }
    }

    #[cfg(test)]
    pub(super) fn in_directory(path: &Path, name: &'static str) -> Self {
        Self::of(&open_directory(path).expect("it is there"), path, name)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what is there, to write.
    pub(super) fn open_to_write(&self) -> io::Result<File> {
        self.open(self.name, OFlags::WRONLY, Mode::empty())
    }

    /// The bytes of a regular file of at most so many; nothing if it is another kind of file, or larger.
    pub(super) fn read_bounded(&self, most: u64) -> io::Result<Option<Vec<u8>>> {
        // Opening a pipe would wait for its other end.
        let file = self.open(self.name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= most).then_some(bytes))
    }

    /// Writes a new file that only its owner reads and gives it the old one's name, so that half of it is never read.
    /// `finish` is called before it gets the name. After an error the old file is as it was.
    pub(super) fn replace(
        &self,
        bytes: &[u8],
        finish: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<File> {
        // One that was left behind may have other permissions.
        self.remove_draft()?;
        let draft = self.draft();
        let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut written = self.open(&draft, new, OWNER_ONLY_FILE)?;
        // The umask may have taken even the owner's rights.
        rustix::fs::fchmod(&written, OWNER_ONLY_FILE)?;
        let rename = || rustix::fs::renameat(&*self.directory, &*draft, &*self.directory, self.name);
        let outcome = written
            .write_all(bytes)
            .and_then(|()| finish(&written))
            .and_then(|()| Ok(rename()?));
        match outcome {
            Ok(()) => Ok(written),
            Err(error) => {
                // It may be what fills the disk. If it stays, the next start removes it.
                self.remove_draft().ok();
                Err(error)
            }
        }
    }

    /// Takes group's and others' permissions from a file, if it is there. Whether they had any. What a link leads to is not
    /// ours to close.
    pub(super) fn close_to_others(&self) -> io::Result<bool> {
        let Some((kind, mode)) = self.look()? else {
            return Ok(false);
        };
        let is_open = kind != FileType::Symlink && mode & OTHERS != 0;
        if is_open {
            rustix::fs::chmodat(&*self.directory, self.name, OWNER_ONLY_FILE, AtFlags::empty())?;
        }
        Ok(is_open)
    }

    /// Sorts what the system said of this file.
    fn error(&self, error: io::Error) -> StateError {
        StateError::of_file(&self.path, error)
    }

    fn refuse_link(&self) -> Result<(), StateError> {
        match self.look().map_err(|error| self.error(error))? {
            Some((FileType::Symlink, _)) => Err(StateError::Link(self.path.clone())),
            Some(_) | None => Ok(()),
        }
    }

    /// What kind of file this is, and its permissions; `None` if it does not exist.
    fn look(&self) -> io::Result<Option<(FileType, u32)>> {
        match rustix::fs::statat(&*self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((FileType::from_raw_mode(stat.st_mode), stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Never through a link: otherwise a link in this directory could choose which file is read or written.
    fn open(&self, name: &str, flags: OFlags, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&*self.directory, name, flags, mode)?.into())
    }

    fn draft(&self) -> String {
        format!("{}.{DRAFT_EXTENSION}", self.name)
    }

    fn remove_draft(&self) -> io::Result<()> {
        match rustix::fs::unlinkat(&*self.directory, self.draft(), AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }
}

/// Reads the state of a directory that another process may be writing to. `None` if there is no state.
pub(super) fn read_state(directory: &Path) -> Result<Option<(Snapshot, LogId)>, StateError> {
    read_state_file(&StateFile::of(&open_directory(directory)?, directory, STATE))
}

fn read_state_file(place: &StateFile) -> Result<Option<(Snapshot, LogId)>, StateError> {
    let damaged = |what| StateError::Damaged {
        file: place.path.clone(),
        what,
    };
    let text = match place.read_bounded(STATE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| place.error(error))?,
    };
    let text = text.ok_or_else(|| damaged("its size is not possible"))?;
    match document::read(&text) {
        Ok(read) => Ok(Some(read)),
        Err(Unusable::Damaged(what)) => Err(damaged(what)),
        Err(Unusable::Newer(format)) => Err(StateError::NewerFormat {
            file: place.path.clone(),
            format,
        }),
    }
}

/// Whether there is a directory of this name.
pub(super) fn check(path: &Path) -> Result<(), StateError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(StateError::NotADirectory(path.to_owned())),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => match fs::read_link(path) {
                Ok(to) => StateError::Dangling {
                    link: path.to_owned(),
                    to,
                },
                Err(_) => StateError::NoDirectory(path.to_owned()),
            },
            io::ErrorKind::NotADirectory => StateError::NotADirectory(path.to_owned()),
            _ => StateError::of_file(path, error),
        }),
    }
}

/// Makes the directory if it is missing.
fn ensure(path: &Path) -> Result<(), StateError> {
    match check(path) {
        Err(StateError::NoDirectory(_)) => make(path),
        checked => checked,
    }
}

/// Closes a directory to others that is there already. One that belongs to another user, or has other files in it, keeps its
/// permissions: it may be a volume whose owner chose them. The files in it are closed to others in any case.
fn close_directory(handle: &File, path: &Path) {
    let Ok(found) = handle.metadata() else { return };
    if found.mode() & OTHERS == 0 {
        return;
    }
    let is_ours = found.uid() == rustix::process::geteuid().as_raw() && has_only_our_files(path);
    if is_ours
        && handle
            .set_permissions(Permissions::from_mode(OWNER_ONLY_DIRECTORY))
            .is_ok()
    {
        if fs::exists(path.join(STATE)).unwrap_or(false) {
            tracing::warn!(
                directory = %path.display(),
                "other users could enter the state directory until now; only its owner can now"
            );
        }
        return;
    }
    if found.mode() & OTHERS_WRITE != 0 {
        tracing::warn!(
            directory = %path.display(), mode = %format_args!("{:o}", found.mode() & 0o7777),
            "other users can write to the state directory, and so can remove or replace the state: remove \
             their right to write"
        );
    }
}

fn has_only_our_files(path: &Path) -> bool {
    /// The last two are the command's.
    const OURS: [&str; 5] = [LOCK, STATE, MESSAGES, "control", "handlers.lock"];
    let is_ours = |name: &str| OURS.contains(&name.strip_suffix(".new").unwrap_or(name));
    fs::read_dir(path).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_ours)))
    })
}

/// Makes a directory and those above it, for good: what is synced in a directory is lost with the directory's own name.
fn make(path: &Path) -> Result<(), StateError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match check(parent) {
        Err(StateError::NoDirectory(_)) => make(parent)?,
        checked => checked?,
    }
    match DirBuilder::new().mode(OWNER_ONLY_DIRECTORY).create(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check(path)?,
        made => made
            // The umask may have taken even the owner's rights.
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(OWNER_ONLY_DIRECTORY)))
            .map_err(|error| StateError::of_file(path, error))?,
    }
    let synced = File::open(parent).and_then(|parent| parent.sync_all());
    synced.map_err(|error| StateError::of_file(parent, error))
}

fn open_directory(path: &Path) -> Result<Arc<File>, StateError> {
    let flags = OFlags::DIRECTORY.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    opened
        .map(Arc::new)
        .map_err(|error| StateError::of_file(path, error))
}

/// Locks the directory, and the file by which earlier versions lock it.
fn lock(directory: &Arc<File>, path: &Path) -> Result<File, StateError> {
    let place = StateFile::of(directory, path, LOCK);
    let io = |error| place.error(error);
    let locked = |process| StateError::Locked {
        directory: path.to_owned(),
        process,
    };
    match directory.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let file = place.open(LOCK, OFlags::RDONLY, Mode::empty());
            return Err(locked(file.ok().and_then(|file| holder(&file))));
        }
        // Network file systems lock files only.
        Err(TryLockError::Error(error)) => tracing::debug!(%error, "the directory itself cannot be locked"),
    }
    let file = place
        .open(LOCK, OFlags::RDWR | OFlags::CREATE, OWNER_ONLY_FILE)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(io(error)),
        Err(TryLockError::WouldBlock) => {
            directory.unlock().ok();
            return Err(locked(holder(&file)));
        }
    }
    rustix::fs::fchmod(&file, OWNER_ONLY_FILE).map_err(|error| io(error.into()))?;
    // For the error above, and nothing else: a full disk must not keep a user agent from starting.
    file.set_len(0).map_err(io)?;
    writeln!(&file, "{}", std::process::id()).ok();
    Ok(file)
}

/// The process that has the lock, if it wrote that down.
fn holder(lock: &File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
