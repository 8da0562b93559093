//! What only a store on disk can promise, beside the suite that all storages share.

mod bounds;
mod crash;
mod durable;
mod faults;
mod hostile;
mod model;
mod opening;
mod receipts;
mod trouble;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use push_protocol::MessageId;

use super::*;
use crate::storage::contract::{Rig, suite};
use crate::storage::{Confirm, Enqueue, Enqueued, Removal, Storage, Subscribe};

async fn open() -> Rig {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.keeping(directory)
}

/// A store in a directory that may be there already, on a disk that the test may break.
fn open_in(directory: &Path, disk: Arc<TestDisk>) -> Rig {
    Rig::new(|announce, clock| {
        let options = Options {
            clock,
            disk,
            ..Options::new(directory, announce)
        };
        Arc::new(Embedded::open(options).unwrap())
    })
}

/// Why a store in this directory does not open.
fn open_error(directory: &Path) -> OpenError {
    let announce = Arc::new(crate::storage::contract::Announcements::default());
    match Embedded::open(Options::new(directory, announce)) {
        Ok(_) => panic!("it opens"),
        Err(error) => error,
    }
}

/// A disk that does what it is told.
#[derive(Default)]
struct TestDisk {
    writes_panic: AtomicBool,
    writes_fail: AtomicBool,
    syncs_fail: AtomicBool,
    syncs: AtomicU64,
    used_up: AtomicBool,
    /// While a test holds it, writes wait.
    writes: tokio::sync::Mutex<()>,
}

impl Disk for TestDisk {
    fn before_write(&self) -> io::Result<()> {
        assert!(!self.writes_panic.load(Ordering::SeqCst), "the test says so");
        drop(self.writes.blocking_lock());
        fail_if(&self.writes_fail)
    }

    fn before_sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        fail_if(&self.syncs_fail)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let used_up = self.used_up.load(Ordering::SeqCst);
        Ok(if used_up { 1 << 20 } else { 1 << 40 })
    }
}

fn fail_if(failing: &AtomicBool) -> io::Result<()> {
    match failing.load(Ordering::SeqCst) {
        true => Err(io::Error::other("the test says so")),
        false => Ok(()),
    }
}

suite!(open);
