//! Which directories open, and what is said of those that do not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::layout::{FORMAT, FORMAT_KEY, STATE_KEY, StoreState};
use super::marks::Marks;
use super::store::Store;
use super::*;
use crate::storage::contract::enqueue;

/// A new store is for its owner's eyes only.
#[tokio::test]
async fn a_new_directory_is_private() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    let rig = open_in(&directory, Arc::default());
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    rig.storage.close().await.unwrap();
}

/// A store that others could read, in a directory that was open to them, is closed to them at its next start. A directory
/// that also holds files of others stays as it is.
#[tokio::test]
async fn a_store_that_others_could_read_is_closed() {
    let parent = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for is_shared in [false, true] {
        let directory = parent.path().join(format!("shared-{is_shared}"));
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let rig = open_in(&directory, Arc::default());
        assert_eq!(mode(&directory), 0o700, "it was empty");
        rig.subscribed(1, 1).await;
        rig.storage.close().await.unwrap();

        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        for file in files_below(&directory) {
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let other = directory.join("notes.txt");
        if is_shared {
            fs::write(&other, "not the store's").unwrap();
            fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let before = files_below(&directory);
        let rig = open_in(&directory, Arc::default());
        assert_eq!(mode(&directory), if is_shared { 0o755 } else { 0o700 });
        for file in before.iter().filter(|file| file.exists()) {
            let expected = if *file == other { 0o644 } else { 0o600 };
            assert_eq!(mode(file), expected, "{}", file.display());
        }
        rig.storage.close().await.unwrap();
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// One store, one process.
#[tokio::test]
async fn a_store_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    let error = open_error(directory.path());
    assert!(matches!(error, OpenError::Locked(_)), "{error:?}");
    assert!(error.to_string().contains("another process"), "{error}");
    rig.storage.close().await.unwrap();
}

/// PR-3, PR-35: a store in a newer format is refused, and so is one whose format mark is gone; neither is touched.
#[tokio::test]
async fn a_store_of_another_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.subscribed(1, 1).await;
    let id = rig.stored(enqueue(1, 1, b"a")).await;
    rig.storage.close().await.unwrap();

    change_mark(directory.path(), Some(FORMAT + 1));
    let error = open_error(directory.path());
    assert!(matches!(error, OpenError::Newer { found: 4, .. }), "{error:?}");
    assert!(error.to_string().contains("run the newer version"), "{error}");

    change_mark(directory.path(), None);
    let error = open_error(directory.path());
    assert!(matches!(error, OpenError::Unmarked(_)), "{error:?}");

    change_mark(directory.path(), Some(FORMAT));
    let rig = open_in(directory.path(), Arc::default());
    assert_eq!(rig.waiting(1).await, [id]);
    rig.storage.close().await.unwrap();
}

fn change_mark(directory: &Path, format: Option<u32>) {
    // Opened as files, past the check.
    let marks = Marks::load(directory).unwrap().unwrap();
    let store = Store::open_files(directory, marks, STORE_MEMTABLE_BYTES).unwrap();
    let state = store
        .metadata(STATE_KEY)
        .map(|state| StoreState::decode(&state.unwrap()).unwrap());
    let (mut batch, _) = store.batch(state.unwrap());
    match format {
        Some(format) => batch.insert(&store.keys, FORMAT_KEY, format.to_be_bytes()),
        None => batch.remove(&store.keys, FORMAT_KEY),
    }
    batch.commit().unwrap();
    store.database.persist(fjall::PersistMode::SyncAll).unwrap();
}

/// A directory that holds the remains of a store is refused with a sentence that says what to do.
#[tokio::test]
async fn a_damaged_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.subscribed(1, 1).await;
    rig.storage.close().await.unwrap();
    fs::remove_file(directory.path().join("version")).unwrap();
    let error = open_error(directory.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("restore it from a backup"), "{error}");
}

/// PR-1: whatever a power loss made of the end of the journal, what was synced before it is there.
#[tokio::test]
async fn a_torn_journal_keeps_what_was_confirmed() {
    for tear in [cut_short, zero_last_bytes, garble_last_bytes, zero_a_hole] {
        let directory = scratch();
        let rig = open_in(directory.path(), Arc::default());
        rig.subscribed(1, 1).await;
        let mut kept = Vec::new();
        for n in 0..10_u8 {
            kept.push(rig.stored(enqueue(1, 1, &[n; 500])).await);
        }
        let journal = journal_of(directory.path());
        let confirmed_bytes = written_bytes(&fs::read(&journal).unwrap());
        rig.stored(enqueue(1, 1, &[77; 9_000])).await;
        // As after a kill: an orderly stop would record that it was synced.
        let mut bytes = fs::read(&journal).unwrap();
        rig.storage.close().await.unwrap();

        let end = end_of_batches(&bytes, confirmed_bytes + 9_000);
        bytes[end..].fill(0);
        assert!(end > confirmed_bytes + 9_000);
        tear(&mut bytes, end);
        fs::write(&journal, &bytes).unwrap();
        let rig = open_in(directory.path(), Arc::default());
        assert_eq!(rig.waiting(1).await, kept);
        let next = rig.stored(enqueue(1, 1, b"goes on")).await;
        rig.storage.close().await.unwrap();
        let rig = open_in(directory.path(), Arc::default());
        assert_eq!(rig.waiting(1).await.last(), Some(&next));
        rig.storage.close().await.unwrap();
    }
}

/// A journal that is wrong before something intact was damaged after it was synced: that is for the operator to judge.
#[tokio::test]
async fn a_journal_damaged_in_the_middle_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.subscribed(1, 1).await;
    rig.stored(enqueue(1, 1, &[77; 900])).await;
    rig.stored(enqueue(1, 1, &[78; 900])).await;
    rig.storage.close().await.unwrap();
    let journal = journal_of(directory.path());
    let mut bytes = fs::read(&journal).unwrap();
    let place = bytes.windows(8).position(|w| w == [77; 8]).unwrap();
    bytes[place] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let error = open_error(directory.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::read(&journal).unwrap(), bytes);
}

/// PR-1, PR-3: whichever byte of the journal flips, the store is refused untouched, or opens with everything that was
/// confirmed, but for the flipped batch itself if it was the last.
#[tokio::test]
async fn no_flipped_byte_hides_what_was_confirmed() {
    let directory = scratch();
    let rig = open_in(directory.path(), Arc::default());
    let journal = journal_of(directory.path());
    rig.subscribed(1, 1).await;
    let mut last_start = 0;
    for n in 0..3_u8 {
        last_start = written_bytes(&fs::read(&journal).unwrap());
        rig.stored(enqueue(1, 1, &[n; 5])).await;
    }
    rig.storage.close().await.unwrap();
    let mut whole = fs::read(&journal).unwrap();
    whole.truncate(written_bytes(&whole));
    fs::write(&journal, &whole).unwrap();

    let (mut refused, mut opened) = (0, 0);
    for place in 0..whole.len() {
        let copy = scratch();
        copy_directory(directory.path(), copy.path());
        let journal = journal_of(copy.path());
        let mut flipped = whole.clone();
        flipped[place] ^= [1, 2, 4, 8, 16, 32, 64, 128, 255][place % 9];
        fs::write(&journal, &flipped).unwrap();
        let announce = Arc::new(crate::storage::contract::Announcements::default());
        let options = Options {
            clock: Arc::clone(&rig.clock) as _,
            ..Options::new(copy.path(), announce)
        };
        let store = match Embedded::open(options) {
            Ok(store) => store,
            Err(error) => {
                assert!(
                    matches!(error, OpenError::Damaged { .. }),
                    "byte {place}: {error:?}"
                );
                assert_eq!(fs::read(&journal).unwrap(), flipped, "byte {place}");
                refused += 1;
                continue;
            }
        };
        opened += 1;
        let report = store
            .inspect(crate::storage::contract::user_agent(1))
            .await
            .unwrap();
        let waiting = report.map(|report| report.messages);
        let is_last = place >= last_start;
        assert!(
            waiting == Some(3) || is_last && waiting == Some(2),
            "byte {place}: {waiting:?} wait"
        );
        store.close().await.unwrap();
    }
    assert!(
        refused >= last_start - 20 && opened > 20,
        "{refused} refused, {opened} opened"
    );
}

/// PR-3: a journal that is not the newest was synced as a whole, so it has no torn end.
#[tokio::test]
async fn an_older_journal_that_breaks_off_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.subscribed(1, 1).await;
    rig.storage.close().await.unwrap();
    let journal = journal_of(directory.path());
    let bytes = fs::read(&journal).unwrap();
    let end = written_bytes(&bytes);
    fs::write(&journal, &bytes[..end - 5]).unwrap();
    fs::write(directory.path().join("7.jnl"), []).unwrap();
    let error = open_error(directory.path());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::read(&journal).unwrap(), &bytes[..end - 5]);
}

/// PR-1: what is cut off a torn journal is kept beside it.
#[tokio::test]
async fn what_is_cut_off_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let rig = open_in(directory.path(), Arc::default());
    rig.subscribed(1, 1).await;
    let journal = journal_of(directory.path());
    let start = written_bytes(&fs::read(&journal).unwrap());
    rig.stored(enqueue(1, 1, &[7; 900])).await;
    let mut bytes = fs::read(&journal).unwrap();
    rig.storage.close().await.unwrap();
    let end = end_of_batches(&bytes, start + 900);
    bytes[end..].fill(0);
    // The first byte of its frame, at which the store itself would only cut.
    bytes[start] ^= 2;
    fs::write(&journal, &bytes).unwrap();
    let rig = open_in(directory.path(), Arc::default());
    assert_eq!(rig.waiting(1).await, []);
    rig.storage.close().await.unwrap();
    assert_eq!(
        fs::read(journal.with_extension("torn")).unwrap(),
        bytes[start..end]
    );
}

/// A directory, in memory if possible: thousands of stores are opened.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

pub(super) fn copy_directory(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_directory(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub(super) fn journal_of(directory: &Path) -> PathBuf {
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut journals = files.filter(|path| path.extension().is_some_and(|e| e == "jnl"));
    journals.next().unwrap()
}

/// The journal is longer than what was written; the rest is zeros.
///
/// Compares whole blocks first: byte by byte, a debug build needs most of a second for the 64 MiB of a journal.
pub(super) fn written_bytes(journal: &[u8]) -> usize {
    const ZEROS: [u8; 4_096] = [0; 4_096];
    let mut blocks = journal.chunks(ZEROS.len());
    let last = blocks.rposition(|block| *block != ZEROS[..block.len()]);
    let end = last.map_or(0, |last| journal.len().min((last + 1) * ZEROS.len()));
    let byte = journal[..end].iter().rposition(|byte| *byte != 0);
    byte.map_or(0, |last| last + 1)
}

/// Where the batch around this byte ends: a batch with only a mark may follow it.
fn end_of_batches(journal: &[u8], beyond: usize) -> usize {
    let trailer = journal[beyond..].windows(4).position(|bytes| bytes == b"FJL\x03");
    beyond + trailer.unwrap() + 4
}

/// The rest was never written: a journal has its full length from the start.
fn cut_short(journal: &mut [u8], end: usize) {
    journal[end - 5..].fill(0);
}

fn zero_last_bytes(journal: &mut [u8], end: usize) {
    journal[end - 4_096..].fill(0);
}

fn garble_last_bytes(journal: &mut [u8], end: usize) {
    journal[end - 100..end].fill(0xa5);
}

fn zero_a_hole(journal: &mut [u8], end: usize) {
    journal[end - 6_000..end - 2_000].fill(0);
}
