//! Lists of `name=value` in header fields: RFC 9110's auth-params, RFC 7240's preferences, the `Encryption` and
//! `Crypto-Key` fields of the legacy encryption draft.

/// Splits at `separator` wherever it stands outside a quoted string.
pub(crate) fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match find_unquoted(text, separator) {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                Some(&text[..at])
            }
            None => rest.take(),
        }
    })
}

/// One `name=value` or bare `name` (whose value is then empty), without surrounding white space and quotes. What is
/// escaped inside a quoted string stays so. `None` for a broken quoted string, or white space within the parts.
pub(crate) fn parameter(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let (name, value) = (trim(name), trim(value));
    let value = match value.strip_prefix('"') {
        Some(rest) if end_of_quoted(rest)? + 1 == rest.len() => &rest[..rest.len() - 1],
        None if is_bare(value) => value,
        _ => return None,
    };
    is_bare(name).then_some((name, value))
}

/// One pass for each byte that may not be there: a search for one looks at many bytes at once, and a token has hundreds.
fn is_bare(part: &str) -> bool {
    let bytes = part.as_bytes();
    !(bytes.contains(&b' ') || bytes.contains(&b'\t') || bytes.contains(&b'"'))
}

/// Without the optional white space of RFC 9110 §5.6.3.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn find_unquoted(text: &str, separator: u8) -> Option<usize> {
    // Every push comes this way, hardly ever with quotes.
    let first = text.find(char::from(separator))?;
    if !text[..first].contains('"') {
        return Some(first);
    }
    let mut at = 0;
    while let Some(&byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => at += 1 + end_of_quoted(&text[at + 1..])?,
            _ if byte == separator => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the quoted string ends of which `text` follows the opening quote.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V-AUTH-2: a separator inside a quoted string separates nothing, an escaped quote does not end the string.
    #[test]
    fn quoted_strings_hold_separators() {
        let parts = |text| split(text, b',').collect::<Vec<_>>();
        assert_eq!(parts(r#"a=1, b="2,\",3",,c"#), ["a=1", r#" b="2,\",3""#, "", "c"]);
        assert_eq!(parts(r#"a="never, closed"#), [r#"a="never, closed"#]);
        assert_eq!(parts(""), [""]);
    }

    /// V-AUTH-2: white space may surround every part and stand in none.
    #[test]
    fn a_parameter_is_a_name_and_a_value() {
        let rows = [
            ("t=x.y", Some(("t", "x.y"))),
            (" t\t= x== ", Some(("t", "x=="))),
            (r#"t="a b""#, Some(("t", "a b"))),
            (r#"t="a\"b""#, Some(("t", r#"a\"b"#))),
            (r#"t="""#, Some(("t", ""))),
            ("bare", Some(("bare", ""))),
            ("", Some(("", ""))),
            ("t=a b", None),
            ("a t=b", None),
            (r#"t="a"#, None),
            (r#"t=""#, None),
            (r#"t="a\""#, None),
            (r#"t="a"b"#, None),
            (r#"t="a"b""#, None),
            (r#"t=a"b"#, None),
        ];
        for (text, expected) in rows {
            assert_eq!(parameter(text), expected, "{text}");
        }
    }
}
