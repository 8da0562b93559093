//! `Link` header fields (RFC 8288), as far as RFC 8030 uses them: one target for a relation.
//!
//! A service refuses a field that it can't read, and tells the sender. A user agent ignores such a field, because it could
//! tell no one.

use http::HeaderMap;
use http::header::LINK;

use super::{HeaderError, text};
use crate::parameters::{parameter, split, trim};

/// What a link of RFC 8030 leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relation {
    /// The push resource of a subscription (§4).
    Push,
    /// The subscription set (§4.1).
    Set,
    /// The receipt subscription (§5.1).
    Receipt,
}

impl Relation {
    /// Its registered name (§9).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Push => "urn:ietf:params:push",
            Self::Set => "urn:ietf:params:push:set",
            Self::Receipt => "urn:ietf:params:push:receipt",
        }
    }

    /// A header field's value: in the one shape that all known readers take.
    // R30-SUB-5.
    pub fn link(self, target: &str) -> String {
        ["<", target, ">; rel=\"", self.name(), "\""].concat()
    }
}

/// The target of the link of this relation, if there is one: for a service, which can say what is wrong. Links of other
/// relations are passed over.
///
/// # Errors
///
/// [`HeaderError::MalformedLink`] if a line can't be read, or two targets are named.
pub fn link(headers: &HeaderMap, relation: Relation) -> Result<Option<&str>, HeaderError> {
    let mut found = None;
    for link in links(headers) {
        let link = link?;
        if !link.has(relation) {
            continue;
        }
        if found.is_some_and(|earlier| earlier != link.target) {
            return Err(HeaderError::MalformedLink);
        }
        found = Some(link.target);
    }
    Ok(found)
}

/// The first target of this relation: for a user agent. What can't be read is passed over.
pub fn first_link(headers: &HeaderMap, relation: Relation) -> Option<&str> {
    let mut readable = links(headers).filter_map(Result::ok);
    readable.find(|link| link.has(relation)).map(|link| link.target)
}

/// `<target>; parameters`.
struct Link<'a> {
    target: &'a str,
    parameters: &'a str,
}

/// All links of all lines, and an error for each part of a line that is not a link.
fn links(headers: &HeaderMap) -> impl Iterator<Item = Result<Link<'_>, HeaderError>> {
    headers.get_all(LINK).iter().flat_map(|line| {
        // A line that is no text is one thing that can't be read.
        let mut rest = text(line).unwrap_or("no link");
        std::iter::from_fn(move || {
            let (link, behind) = Link::first(rest)?;
            rest = behind;
            Some(link.ok_or(HeaderError::MalformedLink))
        })
    })
}

impl<'a> Link<'a> {
    /// The first one of a list that may have empty elements (RFC 9110 §5.6.1), and what stands behind it. `None` at the end.
    fn first(list: &'a str) -> Option<(Option<Self>, &'a str)> {
        let list = list.trim_start_matches([' ', '\t', ',']);
        if list.is_empty() {
            return None;
        }
        // A target may have commas, so it is cut off first.
        let target = list.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let (target, rest) = target.map_or((None, list), |(target, rest)| (Some(target), rest));
        let parameters = split(rest, b',').next().unwrap_or_default();
        let link = target.map(|target| Self {
            target: trim(target),
            parameters,
        });
        Some((link, &rest[parameters.len()..]))
    }

    /// `rel` may name several relations, and only the first `rel` counts (RFC 8288 §3.3).
    fn has(&self, relation: Relation) -> bool {
        let rel = split(self.parameters, b';')
            .filter_map(parameter)
            .find(|(name, _)| name.eq_ignore_ascii_case("rel"));
        rel.is_some_and(|(_, names)| {
            names
                .split([' ', '\t'])
                .any(|name| name.eq_ignore_ascii_case(relation.name()))
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn fields(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn find(lines: &[&str], relation: Relation) -> Result<Option<String>, HeaderError> {
        link(&fields(lines), relation).map(|found| found.map(str::to_owned))
    }

    /// R30-SUB-5: one line or several, quoted or not, relative or not, among other links.
    #[test]
    fn links_are_found_in_every_shape() {
        let rows: &[(&[&str], Option<&str>)] = &[
            (&[r#"</s/1>; rel="urn:ietf:params:push:set""#], Some("/s/1")),
            (&["</s/1>;rel=urn:ietf:params:push:set"], Some("/s/1")),
            (
                &[r#"<https://h/a,b>;title="x,y;<z>"; REL="next urn:ietf:params:push:set""#],
                Some("https://h/a,b"),
            ),
            (
                &[r#"</p>; rel="urn:ietf:params:push", </s/1>; rel="urn:ietf:params:push:set""#],
                Some("/s/1"),
            ),
            (
                &[
                    r#"</p>; rel="urn:ietf:params:push""#,
                    r#"</s/1>; rel="urn:ietf:params:push:set""#,
                ],
                Some("/s/1"),
            ),
            (&["</s/1>; rel=next; rel=urn:ietf:params:push:set"], None),
            (&[r#"</s/1>; title="rel=urn:ietf:params:push:set""#], None),
            (&[",, </s/1> ;\trel = urn:ietf:params:push:set,"], Some("/s/1")),
            (&["<a>,<b>;", "<>", ","], None),
            (&["</s/1>"], None),
            (&[""], None),
            (&[], None),
        ];
        for (lines, expected) in rows {
            assert_eq!(
                find(lines, Relation::Set),
                Ok(expected.map(str::to_owned)),
                "{lines:?}"
            );
            assert_eq!(first_link(&fields(lines), Relation::Set), *expected, "{lines:?}");
        }
    }

    /// R30-SET-4, R30-RCP-6: what can't be read, or names two, is an error and not another set.
    #[test]
    fn what_is_no_link_is_refused() {
        let rows: &[&[&str]] = &[
            &["/s/1; rel=urn:ietf:params:push:set"],
            &["</s/1; rel=urn:ietf:params:push:set"],
            &["</s/1>; rel=urn:ietf:params:push:set, </s/2>; rel=urn:ietf:params:push:set"],
            &["</s/1>; rel=urn:ietf:params:push:set", "</s/1>, next"],
            &["</s/1>; rel=urn:ietf:params:push:set", "\u{e9}"],
        ];
        for lines in rows {
            assert_eq!(
                find(lines, Relation::Set),
                Err(HeaderError::MalformedLink),
                "{lines:?}"
            );
        }
    }

    /// R30-SUB-5: a user agent takes the first one that it can read, whatever stands beside it.
    #[test]
    fn what_is_no_link_is_passed_over() {
        let set = "; rel=urn:ietf:params:push:set";
        let rows: [(&[&str], Option<&str>); 8] = [
            (&[&format!("</s/1>{set}, </s/2>{set}")], Some("/s/1")),
            (&["\u{e9}", &format!("</s/1>{set}")], Some("/s/1")),
            (&[&format!("</s/2, </s/1>{set}")], Some("/s/2, </s/1")),
            (&[&format!("next, </s/1>{set}")], Some("/s/1")),
            (&[&format!(r#"a="b, <c>{set}", < /s/1 >{set}"#)], Some("/s/1")),
            (&[r#"</s/1>; rel="urn:ietf:params:push:set"#], None),
            (&["</s/1"], None),
            (&["/s/1", set], None),
        ];
        for (lines, expected) in rows {
            assert_eq!(first_link(&fields(lines), Relation::Set), expected, "{lines:?}");
        }
    }

    /// R30-SUB-5: written with quotes and one space after the semicolon.
    #[test]
    fn a_link_has_one_shape() {
        let link = Relation::Push.link("https://h/push/a");
        assert_eq!(link, r#"<https://h/push/a>; rel="urn:ietf:params:push""#);
    }
}
