//! What a service says about a push message beside its content.
//!
//! RFC 8030 passes only the time on: urgency and topic must not reach the user agent (§5.3, §5.4), so they are here only if
//! a service says them all the same. What is malformed counts as not said: none of it decides anything.

use crate::topic::Topic;
use crate::urgency::Urgency;

/// What a service says about a push message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stated {
    /// When the service accepted the message: milliseconds since 1970, by the service's clock.
    pub time: Option<u64>,
    /// How urgent its sender said that it is.
    pub urgency: Option<Urgency>,
    /// Its topic.
    pub topic: Option<Topic>,
}

impl Stated {
    /// Reads header fields: `Last-Modified`, `Urgency` and `Topic`. `field` gives the value of one, by its name in lower case.
    /// `None` if nothing is said.
    pub fn in_fields<'a>(field: impl Fn(&'static str) -> Option<&'a str>) -> Option<Box<Self>> {
        Self {
            time: field("last-modified").and_then(milliseconds),
            urgency: field("urgency").and_then(Urgency::parse),
            topic: field("topic").and_then(Topic::parse),
        }
        .unless_silent()
    }

    /// `None` if nothing is said: most messages own nothing here.
    pub fn unless_silent(self) -> Option<Box<Self>> {
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

    fn stated(fields: &[(&str, &str)]) -> Option<Box<Stated>> {
        Stated::in_fields(|name| {
            let field = fields.iter().find(|(known, _)| *known == name);
            field.map(|(_, value)| *value)
        })
    }

    /// R30-MON-9, R30-URG-4, R30-TOP-7: what is said is read, what is malformed counts as not said, and nothing is nothing.
    #[test]
    fn fields_are_read_or_count_as_not_said() {
        let all = stated(&[
            ("last-modified", "Thu, 01 Jan 1970 00:00:01 GMT"),
            ("urgency", "high"),
            ("topic", "door"),
        ]);
        let expected = Stated {
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
        assert_eq!(stated(&malformed), None);
        assert_eq!(
            stated(&[("last-modified", "Wed, 31 Dec 1969 23:59:59 GMT")]),
            None
        );
        assert_eq!(stated(&[]), None);
    }
}
