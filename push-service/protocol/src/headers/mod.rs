//! Reads the header fields of a push into types, once (RFC 8030 §5). The code behind this module gets no unchecked string.
//!
//! Each function reads its own fields, in any order, and keeps nothing. Field values that are not visible ASCII are
//! malformed. White space around a value is never part of it (RFC 9110 §5.5).

mod content;
mod error;
mod links;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::header::{ACCEPT, HeaderName};
use http::{HeaderMap, HeaderValue};

pub use self::content::{MAX_CONTENT_TYPE_BYTES, MAX_PARAMETERS_BYTES, content, dh_key};
pub use self::error::HeaderError;
pub use self::links::{Relation, first_link, link};
use crate::parameters::{parameter, split, trim};
use crate::topic::Topic;
use crate::ttl::Ttl;
use crate::urgency::Urgency;

const TTL: HeaderName = HeaderName::from_static("ttl");
const URGENCY: HeaderName = HeaderName::from_static("urgency");
const TOPIC: HeaderName = HeaderName::from_static("topic");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long the message may wait (RFC 8030 §5.2). The same line twice is one line.
///
/// # Errors
///
/// [`HeaderError::MissingTtl`], [`HeaderError::NegativeTtl`] or [`HeaderError::MalformedTtl`], which senders of the
/// `/wpush` resources know apart.
pub fn ttl(headers: &HeaderMap) -> Result<Ttl, HeaderError> {
    let mut lines = headers.get_all(TTL).iter();
    let first = lines.next().ok_or(HeaderError::MissingTtl)?;
    if lines.any(|line| line != first) {
        return Err(HeaderError::MalformedTtl);
    }
    let text = text(first).ok_or(HeaderError::MalformedTtl)?;
    match text.strip_prefix('-') {
        Some(digits) if Ttl::parse(digits).is_some() => Err(HeaderError::NegativeTtl),
        _ => Ttl::parse(text).ok_or(HeaderError::MalformedTtl),
    }
}

/// How urgent a message is, or the least urgency that a user agent takes (RFC 8030 §5.3). `None` when nothing is said:
/// [`Urgency::Normal`] for a message, and for a user agent all of them.
///
/// # Errors
///
/// [`HeaderError::RepeatedUrgency`] for more than one value, [`HeaderError::UnknownUrgency`] for a fifth one.
pub fn urgency(headers: &HeaderMap) -> Result<Option<Urgency>, HeaderError> {
    let mut lines = headers.get_all(URGENCY).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    let text = text(line).ok_or(HeaderError::UnknownUrgency)?;
    if lines.next().is_some() || text.contains(',') {
        return Err(HeaderError::RepeatedUrgency);
    }
    Urgency::parse(text).map(Some).ok_or(HeaderError::UnknownUrgency)
}

/// Which waiting message is replaced (RFC 8030 §5.4).
///
/// # Errors
///
/// [`HeaderError::MalformedTopic`] for more than one value too.
pub fn topic(headers: &HeaderMap) -> Result<Option<Topic>, HeaderError> {
    let mut lines = headers.get_all(TOPIC).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(HeaderError::MalformedTopic);
    }
    let topic = text(line).and_then(Topic::parse);
    topic.map(Some).ok_or(HeaderError::MalformedTopic)
}

/// Whether a receipt is asked for: `Prefer: respond-async`, among any other preferences (RFC 8030 §5.1, RFC 7240).
pub fn prefers_async(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all(PREFER).iter().filter_map(text);
    preferences
        .flat_map(|line| split(line, b','))
        .filter_map(|preference| split(preference, b';').next().and_then(parameter))
        .any(|(name, value)| name.eq_ignore_ascii_case("respond-async") && value.is_empty())
}

/// How long a user agent is willing to wait: `Prefer: wait=N`, in seconds (RFC 7240 §4.3). RFC 8030 gives 0 a meaning of
/// its own (§6). `None` if nothing readable is said: a preference is never an error.
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all(PREFER).iter().filter_map(text);
    let seconds = preferences
        .flat_map(|line| split(line, b','))
        .filter_map(|preference| split(preference, b';').next().and_then(parameter))
        .find(|(name, _)| name.eq_ignore_ascii_case("wait"))
        .filter(|(_, value)| !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()))
        .map(|(_, value)| value.parse().unwrap_or(u64::from(u32::MAX)));
    seconds.map(|seconds: u64| Duration::from_secs(seconds.min(u64::from(u32::MAX))))
}

/// Whether `Accept` takes Server-Sent Events by their name, at a quality above 0 (RFC 9110 §12.5.1). Ranges like `*/*` don't
/// name them. A quality that can't be read refuses nothing.
pub fn accepts_events(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(text);
    lines.flat_map(|line| split(line, b',')).any(|range| {
        let mut parts = split(range, b';');
        let name = parts.next().map_or("", trim);
        name.eq_ignore_ascii_case("text/event-stream") && !parts.filter_map(parameter).any(is_refusal)
    })
}

/// `q=0`, with or without digits behind the point: "not acceptable" (RFC 9110 §12.4.2).
fn is_refusal((name, value): (&str, &str)) -> bool {
    let Some(digits) = value.strip_prefix('0') else {
        return false;
    };
    let digits = digits.strip_prefix('.').unwrap_or(digits);
    name.eq_ignore_ascii_case("q") && digits.bytes().all(|digit| digit == b'0')
}

/// A line as text, without white space around it; `None` unless it is visible ASCII.
fn text(line: &HeaderValue) -> Option<&str> {
    line.to_str().ok().map(trim)
}
