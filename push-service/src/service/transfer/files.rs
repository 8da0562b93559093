//! The files of a move: whole under their name, or gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::random;

/// Where an export goes, or an import comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A file of this name.
    File(PathBuf),
    /// Standard output or input.
    Standard,
}

/// The file that is read. Standard input is put aside first, because it is read twice.
pub(super) fn open_source(from: &Place) -> io::Result<File> {
    match from {
        Place::File(path) => File::open(path),
        Place::Standard => {
            let aside = Unfinished::create(&std::env::temp_dir().join("push-service-import"))?;
            let mut file = aside.file.try_clone()?;
            // Its name goes now, and its content with this process, however that ends.
            drop(aside);
            io::copy(&mut io::stdin().lock(), &mut file)?;
            file.rewind()?;
            Ok(file)
        }
    }
}

/// A file under a name of its own, for its owner only. Gone when it is dropped, unless it is finished.
pub(super) struct Unfinished {
    pub(super) file: File,
    name: Option<PathBuf>,
}

impl Unfinished {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{:016x}.unfinished", random::u64()));
        let name = PathBuf::from(name);
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&name)?;
        Ok(Self {
            file,
            name: Some(name),
        })
    }

    /// Gives it its name, when its content is on disk.
    pub(super) fn finish(mut self, path: &Path) -> io::Result<()> {
        self.file.flush()?;
        self.file.sync_all()?;
        if let Some(name) = self.name.take() {
            fs::rename(name, path)?;
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            // Whoever finds it sees by its name what it is.
            let _ = fs::remove_file(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// PR-37: a file has its name when it is finished, is its owner's only, and is gone when it is not finished.
    #[test]
    fn half_a_file_has_no_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.export");
        let names = || fs::read_dir(directory.path()).unwrap().count();
        let unfinished = Unfinished::create(&path).unwrap();
        assert!(!path.exists() && names() == 1);
        drop(unfinished);
        assert_eq!(names(), 0);
        let mut whole = Unfinished::create(&path).unwrap();
        whole.file.write_all(b"whole").unwrap();
        whole.finish(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(), 1);
    }
}
