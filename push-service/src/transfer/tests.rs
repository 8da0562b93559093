//! The file: what it says comes back, and what is not whole is refused (PR-37).

use std::io::Read as _;
use std::time::Duration;

use ring::digest;

use super::*;
use crate::defaults::{EXPORT_LINE_BYTES, EXPORT_STEP_BYTES, RETENTION};
use crate::storage::contract::senders::sender;
use crate::storage::contract::{Rig, enqueue, subscribe};
use crate::storage::memory::Memory;
use crate::storage::{Enqueue, Imported, Subscribe};

/// When all of it happens: the time of the rig's clock.
const NOW: Duration = Duration::from_secs(1_700_000_000);

fn empty() -> Rig {
    Rig::new(|announce, clock| std::sync::Arc::new(Memory::new(announce, clock, RETENTION)))
}

/// Two user agents, two subscriptions, three messages of different kinds.
async fn some() -> Rig {
    let rig = empty();
    let restricted = Subscribe {
        key: Some(push_protocol::KeyDigest([0xfe; 32])),
        ..subscribe(1, 1)
    };
    rig.storage.subscribe(restricted).await.unwrap();
    rig.subscribed(2, 2).await;
    rig.stored(enqueue(1, 1, b"\xffsecret body")).await;
    let mut legacy = Enqueue {
        topic: push_protocol::Topic::parse("secret-topic"),
        sender: Some(sender(4)),
        ..enqueue(1, 1, b"legacy")
    };
    legacy.content.coding = push_protocol::Coding::Aesgcm {
        encryption: "salt=c2FsdA".into(),
        crypto_key: "dh=ZGg".into(),
    };
    rig.stored(legacy).await;
    let mut bare = enqueue(2, 2, b"");
    bare.content.coding = push_protocol::Coding::Other("gzip".into());
    bare.content.media_type = Some("text/plain; charset=\"utf-8\"".into());
    rig.stored(bare).await;
    rig
}

fn facts() -> Facts {
    Facts {
        exported_at_ms: 1_700_000_000_000,
        storage: "memory".to_owned(),
        sealing_keys: vec![[0xab; 8], [1; 8]],
    }
}

async fn file_of(rig: &Rig) -> Vec<u8> {
    let mut file = Vec::new();
    let mut progress = Progress::new("exported", None);
    export(&*rig.storage, &facts(), &mut file, &mut progress)
        .await
        .unwrap();
    file
}

async fn taken_in(rig: &Rig, file: &[u8]) -> Result<Imported, TransferError> {
    let mut imported = Imported::default();
    let mut progress = Progress::new("imported", None);
    import(&*rig.storage, file, NOW, &mut progress, &mut imported).await?;
    Ok(imported)
}

fn verified(file: &[u8]) -> Result<(Facts, Counts), FileError> {
    verify(file, NOW)
}

/// A file of these lines, with an end that fits them.
fn file_with(lines: &[&str], counts: [u64; 3]) -> Vec<u8> {
    let mut file = lines.join("\n") + "\n";
    let sha256 = digest::digest(&digest::SHA256, file.as_bytes());
    let sha256: String = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let [user_agents, subscriptions, messages] = counts;
    let end = serde_json::json!({ "end": {
        "user_agents": user_agents, "subscriptions": subscriptions, "messages": messages, "sha256": sha256,
    }});
    file += &format!("{end}\n");
    file.into_bytes()
}

/// The lines of a file, without its end.
fn lines(file: &[u8]) -> Vec<&str> {
    let mut lines: Vec<_> = std::str::from_utf8(file).unwrap().lines().collect();
    lines.pop();
    lines
}

/// PR-37: a file brings to an empty storage exactly what it was written from.
#[tokio::test]
async fn what_is_written_is_what_is_read() {
    let file = file_of(&some().await).await;
    let counts = Counts {
        user_agents: 2,
        subscriptions: 2,
        messages: 3,
        receipts: 0,
    };
    assert_eq!(verified(&file).unwrap(), (facts(), counts));
    let other = empty();
    let imported = taken_in(&other, &file).await.unwrap();
    assert_eq!((imported.subscriptions, imported.messages), (2, 3));
    assert_eq!(file_of(&other).await, file, "and the same file comes of it");
    let text = String::from_utf8(file).unwrap();
    assert!(
        text.contains(r#""sealing_keys":["abababababababab","0101010101010101"]"#),
        "{text}"
    );
}

/// PR-37: a queue that is larger than a step goes through in parts, and its record stands in the file once.
#[tokio::test]
async fn a_long_queue_goes_in_parts() {
    let rig = empty();
    rig.subscribed(1, 1).await;
    let body = [7; 4_096];
    let messages = 3 * EXPORT_STEP_BYTES / body.len();
    for _ in 0..messages {
        rig.stored(enqueue(1, 1, &body)).await;
    }
    let file = file_of(&rig).await;
    let (_, counts) = verified(&file).unwrap();
    assert_eq!((counts.user_agents, counts.messages), (1, messages as u64));
    let other = empty();
    assert_eq!(taken_in(&other, &file).await.unwrap().messages, messages as u64);
    assert_eq!(file_of(&other).await, file);
}

/// PR-37: half a file is refused, wherever it was cut.
#[tokio::test]
async fn half_a_file_is_refused() {
    let file = file_of(&some().await).await;
    for end in 0..file.len() {
        let refused = verified(&file[..end]);
        assert!(
            matches!(refused, Err(FileError::Cut { .. } | FileError::NotAnExport)),
            "{end}: {refused:?}"
        );
    }
}

/// PR-37: a file in which one bit is another is refused, wherever it is.
#[tokio::test]
async fn a_flipped_bit_is_refused() {
    let file = file_of(&some().await).await;
    for place in 0..file.len() {
        for bit in [1, 0x20, 0x80] {
            let mut garbled = file.clone();
            garbled[place] ^= bit;
            assert!(verified(&garbled).is_err(), "bit {bit} of byte {place}");
        }
    }
}

/// PR-37: a missing, a doubled or a foreign line is refused, and so is what stands behind the end.
#[tokio::test]
async fn another_number_of_lines_is_refused() {
    let file = file_of(&some().await).await;
    let text = std::str::from_utf8(&file).unwrap();
    let all: Vec<_> = text.lines().collect();
    for place in 0..all.len() {
        let mut without = all.clone();
        without.remove(place);
        assert!(
            verified((without.join("\n") + "\n").as_bytes()).is_err(),
            "without line {place}"
        );
        let mut doubled = all.clone();
        doubled.insert(place, all[place]);
        assert!(
            verified((doubled.join("\n") + "\n").as_bytes()).is_err(),
            "line {place} twice"
        );
    }
    let trailing = [&file[..], b"\n"].concat();
    assert!(matches!(verified(&trailing), Err(FileError::Trailing)));
}

/// PR-37: a file of a newer version is refused as such, whatever else is new in it.
#[tokio::test]
async fn a_newer_version_is_refused() {
    let newer = r#"{"header":{"format":"push-service export","version":4,"anything":{}}}"#;
    let refused = verified(&file_with(&[newer, r#"{"receipt":{}}"#], [0; 3]));
    assert!(
        matches!(refused, Err(FileError::Newer { found: 4 })),
        "{refused:?}"
    );
}

/// PR-37: what is no export is told apart from a damaged one.
#[test]
fn what_is_no_export_is_told_apart() {
    let files = [
        "",
        "\n",
        "hello\n",
        "{}\n",
        r#"{"header":{"format":"something else","version":1}}"#,
        "\u{0}\u{1}\u{2}",
    ];
    for file in files {
        let refused = verified((file.to_owned() + "\n").as_bytes());
        assert!(
            matches!(refused, Err(FileError::NotAnExport)),
            "{file}: {refused:?}"
        );
    }
}

/// PR-37: a user agent that comes twice in a file, as a storage may give it, is there once.
#[tokio::test]
async fn a_doubled_user_agent_is_there_once() {
    let file = file_of(&some().await).await;
    let once = lines(&file);
    let first: Vec<_> = once[1..5].to_vec();
    assert!(
        first[0].contains("user_agent") && first[3].contains("message"),
        "{first:?}"
    );
    let twice = file_with(&[&once[..], &first].concat(), [3, 3, 5]);
    let other = empty();
    let imported = taken_in(&other, &twice).await.unwrap();
    assert_eq!((imported.messages, imported.present), (3, 3));
    assert_eq!(file_of(&other).await, file);
}

/// PR-37: a member or a kind of line that this version does not know is refused, never dropped.
#[tokio::test]
async fn what_is_not_known_is_refused() {
    let file = file_of(&some().await).await;
    let known = lines(&file);
    for place in 0..known.len() {
        let with_member = known[place].replacen(":{", r#":{"later":1,"#, 1);
        let mut changed = known.clone();
        changed[place] = &with_member;
        assert!(
            verified(&file_with(&changed, [2, 2, 3])).is_err(),
            "a member in line {place}"
        );
    }
    let with_kind = [&known[..], &[r#"{"receipt":{}}"#]].concat();
    let refused = verified(&file_with(&with_kind, [2, 2, 3]));
    assert!(matches!(refused, Err(FileError::Line { .. })), "{refused:?}");
}

/// PR-25, PR-37: outboxes and what is owed stand in the file, and come back; a file of the version before has none.
#[tokio::test]
async fn receipts_go_through_a_file() {
    let rig = empty();
    crate::storage::contract::moving::fill_with_receipts(&rig).await;
    let file = file_of(&rig).await;
    let (_, counts) = verified(&file).unwrap();
    assert_eq!((counts.messages, counts.receipts), (2, 6));
    let other = empty();
    assert_eq!(taken_in(&other, &file).await.unwrap().receipts, 6);
    assert_eq!(file_of(&other).await, file, "and the same file comes of it");

    let file = file_of(&some().await).await;
    let mut before = lines(&file);
    let header = before[0].replace(r#""version":3"#, r#""version":1"#);
    before[0] = &header;
    let (_, counts) = verified(&file_with(&before, [2, 2, 3])).unwrap();
    assert_eq!((counts.messages, counts.receipts), (3, 0));
}

/// PR-29, PR-37: that a record is unused stands in the file, and comes back. A file of an older version does not say it: its
/// records are used.
#[tokio::test]
async fn an_unused_record_goes_through_a_file() {
    let rig = empty();
    rig.subscribed(1, 1).await;
    let file = file_of(&rig).await;
    let unused = async |file: &[u8]| {
        let other = empty();
        taken_in(&other, file).await.unwrap();
        let there = other.storage.export(None, usize::MAX).await.unwrap();
        there.user_agents[0].unused
    };
    assert!(unused(&file).await);

    let now = lines(&file);
    assert!(now[1].contains(r#","unused":true"#), "{}", now[1]);
    let header = now[0].replace(r#""version":3"#, r#""version":2"#);
    let record = now[1].replace(r#","unused":true"#, "");
    let older = file_with(&[&header, &record, now[2]], [1, 1, 0]);
    assert!(!unused(&older).await);
}

/// PR-37: what is said of receipts and cannot be is refused.
#[tokio::test]
async fn receipts_that_cannot_be_are_refused() {
    let rig = empty();
    crate::storage::contract::moving::fill_with_receipts(&rig).await;
    let file = file_of(&rig).await;
    let good = lines(&file);
    let rows = [
        (r#""fate":"acknowledged""#, r#""fate":"forgotten""#),
        (r#""dialect":"webpush""#, r#""dialect":"latin""#),
        (r#""nonce":""#, r#""nonce":"x"#),
        (r#""receipts":"09"#, r#""receipts":"x9"#),
    ];
    for (was, is) in rows {
        let place = good.iter().position(|line| line.contains(was)).unwrap();
        let bad = good[place].replacen(was, is, 1);
        let mut changed = good.clone();
        changed[place] = &bad;
        let refused = verified(&file_with(&changed, [3, 2, 2])).unwrap_err();
        assert!(
            matches!(refused, FileError::Line { number, .. } if number == place as u64 + 1),
            "{is}: {refused:?}"
        );
    }
    assert!(
        matches!(verified(&file_with(&good, [3, 2, 2])), Err(FileError::Altered)),
        "an end that does not count them"
    );
}

/// PR-37: a value that cannot be is refused with its line, and the reason shows nothing of what is in the file.
#[tokio::test]
async fn a_value_that_cannot_be_is_refused() {
    let file = file_of(&some().await).await;
    let good = lines(&file);
    let rows = [
        (1, r#""id":"01"#, r#""id":"0x"#),
        (2, r#""name":"01010101-"#, r#""name":"01010101"#),
        (2, r#""key":"_v"#, r#""key":"_"#),
        (3, r#""urgency":"normal""#, r#""urgency":"loud""#),
        (3, r#""body":"_3"#, r#""body":"="#),
        (
            3,
            r#""coding":"aes128gcm""#,
            r#""coding":"aes128gcm","crypto_key":"dh=a""#,
        ),
        (4, r#""topic":"secret"#, r#""topic":"secret topic"#),
        (4, r#""coding":"aesgcm","#, ""),
        (4, r#"salt=c2FsdA"#, r#"salt=a\r\nx"#),
        (4, r#""sealed_by":3"#, r#""sealed_by":256"#),
        (7, r#"text/plain"#, r#"text/\u0000plain"#),
    ];
    for (place, was, is) in rows {
        assert!(good[place].contains(was), "{}", good[place]);
        let bad = good[place].replacen(was, is, 1);
        let mut changed = good.clone();
        changed[place] = &bad;
        let refused = verified(&file_with(&changed, [2, 2, 3])).unwrap_err();
        assert!(
            matches!(refused, FileError::Line { number, .. } if number == place as u64 + 1),
            "{is}: {refused:?}"
        );
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
}

/// PR-37: a line belongs to a user agent, and there is one header.
#[tokio::test]
async fn a_line_out_of_place_is_refused() {
    let file = file_of(&some().await).await;
    let good = lines(&file);
    for (stray, counts) in [(good[0], [0; 3]), (good[2], [0, 1, 0]), (good[3], [0, 0, 1])] {
        let refused = verified(&file_with(&[good[0], stray], counts));
        assert!(
            matches!(refused, Err(FileError::Line { number: 2, .. })),
            "{refused:?}"
        );
    }
}

/// PR-37: a number from the future is refused: the clock of the storage that took it in would never come back.
#[tokio::test]
async fn a_number_of_the_future_is_refused() {
    let file = file_of(&some().await).await;
    let earlier = NOW - Duration::from_secs(3_601);
    let refused = verify(&file[..], earlier).unwrap_err().to_string();
    assert!(refused.contains("in the future"), "{refused}");
    assert!(verify(&file[..], NOW - Duration::from_secs(3_500)).is_ok());
}

/// PR-37: a file without line ends takes no more memory than the longest line.
#[tokio::test]
async fn a_line_without_end_is_refused() {
    let file = file_of(&some().await).await;
    let first = [lines(&file)[0].as_bytes(), b"\n"].concat();
    let endless = std::io::BufReader::new(first.chain(std::io::repeat(b'a')));
    let refused = verify(endless, NOW).unwrap_err();
    assert!(
        matches!(refused, FileError::Line { number: 2, .. }),
        "{refused:?}"
    );
    assert!(
        refused.to_string().contains(&EXPORT_LINE_BYTES.to_string()),
        "{refused}"
    );
}

/// PR-37: the largest body that a configuration allows fits into a line, with the longest fields beside it.
#[tokio::test]
async fn the_largest_message_fits() {
    let rig = empty();
    rig.subscribed(1, 1).await;
    let mut largest = Enqueue {
        topic: push_protocol::Topic::parse(&"t".repeat(32)),
        ..enqueue(1, 1, &vec![0xff; 1_048_576])
    };
    let parameters = "\"".repeat(push_protocol::headers::MAX_PARAMETERS_BYTES);
    largest.content.coding = push_protocol::Coding::Aesgcm {
        encryption: parameters.clone().into(),
        crypto_key: parameters.into(),
    };
    rig.stored(largest).await;
    let file = file_of(&rig).await;
    assert_eq!(verified(&file).unwrap().1.messages, 1);
}
