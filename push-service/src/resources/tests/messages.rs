//! What a message says of itself: body, TTL, Urgency, Topic, encryption.

use push_protocol::capability::Dialect;

use super::rig::{Answer, ORIGIN, Sender, Service, push};

const LONG_TTL: &str = "99999999999999999999999999";
const TOPIC_33: &str = "abcdefghijklmnopqrstuvwxyz0123456";
const SALT: &str = "salt=AAAAAAAAAAAAAAAAAAAAAA";
const DH: &str = "dh=BOhnStszuT6lEbkZ6rxsR5X0Fo_UHLG9FDZTSgbheRmjY7sIAKlGlHT4gh6y18tdWySS09MUb2onpNjeLZVWQ8A";
const P256: &str =
    "p256ecdsa=BOhnStszuT6lEbkZ6rxsR5X0Fo_UHLG9FDZTSgbheRmjY7sIAKlGlHT4gh6y18tdWySS09MUb2onpNjeLZVWQ8A";

/// Rule, header fields, body length, the answer of `/wpush` with its errno, the status of `/push`.
type Row = (
    &'static str,
    &'static [(&'static str, &'static str)],
    usize,
    (u16, i64),
    u16,
);

const ROWS: &[Row] = &[
    ("WP-2, R30-MSG-2", &[], 100, (201, 0), 201),
    ("WP-3, R30-TTL-1", &[("ttl", "")], 100, (400, 111), 400),
    ("WP-3, R30-TTL-2", &[("ttl", "60s")], 100, (400, 111), 400),
    ("WP-3, R30-TTL-2", &[("ttl", "1.5")], 100, (400, 111), 400),
    ("WP-3, R30-TTL-2", &[("ttl", "-1")], 100, (400, 114), 400),
    ("R30-TTL-3", &[("ttl", LONG_TTL)], 100, (201, 0), 201),
    ("R30-TTL-7, PR-21", &[("ttl", "0")], 100, (201, 0), 201),
    ("R30-URG-1, WP-8", &[("urgency", "very-low")], 100, (201, 0), 201),
    ("R30-URG-1, WP-8", &[("urgency", "high")], 100, (201, 0), 201),
    ("R30-URG-1, WP-8", &[("urgency", "High")], 100, (201, 0), 201),
    ("R30-URG-1, WP-8", &[("urgency", "VERY-LOW")], 100, (201, 0), 201),
    ("R30-URG-2", &[("urgency", "low, high")], 100, (400, 999), 400),
    ("R30-URG-3", &[("urgency", "urgent")], 100, (400, 999), 400),
    ("R30-TOP-1", &[("topic", "upd-1_A")], 100, (201, 0), 201),
    ("WP-4, R30-TOP-1", &[("topic", TOPIC_33)], 100, (400, 113), 400),
    ("WP-4, R30-TOP-1", &[("topic", "upd=")], 100, (400, 113), 400),
    ("WP-4, R30-TOP-1", &[("topic", "a,b")], 100, (400, 113), 400),
    ("R30-MSG-4, E91-11", &[], 4096, (201, 0), 201),
    ("EPS-7", &[], 10, (201, 0), 201),
    (
        "EAG-7, EPS-1",
        &[("content-encoding", "aesgcm128")],
        100,
        (400, 110),
        201,
    ),
    ("WP-5, R30-MSG-5", &[], 5632, (201, 0), 201),
    ("WP-5, R30-MSG-5", &[], 5633, (413, 104), 413),
    (
        "R30-MSG-6, WP-12",
        &[("content-encoding", ""), ("crypto-key", "x")],
        0,
        (201, 0),
        201,
    ),
    ("EPS-1", &[("content-encoding", "")], 100, (400, 110), 201),
    ("EPS-1", &[("content-encoding", "gzip")], 100, (400, 110), 201),
    (
        "EPS-2",
        &[("content-encoding", "aesgcm"), ("crypto-key", DH)],
        100,
        (400, 110),
        400,
    ),
    (
        "EPS-2",
        &[
            ("content-encoding", "aesgcm"),
            ("crypto-key", DH),
            ("encryption", "rs=4096"),
        ],
        100,
        (400, 110),
        400,
    ),
    (
        "EPS-3",
        &[
            ("content-encoding", "aesgcm"),
            ("crypto-key", P256),
            ("encryption", SALT),
        ],
        100,
        (400, 110),
        400,
    ),
    (
        "EPS-2, EPS-3",
        &[
            ("content-encoding", "aesgcm"),
            ("crypto-key", DH),
            ("encryption", SALT),
        ],
        100,
        (201, 0),
        201,
    ),
    ("EPS-4", &[("encryption", SALT)], 100, (400, 110), 201),
    ("EPS-5", &[("crypto-key", DH)], 100, (400, 110), 201),
    ("EPS-5", &[("crypto-key", P256)], 100, (201, 0), 201),
];

/// WP-2 to WP-8, WP-12, UP-SRV-1, EPS-1 to EPS-5, R30-MSG, R30-TTL, R30-URG, R30-TOP: what is wrong with a message is told in
/// the dialect of its resource, and what is not wrong is accepted.
#[tokio::test]
async fn messages_are_accepted_or_told_why_not() {
    let service = Service::new();
    let wpush = service.subscribed(Dialect::Webpush, None).await;
    let plain = service.subscribed(Dialect::Rfc8030, None).await;
    for &(rule, headers, length, autopush, rfc) in ROWS {
        let answer = service.answer(push(&wpush, headers, vec![b'a'; length])).await;
        assert_eq!(answer.code(), autopush, "{rule} {headers:?}");
        assert_form(rule, &answer, Dialect::Webpush);

        let answer = service.answer(push(&plain, headers, vec![b'a'; length])).await;
        assert_eq!(answer.code(), (rfc, 0), "{rule} {headers:?} on /push");
        assert_form(rule, &answer, Dialect::Rfc8030);
    }
}

/// WP-2, R30-MSG-2: an accepted message has a URL and nothing in the body; a refused one says why in its dialect.
fn assert_form(rule: &str, answer: &Answer, dialect: Dialect) {
    if answer.status == 201 {
        let location = answer.header("location").unwrap();
        assert!(location.starts_with(&format!("{ORIGIN}/message/")), "{rule}");
        assert!(
            answer.headers.contains_key("ttl") && answer.body.is_empty(),
            "{rule}"
        );
        return;
    }
    assert!(answer.body.ends_with(b"}\n"), "{rule}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let members: &[&str] = match dialect {
        Dialect::Webpush => &["code", "errno", "error", "message", "more_info"],
        Dialect::Rfc8030 => &["detail", "status", "title"],
    };
    if dialect == Dialect::Webpush {
        assert!(body["errno"].is_u64() && body["code"].is_u64(), "{rule}");
    }
    let said: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(said, members, "{rule}");
    let media_type = match dialect {
        Dialect::Webpush => "application/json",
        Dialect::Rfc8030 => "application/problem+json",
    };
    assert_eq!(answer.header("content-type"), Some(media_type), "{rule}");
    assert!(!answer.headers.contains_key("location"), "{rule}");
}

/// RFC 9110 §5.6.2, §8.4.1, §11.1, RFC 7240 §2: the names in all fields of a push have no case.
#[tokio::test]
async fn names_in_fields_have_no_case() {
    let service = Service::new();
    let authorization = Sender::new().authorization();
    let (scheme, credentials) = authorization.split_once(' ').unwrap();
    let authorization = format!("{} {credentials}", scheme.to_uppercase());
    let fields = [
        ("urgency", "Very-Low"),
        ("content-encoding", "AES128GCM"),
        ("prefer", "Respond-Async, Wait=5"),
        ("authorization", authorization.as_str()),
    ];
    for dialect in [Dialect::Webpush, Dialect::Rfc8030] {
        let path = service.subscribed(dialect, None).await;
        assert_eq!(service.answer(push(&path, &fields, "x")).await.status, 202);
    }
    let subscribe = http::Request::post("/subscribe")
        .header("content-type", "Application/WebPush-Options+JSON; Charset=UTF-8")
        .body("{}".into());
    assert_eq!(service.answer(subscribe.unwrap()).await.status, 201);
}

/// R30-TTL-3, R30-TTL-4, R30-TTL-5, WP-3: the TTL of the answer is what was asked for, or the service's longest.
#[tokio::test]
async fn a_ttl_is_clamped_and_told() {
    let service = Service::new();
    let path = service.subscribed(Dialect::Rfc8030, None).await;
    for (asked, told) in [
        ("0", "0"),
        ("60", "60"),
        ("2592000", "2592000"),
        ("2592001", "2592000"),
        (LONG_TTL, "2592000"),
    ] {
        let answer = service.answer(push(&path, &[("ttl", asked)], "x")).await;
        assert_eq!(answer.header("ttl"), Some(told), "{asked}");
    }
}

/// R30-TOP-3, R30-TOP-8, PR-27: a message that replaces another has a URL of its own, and the old one leads nowhere.
#[tokio::test]
async fn a_topic_replaces() {
    let service = Service::new();
    let path = service.subscribed(Dialect::Rfc8030, None).await;
    let topic = [("topic", "weather")];
    let first = service.answer(push(&path, &topic, "sun")).await;
    let second = service.answer(push(&path, &topic, "rain")).await;
    let other = service.answer(push(&path, &[], "mail")).await;
    for (answer, status) in [(first, 404), (second, 204), (other, 204)] {
        let location = answer.header("location").unwrap().strip_prefix(ORIGIN).unwrap();
        let delete = http::Request::delete(location).body(Default::default()).unwrap();
        assert_eq!(service.answer(delete).await.status, status);
    }
}

/// WP-13: a sender with several mistakes is told of them one by one, in this order.
#[tokio::test]
async fn mistakes_are_told_in_order() {
    let service = Service::new();
    let path = service.subscribed(Dialect::Webpush, None).await;
    let gone = service.ended(Dialect::Webpush);
    let mut headers = vec![
        ("authorization", "vapid t=a"),
        ("ttl", ""),
        ("content-encoding", "gzip"),
        ("topic", "no topic"),
    ];
    let (long, short) = (vec![b'a'; 6000], vec![b'a'; 10]);
    let mut expect = async |path: &str, fixed: Option<(&'static str, &'static str)>, body: &[u8], code| {
        if let Some((name, value)) = fixed {
            headers.retain(|(known, _)| *known != name);
            headers.push((name, value));
        }
        let answer = service.answer(push(path, &headers, body.to_vec())).await;
        assert_eq!(answer.code(), code, "{headers:?}");
    };
    expect("/wpush/v1/forged", None, &long, (404, 102)).await;
    expect(&gone, None, &long, (401, 109)).await;
    expect(&gone, Some(("authorization", "")), &long, (410, 106)).await;
    expect(&path, None, &long, (413, 104)).await;
    expect(&gone, None, &short, (410, 106)).await;
    expect(&path, None, &short, (400, 111)).await;
    expect(&path, Some(("ttl", "-1")), &short, (400, 110)).await;
    expect(&path, Some(("content-encoding", "aes128gcm")), &short, (400, 114)).await;
    expect(&path, Some(("ttl", "1")), &short, (400, 113)).await;
    expect(&path, Some(("topic", "topic")), &short, (201, 0)).await;
}
