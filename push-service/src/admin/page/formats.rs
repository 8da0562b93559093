//! How values are written for people. `page.js` has the same forms: a test in a browser compares them.

use serde_json::Value;

/// The name of a form, and how it writes a value. A value that is not there is a dash.
pub(super) fn written(form: &str, value: &Value) -> Option<String> {
    let number = value.as_f64();
    let text = match form {
        "text" => return Some(value.as_str().map_or_else(dash, ToOwned::to_owned)),
        "count" => number.map(count),
        "rate" => number.map(rate),
        "wait" => number.map(wait),
        "about" => number.map(about),
        "span" => number.map(span),
        "bytes" => number.map(bytes),
        "clock" => number.map(clock),
        _ => return None,
    };
    Some(text.unwrap_or_else(dash))
}

fn dash() -> String {
    "–".to_owned()
}

/// `12,345`.
fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.abs().round());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number.round() < 0.0 {
        format!("−{text}")
    } else {
        text
    }
}

/// Per second: `0`, `< 0.1`, `2.5`, `12,345`.
fn rate(per_second: f64) -> String {
    if per_second <= 0.0 {
        "0".to_owned()
    } else if per_second < 0.1 {
        "< 0.1".to_owned()
    } else if per_second < 99.95 {
        tenths(per_second)
    } else {
        count(per_second)
    }
}

/// Of messages, in seconds: `0.7 ms`, `45 ms`, `1.5 s`, `12 min`, `5 h`, `3 days`.
fn wait(seconds: f64) -> String {
    let ms = seconds * 1_000.0;
    match seconds {
        _ if ms < 9.95 => format!("{} ms", tenths(ms)),
        _ if ms < 999.5 => format!("{} ms", count(ms)),
        _ if seconds < 59.95 => format!("{} s", tenths(seconds)),
        _ => about(seconds),
    }
}

/// Seconds, rounded to one unit: `42 s`, `10 min`, `5 h`, `62 days`.
fn about(seconds: f64) -> String {
    match seconds {
        _ if seconds < 59.5 => format!("{} s", count(seconds)),
        _ if seconds < 3_570.0 => format!("{} min", count(seconds / 60.0)),
        _ if seconds < 171_000.0 => format!("{} h", count(seconds / 3_600.0)),
        _ => format!("{} days", count(seconds / 86_400.0)),
    }
}

/// Whole seconds: `42 s`, `12 min 5 s`, `4 h 12 min`, `3 d 4 h`.
fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0).floor();
    let of = |unit: f64, within: f64| count((seconds % within / unit).floor());
    match seconds {
        _ if seconds < 60.0 => format!("{} s", count(seconds)),
        _ if seconds < 3_600.0 => format!("{} min {} s", of(60.0, 3_600.0), of(1.0, 60.0)),
        _ if seconds < 86_400.0 => format!("{} h {} min", of(3_600.0, 86_400.0), of(60.0, 3_600.0)),
        _ => format!("{} d {} h", of(86_400.0, f64::MAX), of(3_600.0, 86_400.0)),
    }
}

/// `812 B`, `1.5 KiB`, `12.0 GiB`.
fn bytes(bytes: f64) -> String {
    let mut size = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1_023.95 {
            let number = if unit == "B" { count(size) } else { tenths(size) };
            return format!("{number} {unit}");
        }
        size /= 1_024.0;
    }
    format!("{} TiB", tenths(size))
}

/// How far a clock is ahead, in milliseconds: `12 ms ahead`, `3 ms behind`.
fn clock(ms: f64) -> String {
    match ms {
        _ if ms > 0.0 => format!("{} ms ahead", count(ms)),
        _ if ms < 0.0 => format!("{} ms behind", count(-ms)),
        _ => "the same".to_owned(),
    }
}

/// With one decimal, and halves rounded up, as the script does.
fn tenths(number: f64) -> String {
    format!("{:.1}", (number * 10.0 + 0.5).floor() / 10.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Each form, at the borders of its units.
    #[test]
    fn values_are_written_for_people() {
        let rows = [
            ("count", json!(0), "0"),
            ("count", json!(999), "999"),
            ("count", json!(1_234_567), "1,234,567"),
            ("count", json!(-1_000), "−1,000"),
            ("count", json!(null), "–"),
            ("rate", json!(0.0), "0"),
            ("rate", json!(0.04), "< 0.1"),
            ("rate", json!(0.25), "0.3"),
            ("rate", json!(99.94), "99.9"),
            ("rate", json!(99.95), "100"),
            ("rate", json!(12_345.4), "12,345"),
            ("wait", json!(0.00071), "0.7 ms"),
            ("wait", json!(0.00994), "9.9 ms"),
            ("wait", json!(0.00996), "10 ms"),
            ("wait", json!(0.9994), "999 ms"),
            ("wait", json!(0.9996), "1.0 s"),
            ("wait", json!(59.9), "59.9 s"),
            ("wait", json!(60.0), "1 min"),
            ("wait", json!(3_600.0), "1 h"),
            ("wait", json!(172_800.0), "2 days"),
            ("wait", json!(null), "–"),
            ("about", json!(0), "0 s"),
            ("about", json!(600.7), "10 min"),
            ("about", json!(5_356_800), "62 days"),
            ("span", json!(59), "59 s"),
            ("span", json!(725), "12 min 5 s"),
            ("span", json!(15_120), "4 h 12 min"),
            ("span", json!(273_600), "3 d 4 h"),
            ("bytes", json!(0), "0 B"),
            ("bytes", json!(1_023), "1,023 B"),
            ("bytes", json!(1_536), "1.5 KiB"),
            ("bytes", json!(12_884_901_888_u64), "12.0 GiB"),
            ("clock", json!(12), "12 ms ahead"),
            ("clock", json!(-3), "3 ms behind"),
            ("clock", json!(0), "the same"),
            ("text", json!("as it is"), "as it is"),
            ("text", json!(null), "–"),
        ];
        for (form, value, expected) in rows {
            assert_eq!(written(form, &value).as_deref(), Some(expected), "{form} {value}");
        }
        assert_eq!(written("unknown", &json!(1)), None);
    }
}
