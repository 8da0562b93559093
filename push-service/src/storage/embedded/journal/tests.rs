//! The journal's reader: against hostile torn ends, missing batches, and against what the pinned fjall writes.

use push_protocol::{MessageNumber, UserAgentId};

use super::*;
use crate::defaults::STORE_MEMTABLE_BYTES;
use crate::storage::embedded::layout::{self, StoreState};
use crate::storage::embedded::store::Store;

/// PR-38: the cost of a hostile torn end is bounded by its length: one pass, and a hash for each candidate mark.
#[test]
fn a_hostile_torn_end_is_passed_once() {
    let directory = tempfile::tempdir().unwrap();
    let marks = Marks::make(directory.path()).unwrap();
    // This made the search quadratic: at each byte begins a batch that seems to reach to the end.
    let header = [1, 255, 255, 255, 127, 0, 0, 0, 0, 0, 0, 0, 0].repeat(1 << 20);
    assert_eq!(candidates(&header).count(), 0);
    assert_eq!(Walk::new(Some(&marks)).over(&header), End::Torn(0));
    let keys = STATE_KEY.repeat(1 << 20);
    assert_eq!(candidates(&keys).count(), 1 << 20);
    assert_eq!(Walk::new(Some(&marks)).over(&keys), End::Torn(0));
}

/// A batch that holds nothing but the state.
fn batch(marks: &Marks, mark: Mark) -> Vec<u8> {
    let value = [&marks.encode(mark)[..], b"state"].concat();
    let mut item = vec![2, 0, 0];
    item.extend(1_u64.to_le_bytes());
    item.extend((STATE_KEY.len() as u16).to_le_bytes());
    item.extend((value.len() as u32).to_le_bytes());
    item.extend((value.len() as u32).to_le_bytes());
    item.extend(STATE_KEY);
    item.extend(value);
    let mut batch = vec![1];
    batch.extend(1_u32.to_le_bytes());
    batch.extend(mark.number.to_le_bytes());
    batch.extend(&item);
    batch.push(3);
    batch.extend(xxh3_64(&item).to_le_bytes());
    batch.extend(MAGIC);
    batch
}

/// PR-1, PR-38: a journal in which a batch is missing is damaged if a later one says that it was synced.
#[test]
fn a_missing_batch_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let marks = Marks::make(directory.path()).unwrap();
    let batch = |number, synced| batch(&marks, Mark { number, synced });
    let first = batch(1, 1);
    let walked = |journal: &[u8]| Walk::new(Some(&marks)).over(journal);
    assert_eq!(
        walked(&[&first[..], &batch(2, 1), &batch(3, 2)].concat()),
        End::Whole
    );
    assert_eq!(
        walked(&[&first[..], &batch(3, 2)].concat()),
        End::Damaged(first.len())
    );
    assert_eq!(
        walked(&[&first[..], &batch(3, 1)].concat()),
        End::Torn(first.len())
    );
}

/// PR-1, PR-38: if the first batch of a journal is torn, its own mark says what was read before it.
#[test]
fn a_torn_first_batch_says_its_number() {
    let directory = tempfile::tempdir().unwrap();
    let marks = Marks::make(directory.path()).unwrap();
    let batch = |number, synced| batch(&marks, Mark { number, synced });
    let mut torn = batch(5, 4);
    *torn.last_mut().unwrap() ^= 1;
    let walked = |journal: &[u8]| Walk::new(Some(&marks)).over(journal);
    assert_eq!(walked(&torn), End::Torn(0));
    assert_eq!(walked(&[&torn[..], &batch(6, 4)].concat()), End::Torn(0));
    assert_eq!(walked(&[&torn[..], &batch(6, 5)].concat()), End::Damaged(0));
}

/// A journal that fjall 3.1.13 wrote: all that [`fixture_journal`] does. [`write_the_fixture_anew`] writes it.
const FIXTURE: &[u8] = include_bytes!("fjall-3.1.13.jnl");

/// The number of the last batch in it.
const LAST_BATCH: u64 = 6;

/// Writes a store with one of everything that batches contain, and returns the used bytes of its journal. They are the same each
/// time: the key of the marks, the clock and all values are fixed.
fn fixture_journal() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(KEY_FILE), [7; 32]).unwrap();
    // Writes batch 2, the format.
    let (store, state) = Store::open(directory.path(), STORE_MEMTABLE_BYTES).unwrap();
    let user_agent = UserAgentId([9; 16]);
    let [first, second] = [1, 2].map(|n| layout::queue_key(user_agent, MessageNumber(n)));
    let write = |state: StoreState, fill: &dyn Fn(&mut fjall::OwnedWriteBatch)| {
        let (mut batch, state) = store.batch(state);
        fill(&mut batch);
        batch.commit().unwrap();
        state
    };
    let keys = &store.keys;
    let state = write(state, &|batch| batch.insert(keys, first, [1_u8; 300]));
    // Long enough to show whether values are compressed.
    let state = write(state, &|batch| {
        batch.insert(keys, second, [2_u8; 3_000]);
        batch.insert(keys, layout::sweep_key(77, user_agent), []);
    });
    let state = write(state, &|batch| {
        batch.remove(keys, first);
        batch.insert(keys, second, *b"FJL\x03");
    });
    let state = StoreState {
        mark: Mark {
            synced: state.mark.number,
            ..state.mark
        },
        ..state
    };
    write(state, &|_| ());
    let journals = numbered(directory.path(), "jnl").unwrap();
    assert_eq!(journals.len(), 1);
    read_used(&journals[0]).unwrap()
}

fn fixture_marks(directory: &Path) -> Marks {
    fs::write(directory.join(KEY_FILE), [7; 32]).unwrap();
    Marks::load(directory).unwrap().unwrap()
}

/// PR-38: the format that is read here is the one that the pinned fjall writes, byte by byte. If this fails after a change of
/// fjall's version: compare its journal's format with the header of `journal.rs`, then write the fixture anew.
#[test]
fn the_pinned_fjall_writes_the_journal_that_is_read() {
    let manifest = include_str!("../../../../../Cargo.toml");
    assert!(
        manifest.contains("fjall = { version = \"=3.1.13\""),
        "fjall is pinned to the version that wrote the fixture"
    );
    assert!(
        fixture_journal() == FIXTURE,
        "the format of the journal has changed"
    );
    let directory = tempfile::tempdir().unwrap();
    let marks = fixture_marks(directory.path());
    let mut walk = Walk::new(Some(&marks));
    assert_eq!(walk.over(FIXTURE), End::Whole);
    assert_eq!(walk.number, Some(LAST_BATCH));
}

/// PR-38: no changed byte of a journal that fjall wrote goes unnoticed, but for those of sequence numbers, which no checksum
/// covers.
#[test]
fn a_changed_byte_of_the_fixture_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let marks = fixture_marks(directory.path());
    let mut sequence_numbers = Vec::new();
    let mut at = 0;
    while let Some(batch) = Batch::read(&FIXTURE[at..]) {
        sequence_numbers.push(at + 5..at + BATCH_HEADER_BYTES);
        at += batch.length;
    }
    assert_eq!(at, FIXTURE.len());
    for at in 0..FIXTURE.len() {
        if sequence_numbers.iter().any(|bytes| bytes.contains(&at)) {
            continue;
        }
        let mut changed = FIXTURE.to_vec();
        changed[at] ^= 1 << (at % 8);
        assert_ne!(Walk::new(Some(&marks)).over(&changed), End::Whole, "byte {at}");
    }
}

/// Not a test: `cargo test -p push-service --lib write_the_fixture_anew -- --ignored`, after a change of fjall's version and of the
/// names and the pin above.
#[test]
#[ignore = "writes the fixture anew"]
fn write_the_fixture_anew() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/storage/embedded/journal/fjall-3.1.13.jnl"
    );
    fs::write(path, fixture_journal()).unwrap();
}
