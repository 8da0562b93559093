//! What a service says about a push message beside its content.
//!
//! RFC 8030 lets only the time through: urgency and topic must not reach the user agent (§5.3, §5.4). They are read if a service
//! sends them nevertheless. Malformed values count as missing: nothing depends on them.

use crate::topic::Topic;
use crate::urgency::Urgency;

/// What a service says about a push message beside its content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    /// When the service accepted the message: milliseconds since 1970, by the service's clock.
    pub time: Option<u64>,
    /// Its urgency.
    pub urgency: Option<Urgency>,
    /// Its topic.
    pub topic: Option<Topic>,
}

impl Metadata {
    /// Reads header fields: `Last-Modified`, `Urgency` and `Topic`. `field` gives the value of one, by its name in lower case.
    /// `None` if all are missing.
    pub fn from_fields<'a>(field: impl Fn(&'static str) -> Option<&'a str>) -> Option<Box<Self>> {
        Self {
            time: field("last-modified").and_then(milliseconds),
            urgency: field("urgency").and_then(Urgency::parse),
            topic: field("topic").and_then(Topic::parse),
        }
        .unless_empty()
    }

    /// `None` if all are missing: then a message owns no memory for it.
    pub fn unless_empty(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

fn milliseconds(date: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(date).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    since.as_millis().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(fields: &[(&str, &str)]) -> Option<Box<Metadata>> {
        Metadata::from_fields(|name| {
            let field = fields.iter().find(|(known, _)| *known == name);
            field.map(|(_, value)| *value)
        })
    }

    /// R30-MON-9, R30-URG-4, R30-TOP-7: what is said is read, what is malformed counts as not said, and nothing is nothing.
    #[test]
    fn fields_are_read_or_count_as_not_said() {
        let all = metadata(&[
            ("last-modified", "Thu, 01 Jan 1970 00:00:01 GMT"),
            ("urgency", "high"),
            ("topic", "door"),
        ]);
        let expected = Metadata {
            time: Some(1_000),
            urgency: Some(Urgency::High),
            topic: Topic::parse("door"),
        };
        assert_eq!(all.as_deref(), Some(&expected));
        let malformed = [
            ("last-modified", "yesterday"),
            ("urgency", "urgent\0"),
            ("topic", "two words"),
        ];
        assert_eq!(metadata(&malformed), None);
        assert_eq!(
            metadata(&[("last-modified", "Wed, 31 Dec 1969 23:59:59 GMT")]),
            None
        );
        assert_eq!(metadata(&[]), None);
    }
}
