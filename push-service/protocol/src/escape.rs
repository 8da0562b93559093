//! Text that others wrote, made harmless for a terminal, a log and a person who reads it.
//!
//! A message, a sentence of a service or a header field may hold characters that a terminal obeys (control characters) or
//! that change the order or the lines of what a person sees (bidirectional controls, line separators). Every output that
//! shows such text goes through this module. Each of these characters becomes its number; all others stay.
//!
//! It does not know what the text means: secrets are hidden elsewhere.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Whether a character is written as its number: control characters (U+0000 to U+001F, U+007F to U+009F), bidirectional
/// controls (Unicode UAX #9), and the line and paragraph separators.
pub fn is_hazardous(character: char) -> bool {
    let is_bidirectional = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    character.is_control() || is_bidirectional || matches!(character, '\u{2028}' | '\u{2029}')
}

/// The text in one line, with `\u{1b}` for the character U+001B.
///
/// ```
/// use push_protocol::escape;
///
/// assert_eq!(escape::text("Grüße\u{1b}[2J"), r"Grüße\u{1b}[2J");
/// ```
pub fn text(text: &str) -> Cow<'_, str> {
    text_except(text, &[])
}

/// The same, without escaping the characters in `kept`: those that the caller itself has put in.
pub fn text_except<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let is_escaped = |character| is_hazardous(character) && !kept.contains(&character);
    replaced(text, is_escaped, |out, character| {
        write!(out, "\\u{{{:x}}}", u32::from(character))
    })
}

/// A JSON document, with `\u009b` for the character U+009B. It stays the same document, because JSON has such characters
/// only in strings; line feeds and other white space between values stay.
///
/// ```
/// use push_protocol::escape;
///
/// assert_eq!(escape::json("{\"text\":\"a\u{9b}\"}\n"), "{\"text\":\"a\\u009b\"}\n");
/// ```
pub fn json(document: &str) -> Cow<'_, str> {
    let is_escaped = |character| is_hazardous(character) && !matches!(character, '\n' | '\r' | '\t');
    replaced(document, is_escaped, |out, character| {
        write!(out, "\\u{:04x}", u32::from(character))
    })
}

/// Borrows if there is nothing to replace: nearly always.
fn replaced<'a>(
    text: &'a str,
    is_escaped: impl Fn(char) -> bool,
    write: impl Fn(&mut String, char) -> fmt::Result,
) -> Cow<'a, str> {
    let Some(first) = text.find(&is_escaped) else {
        return Cow::Borrowed(text);
    };
    let (before, rest) = text.split_at(first);
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(before);
    for character in rest.chars() {
        if is_escaped(character) {
            write(&mut out, character).expect("writing to a string cannot fail");
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every control character, bidirectional control and line separator, as ranges.
    const HAZARDS: [(u32, u32); 7] = [
        (0, 0x1f),
        (0x7f, 0x9f),
        (0x61c, 0x61c),
        (0x200e, 0x200f),
        (0x2028, 0x2029),
        (0x202a, 0x202e),
        (0x2066, 0x2069),
    ];

    fn all() -> impl Iterator<Item = char> {
        (0..=0x0001_ffff).filter_map(char::from_u32)
    }

    /// Exactly the control characters, bidirectional controls and line separators are escaped.
    #[test]
    fn exactly_the_hazards_are_escaped() {
        for character in all() {
            let number = u32::from(character);
            let expected = HAZARDS.iter().any(|(from, to)| (*from..=*to).contains(&number));
            assert_eq!(is_hazardous(character), expected, "U+{number:04X}");
            let one = character.to_string();
            if expected {
                assert_eq!(text(&one), format!("\\u{{{number:x}}}"));
            } else {
                assert!(matches!(text(&one), Cow::Borrowed(_)), "U+{number:04X}");
            }
        }
        assert_eq!(
            text("a\u{202e}b\nc\u{2028}\u{9b}2J"),
            r"a\u{202e}b\u{a}c\u{2028}\u{9b}2J"
        );
        assert_eq!(text_except("a\tb\n\u{1b}", &['\t', '\n']), "a\tb\n\\u{1b}");
    }

    /// Escaped JSON is the same document, has no hazard left, and stays one line.
    #[test]
    fn json_stays_the_same_document() {
        let every: String = all().filter(|c| *c < '\u{3000}').collect();
        let document = serde_json::to_string(&serde_json::json!({ "text": every })).unwrap();
        let escaped = json(&document);
        assert!(!escaped.chars().any(is_hazardous));
        let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read["text"], every);
        assert_eq!(json("{\n\t\"a\": 1\n}\r\n"), "{\n\t\"a\": 1\n}\r\n");
    }
}
