//! `Retry-After`, by which a service says to a user agent or an application server when to try again.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

use crate::defaults::RETRY_AFTER_MOST;

/// The field of an answer, if it is there and well formed.
pub(crate) fn read(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    parse(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

/// Reads the field in either form (RFC 9110 §10.2.3): seconds, or a date, which counts from `now`; one that is over means
/// now. At most [`RETRY_AFTER_MOST`], so that it can be added to a time.
pub(crate) fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What doesn't fit is long.
        value.parse().map_or(Duration::MAX, Duration::from_secs)
    } else {
        let at = httpdate::parse_http_date(value).ok()?;
        at.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MOST))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// R30-MSG-8: seconds, or a date, which is never in the past; what is too long is cut, and anything else is as if it
    /// weren't there.
    #[test]
    fn has_two_forms() {
        // 2015-10-21 07:28:00.
        let now = UNIX_EPOCH + Duration::from_secs(1_445_412_480);
        let most = RETRY_AFTER_MOST.as_secs();
        let rows = [
            ("30", Some(30)),
            (" 0 ", Some(0)),
            ("Wednesday, 21-Oct-15 07:28:10 GMT", Some(10)),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("Mon, 21 Oct 2115 07:00:00 GMT", Some(most)),
            ("18446744073709551615", Some(most)),
            ("99999999999999999999999", Some(most)),
            ("soon", None),
            ("1.5", None),
            ("-1", None),
            ("+1", None),
            ("", None),
        ];
        for (text, seconds) in rows {
            assert_eq!(parse(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
