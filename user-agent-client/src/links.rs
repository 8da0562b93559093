//! `Link` header fields: their targets as absolute URLs of a bounded length.

use http::HeaderMap;
use push_protocol::headers::{self, Relation};
use push_protocol::session::user_agent::PushResource;
use url::Url;

/// The first link of this relation, absolute: unchanged if it is, resolved against `base` if it is relative (R30-SUB-5).
/// `None` if there is no such link, or its URL can't be used or is too long.
pub(crate) fn find(headers: &HeaderMap, relation: Relation, base: &Url) -> Option<String> {
    absolute(headers::first_link(headers, relation)?, base)
}

/// A URL as it is kept and compared: unchanged if it is absolute already.
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

#[cfg(test)]
mod tests {
    use http::header::LINK;

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
