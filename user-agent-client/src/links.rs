//! `Link` header fields (RFC 8288 §3): what RFC 8030 says most with.
//!
//! Read leniently, because nobody is told of a mistake in them. The reader for services, [`push_protocol::headers::link`],
//! refuses what it can't read: there somebody is.

use http::HeaderMap;
use http::header::LINK;
use push_protocol::headers::Relation;
use push_protocol::session::user_agent::PushResource;
use url::Url;

/// The first link of this relation, absolute: by the letter if it is, resolved against `base` if it is relative (R30-SUB-5).
/// `None` if there is none, or it is no URL of ours or longer than one may be.
pub(crate) fn find(headers: &HeaderMap, relation: Relation, base: &Url) -> Option<String> {
    let lines = headers.get_all(LINK).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(links)
        .find(|(_, parameters)| has_relation(parameters, relation.name()))
        .and_then(|(target, _)| absolute(target, base))
}

/// A URL as it is kept and compared: by the letter if it is absolute already.
pub(crate) fn absolute(target: &str, base: &Url) -> Option<String> {
    if target.len() > PushResource::MAX_BYTES {
        return None;
    }
    match Url::parse(target) {
        Ok(_) => Some(target.to_owned()),
        Err(url::ParseError::RelativeUrlWithoutBase) => Some(base.join(target).ok()?.into()),
        Err(_) => None,
    }
}

/// Target and parameters of each link in a line.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let (_, from_target) = rest.split_once('<')?;
        let (target, parameters) = from_target.split_once('>')?;
        let end = end_unquoted(parameters, b',');
        rest = parameters.get(end + 1..).unwrap_or_default();
        Some((target.trim(), &parameters[..end]))
    })
}

/// The first `rel` counts (RFC 8288 §3.3); it may hold several relations, in any case.
fn has_relation(parameters: &str, relation: &str) -> bool {
    let mut rest = parameters;
    while !rest.is_empty() {
        let end = end_unquoted(rest, b';');
        let (name, value) = rest[..end].split_once('=').unwrap_or((&rest[..end], ""));
        if name.trim().eq_ignore_ascii_case("rel") {
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            return relations.any(|one| one.eq_ignore_ascii_case(relation));
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    false
}

/// Where the text ends, or `separator` stands outside a quoted string.
fn end_unquoted(text: &str, separator: u8) -> usize {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let end = text.bytes().position(|byte| {
        if byte == b'"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = is_quoted && byte == b'\\' && !is_escaped;
        byte == separator && !is_quoted
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str], relation: Relation) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, line.parse().unwrap());
        }
        let base = Url::parse("https://push.example.net:8443/subscribe").unwrap();
        find(&headers, relation, &base)
    }

    /// R30-SUB-4, R30-SUB-5, R30-SET-1: links in one line or in several, relative or absolute, quoted or not, among others.
    #[test]
    fn every_spelling_of_a_link() {
        let push = Some("https://push.example.net:8443/push/1".to_owned());
        let by_the_letter = Some("HTTPS://Push.Example.net:443/push/%7e1".to_owned());
        let rows: [(&[&str], &Option<String>); 12] = [
            (&[r#"</push/1>; rel="urn:ietf:params:push""#], &push),
            (&["</push/1>;rel=urn:ietf:params:push"], &push),
            (
                &[r#"<push/1> ; a="<,;\">" ; REL="x URN:ietf:params:push""#],
                &push,
            ),
            (
                &[r#"</s/1>; rel="urn:ietf:params:push:set", </push/1>; rel="urn:ietf:params:push""#],
                &push,
            ),
            (
                &[
                    r#"</s/1>; rel="urn:ietf:params:push:set""#,
                    r#"</push/1>; rel="urn:ietf:params:push""#,
                ],
                &push,
            ),
            (
                &[r#"<HTTPS://Push.Example.net:443/push/%7e1>; rel="urn:ietf:params:push""#],
                &by_the_letter,
            ),
            (&[r#"</push/1>; rel="a"; rel="urn:ietf:params:push""#], &None),
            (&[r#"</push/1>; rel="urn:ietf:params:push:set""#], &None),
            (&[r#"</push/1>; title="rel=urn:ietf:params:push""#], &None),
            (&["</push/1"], &None),
            (&["", ",", "<>", "<a>,<b>;"], &None),
            (&["<http://[/>; rel=urn:ietf:params:push"], &None),
        ];
        for (lines, expected) in rows {
            assert_eq!(found(lines, Relation::Push), *expected, "{lines:?}");
        }
        let long = Relation::Push.link(&format!("/{}", "x".repeat(PushResource::MAX_BYTES)));
        assert_eq!(found(&[&long], Relation::Push), None);
        assert_eq!(
            found(&[&Relation::Set.link("/s")], Relation::Set).unwrap(),
            "https://push.example.net:8443/s"
        );
    }
}
