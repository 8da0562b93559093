//! Writing a file so that no reader ever sees half of it, with permissions from the first byte on.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::private;

/// For private keys.
pub(super) const OWNER_ONLY: u32 = private::FILE_MODE;
/// For certificates.
pub(super) const EVERYONE_READS: u32 = 0o644;

/// Writes a new file and gives it the old one's name. After a crash there is the old one or the new one.
pub(super) fn replace(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let draft = draft_of(file);
    write_new(&draft, text, mode).and_then(|()| fs::rename(&draft, file))
}

fn draft_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".new");
    name.into()
}

fn write_new(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    // One that was left by a crash may have other permissions.
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = private::create(options.write(true).create_new(true), file, mode)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
