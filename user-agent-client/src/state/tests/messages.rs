//! What is kept of messages, and what earlier versions kept of them.

use push_protocol::session::user_agent::{Earlier, Tried};

use super::*;

const NEWEST: &[u8] = b"user-agent log2\n";
const EARLIER: &[u8] = b"user-agent log1\n";

/// A record as the earlier version wrote it.
fn earlier_record(kind: u8, id: &str, count: u32) -> [u8; 32] {
    let mut record = [0; 32];
    record[0] = kind;
    record[4..8].copy_from_slice(&count.to_le_bytes());
    record[8..24].copy_from_slice(&ring::digest::digest(&ring::digest::SHA256, id.as_bytes()).as_ref()[..16]);
    let check = ring::digest::digest(&ring::digest::SHA256, &record[..24]);
    record[24..].copy_from_slice(&check.as_ref()[..8]);
    record
}

/// A state directory as the earlier version left it, with these records.
fn upgraded(records: &[[u8; 32]]) -> Rig {
    let mut rig = Rig::new();
    rig.state = State::in_memory();
    let mut log = fs::read(rig.file("messages.log")).unwrap();
    log[..16].copy_from_slice(EARLIER);
    log.extend(records.concat());
    fs::write(rig.file("messages.log"), log).unwrap();
    rig.reopen();
    rig
}

/// PR-45: what the application began with outlives the process that died of it, each time; what it gave back doesn't count.
#[test]
fn crashes_are_counted() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        for number in [1, 2] {
            rig.save(&Change::Begun(message(number)));
        }
        rig.save(&Change::Released(message(2)));
        rig.reopen();
    }
    let tried = |number| rig.state.durable().messages.tried(message(number));
    let (attempts, unfinished) = (0, 3);
    assert_eq!(tried(1), Tried { attempts, unfinished });
    assert_eq!(tried(2), Tried::default());
}

/// PR-46, WS-NOT-2: the log of a version that knew messages by the id alone still counts: what is done is done, what was begun
/// is counted as ends of the process, and neither as failures. It is written anew in the newest form.
#[test]
fn an_earlier_log_still_counts() {
    let records = [
        earlier_record(b'a', "tried", 1),
        earlier_record(b'a', "tried", 2),
        earlier_record(b'a', "released", 1),
        earlier_record(b'a', "released", 0),
        earlier_record(b'a', "done", 1),
        earlier_record(b'd', "done", 0),
    ];
    let mut rig = upgraded(&records);
    for _ in 0..2 {
        let messages = &rig.state.durable().messages;
        let mut earlier: Vec<_> = messages.all_earlier().collect();
        earlier.sort_by_key(|(key, _)| *key != MessageKey::of_id("done"));
        let expected = [("done", Earlier::Done), ("tried", Earlier::Begun(2))];
        assert_eq!(
            earlier,
            expected.map(|(id, earlier)| (MessageKey::of_id(id), earlier))
        );
        assert_eq!(messages.all_done().count() + messages.all_tried().count(), 0);
        let log = fs::read(rig.file("messages.log")).unwrap();
        assert_eq!((&log[..16], log.len()), (NEWEST, 32 * 3));
        rig.reopen();
    }
}

/// PR-46: what was recognised has a record of its own from then on, and counts for no other message, restarts included.
#[test]
fn an_earlier_record_counts_once() {
    let mut rig = upgraded(&[earlier_record(b'd', "v", 0), earlier_record(b'a', "w", 2)]);
    for id in ["v", "w"] {
        rig.save(&Change::Recognised {
            message: MessageKey::of("one", id),
            earlier: MessageKey::of_id(id),
        });
    }
    for _ in 0..2 {
        let messages = &rig.state.durable().messages;
        assert!(messages.is_done(MessageKey::of("one", "v")));
        assert!(!messages.is_done(MessageKey::of("other", "v")));
        assert_eq!(messages.tried(MessageKey::of("one", "w")).unfinished, 2);
        assert_eq!(messages.all_earlier().count(), 0);
        rig.reopen();
    }
}

/// PR-46: an earlier version does not believe a log of this one, which names messages differently: its header is another.
#[test]
fn an_earlier_version_does_not_misread_the_log() {
    let mut rig = Rig::new();
    rig.save(&Change::Done(message(1)));
    assert!(!fs::read(rig.file("messages.log")).unwrap().starts_with(EARLIER));
}
