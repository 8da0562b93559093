//! Keeps other users of the machine out of the store.
//!
//! The store's files hold the sealing key and the messages. They are for their owner only, and so is the directory, unless
//! it also holds files of others. A store that others could read is closed at its next start, which logs it.

use std::fs;
use std::io;
use std::path::Path;

use super::marks::KEY_FILE;
use crate::private::{self, ClosedToOthers};

/// Files and directories that the service makes in its data directory, beside those with these extensions.
const NAMES: [&str; 7] = [
    "lock",
    "version",
    "keyspaces",
    KEY_FILE,
    "self-signed-certificate.pem",
    "self-signed-key.pem",
    "acme",
];
const EXTENSIONS: [&str; 3] = ["jnl", "torn", "new"];
/// Of a file system, in the root of a volume.
const LOST_AND_FOUND: &str = "lost+found";

/// Makes the directory, for its owner only. An empty one that exists is closed to others.
pub(super) fn prepare(directory: &Path) -> io::Result<()> {
    if !private::create_directory(directory)? && is_all(directory, |name| name == LOST_AND_FOUND)? {
        private::close(directory)?;
    }
    Ok(())
}

/// Closes an open store to others. What cannot be closed is logged, and does not keep the service from starting.
pub(super) fn close_to_others(directory: &Path) {
    if let Err(error) = close(directory) {
        tracing::warn!(%error, directory = %directory.display(), "cannot close the data directory to other users");
    }
}

fn close(directory: &Path) -> io::Result<()> {
    let was_reachable = private::is_exposed(directory);
    let is_ours = is_all(directory, |name| {
        is_of_the_service(name) || name == LOST_AND_FOUND
    })?;
    let closed = if is_ours {
        private::close(directory)?
    } else {
        ClosedToOthers::Already
    };
    let files = close_files(directory)?;
    if (closed == ClosedToOthers::Now || was_reachable) && files > 0 {
        tracing::warn!(
            directory = %directory.display(), files,
            "other users could read the data directory until now, with the sealing key and waiting messages; only this \
             user can now. If others must not know the key, rotate security.sealing_keys"
        );
    }
    if private::is_exposed(directory) {
        tracing::warn!(
            directory = %directory.display(),
            "every user of this machine can list or change the data directory: it belongs to another user, has other files in \
             it, or is a symbolic link. Its files are closed, but give the service a directory of its own with the mode 0700"
        );
    }
    Ok(())
}

fn is_all(directory: &Path, is: impl Fn(&str) -> bool) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        if !entry?.file_name().to_str().is_some_and(&is) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_of_the_service(name: &str) -> bool {
    let extension = Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str());
    NAMES.contains(&name) || extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
}

/// Closes the store's files. How many others could read, if they could enter the directory.
fn close_files(directory: &Path) -> io::Result<usize> {
    let mut closed = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_of_the_service) {
            closed += close_all(&entry.path(), entry.file_type()?.is_dir())?;
        }
    }
    Ok(closed)
}

fn close_all(path: &Path, is_directory: bool) -> io::Result<usize> {
    let mut closed = 0;
    if is_directory {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            closed += close_all(&entry.path(), entry.file_type()?.is_dir())?;
        }
    } else if path
        .file_name()
        .is_some_and(|name| name == "self-signed-certificate.pem")
    {
        // It is public: peers are told to trust it.
        return Ok(0);
    }
    match private::close(path) {
        Ok(ClosedToOthers::Now) if !is_directory => Ok(closed + 1),
        Ok(_) => Ok(closed),
        // The store removes tables while it is open.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(closed),
        Err(error) => Err(error),
    }
}
