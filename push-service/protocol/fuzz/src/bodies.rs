//! Encrypted bodies of push messages, as a user agent opens them.

use push_protocol::Coding;
use push_protocol::encryption::SubscriptionKeys;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::SystemRandom;

use self::vectors::draft;

#[path = "../../src/encryption/vectors.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod vectors;

const TAG_BYTES: usize = 16;

/// Where the record size of an `aes128gcm` body stands: the one thing in it that no tag protects.
const RECORD_SIZE_AT: std::ops::Range<usize> = 16..20;

/// `SubscriptionKeys::decrypt`: no body and no parameters make it panic, and what was not encrypted for these keys is not
/// opened (E91-5, E88-8, EAG-2). The first byte says what the rest is: a body in `aes128gcm`; the parameters and the body
/// of `aesgcm`, by lines; a text to encrypt, which comes back as it was and, with one bit changed, not at all or the same
/// (`rs` is not protected); or, because hardly anything else gets past the tag, what stands in records, whatever their
/// delimiters and padding are: that is read as a plain reading of RFC 8188 §2 and of the draft has it (E88-2, EAG-5).
pub fn encrypted_body(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let keys = SubscriptionKeys::from_parts([7; 32], [9; 16]).expect("a key");
    match kind % 5 {
        0 => {
            assert!(
                keys.decrypt(&Coding::Aes128gcm, rest).is_err(),
                "this was never encrypted"
            );
        }
        1 => {
            let mut lines = rest.splitn(3, |byte| *byte == b'\n');
            let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
            let coding = Coding::Aesgcm {
                encryption: text().into(),
                crypto_key: text().into(),
            };
            let body = lines.next().unwrap_or_default();
            assert!(keys.decrypt(&coding, body).is_err(), "this was never encrypted");
        }
        2 => comes_back(&keys, rest),
        3 => records(rest),
        _ => legacy_record(rest),
    }
}

fn comes_back(keys: &SubscriptionKeys, rest: &[u8]) {
    let [at_high, at_low, padding, text @ ..] = rest else {
        return;
    };
    let random = SystemRandom::new();
    let Ok(mut body) = keys.recipient().encrypt(text, usize::from(*padding), &random) else {
        return;
    };
    assert_eq!(keys.decrypt(&Coding::Aes128gcm, &body).as_deref(), Ok(text));
    let at = usize::from(u16::from_be_bytes([*at_high, *at_low])) % body.len();
    body[at] ^= 1 << (padding % 8);
    // Only the record size is not protected.
    if let Ok(opened) = keys.decrypt(&Coding::Aes128gcm, &body) {
        assert_eq!((opened.as_slice(), RECORD_SIZE_AT.contains(&at)), (text, true));
    }
}

/// Records of `aes128gcm` under the key of RFC 8291's example: a byte for their size, one for the bit to change, and their
/// padded content.
fn records(rest: &[u8]) {
    let [size, change, content @ ..] = rest else {
        return;
    };
    let record_size = 18 + u32::from(*size);
    let key = key(vectors::CEK);
    let mut body = vectors::bytes(vectors::SALT);
    body.extend_from_slice(&record_size.to_be_bytes());
    body.push(65);
    body.extend_from_slice(&vectors::bytes(vectors::AS_PUBLIC));
    let records: Vec<&[u8]> = content.chunks(record_size as usize - TAG_BYTES).collect();
    for (number, record) in (0_u32..).zip(&records) {
        body.extend_from_slice(&sealed(&key, nonce(vectors::NONCE, number), record));
    }
    let (keys, coding) = (vectors::keys(), Coding::Aes128gcm);
    assert_eq!(keys.decrypt(&coding, &body).ok(), plain_reading(&records));
    let at = usize::from(*change >> 3) * body.len() / 32;
    if !RECORD_SIZE_AT.contains(&at) {
        is_noticed(&keys, &coding, &mut body, at, *change);
    }
}

/// RFC 8188 §2: what stands before the last octet that is not zero, which is 2 in the last record and 1 in all others.
fn plain_reading(records: &[&[u8]]) -> Option<Vec<u8>> {
    let (last, before) = records.split_last()?;
    let mut content = Vec::new();
    for (record, delimiter) in before.iter().map(|record| (record, 1)).chain([(last, 2)]) {
        let at = record.iter().rposition(|byte| *byte != 0)?;
        (record[at] == delimiter).then_some(())?;
        content.extend_from_slice(&record[..at]);
    }
    Some(content)
}

/// The record of `aesgcm` under the key of the draft's example: a byte for the bit to change, and the padded
/// content.
fn legacy_record(rest: &[u8]) {
    let [change, content @ ..] = rest else {
        return;
    };
    let mut body = sealed(&key(draft::CEK), nonce(draft::NONCE, 0), content);
    let coding = Coding::Aesgcm {
        encryption: format!("salt={}", draft::SALT).into(),
        crypto_key: format!("dh={}", draft::AS_PUBLIC).into(),
    };
    let keys = vectors::draft_keys();
    // draft-ietf-httpbis-encryption-encoding-03 §2: the length of the padding, that many zeros, and the rest.
    let expected = content.split_first_chunk().and_then(|(length, rest)| {
        let (padding, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        padding.iter().all(|byte| *byte == 0).then(|| rest.to_vec())
    });
    assert_eq!(keys.decrypt(&coding, &body).ok(), expected);
    let at = usize::from(*change >> 3) * body.len() / 32;
    is_noticed(&keys, &coding, &mut body, at, *change);
}

fn is_noticed(keys: &SubscriptionKeys, coding: &Coding, body: &mut [u8], at: usize, change: u8) {
    body[at] ^= 1 << (change & 7);
    assert!(
        keys.decrypt(coding, body).is_err(),
        "a bit of byte {at} was changed"
    );
}

fn key(text: &str) -> LessSafeKey {
    let key = UnboundKey::new(&AES_128_GCM, &vectors::bytes(text)).expect("16 bytes make a key");
    LessSafeKey::new(key)
}

/// RFC 8188 §2.3: the number of the record, over the last bytes of the first nonce.
fn nonce(first: &str, number: u32) -> Nonce {
    let mut nonce: [u8; 12] = vectors::array(first);
    for (byte, number) in nonce[8..].iter_mut().zip(number.to_be_bytes()) {
        *byte ^= number;
    }
    Nonce::assume_unique_for_key(nonce)
}

fn sealed(key: &LessSafeKey, nonce: Nonce, content: &[u8]) -> Vec<u8> {
    let mut record = content.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record)
        .expect("a record is short");
    record
}
