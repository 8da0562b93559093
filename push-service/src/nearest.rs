//! The known name that a misspelt one was probably meant to be.

/// The most letters in which a suggestion may differ, and at most a third of the name. Chosen: two slips and a letter more;
/// beyond it the suggestion would be a guess.
const DIFFERENT_MOST: usize = 3;

/// The name nearest to `given`, if one is near.
///
/// Names may be dotted: one in the wrong section is near its namesake in the right one.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known
        .into_iter()
        .filter_map(|name| Some((distance(given, name)?, name)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// How far two names are apart, if they are near.
fn distance(given: &str, known: &str) -> Option<usize> {
    let last = |name: &'_ str| name.rsplit('.').next().map(str::to_owned).unwrap_or_default();
    let whole = letters_apart(given, known);
    let namesake = letters_apart(&last(given), &last(known)).map(|distance| distance + 1);
    whole.into_iter().chain(namesake).min()
}

fn letters_apart(given: &str, known: &str) -> Option<usize> {
    let shorter = given.chars().count().min(known.chars().count());
    let most = (shorter / 3).clamp(1, DIFFERENT_MOST);
    let distance = strsim::damerau_levenshtein(given, known);
    (shorter > 0 && distance <= most).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slips are found, in the name and in its section; what is far from everything gets no suggestion.
    #[test]
    fn only_near_names_are_suggested() {
        let known = [
            "public_url",
            "listen.tls",
            "tls.acme.ca",
            "limits.body_bytes",
            "limits.ttl",
            "channels.in_flight",
        ];
        let rows = [
            ("public_ulr", Some("public_url")),
            ("tsl", Some("listen.tls")),
            ("limit.body_bytes", Some("limits.body_bytes")),
            ("limits.bodybyte", Some("limits.body_bytes")),
            ("in_flight", Some("channels.in_flight")),
            ("limit.ttl", Some("limits.ttl")),
            ("limit.x", None),
            ("limits.x", None),
            ("x", None),
            ("", None),
            ("limits.largest_message", None),
            ("security.admin_password", None),
        ];
        for (given, expected) in rows {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
    }
}
