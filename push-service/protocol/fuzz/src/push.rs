//! The header fields of a push that say how it waits: `TTL`, `Urgency`, `Topic`, `Prefer`; the one by which a reader says
//! what it takes, `Accept`; and the one by which either names something, `Link`.

use http::{HeaderMap, HeaderValue};
use push_protocol::headers::{
    HeaderError, Relation, accepts_events, first_link, link, prefers_async, topic, ttl, urgency,
};
use push_protocol::{Topic, Ttl};

use super::fields;

/// In the order of their digits in a case.
const FIELDS: [&str; 6] = ["ttl", "urgency", "topic", "prefer", "accept", "link"];

/// `headers::ttl`, `urgency`, `topic`, `prefers_async`, `accepts_events`, `link` and `first_link`: what is accepted is
/// within the RFC's bounds (R30-TTL-2, R30-TOP-1), means the same when it is written again, and alone decides: other
/// fields, white space around a value, and a `TTL` that is said twice change nothing. Where a service finds a link, a user
/// agent finds the same.
///
/// `data`: header fields.
pub fn push_headers(data: &[u8]) {
    let (fields, _) = fields::read(data, &FIELDS);
    check_ttl(&fields);
    check_urgency(&fields);
    check_topic(&fields);
    check_preference(&fields);
    check_events(&fields);
    check_links(&fields);

    let surrounded = surrounded(&fields);
    assert_eq!(ttl(&surrounded), ttl(&fields));
    assert_eq!(urgency(&surrounded), urgency(&fields));
    assert_eq!(topic(&surrounded), topic(&fields));
    assert_eq!(prefers_async(&surrounded), prefers_async(&fields));
    assert_eq!(accepts_events(&surrounded), accepts_events(&fields));
    assert_eq!(link(&surrounded, Relation::Set), link(&fields, Relation::Set));
}

fn check_ttl(fields: &HeaderMap) {
    match ttl(fields) {
        Ok(ttl_read) => {
            assert!(ttl_read <= Ttl::UNREPRESENTABLE);
            assert_eq!(
                ttl(&fields::of([("ttl", &ttl_read.as_secs().to_string())])),
                Ok(ttl_read)
            );
            let mut twice = fields.clone();
            twice.append("ttl", fields["ttl"].clone());
            assert_eq!(ttl(&twice), Ok(ttl_read));
        }
        Err(HeaderError::MissingTtl) => assert!(!fields.contains_key("ttl")),
        Err(error) => assert!(fields.contains_key("ttl") && !error.to_string().is_empty()),
    }
}

fn check_urgency(fields: &HeaderMap) {
    match urgency(fields) {
        Ok(Some(read)) => assert_eq!(urgency(&fields::of([("urgency", read.as_str())])), Ok(Some(read))),
        Ok(None) => assert!(!fields.contains_key("urgency")),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_topic(fields: &HeaderMap) {
    match topic(fields) {
        Ok(Some(read)) => {
            let text = read.as_str();
            assert!((1..=Topic::MAX_BYTES).contains(&text.len()));
            assert!(
                text.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            );
            assert_eq!(topic(&fields::of([("topic", text)])), Ok(Some(read)));
            assert!(
                !format!("{read:?}").contains(text) || text.len() < 9,
                "a topic hides itself"
            );
        }
        Ok(None) => assert!(!fields.contains_key("topic")),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_preference(fields: &HeaderMap) {
    if prefers_async(fields) {
        let mut lines = fields
            .get_all("prefer")
            .iter()
            .filter_map(|line| line.to_str().ok());
        assert!(lines.any(|line| line.to_ascii_lowercase().contains("respond-async")));
    }
    let mut asked = fields.clone();
    asked.append("prefer", HeaderValue::from_static("wait=9, Respond-Async"));
    assert!(
        prefers_async(&asked),
        "one line is enough, whatever the others hold"
    );
}

fn check_events(fields: &HeaderMap) {
    let lines = fields.get_all("accept").iter();
    let mut named = lines.filter_map(|line| line.to_str().ok());
    assert!(
        !accepts_events(fields) || named.any(|line| line.to_ascii_lowercase().contains("text/event-stream")),
        "events are named, or are not asked for"
    );
    let mut asked = fields.clone();
    asked.append("accept", HeaderValue::from_static("*/*, text/event-stream;q=0.5"));
    assert!(accepts_events(&asked), "one line is enough");
    asked = fields.clone();
    asked.append("accept", HeaderValue::from_static("text/event-stream;q=0.0"));
    assert_eq!(
        accepts_events(&asked),
        accepts_events(fields),
        "a quality of 0 asks for nothing"
    );
}

fn check_links(fields: &HeaderMap) {
    for relation in [Relation::Push, Relation::Set, Relation::Receipt] {
        let first = first_link(fields, relation);
        if let Ok(found) = link(fields, relation) {
            assert_eq!(first, found, "what a service takes, a user agent takes alike");
        }
        let Some(target) = first else { continue };
        let again = fields::of([("link", &relation.link(target))]);
        assert_eq!(link(&again, relation), Ok(Some(target)));
    }
}

/// The same fields with white space around every value, and one more field.
fn surrounded(fields: &HeaderMap) -> HeaderMap {
    let mut surrounded = HeaderMap::new();
    surrounded.append("x-unknown", HeaderValue::from_static("ttl: 5"));
    for (name, value) in fields {
        let value = [b" \t", value.as_bytes(), b"\t "].concat();
        surrounded.append(
            name,
            HeaderValue::from_bytes(&value).expect("white space is no harm"),
        );
    }
    surrounded
}
