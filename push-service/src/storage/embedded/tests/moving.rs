//! What a move asks of the disk (PR-37).

use super::*;
use crate::storage::Portable;
use crate::storage::contract::{enqueue, name, user_agent};

async fn exported(rig: &Rig) -> Vec<Portable> {
    rig.storage.export(None, usize::MAX).await.unwrap().user_agents
}

/// Some user agents with a message each.
async fn some() -> Vec<Portable> {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    for n in 1..5 {
        rig.subscribed(n, n).await;
        rig.stored(enqueue(n, n, b"moves")).await;
    }
    let user_agents = exported(&rig).await;
    rig.storage.close().await.unwrap();
    user_agents
}

/// PR-37, PR-1: what an import says that it took in is synced, and there after a restart.
#[tokio::test]
async fn what_was_taken_in_is_durable() {
    let user_agents = some().await;
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::<TestDisk>::default();
    let rig = open_in(directory.path(), Arc::clone(&disk));
    rig.storage.import(user_agents.clone()).await.unwrap();
    let synced = disk.syncs.load(Ordering::SeqCst);
    assert!(synced > 0);
    rig.storage.close().await.unwrap();
    assert_eq!(
        disk.syncs.load(Ordering::SeqCst),
        synced,
        "nothing was left to sync"
    );

    let rig = open_in(directory.path(), Arc::default());
    assert_eq!(exported(&rig).await, user_agents);
    assert_eq!(rig.usage().await.messages, 4);
    rig.storage.close().await.unwrap();
}

/// PR-37, PR-5: an import onto a disk that fails is not confirmed, and onto one that is full is refused.
#[tokio::test]
async fn an_import_says_when_the_disk_does_not_take_it() {
    let user_agents = some().await;
    for (disk, is_expected) in [
        (
            TestDisk {
                syncs_fail: true.into(),
                ..TestDisk::default()
            },
            (|error| matches!(error, StorageError::Failed(_))) as fn(&StorageError) -> bool,
        ),
        (
            TestDisk {
                used_up: true.into(),
                ..TestDisk::default()
            },
            |error| matches!(error, StorageError::Full),
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let rig = open_in(directory.path(), Arc::new(disk));
        let refused = rig.storage.import(user_agents.clone()).await.unwrap_err();
        assert!(is_expected(&refused), "{refused}");
    }
}

/// PR-37: messages of an ended subscription stay behind, freed or not, and so does the record of whoever has no other.
#[tokio::test]
async fn what_ended_is_not_given() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    for (n_agent, n) in [(1, 1), (1, 2), (2, 3)] {
        rig.subscribed(n_agent, n).await;
        rig.stored(enqueue(n_agent, n, b"a")).await;
    }
    for (n_agent, n) in [(1, 1), (2, 3)] {
        rig.storage
            .unsubscribe(user_agent(n_agent), name(n))
            .await
            .unwrap();
    }
    let given = exported(&rig).await;
    assert_eq!(given.len(), 1);
    assert_eq!((given[0].subscriptions.len(), given[0].messages.len()), (1, 1));
    rig.storage.close().await.unwrap();
}
