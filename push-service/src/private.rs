//! Files and directories for their owner only: data, keys, certificates with their keys, exports.
//!
//! Guarantees: a file that is made here has the mode 0600 and a directory 0700, whatever the umask of the process and an
//! access list that the parent hands down. A file that exists and belongs to this user is closed to others; one that belongs to
//! another user can only be reported.
//!
//! Libraries make files of their own in our directories. For those, [`set_umask`] sets the umask of the whole process.
//!
//! It does not know what is secret: callers say so.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, Mode, OFlags, access};

/// The mode of a file for its owner only.
pub const FILE_MODE: u32 = 0o600;
/// The mode of a directory for its owner only.
pub const DIRECTORY_MODE: u32 = 0o700;

/// Every right of the group and of all other users.
const OTHERS: u32 = 0o077;
/// The rights to read and to write of all users that are not even in the group.
const ALL: u32 = 0o006;

/// From now on, every file that the process makes is for its owner only, also those that libraries make. Only for the command,
/// because it changes the whole process.
pub fn set_umask() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Opens a file with these options and gives it exactly this mode.
///
/// # Errors
///
/// It cannot be opened, or its mode cannot be set.
pub fn create(options: &mut OpenOptions, path: &Path, mode: u32) -> io::Result<File> {
    // Narrow from the first moment; then exact, because the umask may have taken even the owner's rights.
    let file = options.mode(mode & FILE_MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// Whether this user may make files in a directory, or make the directory with those above it. Changes nothing.
///
/// # Errors
///
/// What is in the way, with its path.
pub fn may_make_files_in(directory: &Path) -> io::Result<()> {
    // Also a link that leads to nothing is in the way of a directory.
    let mut ancestors = directory.ancestors().filter(|one| *one != Path::new(""));
    let first = ancestors.find(|one| one.symlink_metadata().is_ok());
    let first = first.unwrap_or(Path::new("."));
    if !first.is_dir() {
        return Err(io::Error::other(format!(
            "{} is not a directory",
            first.display()
        )));
    }
    access(first, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("{}: {error}", first.display()))
    })
}

/// Makes a directory and those above it, and returns whether it did. A directory that exists is left as it is.
///
/// # Errors
///
/// It cannot be made, or its mode cannot be set.
pub fn create_directory(path: &Path) -> io::Result<bool> {
    // The empty path is the working directory.
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(false);
    }
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)?;
    fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))?;
    Ok(true)
}

/// Takes every right of others from a file or directory, if it belongs to this user. Links are not followed.
///
/// # Errors
///
/// It cannot be opened or changed.
pub fn close(path: &Path) -> io::Result<ClosedToOthers> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() || found.mode() & OTHERS == 0 {
        return Ok(ClosedToOthers::Already);
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Ok(if is_open_to_all(&found) {
            ClosedToOthers::NotOurs
        } else {
            // The administrator gave it to the group that this user is in.
            ClosedToOthers::Already
        });
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    opened.set_permissions(Permissions::from_mode(found.mode() & 0o700))?;
    Ok(ClosedToOthers::Now)
}

/// Whether others had rights, and whether they still have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClosedToOthers {
    /// They had none, or the administrator gave them some on purpose.
    Already,
    /// They had some until now.
    Now,
    /// They have some, and only another user can take them away.
    NotOurs,
}

/// Whether every user of the machine can read or change a file or directory. A group that its administrator chose may.
pub fn is_exposed(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| is_open_to_all(&found))
}

fn is_open_to_all(found: &Metadata) -> bool {
    found.mode() & ALL != 0
}

/// Closes a file with a secret, and logs it if others could read it until now. A missing file needs nothing.
pub fn close_secret(file: &Path) {
    match close(file) {
        Ok(ClosedToOthers::Already) => {}
        Ok(ClosedToOthers::Now) => tracing::warn!(
            file = %file.display(),
            "other users could read this file, which holds a secret; its mode is 0600 now. If they must not know the \
             secret, replace it"
        ),
        Ok(ClosedToOthers::NotOurs) => warn_of(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "cannot check or change who may read this file, which holds a secret: run `chmod 600` on it");
        }
    }
}

/// Logs that all users can read a secret, or put another in its place.
pub fn warn_of(file: &Path) {
    tracing::warn!(
        file = %file.display(),
        "every user of this machine can read or change this file, which holds a secret: take the right away (chmod o-rwx)"
    );
}

/// Logs that all users can list or change a directory with secrets.
pub fn warn_of_directory(directory: &Path) {
    tracing::warn!(
        directory = %directory.display(),
        "every user of this machine can list or change this directory, which holds secrets: take the rights away (chmod 700)"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    /// Files and directories have their mode whatever the umask is: it may give everything, or take everything.
    #[test]
    fn modes_do_not_depend_on_the_umask() {
        let parent = tempfile::tempdir().unwrap();
        for (name, umask) in [("open", Mode::empty()), ("closed", Mode::RWXU | Mode::RWXG)] {
            let before = rustix::process::umask(umask);
            let directory = parent.path().join(name);
            let made = create_directory(&directory);
            let file = directory.join("file");
            let opened = create(OpenOptions::new().write(true).create_new(true), &file, FILE_MODE);
            rustix::process::umask(before);
            assert!(made.unwrap());
            opened.unwrap();
            assert_eq!(
                (mode(&directory), mode(&file)),
                (DIRECTORY_MODE, FILE_MODE),
                "{name}"
            );
            assert!(!create_directory(&directory).unwrap());
        }
    }

    /// What others could read is closed to them, and what a link leads to is not touched.
    #[test]
    fn what_others_could_read_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "secret").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert!(is_exposed(&file));
        fs::set_permissions(&file, Permissions::from_mode(0o602)).unwrap();
        assert!(is_exposed(&file), "others can change it");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(close(&link).unwrap(), ClosedToOthers::Already);
        assert_eq!(mode(&file), 0o644);
        assert_eq!(close(&file).unwrap(), ClosedToOthers::Now);
        assert_eq!(mode(&file), 0o600);
        assert_eq!(close(&file).unwrap(), ClosedToOthers::Already);
        assert!(!is_exposed(&file));
        close_secret(&directory.path().join("missing"));
    }
}
