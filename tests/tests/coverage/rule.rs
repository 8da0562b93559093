//! The names of rules, and how several are written in short: `PR-1 to PR-3`, `PR-1/2`.

use std::fmt;

/// A rule's name: `WS-HEL-3` is number 3 of the family `WS-HEL`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Rule {
    family: String,
    number: u32,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.family, self.number)
    }
}

impl Rule {
    /// A text that is one name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (rule, rest) = Self::read(text)?;
        rest.is_empty().then_some(rule)
    }

    /// The first part of its name, by which rules are told from what else is written in capitals.
    pub(crate) fn realm(&self) -> &str {
        self.family.split('-').next().unwrap_or_default()
    }

    /// The name that a text begins with, and the rest.
    fn read(text: &str) -> Option<(Self, &str)> {
        let end = text
            .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-'))
            .unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let (family, number) = name.rsplit_once('-')?;
        let goes_on = rest.starts_with(is_of_word);
        if goes_on || !family.starts_with(|c: char| c.is_ascii_uppercase()) {
            return None;
        }
        let rule = Self {
            family: family.to_owned(),
            number: number.parse().ok()?,
        };
        Some((rule, rest))
    }

    fn sibling(&self, number: u32) -> Self {
        Self {
            family: self.family.clone(),
            number,
        }
    }
}

/// The names that a text begins with, written in short or not, and the rest.
fn read_range(text: &str) -> Option<(Vec<Rule>, &str)> {
    let (first, mut rest) = Rule::read(text)?;
    let mut range = vec![first.clone()];
    if let Some((last, after)) = rest.strip_prefix(" to ").and_then(Rule::read)
        && last.family == first.family
    {
        range = (first.number..=last.number)
            .map(|number| first.sibling(number))
            .collect();
        rest = after;
    }
    while let Some(after) = rest.strip_prefix('/') {
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let Ok(number) = after[..end].parse() else { break };
        range.push(first.sibling(number));
        rest = &after[end..];
    }
    Some((range, rest))
}

/// Every rule that a text names.
pub(crate) fn all_in(text: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some((range, after)) = read_range(rest) {
            rules.extend(range);
            rest = after;
        }
        let word = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        let gap = rest[word..].find(is_of_word).unwrap_or(rest.len() - word);
        rest = &rest[word + gap..];
    }
    rules
}

/// Whether a text is names with commas between, and nothing else.
pub(crate) fn is_only_rules(text: &str) -> bool {
    let is_range = |part| read_range(part).is_some_and(|(_, rest)| rest.is_empty());
    text.split(", ").all(is_range)
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// Names are found alone, in lists and in ranges, and not in words that only look like them.
#[test]
fn rules_are_read() {
    let rows = [
        ("PR-1: a sentence (PR-12).", "PR-1 PR-12"),
        ("WS-HEL-3 to WS-HEL-5, WP-2", "WS-HEL-3 WS-HEL-4 WS-HEL-5 WP-2"),
        ("R30-TTL-6/7 and E91-10", "R30-TTL-6 R30-TTL-7 E91-10"),
        ("PR-1 to WS-2", "PR-1 WS-2"),
        ("AES-128-GCM, UTF-8x, x-PR-1, PR-, -1, R30-TTL", ""),
        ("é PR-7—", "PR-7"),
    ];
    for (text, expected) in rows {
        let found: Vec<_> = all_in(text).iter().map(Rule::to_string).collect();
        assert_eq!(found.join(" "), expected, "{text}");
    }
    assert!(is_only_rules("WP-4, R30-TOP-1") && !is_only_rules("WP-4 in a row") && !is_only_rules(""));
}
