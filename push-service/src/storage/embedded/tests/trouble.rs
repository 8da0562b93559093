//! What happens when the disk fails or fills.

use std::time::Duration;

use push_protocol::Ttl;

use super::store::{Store, read_error};
use super::*;
use crate::storage::contract::{enqueue, seat, subscribe, user_agent};

/// PR-5: a failed write fails its step and every later one, is told once, and nothing is written after it.
#[tokio::test]
async fn a_failed_write_fails_everything_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::<TestDisk>::default();
    let rig = open_in(directory.path(), Arc::clone(&disk));
    rig.subscribed(1, 1).await;
    let kept = rig.stored(enqueue(1, 1, b"kept")).await;
    disk.writes_fail.store(true, Ordering::SeqCst);
    let failed = rig.storage.enqueue(enqueue(1, 1, b"lost")).await;
    assert!(matches!(failed, Err(StorageError::Failed(_))), "{failed:?}");
    disk.writes_fail.store(false, Ordering::SeqCst);
    assert_everything_fails(&rig, "the test says so").await;

    assert!(rig.storage.close().await.is_err());
    let rig = open_in(directory.path(), Arc::default());
    assert_eq!(rig.waiting(1).await, [kept]);
    rig.storage.close().await.unwrap();
}

/// PR-5: a failed sync is never tried again.
#[tokio::test]
async fn a_failed_sync_is_final() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::<TestDisk>::default();
    let rig = open_in(directory.path(), Arc::clone(&disk));
    rig.subscribed(1, 1).await;
    disk.syncs_fail.store(true, Ordering::SeqCst);
    let failed = rig.storage.enqueue(enqueue(1, 1, b"lost")).await;
    assert!(matches!(failed, Err(StorageError::Failed(_))), "{failed:?}");
    let syncs = disk.syncs.load(Ordering::SeqCst);
    assert_everything_fails(&rig, "the test says so").await;
    assert!(rig.storage.close().await.is_err());
    assert_eq!(disk.syncs.load(Ordering::SeqCst), syncs);
}

/// PR-5: a writer that panics has failed like a disk: waiting steps are told so, and so is the operator.
#[tokio::test]
async fn a_panic_of_the_writer_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::<TestDisk>::default();
    let rig = open_in(directory.path(), Arc::clone(&disk));
    rig.subscribed(1, 1).await;
    let kept = rig.stored(enqueue(1, 1, b"kept")).await;
    disk.writes_panic.store(true, Ordering::SeqCst);
    let requests = (0..20).map(|_| rig.storage.enqueue(enqueue(1, 1, b"lost")));
    for failed in futures_util::future::join_all(requests).await {
        assert!(matches!(failed, Err(StorageError::Failed(_))), "{failed:?}");
    }
    assert_everything_fails(&rig, "panicked").await;

    assert!(rig.storage.close().await.is_err());
    let rig = open_in(directory.path(), Arc::default());
    assert_eq!(rig.waiting(1).await, [kept]);
    rig.storage.close().await.unwrap();
}

/// PR-5: a panic in a thread that reads is a failure of the store: without those threads it would refuse every cold queue.
#[tokio::test]
async fn a_panic_of_a_reader_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let announce = Arc::new(crate::storage::contract::Announcements::default());
    let store = Embedded::open(Options::new(directory.path(), announce)).unwrap();
    store.readers.submit(|_| panic!("planted")).unwrap();
    assert_eq!(store.failed().await, "the store's reader panicked");
    assert!(store.enqueue(enqueue(1, 1, b"lost")).await.is_err());
    assert!(store.close().await.is_err());
}

/// PR-5: if the threads that make room for a commit failed, the commit cannot end. Then the store fails: waiting steps and
/// the process are told.
#[tokio::test]
async fn a_commit_that_cannot_end_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::<TestDisk>::default();
    let announce = Arc::new(crate::storage::contract::Announcements::default());
    let options = Options {
        disk: Arc::clone(&disk) as _,
        ..Options::new(directory.path(), announce)
    };
    let store = Embedded::open(options).unwrap();
    store.subscribe(subscribe(1, 1)).await.unwrap();
    // No table can be written: the first one ends fjall's worker.
    for keyspace in std::fs::read_dir(directory.path().join("keyspaces")).unwrap() {
        let tables = keyspace.unwrap().path().join("tables");
        std::fs::remove_dir_all(&tables).unwrap();
        std::fs::write(&tables, "in the way").unwrap();
    }
    let writes = disk.writes.lock().await;
    let rotate = |store: &Store| store.keys.rotate_memtable().map_err(read_error);
    assert!(store.readers.read(rotate).await.unwrap());
    let answers = async {
        let failed = store.enqueue(enqueue(1, 1, b"lost")).await;
        assert!(matches!(failed, Err(StorageError::Failed(_))), "{failed:?}");
        let why = store.failed().await;
        assert!(why.contains("no write can end"), "{why}");
        assert!(store.subscribe(subscribe(1, 2)).await.is_err());
        assert!(store.close().await.is_err());
    };
    let answered = tokio::time::timeout(Duration::from_secs(30), answers).await;
    drop(writes);
    assert!(answered.is_ok(), "it waits for ever");
}

/// PR-5: a disk that is only slow is waited for, although it is looked at meanwhile.
#[tokio::test]
async fn a_slow_commit_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::<TestDisk>::default();
    let rig = open_in(directory.path(), Arc::clone(&disk));
    rig.subscribed(1, 1).await;
    let writes = disk.writes.lock().await;
    let slow = rig.storage.enqueue(enqueue(1, 1, b"slow"));
    let looks = tokio::time::timeout(3 * crate::defaults::STORE_WATCH_EVERY, rig.storage.failed());
    let looked_at = async {
        assert!(looks.await.is_err(), "it has failed");
        drop(writes);
    };
    let (stored, ()) = tokio::join!(slow, looked_at);
    assert!(matches!(stored, Ok(Enqueued::Stored { .. })), "{stored:?}");
    rig.storage.close().await.unwrap();
}

async fn assert_everything_fails(rig: &Rig, reason: &str) {
    let why = rig.storage.failed().await;
    assert!(why.contains(reason), "{why}");
    let agent = user_agent(1);
    let head = crate::storage::contract::everything();
    assert!(rig.storage.enqueue(enqueue(1, 1, b"x")).await.is_err());
    assert!(rig.storage.subscribe(subscribe(2, 1)).await.is_err());
    assert!(
        rig.storage
            .attach(agent, seat(1), head, crate::storage::Manner::Insisting)
            .await
            .is_err()
    );
    assert!(rig.storage.health().await.is_err());
}

/// PR-5: below the reserve of free disk new messages and subscriptions are refused; deletes, delivery and TTL 0 go on,
/// and so does everything when there is room again.
#[tokio::test]
async fn a_full_disk_refuses_only_what_needs_room() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::<TestDisk>::default();
    let rig = open_in(directory.path(), Arc::clone(&disk));
    rig.subscribed(1, 1).await;
    let id = rig.stored(enqueue(1, 1, b"a")).await;
    disk.used_up.store(true, Ordering::SeqCst);
    rig.advance(Duration::from_secs(1));
    let refused = rig.storage.enqueue(enqueue(1, 1, b"b")).await;
    assert!(matches!(refused, Err(StorageError::Full)), "{refused:?}");
    let refused = rig.storage.subscribe(subscribe(1, 2)).await;
    assert!(matches!(refused, Err(StorageError::Full)), "{refused:?}");
    let passing = Enqueue {
        ttl: Ttl::ZERO,
        ..enqueue(1, 1, b"now")
    };
    rig.storage.enqueue(passing).await.unwrap();
    assert_eq!(rig.acknowledged(1, &[id]).await, [true]);
    assert_eq!(rig.waiting(1).await, []);

    disk.used_up.store(false, Ordering::SeqCst);
    rig.advance(Duration::from_secs(1));
    rig.stored(enqueue(1, 1, b"c")).await;
    rig.storage.close().await.unwrap();
}
