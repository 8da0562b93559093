//! `aes128gcm` as push messages have it, from the subscription's keys to the body and back.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use ring::digest;
use ring::rand::SystemRandom;
#[expect(deprecated, reason = "a random source that fails")]
use ring::test::rand::FixedByteRandom;

use super::super::derivation::{base_nonce, content_key, extract};
use super::super::vectors::*;
use super::super::{aes128gcm, records};
use super::*;
use crate::message::Coding;
use crate::p256::PublicKey;
use crate::p256::agreement::{agree, import, public_half};

/// The header of the example's body: salt, record size, length of the key id, key id.
const HEADER_BYTES: usize = 86;
const RECORD_SIZE_AT: usize = 16;
const KEY_ID_BYTES_AT: usize = 20;

fn decrypt(body: &[u8]) -> Result<Vec<u8>, DecryptError> {
    keys().decrypt(&Coding::Aes128gcm, body)
}

/// The body that the example's keys and salt give.
fn encrypted(plaintext: &[u8], padding: usize) -> Result<Vec<u8>, EncryptError> {
    let sender = import(&array(AS_PRIVATE)).unwrap();
    aes128gcm::encrypt(keys().recipient(), plaintext, padding, sender, &array(SALT))
}

/// The example's body with something changed.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = bytes(BODY);
    change(&mut body);
    body
}

/// E91-4, E91-9, E88-5, E88-6: the example of Appendix A, in every step.
#[test]
fn the_example_step_by_step() {
    let sender = import(&array(AS_PRIVATE)).unwrap();
    let public = public_half(&sender).unwrap();
    assert_eq!(public.to_string(), AS_PUBLIC);
    assert_eq!(keys().p256dh(), UA_PUBLIC);

    let shared = agree(sender, keys().public_key()).unwrap();
    assert_eq!(shared, array(SHARED));
    assert_eq!(keys().agree(&public).unwrap(), shared);

    assert_eq!(extract(&array::<16>(AUTH), &shared), array(PRK_KEY));
    let secret = aes128gcm::secret(keys().recipient(), &public, &shared);
    assert_eq!(secret, array(IKM));
    let key = extract(&array::<16>(SALT), &secret);
    assert_eq!(key, array(PRK));
    assert_eq!(content_key(&key, records::CODING, b""), array(CEK));
    assert_eq!(base_nonce(&key, b""), array(NONCE));
}

/// E91-7, E91-8, E91-9: the example of §5 in both directions, and its record size is 4,096.
#[test]
fn the_example_as_a_whole() {
    let body = bytes(BODY);
    assert_eq!(decrypt(&body).unwrap(), PLAINTEXT);
    assert_eq!(encrypted(PLAINTEXT, 0).unwrap(), body);
    assert_eq!(
        body[RECORD_SIZE_AT..HEADER_BYTES],
        [&[0, 0, 16, 0, 65][..], &bytes(AS_PUBLIC)].concat()
    );
}

/// E88-2, E91-11, E91-13: empty, padded and longest messages are as another implementation wrote them; without a
/// delimiter, or with the wrong one, they are refused.
#[test]
fn edge_cases_of_another_implementation() {
    assert_eq!(decrypt(&bytes(EMPTY_BODY)).unwrap(), b"");
    assert_eq!(encrypted(b"", 0).unwrap(), bytes(EMPTY_BODY));
    assert_eq!(decrypt(&bytes(PADDED_BODY)).unwrap(), b"hi");
    assert_eq!(encrypted(b"hi", 10).unwrap(), bytes(PADDED_BODY));

    let longest = encrypted(&[b'A'; MAX_PLAINTEXT_BYTES], 0).unwrap();
    let digest = digest::digest(&digest::SHA256, &longest);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, LONGEST_BODY_SHA256);
    assert_eq!(decrypt(&longest).unwrap(), [b'A'; 3_993]);

    assert_eq!(decrypt(&bytes(UNFINISHED_BODY)), Err(DecryptError::Truncated));
    assert_eq!(
        decrypt(&bytes(NO_DELIMITER_BODY)),
        Err(DecryptError::WrongDelimiter)
    );
}

/// E91-1, E91-7, E91-11: what is written to a new subscription is read there, whatever its length and padding, and the
/// body is never longer than 4,096 bytes nor than it has to be.
#[test]
fn a_message_comes_back() {
    let random = SystemRandom::new();
    let keys = SubscriptionKeys::generate(&random).unwrap();
    let recipient = Recipient::parse(&keys.p256dh(), &keys.auth()).unwrap();
    let lengths = (0..=33).chain([255, 256, 1_000, 3_976, 3_992, 3_993]);
    for length in lengths {
        for padding in [0, 1, 17, 3_993 - length] {
            let plaintext: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let body = recipient.encrypt(&plaintext, padding, &random);
            if length + padding > MAX_PLAINTEXT_BYTES {
                assert_eq!(body, Err(EncryptError::TooLong));
                continue;
            }
            let body = body.unwrap();
            assert_eq!(body.len(), HEADER_BYTES + length + 1 + padding + 16);
            assert!(body.len() <= 4_096);
            let read = keys.decrypt(&Coding::Aes128gcm, &body);
            assert_eq!(read.unwrap(), plaintext, "{length} {padding}");
        }
    }
}

/// E91-11: more than 3,993 bytes are refused before anything is done, by a sentence that names the limit.
#[test]
fn too_long_a_message_is_refused() {
    let random = SystemRandom::new();
    let recipient = keys().recipient().clone();
    assert_eq!(MAX_PLAINTEXT_BYTES, 3_993);
    for (length, padding) in [(3_994, 0), (3_993, 1), (0, 3_994), (1, usize::MAX), (100_000, 0)] {
        let refused = recipient.encrypt(&vec![0; length], padding, &random);
        assert_eq!(refused, Err(EncryptError::TooLong), "{length} {padding}");
    }
    assert!(EncryptError::TooLong.to_string().contains("3993 bytes"));
}

/// E91-3, E88-7: each message has a key pair and a salt of its own.
#[test]
fn nothing_is_used_twice() {
    let random = SystemRandom::new();
    let write = || keys().recipient().encrypt(PLAINTEXT, 0, &random).unwrap();
    let (one, other) = (write(), write());
    assert_ne!(one[..16], other[..16], "salt");
    assert_ne!(one[21..HEADER_BYTES], other[21..HEADER_BYTES], "key");
    assert_ne!(one[HEADER_BYTES..], other[HEADER_BYTES..], "record");
}

/// E91-1, E91-2: a subscription's keys are new, can be kept, and are shown as 87 and 22 characters.
#[test]
fn keys_of_a_subscription() {
    let random = SystemRandom::new();
    let keys = SubscriptionKeys::generate(&random).unwrap();
    let others = SubscriptionKeys::generate(&random).unwrap();
    assert_ne!(keys.private_key(), others.private_key());
    assert_ne!(keys.authentication_secret(), others.authentication_secret());

    let kept = SubscriptionKeys::from_parts(*keys.private_key(), *keys.authentication_secret()).unwrap();
    assert_eq!(kept.public_key(), keys.public_key());
    assert_eq!((kept.p256dh(), kept.auth()), (keys.p256dh(), keys.auth()));
    assert_eq!((keys.p256dh().len(), keys.auth().len()), (87, 22));
    assert_eq!(bytes(&keys.p256dh())[0], 4);
    for private in [[0; 32], [0xff; 32]] {
        assert!(SubscriptionKeys::from_parts(private, [0; 16]).is_none());
    }
}

/// E91-1, E91-3: a random source that gives no key ends in an error, and not in a key or a loop.
#[test]
fn without_randomness_there_is_no_key() {
    for byte in [0, 0xff] {
        #[expect(deprecated, reason = "a random source that fails")]
        let random = FixedByteRandom { byte };
        assert_eq!(SubscriptionKeys::generate(&random).unwrap_err(), NoRandomness);
        let refused = keys().recipient().encrypt(b"", 0, &random);
        assert_eq!(refused, Err(EncryptError::NoRandomness));
    }
}

/// E91-2, E91-5: an application server reads both parts in any spelling of base64, and is told which one is wrong.
#[test]
fn a_recipient_is_parsed() {
    let (p256dh, auth) = (bytes(UA_PUBLIC), bytes(AUTH));
    for spell in [|b: &[u8]| URL_SAFE.encode(b), |b: &[u8]| STANDARD.encode(b)] {
        let recipient = Recipient::parse(&spell(&p256dh), &spell(&auth)).unwrap();
        assert_eq!(
            (recipient.p256dh(), recipient.auth()),
            (keys().p256dh(), keys().auth())
        );
    }
    let off_curve = URL_SAFE.encode([&p256dh[..64], &[p256dh[64] ^ 1]].concat());
    for wrong in ["", AUTH, "é", &off_curve] {
        let refused = Recipient::parse(wrong, AUTH);
        assert_eq!(
            refused.unwrap_err(),
            RecipientError::MalformedPublicKey,
            "{wrong}"
        );
    }
    for wrong in ["", UA_PUBLIC, &AUTH[1..], "BTBZMqHH6r4Tts7J_aSIgh"] {
        let refused = Recipient::parse(UA_PUBLIC, wrong);
        assert_eq!(refused.unwrap_err(), RecipientError::MalformedSecret, "{wrong}");
    }
}

/// E88-8, E88-3: a body that was cut is refused, wherever it was cut.
#[test]
fn a_body_cut_anywhere() {
    let body = bytes(BODY);
    for end in 0..body.len() {
        let expected = match end {
            0..HEADER_BYTES => DecryptError::MalformedHeader,
            HEADER_BYTES..=102 => DecryptError::ShortRecord,
            _ => DecryptError::NotAuthentic,
        };
        assert_eq!(decrypt(&body[..end]), Err(expected), "{end}");
    }
    assert_eq!(
        decrypt(&changed(|body| body.push(0))),
        Err(DecryptError::NotAuthentic)
    );
}

/// E91-5, E91-9: the key id is a key of 65 bytes, uncompressed and on the curve.
#[test]
fn key_ids_that_are_no_keys() {
    for length in [0, 1, 64, 66] {
        let wrong = changed(|body| body[KEY_ID_BYTES_AT] = length);
        assert_eq!(decrypt(&wrong), Err(DecryptError::NoSenderKey), "{length}");
    }
    let wrong = changed(|body| body[KEY_ID_BYTES_AT] = 255);
    assert_eq!(decrypt(&wrong), Err(DecryptError::MalformedHeader));
    for form in [0, 2, 3, 5, 6, 7, 0xff] {
        let wrong = changed(|body| body[21] = form);
        assert_eq!(decrypt(&wrong), Err(DecryptError::MalformedSenderKey), "{form}");
    }
    for coordinates in [[0; 64], [0xff; 64]] {
        let wrong = changed(|body| body[22..HEADER_BYTES].copy_from_slice(&coordinates));
        assert_eq!(decrypt(&wrong), Err(DecryptError::MalformedSenderKey));
    }
}

/// E91-5: the mirror image of the sender's key has the same shared secret, yet is not the key that encrypted: both keys
/// go into the derivation.
#[test]
fn the_mirror_image_of_a_key_is_another_key() {
    let mirrored = mirrored(&array(AS_PUBLIC));
    let key = PublicKey::from_bytes(mirrored).unwrap();
    assert_eq!(keys().agree(&key).unwrap(), array(SHARED));
    let wrong = changed(|body| body[21..HEADER_BYTES].copy_from_slice(&mirrored));
    assert_eq!(decrypt(&wrong), Err(DecryptError::NotAuthentic));
}

/// The point with the same x and the other y, which is the prime minus y.
fn mirrored(point: &[u8; 65]) -> [u8; 65] {
    let mut prime = [0; 32];
    prime[..4].fill(0xff);
    prime[7] = 1;
    prime[20..].fill(0xff);
    let mut mirrored = *point;
    let mut borrow = false;
    for at in (0..32).rev() {
        let (difference, first) = u8::overflowing_sub(prime[at], point[33 + at]);
        let (difference, second) = difference.overflowing_sub(borrow.into());
        mirrored[33 + at] = difference;
        borrow = first || second;
    }
    mirrored
}

/// E91-12, E88-1, E91-8: the record size may be any that the record does not exceed, and says nothing else.
#[test]
fn the_record_size_of_a_message() {
    let with_size =
        |size: u32| changed(|body| body[RECORD_SIZE_AT..][..4].copy_from_slice(&size.to_be_bytes()));
    for size in [58, 59, 4_095, 4_097, u32::MAX] {
        assert_eq!(decrypt(&with_size(size)).unwrap(), PLAINTEXT, "{size}");
    }
    for size in [0, 16, 17] {
        let refused = decrypt(&with_size(size));
        assert_eq!(refused, Err(DecryptError::MalformedRecordSize), "{size}");
    }
    for size in [18, 30, 57] {
        assert!(decrypt(&with_size(size)).is_err(), "{size}");
    }
}

/// E91-5, E91-13: no bit of a body can be changed, but those of the record size, which do not change the plaintext.
#[test]
fn one_bit_flipped_anywhere() {
    for bit in 0..bytes(BODY).len() * 8 {
        let read = decrypt(&changed(|body| body[bit / 8] ^= 1 << (bit % 8)));
        let is_of_record_size = (RECORD_SIZE_AT..KEY_ID_BYTES_AT).contains(&(bit / 8));
        match read {
            Ok(plaintext) => assert!(is_of_record_size && plaintext == PLAINTEXT, "bit {bit}"),
            Err(DecryptError::NotAuthentic) if bit / 8 >= HEADER_BYTES || bit / 8 < RECORD_SIZE_AT => {}
            Err(_) => assert!((RECORD_SIZE_AT..HEADER_BYTES).contains(&(bit / 8)), "bit {bit}"),
        }
    }
}

/// E91-1: no other keys open a message: neither another secret nor another key pair.
#[test]
fn keys_of_others_do_not_open() {
    let other_secret = SubscriptionKeys::from_parts(array(UA_PRIVATE), [1; 16]).unwrap();
    let other_key = SubscriptionKeys::from_parts(array(AS_PRIVATE), array(AUTH)).unwrap();
    for other in [other_secret, other_key, draft_keys()] {
        let refused = other.decrypt(&Coding::Aes128gcm, &bytes(BODY));
        assert_eq!(refused, Err(DecryptError::NotAuthentic));
    }
}

/// EUA-1: several records are read as Firefox reads them, and a plaintext may be empty.
#[test]
fn several_records_are_read() {
    let secret: [u8; 32] = array(IKM);
    let key = extract(&array::<16>(SALT), &secret);
    let (content_key, base_nonce) = (content_key(&key, records::CODING, b""), base_nonce(&key, b""));
    let mut body = bytes(BODY)[..HEADER_BYTES].to_vec();
    body[RECORD_SIZE_AT..KEY_ID_BYTES_AT].copy_from_slice(&20_u32.to_be_bytes());
    for (number, padded) in [&b"one\x01"[..], b"two\x01", b"\x02"].iter().enumerate() {
        body.extend(sealed(content_key, base_nonce, number as u128, padded));
    }
    assert_eq!(decrypt(&body).unwrap(), b"onetwo");
}

/// E88-10, E91-10, EAG-7: what is not said to be one of two codings is not tried, nor what is said to have several.
#[test]
fn other_codings() {
    let other = |name: &str| Coding::Other(name.into());
    for coding in [
        Coding::Absent,
        other("aesgcm128"),
        other("aes128gcm, gzip"),
        other("gzip"),
    ] {
        let refused = keys().decrypt(&coding, &bytes(BODY));
        assert_eq!(refused, Err(DecryptError::UnknownCoding), "{coding:?}");
    }
}

/// E91-1: neither keys nor secret stand in what may be logged.
#[test]
fn nothing_secret_is_printed() {
    let printed = format!("{:?} {:?}", keys(), keys().recipient());
    assert_eq!(printed, "SubscriptionKeys(…) Recipient(…)");
}
