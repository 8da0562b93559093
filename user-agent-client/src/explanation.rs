//! The explanation in the body of a refusal, as one line for people.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use push_protocol::escape;
use serde::Deserialize;

use crate::defaults::REASON_CHARACTERS;

/// Letters in a row that may be a token or an id: so many are hidden. Chosen: a `uaid` has 32, and no word of a sentence.
const TOKEN_LETTERS: usize = 32;

/// The service's own words: the sentence in RFC 9457's problems or in autopush's errors, or a plain text; in one line, and
/// cut at [`REASON_CHARACTERS`]. `None` if it says nothing, and for a page: a proxy's page says no more than the status.
pub(crate) fn explanation(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Explained {
        detail: Option<String>,
        message: Option<String>,
        title: Option<String>,
    }
    let explained = serde_json::from_slice::<Explained>(body).ok();
    let sentence = explained.and_then(|explained| explained.detail.or(explained.message).or(explained.title));
    let text = match sentence {
        Some(sentence) => sentence,
        None if is_page(headers, body) => return None,
        None => String::from_utf8_lossy(body).into_owned(),
    };
    let line = one_line(&text);
    (!line.is_empty()).then_some(line)
}

/// A text in one line, escaped, without capabilities (R30-SEC-7), and cut at [`REASON_CHARACTERS`].
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().map(shown).collect();
    let mut line = escape::text(&words.join(" ")).into_owned();
    if let Some((end, _)) = line.char_indices().nth(REASON_CHARACTERS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// A word without what may be a capability: paths of URLs, and strings as long as a token or an id.
fn shown(word: &str) -> String {
    let quoted = |c: char| !c.is_alphanumeric() && !matches!(c, '/' | '_' | '-');
    let start = word.find(|c: char| !quoted(c)).unwrap_or(word.len());
    let (before, rest) = word.split_at(start);
    if let Some((scheme, rest)) = rest.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        let tail = if host.len() < rest.len() { "/…" } else { "" };
        return format!("{before}{scheme}://{}{tail}", without_tokens(host));
    }
    if rest.len() > 1 && rest.starts_with('/') {
        return format!("{before}/…");
    }
    without_tokens(word)
}

fn without_tokens(word: &str) -> String {
    let of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut shown = String::with_capacity(word.len());
    let mut rest = word;
    while !rest.is_empty() {
        let length = rest.find(|c| !of_token(c)).unwrap_or(rest.len());
        let (row, behind) = rest.split_at(length);
        shown.push_str(if length >= TOKEN_LETTERS { "…" } else { row });
        let next = behind.find(of_token).unwrap_or(behind.len());
        shown.push_str(&behind[..next]);
        rest = &behind[next..];
    }
    shown
}

fn is_page(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_html = kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    is_html || body.trim_ascii_start().starts_with(b"<")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(kind: Option<&'static str>, body: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        }
        explanation(&headers, body.as_bytes())
    }

    /// R30-MSG-7, RFC 9457 §3.1: the service's words are shown in one line, cut, and without what a terminal would obey; a
    /// page is not shown.
    #[test]
    fn the_service_may_explain_itself() {
        let long = "ä".repeat(1000);
        let cut = format!("{}…", "ä".repeat(REASON_CHARACTERS));
        let rows = [
            (
                r#"{"code":400,"errno":110,"error":"Bad Request","message":"Missing TTL"}"#,
                Some("Missing TTL"),
            ),
            (
                r#"{"title":"Bad Request","detail":"Send one TTL."}"#,
                Some("Send one TTL."),
            ),
            (r#"{"title":"Bad Request"}"#, Some("Bad Request")),
            ("plain\r\n  text\u{1b}[2J", Some("plain text\\u{1b}[2J")),
            (
                "{\"detail\":\"a\u{202e}b\u{2028}c\u{9b}2J\"}",
                Some("a\\u{202e}b c\\u{9b}2J"),
            ),
            ("[1, 2]", Some("[1, 2]")),
            (long.as_str(), Some(cut.as_str())),
            ("", None),
            (" \r\n", None),
            ("\r\n<html><title>502 Bad Gateway</title></html>", None),
        ];
        for (body, expected) in rows {
            assert_eq!(explained(None, body).as_deref(), expected, "{body}");
        }
        assert_eq!(
            explained(Some("Text/HTML; charset=utf-8"), "502 Bad Gateway"),
            None
        );
        assert_eq!(
            explained(Some("text/plain"), "no such set").as_deref(),
            Some("no such set")
        );
    }

    /// R30-SEC-7: neither paths of URLs nor what is as long as a token or an id is repeated.
    #[test]
    fn what_opens_something_is_hidden() {
        let rows = [
            (
                "See https://user:pw@h.example:8443/push/secret?x=y, (/subscribe/secret) or https://h.example",
                "See https://h.example:8443/… (/… or https://h.example",
            ),
            ("No id A1b2A1b2A1b2A1b2A1b2A1b2A1b2A1b2.", "No id …."),
            (
                "Ask with \"Accept: text/event-stream\" and Content-Security-Policy.",
                "Ask with \"Accept: text/event-stream\" and Content-Security-Policy.",
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(one_line(text), expected);
        }
    }
}
