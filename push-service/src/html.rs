//! What pages for browsers need: whether a peer wants one, and text that cannot become markup.

use http::HeaderMap;
use http::header::ACCEPT;

/// Whether the peer accepts HTML by name, as browsers do. `*/*`, which curl and libraries send, does not name it.
pub(crate) fn is_wanted(request: &HeaderMap) -> bool {
    let fields = request.get_all(ACCEPT).iter();
    let mut ranges = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','));
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("text/html"))
            && !parts.any(is_zero)
    })
}

/// Whether a parameter says that the media type is not acceptable (RFC 9110 §12.4.2).
fn is_zero(parameter: &str) -> bool {
    let weight = parameter
        .strip_prefix("q=")
        .or_else(|| parameter.strip_prefix("Q="));
    weight.and_then(|weight| weight.parse().ok()) == Some(0.0_f32)
}

/// For the content of an element or an attribute in double quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Browsers name HTML; probes, libraries and curl do not, and a peer may refuse it.
    #[test]
    fn browsers_want_a_page() {
        let rows: [(&[&str], bool); 10] = [
            (
                &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
                true,
            ),
            (&["application/json", "Text/HTML; q=0.5"], true),
            (&["text/html;level=1"], true),
            (&[], false),
            (&["*/*"], false),
            (&["text/*"], false),
            (&["application/json"], false),
            (&["text/html;q=0"], false),
            (&["text/html; q=0.000, */*"], false),
            (&["text/htmlx"], false),
        ];
        for (fields, wanted) in rows {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(ACCEPT, HeaderValue::from_str(field).unwrap());
            }
            assert_eq!(is_wanted(&headers), wanted, "{fields:?}");
        }
        let mut binary = HeaderMap::new();
        binary.append(ACCEPT, HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(!is_wanted(&binary));
    }

    /// No text leaves its element or attribute.
    #[test]
    fn text_stays_text() {
        assert_eq!(
            escape("<a href=\"x\" id='y'>&"),
            "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;"
        );
        assert_eq!(escape("größe ✓"), "größe ✓");
    }
}
