//! What a resource URL tells, and to whom.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::identifiers::MessageNumber;

const PUSH: PushCapability = PushCapability {
    user_agent: UserAgentId([0xa1; 16]),
    subscription: SubscriptionId([0xb2; 8]),
    key: None,
};

const MESSAGE: MessageCapability = MessageCapability {
    user_agent: UserAgentId([0xa1; 16]),
    id: MessageId {
        number: MessageNumber(1_790_000_000_000_000),
        nonce: 0x0123_4567_89ab_cdef,
    },
    dialect: Dialect::Rfc8030,
};

const SUBSCRIPTION: SubscriptionCapability = SubscriptionCapability {
    user_agent: UserAgentId([0xa1; 16]),
    subscription: SubscriptionId([0xb2; 8]),
};

fn key(seed: u8) -> SealingKey {
    SealingKey::from_random([seed; 32])
}

fn capabilities(seeds: &[u8]) -> Capabilities {
    let keys: Vec<_> = seeds.iter().copied().map(key).collect();
    Capabilities::new(&keys).unwrap()
}

fn restricted() -> PushCapability {
    PushCapability {
        key: Some(KeyDigest([0xc3; 32])),
        ..PUSH
    }
}

/// Every kind of token once, with the name of its kind.
fn one_of_each(service: &Capabilities) -> Vec<(&'static str, String)> {
    let identity = UserAgentIdentity::from_random([0xd4; 16]);
    vec![
        ("push", service.seal_push(Dialect::Rfc8030, &PUSH, [1; 16]).token),
        (
            "push",
            service.seal_push(Dialect::Rfc8030, &restricted(), [2; 16]).token,
        ),
        ("v1", service.seal_push(Dialect::Webpush, &PUSH, [3; 16]).token),
        (
            "v2",
            service.seal_push(Dialect::Webpush, &restricted(), [4; 16]).token,
        ),
        (
            "message",
            service.seal_message(MessageKind::Message, service.current(), &MESSAGE),
        ),
        (
            "promise",
            service.seal_message(MessageKind::Promise, service.current(), &MESSAGE),
        ),
        ("subscription", service.seal_subscription(&SUBSCRIPTION, [5; 16])),
        ("set", service.seal_subscription_set(&identity, [6; 16])),
    ]
}

/// As which kinds a token opens.
fn opens_as(service: &Capabilities, token: &str) -> Vec<&'static str> {
    let outcomes = [
        ("push", service.open_push(PushKind::Push, token).is_some()),
        ("v1", service.open_push(PushKind::WpushV1, token).is_some()),
        ("v2", service.open_push(PushKind::WpushV2, token).is_some()),
        (
            "message",
            service.open_message(MessageKind::Message, token).is_some(),
        ),
        (
            "promise",
            service.open_message(MessageKind::Promise, token).is_some(),
        ),
        ("subscription", service.open_subscription(token).is_some()),
        ("set", service.open_subscription_set(token).is_some()),
    ];
    outcomes
        .into_iter()
        .filter(|(_, opens)| *opens)
        .map(|(kind, _)| kind)
        .collect()
}

/// PR-27: what is sealed comes back, restricted or not, in either dialect.
#[test]
fn what_is_sealed_comes_back() {
    let service = capabilities(&[1]);
    let opened = |capability| Opened { capability, key: 0 };
    for capability in [PUSH, restricted()] {
        for dialect in [Dialect::Rfc8030, Dialect::Webpush] {
            let sealed = service.seal_push(dialect, &capability, [9; 16]);
            assert_eq!(
                service.open_push(sealed.kind, &sealed.token),
                Some(opened(capability))
            );
        }
    }
    for dialect in [Dialect::Rfc8030, Dialect::Webpush] {
        let capability = MessageCapability { dialect, ..MESSAGE };
        for kind in [MessageKind::Message, MessageKind::Promise] {
            let token = service.seal_message(kind, service.current(), &capability);
            assert_eq!(service.open_message(kind, &token).unwrap().capability, capability);
        }
    }
    let token = service.seal_subscription(&SUBSCRIPTION, [9; 16]);
    assert_eq!(
        service.open_subscription(&token).unwrap().capability,
        SUBSCRIPTION
    );
    let identity = UserAgentIdentity::from_random([7; 16]);
    let token = service.seal_subscription_set(&identity, [9; 16]);
    assert_eq!(
        service.open_subscription_set(&token).unwrap().capability,
        identity
    );
}

/// R30-RES-3, PR-26: a token opens as its own kind and as no other.
#[test]
fn no_token_opens_as_another_kind() {
    let service = capabilities(&[1, 2]);
    for (kind, token) in one_of_each(&service) {
        assert_eq!(opens_as(&service, &token), [kind]);
    }
}

/// R30-RES-2, PR-27: every bit of a token counts, those of the last character too; so does its length.
#[test]
fn a_token_changed_anywhere_opens_nothing() {
    let service = capabilities(&[1, 2, 3]);
    for (kind, token) in one_of_each(&service) {
        for at in 0..token.len() {
            for other in "ABYZabyz0189-_=+/ .".chars() {
                let mut changed = token.clone();
                changed.replace_range(at..=at, &other.to_string());
                if changed != token {
                    assert!(opens_as(&service, &changed).is_empty(), "{kind}: {other} at {at}");
                }
            }
            assert!(opens_as(&service, &token[..at]).is_empty(), "{kind} cut at {at}");
        }
        for longer in [
            format!("{token}A"),
            format!("{token}="),
            format!("{token}=="),
            format!(" {token}"),
        ] {
            assert!(opens_as(&service, &longer).is_empty(), "{kind}: {longer}");
        }
    }
}

/// PR-27: a token has one spelling: no two texts, of all with another last character, open.
#[test]
fn the_last_character_has_one_spelling() {
    let service = capabilities(&[1]);
    for (kind, token) in one_of_each(&service) {
        let (head, last) = token.split_at(token.len() - 1);
        for byte in 0x20..0x7f_u8 {
            let other = char::from(byte).to_string();
            let opens = !opens_as(&service, &format!("{head}{other}")).is_empty();
            assert_eq!(opens, other == last, "{kind}: {other}");
        }
    }
}

/// R30-RES-2: a flipped bit in the bytes themselves, key id and tag included, opens nothing.
#[test]
fn every_flipped_bit_is_noticed() {
    let service = capabilities(&[1, 2, 3]);
    for (kind, token) in one_of_each(&service) {
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                opens_as(&service, &URL_SAFE_NO_PAD.encode(&bytes)).is_empty(),
                "{kind}: bit {bit}"
            );
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// R30-RES-5: what was never a token, of any length and in any bytes, opens nothing and panics nowhere.
#[test]
fn what_is_no_token_opens_nothing() {
    let service = capabilities(&[1]);
    for length in 0..200 {
        for filler in ["A", "_", "=", "%", "é", "\0"] {
            assert!(opens_as(&service, &filler.repeat(length)).is_empty());
        }
    }
}

/// PR-27: all tokens of a kind have one length, whatever is in them.
#[test]
fn length_tells_nothing() {
    let service = capabilities(&[1, 2]);
    let length = |dialect, capability| service.seal_push(dialect, &capability, [9; 16]).token.len();
    assert_eq!(length(Dialect::Rfc8030, PUSH), 120);
    assert_eq!(length(Dialect::Rfc8030, restricted()), 120);
    assert_eq!(length(Dialect::Webpush, PUSH), 76);
    assert_eq!(length(Dialect::Webpush, restricted()), 119);
    for number in [0, 1, u64::MAX] {
        for dialect in [Dialect::Rfc8030, Dialect::Webpush] {
            let number = MessageNumber(number);
            let id = MessageId {
                number,
                nonce: number.0,
            };
            let capability = MessageCapability {
                id,
                dialect,
                ..MESSAGE
            };
            for kind in [MessageKind::Message, MessageKind::Promise] {
                assert_eq!(
                    service.seal_message(kind, service.current(), &capability).len(),
                    88
                );
            }
        }
    }
}

/// R30-SEC-3, R30-SEC-4, R30-SEC-5: URLs of one user agent share the key id and nothing more, and none shows an id.
#[test]
fn urls_of_one_user_agent_cannot_be_correlated() {
    let service = capabilities(&[1]);
    let mut tokens: Vec<_> = one_of_each(&service)
        .into_iter()
        .map(|(_, token)| token)
        .collect();
    tokens.push(service.seal_push(Dialect::Webpush, &PUSH, [30; 16]).token);
    tokens.push(service.seal_push(Dialect::Rfc8030, &PUSH, [31; 16]).token);
    for nonce in 0..20 {
        let id = MessageId { nonce, ..MESSAGE.id };
        let capability = MessageCapability { id, ..MESSAGE };
        tokens.push(service.seal_message(MessageKind::Message, service.current(), &capability));
    }
    // Past the key id and the visible bytes, which tests choose and services draw, four equal bytes would be no chance.
    let bytes: Vec<_> = tokens
        .iter()
        .map(|token| URL_SAFE_NO_PAD.decode(token).unwrap())
        .collect();
    for (at, one) in bytes.iter().enumerate() {
        assert_eq!(one[0], service.current().0);
        for other in &bytes[..at] {
            let is_shared = |window: &[u8]| other[17..].windows(4).any(|others| others == window);
            assert!(!one[17..].windows(4).any(is_shared));
        }
        for id in [&[0xa1; 3], &[0xb2; 3], &[0xc3; 3], &[0xd4; 3]] {
            assert!(!one.windows(3).any(|window| window == id));
        }
    }
}

/// PR-27: one message has one URL, byte for byte, on any node and after rotation; the user agent's is another one.
#[test]
fn a_message_has_one_url() {
    let before = capabilities(&[1]);
    let accepted_under = before.current();
    let location = before.seal_message(MessageKind::Message, accepted_under, &MESSAGE);
    for node in [
        &capabilities(&[1]),
        &capabilities(&[2, 1]),
        &capabilities(&[3, 2, 1]),
    ] {
        assert_eq!(
            node.seal_message(MessageKind::Message, accepted_under, &MESSAGE),
            location
        );
        assert_eq!(
            node.open_message(MessageKind::Message, &location)
                .unwrap()
                .capability,
            MESSAGE
        );
    }
    assert_ne!(
        before.seal_message(MessageKind::Promise, accepted_under, &MESSAGE),
        location
    );

    let without = capabilities(&[2]);
    let other = without.seal_message(MessageKind::Message, accepted_under, &MESSAGE);
    assert_eq!(without.open_message(MessageKind::Message, &other).unwrap().key, 0);
}

/// PR-27: these URLs never change: a release that seals otherwise breaks every URL that is out there. The values were
/// computed from the description of the format, by another implementation.
#[test]
fn tokens_of_today_open_tomorrow() {
    let service = capabilities(&[1]);
    let location = service.seal_message(MessageKind::Message, service.current(), &MESSAGE);
    assert_eq!(
        location,
        "8vYct0E5t_W8mGLatVFnsTfKt-37jAv6b1SuxZ882EidGg_xaSQhM3GT2TgJ9zU5YjZNOtG-hVD87N1n0Spi82vq"
    );
    let push = service.seal_push(Dialect::Webpush, &PUSH, [3; 16]).token;
    assert_eq!(
        push,
        "8gMDAwMDAwMDAwMDAwMDAwMYTUQTEi42mfS4mIokZakIVksE9hsddPRskpTPvzLE445SDFgk-DI_"
    );
}

/// PR-28: the first key seals, all open, a dropped one opens nothing; who opened is told.
#[test]
fn keys_rotate() {
    let (old, both, new) = (capabilities(&[1]), capabilities(&[2, 1]), capabilities(&[2]));
    assert_eq!(both.current(), new.current());
    assert_ne!(both.current(), old.current());
    for (kind, token) in one_of_each(&old) {
        assert_eq!(opens_as(&both, &token), [kind]);
        assert!(opens_as(&new, &token).is_empty());
    }
    for (kind, token) in one_of_each(&both) {
        assert_eq!(opens_as(&new, &token), [kind]);
        assert!(opens_as(&old, &token).is_empty());
    }
    let token = old.seal_push(Dialect::Webpush, &PUSH, [9; 16]).token;
    assert_eq!(
        both.open_push(PushKind::WpushV1, &token).unwrap().key,
        1,
        "the second of the list, by which an operator sees that it's still in use"
    );
}

/// PR-28: a key id is one byte, so two keys may share it: both open, and sealing stays with the first of the list.
#[test]
fn keys_that_share_an_id_both_open() {
    let first = key(0);
    let twin = (1..=u8::MAX)
        .flat_map(|a| (0..=u8::MAX).map(move |b| [a, b]))
        .map(|[a, b]| {
            let mut bits = [a; 32];
            bits[31] = b;
            SealingKey::from_random(bits)
        })
        .find(|other| other.id() == first.id())
        .unwrap();
    let alone = Capabilities::new(std::slice::from_ref(&twin)).unwrap();
    let both = Capabilities::new(&[first.clone(), twin]).unwrap();
    for (kind, token) in one_of_each(&alone).into_iter().chain(one_of_each(&both)) {
        assert_eq!(opens_as(&both, &token), [kind]);
    }
    let (_, sealed_by_first) = one_of_each(&both).remove(0);
    assert!(opens_as(&alone, &sealed_by_first).is_empty());
}

/// PR-28: a list of keys has one to sixteen, each once; fingerprints tell them apart in their order.
#[test]
fn a_list_of_keys_is_checked() {
    let new =
        |seeds: &[u8]| Capabilities::new(&seeds.iter().copied().map(key).collect::<Vec<_>>()).map(|_| ());
    let sixteen: Vec<u8> = (0..16).collect();
    let seventeen: Vec<u8> = (0..17).collect();
    assert_eq!(new(&[]), Err(SealingKeysError::Empty));
    assert_eq!(new(&sixteen), Ok(()));
    assert_eq!(new(&seventeen), Err(SealingKeysError::TooMany));
    assert_eq!(new(&[1, 2, 1]), Err(SealingKeysError::Repeated));
    let fingerprints: Vec<_> = capabilities(&[2, 1]).fingerprints().collect();
    assert_eq!(fingerprints, [key(2).fingerprint(), key(1).fingerprint()]);
    assert_ne!(fingerprints[0], fingerprints[1]);
}

/// PR-28: a key reads back from its spelling, also from that of operators' tools, and is never printed.
#[test]
fn a_sealing_key_hides_itself() {
    let key = SealingKey::from_random([0xfb; 32]);
    let text = key.to_base64url();
    assert_eq!(text.len(), 43);
    let standard = text.replace('-', "+").replace('_', "/") + "=";
    for spelling in [&text, &standard] {
        assert_eq!(
            SealingKey::parse(spelling).unwrap().fingerprint(),
            key.fingerprint()
        );
    }
    for wrong in ["", "short", &text[1..], &format!("{text}A"), "é"] {
        assert!(SealingKey::parse(wrong).is_none(), "{wrong}");
    }
    let service = Capabilities::new(std::slice::from_ref(&key)).unwrap();
    let sealed = service.seal_push(Dialect::Rfc8030, &PUSH, [9; 16]);
    let printed = format!("{key:?} {service:?} {sealed:?}");
    assert_eq!(printed, "SealingKey(…) Capabilities(1 keys) SealedPush(Push, …)");
}

/// A secret for another purpose is the same on all nodes, and another for each purpose and key: none tells the key.
#[test]
fn secrets_for_other_purposes_are_derived() {
    let secret = key(1).derive(b"tickets");
    assert_eq!(secret, key(1).derive(b"tickets"));
    assert_ne!(secret, key(1).derive(b"ticket"));
    assert_ne!(secret, key(2).derive(b"tickets"));
    assert_ne!(secret, [1; 32]);
}
