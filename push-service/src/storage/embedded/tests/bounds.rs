//! What the store uses: bytes read for a cold user agent, and descriptors.

use std::fs;
use std::sync::atomic::AtomicUsize;

use super::store::Store;
use super::*;
use crate::defaults::{EMBEDDED_DESCRIPTORS, STORE_OPEN_FILES};
use crate::storage::contract::{enqueue, user_agent};

/// Small, so that little work makes many tables.
const MEMTABLE_BYTES: u64 = 64 << 10;

fn open_small(directory: &Path) -> Rig {
    Rig::new(|announce, clock| {
        let options = Options {
            clock,
            disk: Arc::<TestDisk>::default(),
            memtable_bytes: MEMTABLE_BYTES,
            ..Options::new(directory, announce)
        };
        Arc::new(Embedded::open(options).unwrap())
    })
}

/// What this thread has read, in bytes.
fn read_by_this_thread() -> u64 {
    let counts = fs::read_to_string("/proc/thread-self/io").unwrap();
    let read = counts.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.unwrap().parse().unwrap()
}

/// PR-43: loading a cold user agent with a full queue reads the headers and not the bodies.
#[tokio::test]
async fn loading_a_full_queue_reads_no_bodies() {
    const BODY: usize = 3_800;
    let directory = tempfile::tempdir().unwrap();
    let rig = open_small(directory.path());
    rig.subscribed(1, 1).await;
    let body = |n: usize| [n.to_be_bytes().as_slice(), &[7; BODY]].concat();
    for n in 0..20 {
        let pushes = (50 * n..50 * n + 50).map(|n| rig.stored(enqueue(1, 1, &body(n))));
        futures_util::future::join_all(pushes).await;
    }
    rig.storage.close().await.unwrap();
    drop(rig);

    let (store, _) = Store::open(directory.path(), MEMTABLE_BYTES).unwrap();
    assert!(store.keys.table_count() > 0);
    let before = read_by_this_thread();
    let loaded = store.load(user_agent(1)).unwrap();
    let read = read_by_this_thread() - before;
    println!("{read} bytes read for 1,000 messages of {BODY}");
    assert_eq!(loaded.state.waiting.len(), 1_000);
    assert!(read < 1_000_000, "{read} bytes read");
    drop(store);

    // All messages are there, whole.
    let rig = open_small(directory.path());
    let page = rig.attached(1, crate::storage::contract::seat(1)).await;
    let first = page.messages.first().unwrap();
    assert_eq!(first.content.body.len(), BODY + 8);
    let ids = rig.waiting(1).await;
    assert_eq!(ids.len(), 1_000);
    rig.acknowledged(1, &ids).await;
    rig.storage.close().await.unwrap();
    drop(rig);
    let (store, _) = Store::open(directory.path(), MEMTABLE_BYTES).unwrap();
    let bodies = store.keys.prefix(b"b").count();
    assert_eq!(bodies, 0, "bodies without a message");
}

/// PR-44: the store holds no more descriptors than it says, while it flushes, compacts and is read. It writes too little for
/// a second journal, which the promise counts in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_holds_no_more_descriptors_than_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_small(directory.path());
    let most = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let watch = {
        let (most, done) = (Arc::clone(&most), Arc::clone(&done));
        let place = directory.path().canonicalize().unwrap();
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
                let to = open.filter_map(|fd| fs::read_link(fd.path()).ok());
                most.fetch_max(to.filter(|to| to.starts_with(&place)).count(), Ordering::Relaxed);
            }
        })
    };
    for agent in 0..200 {
        rig.subscribed(agent, 1).await;
        let pushes = (0..30_usize).map(|n| rig.stored(enqueue(agent, 1, &[n as u8; 2_000])));
        futures_util::future::join_all(pushes).await;
        if agent % 10 == 9 {
            rig.attached(agent - 9, crate::storage::contract::seat(1)).await;
        }
    }
    done.store(true, Ordering::Relaxed);
    watch.join().unwrap();
    rig.storage.close().await.unwrap();
    let most = most.load(Ordering::Relaxed);
    println!("{most} descriptors held at most, {EMBEDDED_DESCRIPTORS} promised");
    assert!(most > 4 && most <= EMBEDDED_DESCRIPTORS);
    const { assert!(EMBEDDED_DESCRIPTORS > STORE_OPEN_FILES) };
}
