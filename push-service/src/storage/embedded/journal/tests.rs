//! The journal's reader: against hostile torn ends and missing batches.

use super::*;

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
