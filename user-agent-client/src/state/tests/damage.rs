//! Files that are not as they were written.

use std::io::Write as _;

use super::*;
use crate::state::document::Unusable;

/// What a state and a log may look like.
fn used() -> Rig {
    let mut rig = Rig::new();
    rig.state.set_server(&server("wss://push.example.net")).unwrap();
    rig.save(&identified("me"));
    rig.subscribe("one");
    for change in messages_of_used() {
        rig.save(&change);
    }
    rig
}

fn messages_of_used() -> Vec<Change> {
    let attempts = (0..6).map(|number| attempt(number, 2));
    attempts
        .chain((0..2).map(|number| Change::Done(message(number))))
        .collect()
}

/// E91-1: a state that is cut off anywhere, or in which any bit is another one, is refused: no key is ever wrong. Only a
/// space for another is no damage.
#[test]
fn a_damaged_state_is_refused() {
    let rig = used();
    let good = fs::read(rig.file("state.json")).unwrap();
    let text = document::write(&rig.state.kept, rig.state.disk.as_ref().unwrap().log_id);
    assert_eq!(text.as_bytes(), good);
    for end in 0..good.len() - 1 {
        assert!(document::read(&good[..end]).is_err(), "cut at {end}");
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok((read, log)) = document::read(&bad) {
            assert_eq!(document::write(&read, log), text, "bit {bit}");
            assert_eq!(bit / 8, good.len() - 1, "the last line break");
        }
    }
}

/// PR-3: what can't be understood is not touched, and not taken for a user agent without subscriptions.
#[test]
fn a_refused_directory_is_not_touched() {
    let mut rig = used();
    let good = fs::read(rig.file("state.json")).unwrap();
    let log = fs::read(rig.file("messages.log")).unwrap();
    rig.state = State::in_memory();
    let newer = b"{\"format\":4,\"unheard\":{\"of\":[]}}".to_vec();
    let huge = vec![b' '; usize::try_from(STATE_BYTES).unwrap() + 1];
    for bad in [
        &[][..],
        &good[..good.len() / 2],
        b"{}",
        b"{\"format\":0}",
        &[0; 4096],
        &huge,
        &newer,
    ] {
        fs::write(rig.file("state.json"), bad).unwrap();
        for error in [
            State::open(rig.directory.path()).unwrap_err(),
            read(rig.directory.path()).unwrap_err(),
        ] {
            match &error {
                StateError::NewerFormat { format: 4, .. } => assert_eq!(bad, newer),
                StateError::Damaged { file, .. } => assert_eq!(*file, rig.file("state.json")),
                other => panic!("{other}"),
            }
            assert!(error.to_string().contains("Nothing was changed"), "{error}");
        }
        assert_eq!(fs::read(rig.file("state.json")).unwrap(), bad);
        assert_eq!(fs::read(rig.file("messages.log")).unwrap(), log);
    }
    fs::remove_file(rig.file("state.json")).unwrap();
    fs::create_dir(rig.file("state.json")).unwrap();
    let error = State::open(rig.directory.path()).unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }), "{error}");
    fs::remove_dir(rig.file("state.json")).unwrap();
    fs::write(rig.file("state.json"), &good).unwrap();
    State::open(rig.directory.path()).unwrap();
}

/// What no user agent would write is refused even if its digest is right.
#[test]
fn an_impossible_state_is_refused() {
    let mut rig = used();
    rig.subscribe("two");
    let text = document::write(&rig.state.kept, [0; 16]);
    for (from, to) in [
        ("\"two\"", "\"one\""),
        ("\"two\"", "\"t/wo\""),
        ("\"confirmed\"", "\"asked\""),
        ("\"confirmed\"", "\"unheard of\""),
        ("https://push", "ftp://push"),
        ("\"me\"", "\"\""),
    ] {
        let state = text.find("\"state\":").unwrap() + "\"state\":".len();
        let state = text[state..text.len() - 2].replace(from, to);
        let digest = ring::digest::digest(&ring::digest::SHA256, state.as_bytes());
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("{{\"format\":1,\"sha256\":\"{digest}\",\"state\":{state}}}");
        let refused = document::read(text.as_bytes()).map(|_| ());
        assert!(matches!(refused, Err(Unusable::Damaged(_))), "{to}");
        assert_ne!(refused, Err(Unusable::Damaged("its digest is wrong")), "{to}");
    }
}

/// WS-ACK-5: a log that is cut off anywhere, or in which any byte is another one, costs the memory of what the records there
/// say and nothing else; no message is ever called done that was not.
#[test]
fn a_damaged_log_forgets_no_more_than_is_damaged() {
    let rig = used();
    let good = fs::read(rig.file("messages.log")).unwrap();
    let records = messages_of_used();
    assert_eq!(good.len(), 32 * (1 + records.len()));
    let log_id = rig.state.disk.as_ref().unwrap().log_id;
    let elsewhere = TempDir::new().unwrap();
    let path = elsewhere.path().join("messages.log");
    let replay = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let mut durable = Durable::default();
        let place = directory::StateFile::in_directory(elsewhere.path(), "messages.log");
        MessagesLog::open(place, log_id, &mut durable);
        let kept = fs::read(&path).unwrap();
        assert!(
            kept.len() <= good.len() && kept.len().is_multiple_of(32),
            "it is whole again"
        );
        durable
    };
    let fold = |records: &[&[Change]]| {
        let mut durable = Durable::default();
        records
            .iter()
            .copied()
            .flatten()
            .for_each(|change| durable.apply(change));
        durable
    };
    for end in 0..=good.len() {
        let whole = (end / 32).saturating_sub(1);
        assert_eq!(replay(&good[..end]), fold(&[&records[..whole]]), "cut at {end}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        let expected = match at / 32 {
            0 => fold(&[]),
            record => fold(&[&records[..record - 1], &records[record..]]),
        };
        assert_eq!(replay(&bad), expected, "byte {at}");
    }
}

/// A log of another state, of a later version, or too large to be one, is not believed, and replaced.
#[test]
fn another_log_is_not_believed() {
    let (mut rig, mut other) = (used(), used());
    rig.state = State::in_memory();
    other.state = State::in_memory();
    let mut later = fs::read(rig.file("messages.log")).unwrap();
    later[14] = b'3';
    let huge = [later.clone(), vec![0; 32 * MESSAGE_RECORDS]].concat();
    for log in [fs::read(other.file("messages.log")).unwrap(), later, huge] {
        fs::write(rig.file("messages.log"), log).unwrap();
        rig.reopen();
        assert_eq!(rig.state.durable().messages, Messages::default());
        rig.save(&Change::Done(message(7)));
        rig.reopen();
        assert!(rig.state.durable().messages.is_done(message(7)));
    }
    // A state that is moved away takes the belief in its log with it.
    rig.state = State::in_memory();
    fs::remove_file(rig.file("state.json")).unwrap();
    rig.reopen();
    assert_eq!(rig.state.durable(), &Durable::default());
}

/// What an interrupted replacement left is not read, and removed.
#[test]
fn what_was_left_half_written_is_removed() {
    let mut rig = used();
    let before = all_of(&rig.state);
    rig.state = State::in_memory();
    let drafts = ["state.json.new", "messages.log.new"].map(|name| rig.file(name));
    for draft in &drafts {
        let mut file = fs::File::create(draft).unwrap();
        file.write_all(b"{\"format\":1,\"sha").unwrap();
    }
    let snapshot = read(rig.directory.path()).unwrap();
    assert_eq!(snapshot.subscriptions().count(), 1);
    assert!(drafts[0].exists(), "reading changes nothing");
    rig.reopen();
    assert_eq!(all_of(&rig.state), before);
    assert!(drafts.iter().all(|draft| !draft.exists()));
}
