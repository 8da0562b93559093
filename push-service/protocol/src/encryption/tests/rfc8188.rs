//! The content coding alone: any secret, any key id, any number of records.

use super::super::derivation::{base_nonce, content_key, extract};
use super::super::records::{CODING, Header, open, seal};
use super::*;

const SECRET: &[u8] = b"a secret of a test";
const SALT: [u8; 16] = [7; 16];

/// A body with these records, content, delimiter and padding as they are.
fn body(record_size: u32, records: &[&[u8]]) -> Vec<u8> {
    let header = Header {
        salt: &SALT,
        record_size,
        key_id: b"",
    };
    let mut body = Vec::new();
    header.write(&mut body);
    let key = extract(&SALT, SECRET);
    let (content_key, base_nonce) = (content_key(&key, CODING, b""), base_nonce(&key, b""));
    for (number, record) in (0..).zip(records) {
        body.extend(sealed(content_key, base_nonce, number, record));
    }
    body
}

fn read(body: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let (header, records) = Header::read(body)?;
    open(&header, SECRET, records)
}

/// E88-1, E88-4, E88-5, E88-6: the example of §3.1, in every step and in both directions.
#[test]
fn the_example_of_one_record() {
    let secret = bytes("yqdlZ-tYemfogSmv7Ws5PQ");
    let body = bytes("I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg");
    let (header, records) = Header::read(&body).unwrap();
    assert_eq!(*header.salt, array("I1BsxtFttlv3u_Oo94xnmw"));
    assert_eq!((header.record_size, header.key_id), (4_096, &b""[..]));

    let key = extract(header.salt, &secret);
    assert_eq!(key, array("zyeH5phsIsgUyd4oiSEIy35x-gIi4aM7y0hCF8mwn9g"));
    assert_eq!(content_key(&key, CODING, b""), array("_wniytB-ofscZDh4tbSjHw"));
    assert_eq!(base_nonce(&key, b""), array("Bcs8gkIRKLI8GeI8"));

    assert_eq!(open(&header, &secret, records).unwrap(), b"I am the walrus");
    assert_eq!(seal(&header, &secret, b"I am the walrus", 0), body);
}

/// E88-2, E88-6, E88-9: the example of §3.2: two records, the first with padding, and a key id that is text.
#[test]
fn the_example_of_two_records() {
    let secret = bytes("BO3ZVPxUlnLORbVGMpbT1Q");
    let body = bytes(
        "uNCkWiNYzKTnBN9ji3-qWAAAABkCYTHOG8chz_gnvgOqdGYovxyjuqRyJFjEDyoF1Fvkj6hQPdPHI51OEUKEpgz3SsLWIqS_uA",
    );
    let (header, records) = Header::read(&body).unwrap();
    assert_eq!(*header.salt, array("uNCkWiNYzKTnBN9ji3-qWA"));
    assert_eq!((header.record_size, header.key_id), (25, &b"a1"[..]));

    let key = extract(header.salt, &secret);
    assert_eq!(key, array("mNHRBFh-eOCdAdmmuVtym8Hf44ov7FPsQZ3f4knYjHE"));
    let (content_key, base_nonce) = (content_key(&key, CODING, b""), base_nonce(&key, b""));
    assert_eq!(content_key, array("u_eEOTjjVWUVrH82pQNwpw"));
    assert_eq!(base_nonce, array("VqylG1rdt-mJrNgP"));

    assert_eq!(open(&header, &secret, records).unwrap(), b"I am the walrus");
    let first = sealed(content_key, base_nonce, 0, b"I am th\x01\0");
    let second = sealed(content_key, base_nonce, 1, b"e walrus\x02");
    assert_eq!(records, [first, second].concat());
}

/// E88-1: the record size counts the tag; 18 is the smallest, and the greatest that four bytes can say is none too great.
#[test]
fn record_sizes_from_18() {
    for size in [0, 1, 16, 17] {
        assert_eq!(
            read(&body(size, &[b"\x02"])),
            Err(DecryptError::MalformedRecordSize),
            "{size}"
        );
    }
    assert_eq!(read(&body(18, &[b"a\x01", b"b\x01", b"c\x02"])).unwrap(), b"abc");
    assert_eq!(read(&body(18, &[b"a\x01", b"\x02"])).unwrap(), b"a");
    assert_eq!(read(&body(u32::MAX, &[b"abc\x02\0"])).unwrap(), b"abc");
}

/// E88-6: the nonces of a long message are counted beyond one byte and beyond two.
#[test]
fn many_records() {
    let mut records = vec![&b"a\x01"[..]; 66_000];
    records.push(b"z\x02");
    let content = read(&body(18, &records)).unwrap();
    assert_eq!(content.len(), 66_001);
    assert_eq!(content.last(), Some(&b'z'));
}

/// E88-2: content ends before the last byte that is not zero, and that byte says whether more follows; zeros of the
/// content stay.
#[test]
fn delimiters_and_padding() {
    let read_last = |padded: &[u8]| read(&body(100, &[padded]));
    assert_eq!(read_last(b"\x02").unwrap(), b"");
    assert_eq!(read_last(b"\x02\0\0\0").unwrap(), b"");
    assert_eq!(read_last(b"a\0\x02").unwrap(), b"a\0");
    assert_eq!(read_last(b"\0\0\x02\0").unwrap(), b"\0\0");
    assert_eq!(read_last(b"\x01\x02\x02\0").unwrap(), b"\x01\x02");
    for wrong in [&b"\0"[..], b"\0\0\0", b"a\x03", b"a\x82", b"a\x20\0"] {
        assert_eq!(read_last(wrong), Err(DecryptError::WrongDelimiter), "{wrong:?}");
    }
    let read_both = |first: &[u8]| read(&body(20, &[first, b"z\x02"]));
    assert_eq!(read_both(b"abc\x01").unwrap(), b"abcz");
    assert_eq!(read_both(b"a\x01\0\0").unwrap(), b"az");
    for wrong in [&b"abc\x02"[..], b"a\x02\0\0", b"\0\0\0\0", b"abc\x03"] {
        assert_eq!(read_both(wrong), Err(DecryptError::WrongDelimiter), "{wrong:?}");
    }
}

/// E88-3: a record has room for tag and delimiter, and there is one at least.
#[test]
fn records_have_room() {
    let whole = body(24, &[b"abcdefg\x01", b"h\x02"]);
    let second_at = whole.len() - 18;
    for end in second_at + 1..=second_at + 16 {
        assert_eq!(read(&whole[..end]), Err(DecryptError::ShortRecord), "{end}");
    }
    assert_eq!(read(&whole[..second_at + 17]), Err(DecryptError::NotAuthentic));
    assert_eq!(read(&body(24, &[])), Err(DecryptError::ShortRecord));
    assert_eq!(read(&body(24, &[b""])), Err(DecryptError::ShortRecord));
}

/// E88-8: what is cut between two records decrypts, and is not the message nevertheless; nor is what was cut elsewhere,
/// or has its records in another order, one of them twice, or one of them missing.
#[test]
fn a_truncated_message_is_none() {
    let whole = body(20, &[b"abc\x01", b"def\x01", b"ghi\x02"]);
    assert_eq!(read(&whole).unwrap(), b"abcdefghi");
    let at = |number: usize| 21 + 20 * number;
    for number in [1, 2] {
        assert_eq!(
            read(&whole[..at(number)]),
            Err(DecryptError::Truncated),
            "{number}"
        );
    }
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{end}");
    }
    let record = |number| &whole[at(number)..at(number + 1)];
    for order in [&[1, 0, 2][..], &[0, 0, 1, 2], &[0, 2], &[2], &[0, 1, 2, 2]] {
        let records: Vec<_> = order.iter().flat_map(|number| record(*number).to_vec()).collect();
        let mixed = [&whole[..at(0)], &records].concat();
        assert!(read(&mixed).is_err(), "{order:?}");
    }
}

/// E88-3: reading takes one piece of memory, as large as the records.
#[test]
fn memory_is_that_of_the_body() {
    let body = body(20, &[b"abc\x01", b"def\x01", b"ghi\x02"]);
    assert_eq!(read(&body).unwrap().capacity(), body.len() - 21);
}
