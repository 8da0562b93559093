//! What the protocol's hot functions take, one call each: what every push, or every message on a channel, goes through.
//!
//! Figures of single functions say where time goes, not how fast the service is: that is for `push-bench`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use push_protocol::capability::{
    Capabilities, Dialect, MessageCapability, MessageKind, PushCapability, PushKind, SealingKey,
};
use push_protocol::encryption::SubscriptionKeys;
use push_protocol::headers::{content, topic, ttl, urgency};
use push_protocol::vapid::{Credentials, SigningKey, credentials};
use push_protocol::wire::frame::{FrameReader, Incoming, Reader, write_text};
use push_protocol::wire::websocket::{parse, parse_reply, write_notification};
use push_protocol::{
    Coding, Content, KeyDigest, MessageId, MessageNumber, PushMessage, SubscriptionId, SubscriptionName,
    Urgency, UserAgentId,
};
use ring::rand::SystemRandom;

const BODY: &[u8] = &[0xa5; 1_000];
const NAME: &str = "deadbeef-0000-4000-8000-0123456789ab";
const ORIGIN: &str = "https://push.example.net";
const MASK: Option<[u8; 4]> = Some([0x5a, 0xc3, 0x96, 0x3c]);

const MESSAGE: MessageId = MessageId {
    number: MessageNumber(1_700_000_000_000_000),
    nonce: 7,
};

criterion_group!(
    protocol,
    frames,
    answers,
    acknowledgement,
    vapid,
    capabilities,
    fields,
    encryption
);
criterion_main!(protocol);

fn frames(criterion: &mut Criterion) {
    let message = notification();
    let mut out = Vec::with_capacity(4_096);
    criterion.bench_function("frame/write a notification", |bencher| {
        bencher.iter(|| {
            out.clear();
            write_notification(&mut out, black_box(&message));
            black_box(out.len())
        });
    });
    let mut reader = FrameReader::new(Reader::UserAgent, 1 << 16);
    criterion.bench_function("frame/read a notification", |bencher| {
        bencher.iter(|| match reader.read(black_box(&mut out)) {
            Ok(Some((Incoming::Text(text), _))) => text.len(),
            other => panic!("{other:?}"),
        });
    });
}

/// What the user agent makes of a message: the service's counterpart is in `frame/write a notification`.
fn answers(criterion: &mut Criterion) {
    let mut out = Vec::new();
    write_notification(&mut out, &notification());
    let mut reader = FrameReader::new(Reader::UserAgent, 1 << 16);
    criterion.bench_function("answer/parse a notification", |bencher| {
        bencher.iter(|| match reader.read(black_box(&mut out)) {
            Ok(Some((Incoming::Text(text), _))) => parse_reply(text),
            other => panic!("{other:?}"),
        });
    });
}

fn acknowledgement(criterion: &mut Criterion) {
    let version = MESSAGE.to_base64url();
    let text = format!(
        r#"{{"messageType":"ack","updates":[{{"channelID":"{NAME}","version":"{version}","code":100}}]}}"#
    );
    criterion.bench_function("ack/parse", |bencher| {
        bencher.iter(|| parse(black_box(&text)));
    });
    let mut frame = Vec::new();
    write_text(&mut frame, MASK, |out| out.extend_from_slice(text.as_bytes()));
    let mut reader = FrameReader::new(Reader::Service, 1 << 16);
    criterion.bench_function("ack/unmask and parse", |bencher| {
        let fresh = || frame.clone();
        let read = |mut frame: Vec<u8>| match reader.read(&mut frame) {
            Ok(Some((Incoming::Text(text), _))) => parse(text).is_ok(),
            other => panic!("{other:?}"),
        };
        bencher.iter_batched(fresh, read, BatchSize::SmallInput);
    });
}

fn vapid(criterion: &mut Criterion) {
    let headers = signed();
    criterion.bench_function("vapid/find the credentials", |bencher| {
        bencher.iter(|| shown(black_box(&headers)));
    });
    let shown = shown(&headers);
    criterion.bench_function("vapid/key of the cache", |bencher| {
        bencher.iter(|| black_box(&shown).cache_key());
    });
    criterion.bench_function("vapid/verify, first time", |bencher| {
        bencher.iter(|| black_box(&shown).verify());
    });
}

fn capabilities(criterion: &mut Criterion) {
    let capabilities = Capabilities::new(&[SealingKey::from_random([7; 32])]).expect("one key is enough");
    let push = PushCapability {
        user_agent: UserAgentId([1; 16]),
        subscription: SubscriptionId([2; 8]),
        key: Some(KeyDigest([3; 32])),
    };
    criterion.bench_function("capability/seal a push resource", |bencher| {
        bencher.iter(|| capabilities.seal_push(Dialect::Webpush, black_box(&push), [4; 16]));
    });
    let token = capabilities.seal_push(Dialect::Webpush, &push, [4; 16]).token;
    criterion.bench_function("capability/open a push resource", |bencher| {
        bencher.iter(|| capabilities.open_push(PushKind::WpushV2, black_box(&token)));
    });
    let forged = "A".repeat(token.len());
    criterion.bench_function("capability/refuse a forged one", |bencher| {
        bencher.iter(|| capabilities.open_push(PushKind::WpushV2, black_box(&forged)));
    });
    let message = MessageCapability {
        user_agent: UserAgentId([1; 16]),
        id: MESSAGE,
        dialect: Dialect::Webpush,
    };
    criterion.bench_function("capability/seal a message", |bencher| {
        let key = capabilities.current();
        bencher.iter(|| capabilities.seal_message(MessageKind::Message, key, black_box(&message)));
    });
}

fn fields(criterion: &mut Criterion) {
    let mut headers = signed();
    for (name, value) in [
        ("ttl", "86400"),
        ("urgency", "high"),
        ("topic", "upd"),
        ("content-encoding", "aes128gcm"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    criterion.bench_function("headers/TTL, urgency and topic", |bencher| {
        bencher.iter(|| {
            let headers = black_box(&headers);
            (ttl(headers), urgency(headers), topic(headers))
        });
    });
    criterion.bench_function("headers/content", |bencher| {
        bencher.iter(|| content(black_box(&headers), Bytes::from_static(BODY), Dialect::Webpush));
    });
}

/// Both ends of a message; the service does neither.
fn encryption(criterion: &mut Criterion) {
    let random = SystemRandom::new();
    let keys = SubscriptionKeys::generate(&random).expect("randomness");
    let encrypt = || keys.recipient().encrypt(black_box(BODY), 0, &random);
    criterion.bench_function("encryption/encrypt 1,000 bytes", |bencher| {
        bencher.iter(encrypt);
    });
    let body = encrypt().expect("a short message and randomness");
    criterion.bench_function("encryption/decrypt 1,000 bytes", |bencher| {
        bencher.iter(|| keys.decrypt(&Coding::Aes128gcm, black_box(&body)));
    });
}

fn notification() -> PushMessage {
    PushMessage {
        id: MESSAGE,
        subscription: SubscriptionId([3; 8]),
        name: SubscriptionName::parse(NAME).expect("a UUID in lower case"),
        urgency: Urgency::Normal,
        content: Content {
            coding: Coding::Aes128gcm,
            media_type: None,
            body: Bytes::from_static(BODY),
        },
        key: None,
        sealed_by: push_protocol::capability::KeyId(0),
        accepted_at_ms: 0,
        remaining_ms: 86_400_000,
    }
}

/// Header fields with a token as an application server's library makes it.
fn signed() -> HeaderMap {
    let random = SystemRandom::new();
    let pkcs8 = SigningKey::generate_pkcs8(&random).expect("randomness");
    let key = SigningKey::from_pkcs8(&pkcs8, &random).expect("a key that was just made");
    let token = key.sign(ORIGIN, 1_800_000_000, Some("mailto:admin@example.net"), &random);
    let authorization = key.authorization_header(&token.expect("randomness"));
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&authorization).expect("visible ASCII");
    headers.insert("authorization", value);
    headers
}

fn shown(headers: &HeaderMap) -> Credentials<'_> {
    let found = credentials(headers).expect("well-formed credentials");
    found.expect("credentials are there")
}
