//! Hostile message bodies in a journal that is torn around them.

use std::fs;

use xxhash_rust::xxh3::xxh3_64;

use super::layout::{FORMAT, FORMAT_KEY, STATE_KEY};
use super::marks::Marks;
use super::opening::{copy_directory, journal_of, scratch, written_bytes};
use super::store::Store;
use super::*;
use crate::storage::contract::enqueue;

/// An empty batch in the journal's format: any sender can put that into a body.
fn empty_batch(sequence: u64) -> Vec<u8> {
    let mut batch = vec![1];
    batch.extend(0_u32.to_le_bytes());
    batch.extend(sequence.to_le_bytes());
    batch.push(3);
    batch.extend(xxh3_64(&[]).to_le_bytes());
    batch.extend(b"FJL\x03");
    batch
}

/// A batch with one item.
fn batch_of(sequence: u64, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut item = vec![2, 0, 0];
    item.extend(1_u64.to_le_bytes());
    item.extend((key.len() as u16).to_le_bytes());
    item.extend((value.len() as u32).to_le_bytes());
    item.extend((value.len() as u32).to_le_bytes());
    item.extend(key);
    item.extend(value);
    let mut batch = vec![1];
    batch.extend(1_u32.to_le_bytes());
    batch.extend(sequence.to_le_bytes());
    batch.extend(&item);
    batch.push(3);
    batch.extend(xxh3_64(&item).to_le_bytes());
    batch.extend(b"FJL\x03");
    batch
}

/// Bodies that a sender might choose: whole batches, alone and nested, and the pieces of one, which may join with the
/// bytes after the body.
fn hostile_bodies() -> Vec<Vec<u8>> {
    let sequence = u64::MAX / 2;
    let state = [7; 64];
    let nested = batch_of(sequence, b"q", &empty_batch(sequence + 1));
    vec![
        empty_batch(sequence),
        empty_batch(sequence).repeat(3),
        batch_of(sequence, b"mstate", &state),
        batch_of(sequence + 9, b"mformat", &u32::MAX.to_be_bytes()),
        nested.clone(),
        batch_of(sequence, b"mstate", &nested),
        empty_batch(sequence)[..14].to_vec(),
        b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\x03FJL".to_vec(),
        b"FJL\x03".repeat(5),
        b"mstate".repeat(9),
        vec![1; 40],
        vec![2; 40],
        vec![3; 40],
    ]
}

/// PR-38: if a power loss leaves zeros at the end of a journal, and bodies in the torn batch contain whole batches,
/// the store opens with everything that was confirmed.
#[tokio::test]
async fn a_body_that_spells_a_batch_keeps_no_store_closed() {
    for body in hostile_bodies() {
        let directory = scratch();
        let rig = open_in(directory.path(), Arc::default());
        rig.subscribed(1, 1).await;
        let kept = rig.stored(enqueue(1, 1, b"confirmed")).await;
        let journal = journal_of(directory.path());
        let confirmed = written_bytes(&fs::read(&journal).unwrap());
        rig.stored(enqueue(1, 1, &body)).await;
        let mut whole = fs::read(&journal).unwrap();
        let end = written_bytes(&whole);
        rig.storage.close().await.unwrap();
        // Each copy would have 64 MiB more.
        fs::write(&journal, []).unwrap();

        whole.truncate(end);
        for zeros in (1..=64).step_by(3) {
            let copy = scratch();
            copy_directory(directory.path(), copy.path());
            let mut torn = whole.clone();
            torn[end - zeros..].fill(0);
            fs::write(journal_of(copy.path()), &torn).unwrap();
            assert!(end - zeros > confirmed);
            let rig = open_in(copy.path(), Arc::default());
            assert_eq!(rig.waiting(1).await, [kept], "{zeros} zeros behind {body:?}");
            rig.storage.close().await.unwrap();
        }
    }
}

/// The journal of an open store: messages of one user agent, each confirmed by itself, with the place where each
/// ends.
struct Scene {
    directory: tempfile::TempDir,
    /// The used bytes after a kill.
    killed: Vec<u8>,
    /// The used bytes after an orderly stop.
    closed: Vec<u8>,
    /// Where the batch of the subscription ends, then of each message.
    ends: Vec<usize>,
    clock: Arc<crate::storage::clock::ManualClock>,
}

async fn scene(bodies: &[Vec<u8>]) -> Scene {
    let directory = scratch();
    let rig = open_in(directory.path(), Arc::default());
    let journal = journal_of(directory.path());
    rig.subscribed(1, 1).await;
    let used = || written_bytes(&fs::read(&journal).unwrap());
    let mut ends = vec![used()];
    for body in bodies {
        rig.stored(enqueue(1, 1, body)).await;
        ends.push(used());
    }
    let mut killed = fs::read(&journal).unwrap();
    // A batch with only a mark may follow by now.
    killed.truncate(*ends.last().unwrap());
    rig.storage.close().await.unwrap();
    let mut closed = fs::read(&journal).unwrap();
    closed.truncate(written_bytes(&closed));
    fs::write(&journal, []).unwrap();
    Scene {
        directory,
        killed,
        closed,
        ends,
        clock: rig.clock,
    }
}

impl Scene {
    /// How many messages wait in the store when it opens with this journal; or the error, after checking that nothing
    /// was touched.
    async fn waiting(&self, journal: &[u8]) -> Result<usize, OpenError> {
        let copy = scratch();
        copy_directory(self.directory.path(), copy.path());
        let path = journal_of(copy.path());
        fs::write(&path, journal).unwrap();
        let announce = Arc::new(crate::storage::contract::Announcements::default());
        let options = Options {
            clock: Arc::clone(&self.clock) as _,
            ..Options::new(copy.path(), announce)
        };
        let store = match Embedded::open(options) {
            Ok(store) => store,
            Err(error) => {
                assert_eq!(fs::read(&path).unwrap(), journal, "a refused store was touched");
                return Err(error);
            }
        };
        let report = store
            .inspect(crate::storage::contract::user_agent(1))
            .await
            .unwrap();
        store.close().await.unwrap();
        Ok(report.map_or(0, |report| report.messages as usize))
    }

    /// The number of messages that are complete before this byte.
    fn whole_before(&self, place: usize) -> usize {
        self.ends.iter().skip(1).filter(|end| **end <= place).count()
    }
}

/// Printed, so that a failure can be repeated: set `PUSH_SERVICE_TEST_SEED`.
fn seed() -> u64 {
    let given = std::env::var("PUSH_SERVICE_TEST_SEED").ok();
    let seed = given.map_or_else(crate::random::u64, |seed| seed.parse().unwrap());
    println!("PUSH_SERVICE_TEST_SEED={seed}");
    seed
}

fn next(random: &mut u64) -> usize {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*random >> 33) as usize
}

/// Four hostile bodies, one after the other.
fn drawn_bodies(random: &mut u64) -> Vec<Vec<u8>> {
    let all = hostile_bodies();
    (0..4).map(|_| all[next(random) % all.len()].clone()).collect()
}

/// PR-38, PR-1: wherever a kill or a power loss tears a journal with hostile bodies, the store opens with exactly the
/// messages that are complete before that byte.
#[tokio::test]
async fn a_journal_torn_at_any_byte_opens() {
    let mut random = seed();
    let scene = scene(&drawn_bodies(&mut random)).await;
    for place in scene.ends[0]..=scene.killed.len() {
        let mut torn = scene.killed.clone();
        match next(&mut random) % 2 {
            0 => torn.truncate(place),
            _ => torn[place..].fill(0),
        }
        let waiting = scene.waiting(&torn).await;
        assert_eq!(
            waiting.unwrap(),
            scene.whole_before(place),
            "torn at byte {place}"
        );
    }
}

/// PR-38, PR-3: if any byte of a journal with hostile bodies changes, the store is refused with nothing touched, or
/// opens with everything that was confirmed; after a kill, possibly without the last message.
#[tokio::test]
async fn a_byte_flipped_anywhere_hides_nothing() {
    let mut random = seed();
    let scene = scene(&drawn_bodies(&mut random)).await;
    let all = scene.ends.len() - 1;
    let (mut refused, mut opened) = (0, 0);
    for place in 0..scene.closed.len() {
        let mut flipped = scene.closed.clone();
        flipped[place] ^= 1 << (next(&mut random) % 8);
        match scene.waiting(&flipped).await {
            Ok(waiting) => {
                assert_eq!(waiting, all, "byte {place} flipped");
                opened += 1;
            }
            Err(error) => {
                assert!(
                    matches!(error, OpenError::Damaged { .. }),
                    "byte {place}: {error:?}"
                );
                refused += 1;
            }
        }
    }
    println!("{refused} refused, {opened} opened");
    assert!(refused > scene.ends[all - 1]);
    let last = scene.ends[all - 1];
    for place in (last..scene.killed.len()).step_by(7) {
        let mut flipped = scene.killed.clone();
        flipped[place] ^= 1 << (next(&mut random) % 8);
        let waiting = scene.waiting(&flipped).await.unwrap();
        assert!(
            waiting == all || waiting == all - 1,
            "byte {place}: {waiting} wait"
        );
    }
}

/// PR-38: a kill between two of the pieces of 8 KiB in which a batch is written leaves a store that opens.
#[tokio::test]
async fn a_batch_torn_between_its_pieces_is_cut_off() {
    const PIECE: usize = 8 << 10;
    for body in [
        empty_batch(u64::MAX / 2),
        batch_of(u64::MAX / 2, b"mstate", &[7; 64]),
    ] {
        let count = 5 * PIECE / body.len();
        let scene = scene(&[b"first".to_vec(), body.repeat(count)]).await;
        for piece in 1..5 {
            for place in [piece * PIECE - 1, piece * PIECE, piece * PIECE + 1] {
                let waiting = scene.waiting(&scene.killed[..scene.ends[1] + place]).await;
                assert_eq!(waiting.unwrap(), 1, "torn at {place}");
            }
        }
    }
}

/// PR-1, PR-38: batches that were written without a sync between them reach the disk in any order. So a whole batch
/// after a torn one is cut off with it, unless a later one says that the torn one was synced.
#[test]
fn a_whole_batch_behind_a_torn_one_tells_whether_that_was_synced() {
    for synced in [false, true] {
        let directory = scratch();
        let (store, start) = Store::open(directory.path(), STORE_MEMTABLE_BYTES).unwrap();
        let journal = journal_of(directory.path());
        let first = written_bytes(&fs::read(&journal).unwrap());
        let mut state = store.put(start, b"mfirst", &[7; 5_000]).unwrap();
        if synced {
            state.mark.synced = state.mark.number;
        }
        store.put(state, b"msecond", b"whole").unwrap();
        drop(store);
        let mut bytes = fs::read(&journal).unwrap();
        bytes[first..first + 4_096].fill(0);
        fs::write(&journal, &bytes).unwrap();
        match Store::open(directory.path(), STORE_MEMTABLE_BYTES) {
            Ok((store, state)) => {
                assert!(!synced);
                assert_eq!(state, start);
                assert_eq!(store.metadata(b"msecond").unwrap(), None);
            }
            Err(error) => {
                assert!(synced && matches!(error, OpenError::Damaged { .. }), "{error:?}");
                assert_eq!(fs::read(&journal).unwrap(), bytes);
            }
        }
    }
}

/// PR-35: a store of format 1 is converted to the newest format if it was stopped in order; a torn one is refused and not
/// touched, because its torn end can't be told from damage.
#[tokio::test]
async fn a_store_of_format_1_is_taken_over_whole() {
    for torn in [false, true] {
        let directory = scratch();
        let (store, _) = Store::open(directory.path(), STORE_MEMTABLE_BYTES).unwrap();
        drop(store);
        // As format 1 wrote it: no key, no marks.
        fs::remove_dir_all(directory.path().join("keyspaces")).unwrap();
        for file in ["version", "lock", super::marks::KEY_FILE, "1.jnl", "0.jnl"] {
            let _ = fs::remove_file(directory.path().join(file));
        }
        let other = scratch();
        let unused = Marks::make(other.path()).unwrap();
        let store = Store::open_files(directory.path(), unused, STORE_MEMTABLE_BYTES).unwrap();
        store.keys.insert(FORMAT_KEY, 1_u32.to_be_bytes()).unwrap();
        store.keys.insert(STATE_KEY, [0; 32]).unwrap();
        store.database.persist(fjall::PersistMode::SyncAll).unwrap();
        drop(store);
        if torn {
            let journal = journal_of(directory.path());
            let mut bytes = fs::read(&journal).unwrap();
            let end = written_bytes(&bytes);
            bytes[end - 5..].fill(0);
            fs::write(&journal, &bytes).unwrap();
            let error = open_error(directory.path());
            assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
            assert_eq!(fs::read(&journal).unwrap(), bytes);
            continue;
        }
        for _ in 0..2 {
            let (store, state) = Store::open(directory.path(), STORE_MEMTABLE_BYTES).unwrap();
            assert!(state.mark.number > 1);
            assert_eq!(store.metadata(FORMAT_KEY).unwrap().unwrap(), FORMAT.to_be_bytes());
        }
    }
}

/// PR-38: a store that has lost the key of its marks is refused and says which file is missing.
#[tokio::test]
async fn a_store_without_its_key_is_refused() {
    let scene = scene(&[b"kept".to_vec()]).await;
    fs::remove_file(scene.directory.path().join(super::marks::KEY_FILE)).unwrap();
    let error = scene.waiting(&scene.closed).await.unwrap_err();
    assert!(
        error.to_string().contains("the file journal.key is missing"),
        "{error}"
    );
}

/// PR-38: torn ends are kept in bounds: the newest few, a part of each, for thirty days.
#[tokio::test]
async fn torn_ends_go_in_time() {
    use crate::defaults::{TORN_BYTES, TORN_FILES, TORN_KEPT};
    let scene = scene(&[b"kept".to_vec()]).await;
    let directory = scene.directory.path();
    let day = std::time::Duration::from_secs(86_400);
    for n in 90..90 + 2 * TORN_FILES {
        fs::write(directory.join(format!("{n}.torn")), b"torn").unwrap();
    }
    let oldest_kept = format!("{}.torn", 90 + 2 * TORN_FILES - 2);
    let file = fs::File::options()
        .write(true)
        .open(directory.join(&oldest_kept))
        .unwrap();
    file.set_modified(std::time::SystemTime::now() - TORN_KEPT - day)
        .unwrap();
    let journal = journal_of(directory);
    let mut torn = scene.closed.clone();
    torn.resize(torn.len() + TORN_BYTES + 999, 0xa5);
    fs::write(&journal, torn).unwrap();
    // The newest of all.
    let newest = directory.join("900.jnl");
    fs::rename(&journal, &newest).unwrap();
    let rig = open_in(directory, Arc::default());
    rig.storage.close().await.unwrap();
    let names = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().file_name());
    let mut kept: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    kept.retain(|name| name.ends_with(".torn"));
    kept.sort();
    let last = format!("{}.torn", 90 + 2 * TORN_FILES - 1);
    assert_eq!(kept, ["900.torn".to_owned(), last]);
    assert_eq!(
        fs::metadata(directory.join("900.torn")).unwrap().len(),
        TORN_BYTES as u64
    );
}
