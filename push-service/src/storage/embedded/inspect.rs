//! Whether a store can be opened, without opening it: nothing is made and nothing is changed.

use std::path::Path;
use std::{fs, io};

use super::marks::Marks;
use super::{Embedded, OpenError, journal};
use crate::private;

impl Embedded {
    /// Looks whether this user may write in the directory, or make it; whether another process has the store open; and
    /// whether its journals can be read. Blocks for as long as the disk takes.
    ///
    /// Not seen are the format, and damage in tables: only opening shows those.
    ///
    /// # Errors
    ///
    /// What [`Embedded::open`] would say.
    pub fn inspect(directory: &Path) -> Result<(), OpenError> {
        let io = |error| OpenError::Io {
            directory: directory.to_owned(),
            error,
        };
        private::may_make_files_in(directory).map_err(io)?;
        if !directory.try_exists().map_err(io)? {
            return Ok(());
        }
        check_version(directory)?;
        let marks = Marks::load(directory).map_err(io)?;
        journal::inspect(directory, marks.as_ref())
    }
}

/// The file by which fjall knows its directory, as it is in fjall 3. Read here, because only opening the store would tell.
const VERSION_FILE: &str = "version";
const VERSION: &[u8] = b"FJL\x03";

/// Whether a start would find fjall's mark as it must be. A directory without it holds no store.
fn check_version(directory: &Path) -> Result<(), OpenError> {
    match fs::read(directory.join(VERSION_FILE)) {
        Ok(bytes) if bytes.starts_with(VERSION) => Ok(()),
        Ok(_) => Err(OpenError::Damaged {
            directory: directory.to_owned(),
            why: format!("the file `{VERSION_FILE}` has other bytes than the store writes"),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::Io {
            directory: directory.to_owned(),
            error: io::Error::new(error.kind(), format!("{VERSION_FILE}: {error}")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Options;
    use super::*;
    use crate::storage::{NoSessions, Storage as _};

    /// Every file of a directory and its bytes.
    fn content(directory: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = walk(directory);
        files.sort();
        files
    }

    fn walk(directory: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let files = entries.map(|path| match path.is_dir() {
            true => walk(&path),
            false => vec![(path.clone(), std::fs::read(&path).unwrap())],
        });
        files.flatten().collect()
    }

    /// A directory that is not there yet is fine if it can be made, and is not made; a store in use is told; one that was closed
    /// is fine, also with a torn end; a damaged one is told. Nothing is changed.
    #[tokio::test]
    async fn a_store_is_inspected_without_a_change() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("some/store");
        Embedded::inspect(&directory).unwrap();
        assert_eq!(content(parent.path()), []);

        let store = Embedded::open(Options::new(&directory, Arc::new(NoSessions))).unwrap();
        let told = Embedded::inspect(&directory).unwrap_err().to_string();
        assert!(told.contains("another process has the store"), "{told}");
        store.keep_sealing_key([7; 32]).await.unwrap();
        store.close().await.unwrap();
        drop(store);
        let before = content(&directory);
        Embedded::inspect(&directory).unwrap();
        assert_eq!(content(&directory), before);

        let is_journal = |(path, bytes): &&(std::path::PathBuf, Vec<u8>)| {
            path.extension().is_some_and(|extension| extension == "jnl")
                && bytes.iter().any(|byte| *byte != 0)
        };
        let (journal, bytes) = before.iter().find(is_journal).unwrap();
        let mut damaged = bytes.clone();
        damaged[20] ^= 1;
        std::fs::write(journal, &damaged).unwrap();
        let told = Embedded::inspect(&directory).unwrap_err().to_string();
        assert!(told.contains("is damaged at byte 0"), "{told}");
        assert_eq!(std::fs::read(journal).unwrap(), damaged);
        std::fs::write(journal, bytes).unwrap();
        Embedded::inspect(&directory).unwrap();

        let version = directory.join(VERSION_FILE);
        assert_eq!(std::fs::read(&version).unwrap(), VERSION);
        std::fs::write(&version, "FJX").unwrap();
        let told = Embedded::inspect(&directory).unwrap_err().to_string();
        assert!(
            told.contains("is damaged") && told.contains("`version`"),
            "{told}"
        );
        assert!(Embedded::open(Options::new(&directory, Arc::new(NoSessions))).is_err());
    }

    /// A file where the directory should be, or on the way to it, is told; a link that leads to nothing as well.
    #[test]
    fn a_file_in_the_way_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(parent.path().join("nothing"), &link).unwrap();
        for directory in [file.clone(), file.join("store"), link.clone(), link.join("store")] {
            let told = Embedded::inspect(&directory).unwrap_err().to_string();
            assert!(told.contains("ot a directory"), "{told}");
        }
    }
}
