//! `Link` header fields (RFC 8288), as far as RFC 8030 uses them: one target for a relation.

use http::HeaderMap;
use http::header::LINK;

use super::{HeaderError, text};
use crate::parameters::{parameter, split};

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

    /// A header field's value: in the one shape that all known readers take (R30-SUB-5).
    pub fn link(self, target: &str) -> String {
        ["<", target, ">; rel=\"", self.name(), "\""].concat()
    }
}

/// The target of the link of this relation, if there is one. Links of other relations are passed over.
///
/// # Errors
///
/// [`HeaderError::MalformedLink`] if a line can't be read, or two targets are named.
pub fn link(headers: &HeaderMap, relation: Relation) -> Result<Option<&str>, HeaderError> {
    let mut found = None;
    for line in headers.get_all(LINK) {
        let mut rest = text(line).ok_or(HeaderError::MalformedLink)?;
        while !rest.is_empty() {
            let (target, parameters, behind) = first_link(rest).ok_or(HeaderError::MalformedLink)?;
            rest = behind;
            if !has_relation(parameters, relation) {
                continue;
            }
            if found.is_some_and(|earlier| earlier != target) {
                return Err(HeaderError::MalformedLink);
            }
            found = Some(target);
        }
    }
    Ok(found)
}

/// `<target> parameters , rest`. A target may have commas, so it is cut off first.
fn first_link(text: &str) -> Option<(&str, &str, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    if text.is_empty() {
        return Some(("", "", ""));
    }
    let (target, behind) = text.strip_prefix('<')?.split_once('>')?;
    let parameters = split(behind, b',').next()?;
    let rest = behind[parameters.len()..].trim_start_matches([' ', '\t', ',']);
    Some((target, parameters, rest))
}

/// `rel` may name several relations, and only the first `rel` counts (RFC 8288 §3.3).
fn has_relation(parameters: &str, relation: Relation) -> bool {
    let rel = split(parameters, b';')
        .filter_map(parameter)
        .find(|(name, _)| name.eq_ignore_ascii_case("rel"));
    rel.is_some_and(|(_, names)| {
        names
            .split([' ', '\t'])
            .any(|name| name.eq_ignore_ascii_case(relation.name()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(lines: &[&str], relation: Relation) -> Result<Option<String>, HeaderError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(LINK, line.parse().unwrap());
        }
        link(&headers, relation).map(|found| found.map(str::to_owned))
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
        }
    }

    /// R30-SET-4, R30-RCP-6: what can't be read, or names two, is an error and not another set.
    #[test]
    fn what_is_no_link_is_refused() {
        let rows: &[&[&str]] = &[
            &["/s/1; rel=urn:ietf:params:push:set"],
            &["</s/1; rel=urn:ietf:params:push:set"],
            &["</s/1>; rel=urn:ietf:params:push:set, </s/2>; rel=urn:ietf:params:push:set"],
        ];
        for lines in rows {
            assert_eq!(
                find(lines, Relation::Set),
                Err(HeaderError::MalformedLink),
                "{lines:?}"
            );
        }
    }

    /// R30-SUB-5: written with quotes and one space after the semicolon.
    #[test]
    fn a_link_has_one_shape() {
        let link = Relation::Push.link("https://h/push/a");
        assert_eq!(link, r#"<https://h/push/a>; rel="urn:ietf:params:push""#);
    }
}
