//! What embedded storage needs of the machine's disk beside reading and writing: whether writes work, and how much is free.
//! Tests replace it to make writes fail and space run out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::defaults::{FREE_DISK_CHECK_EVERY, FREE_DISK_RESERVE_BYTES};
use crate::storage::StorageError;
use crate::storage::clock::Now;

/// The disk under a store.
pub trait Disk: Send + Sync + 'static {
    /// Asked before each batch is written; an error counts as a failed write.
    fn before_write(&self) -> io::Result<()> {
        Ok(())
    }

    /// Asked before each sync; an error counts as a failed sync.
    fn before_sync(&self) -> io::Result<()> {
        Ok(())
    }

    /// Bytes that this process may still use there.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;
}

/// The disk of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineDisk;

impl Disk for MachineDisk {
    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let status = rustix::fs::statvfs(directory)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }
}

/// Whether there is free disk, checked when something is to be stored and the last check is old.
pub(super) struct FreeSpace {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    look_again_us: AtomicU64,
    full: AtomicBool,
}

impl FreeSpace {
    pub(super) fn new(disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        Self {
            disk,
            directory,
            look_again_us: AtomicU64::new(0),
            full: AtomicBool::new(false),
        }
    }

    /// Refuses below the reserve (PR-5). A disk that cannot say how much is free is taken at its last word.
    pub(super) fn check(&self, now: Now) -> Result<(), StorageError> {
        let due_us = self.look_again_us.load(Ordering::Relaxed);
        if now.us >= due_us
            && self.takes_this_look(due_us, now)
            && let Ok(free_bytes) = self.disk.free_bytes(&self.directory)
        {
            let full = free_bytes < FREE_DISK_RESERVE_BYTES;
            self.full.store(full, Ordering::Relaxed);
        }
        match self.full.load(Ordering::Relaxed) {
            true => Err(StorageError::Full),
            false => Ok(()),
        }
    }

    /// Of all who find that a look is due, one takes it.
    fn takes_this_look(&self, due_us: u64, now: Now) -> bool {
        let next_us = now.us + FREE_DISK_CHECK_EVERY.as_micros() as u64;
        self.look_again_us
            .compare_exchange(due_us, next_us, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}
