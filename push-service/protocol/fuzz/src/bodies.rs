//! Encrypted bodies of push messages, as a user agent opens them.

use push_protocol::Coding;
use push_protocol::encryption::SubscriptionKeys;
use ring::rand::SystemRandom;

/// `SubscriptionKeys::decrypt`: no body and no parameters make it panic, and what was not encrypted for these keys is not
/// opened (E91-5, E88-8, EAG-2). The first byte says what the rest is: a body in `aes128gcm`; the parameters and the body
/// of `aesgcm`, by lines; or a text to encrypt, which comes back as it was and, with one bit changed, not at all or the
/// same (`rs` is not protected).
pub fn encrypted_body(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let keys = SubscriptionKeys::from_parts([7; 32], [9; 16]).expect("a key");
    match kind % 3 {
        0 => {
            assert!(
                keys.decrypt(&Coding::Aes128gcm, rest).is_err(),
                "nobody encrypted this"
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
            assert!(keys.decrypt(&coding, body).is_err(), "nobody encrypted this");
        }
        _ => comes_back(&keys, rest),
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
    if let Ok(opened) = keys.decrypt(&Coding::Aes128gcm, &body) {
        assert_eq!((opened.as_slice(), (16..20).contains(&at)), (text, true));
    }
}
