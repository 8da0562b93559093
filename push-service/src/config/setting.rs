//! How a single value is read, whichever source it comes from, and printed again.
//!
//! The environment knows only text; TOML knows numbers, booleans and lists too. Each type takes both.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A value as it was given, before it means anything.
pub(crate) enum Raw {
    /// The environment's only form.
    Text(String),
    /// What is in a file that the environment names. Lines end the entries of a list, like commas.
    Lines(String),
    /// Of a file.
    Integer(i64),
    /// Of a file.
    Float(f64),
    /// Of a file.
    Boolean(bool),
    /// Of a file.
    List(Vec<Raw>),
    /// Of a file: a table where a value belongs, or a form that no key takes.
    Other,
}

impl Raw {
    /// The text of a value that can be written as one word.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.trim().to_owned()),
            Self::Lines(text) => Some(text.trim()).filter(|text| is_line(text)).map(str::to_owned),
            Self::Integer(number) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            Self::Boolean(truth) => Some(truth.to_string()),
            Self::List(_) | Self::Other => None,
        }
    }

    /// The text of a value as it was given, with the spaces around it; it has no line end.
    pub(crate) fn exact_text(&self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Lines(text) => Some(text.clone()).filter(|text| is_line(text)),
            _ => self.text(),
        }
    }

    /// What is wrong with the form, whichever key it is for.
    pub(crate) fn why_not(&self) -> Option<String> {
        let has_lines = matches!(self, Self::Lines(text) if !is_line(text.trim()));
        has_lines.then(|| "it has more than one line".to_owned())
    }

    /// The entries of a list; text is a list with commas, and empty text the empty one.
    fn entries(&self) -> Option<Vec<Raw>> {
        let split = |text: &str, at: &[char]| {
            let entries = text.split(at).map(str::trim);
            entries
                .filter(|entry| !entry.is_empty())
                .map(|entry| Self::Text(entry.to_owned()))
                .collect()
        };
        match self {
            Self::Text(text) => Some(split(text, &[','])),
            Self::Lines(text) => Some(split(text, &[',', '\n', '\r'])),
            Self::List(entries) => entries.iter().map(|entry| entry.text().map(Self::Text)).collect(),
            _ => None,
        }
    }
}

fn is_line(text: &str) -> bool {
    !text.contains(['\n', '\r'])
}

/// A type that a key can have.
pub(crate) trait Setting: Sized {
    /// What a value looks like, as the end of a sentence: "it takes …".
    fn takes() -> String;

    /// Reads a value, if it is one.
    fn parse(raw: &Raw) -> Option<Self>;

    /// What exactly is wrong with a refused value, if more can be said than what the key takes. Holds no secret.
    fn why_not(_: &Raw) -> Option<String> {
        None
    }

    /// Writes it so that `parse` reads the same.
    fn to_toml(&self) -> String;

    /// A refused value as it may be shown; `None` for secrets.
    fn show(raw: &Raw) -> Option<String> {
        Some(match raw {
            Raw::List(entries) => {
                let shown: Vec<_> = entries
                    .iter()
                    .map(|e| Self::show(e).unwrap_or_default())
                    .collect();
                format!("[{}]", shown.join(", "))
            }
            Raw::Other => "a table".to_owned(),
            word => word.text().unwrap_or_default().chars().take(80).collect(),
        })
    }
}

/// Text as TOML writes it.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

macro_rules! numbers {
    ($($type:ty: $takes:literal),+ $(,)?) => { $(
        impl Setting for $type {
            fn takes() -> String {
                $takes.to_owned()
            }

            fn parse(raw: &Raw) -> Option<Self> {
                raw.text()?.replace('_', "").parse().ok()
            }

            fn to_toml(&self) -> String {
                format!("{self:?}")
            }
        }
    )+ };
}

numbers! {
    u32: "a whole number",
    u64: "a whole number",
    usize: "a whole number",
    f64: "a number",
}

impl Setting for bool {
    fn takes() -> String {
        "true or false".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        raw.text()?.parse().ok()
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Setting for Duration {
    fn takes() -> String {
        "a time such as `500ms`, `30s`, `5m`, `12h` or `30d` (a bare number means seconds)".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        let text = raw.text()?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().ok()?;
        let unit = text[digits..].trim_start();
        if unit == "ms" {
            return Some(Self::from_millis(number));
        }
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        number.checked_mul(*seconds).map(Self::from_secs)
    }

    fn to_toml(&self) -> String {
        if self.subsec_millis() != 0 {
            return quoted(&format!("{}ms", self.as_millis()));
        }
        let seconds = self.as_secs();
        let fits = |unit: &&(&str, u64)| !unit.0.is_empty() && seconds.is_multiple_of(unit.1);
        match UNITS.iter().find(fits) {
            Some((unit, length)) if seconds > 0 => quoted(&format!("{}{unit}", seconds / length)),
            _ => quoted("0s"),
        }
    }
}

/// Units of time in seconds, the longest first; a bare number counts seconds.
const UNITS: [(&str, u64); 5] = [("d", 24 * 60 * 60), ("h", 60 * 60), ("m", 60), ("s", 1), ("", 1)];

impl Setting for SocketAddr {
    fn takes() -> String {
        "an IP address with a port, such as `127.0.0.1:8080` or `[::]:8080`".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        raw.text()?.parse().ok()
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for PathBuf {
    fn takes() -> String {
        "the path of a file".to_owned()
    }

    fn parse(raw: &Raw) -> Option<Self> {
        raw.text().filter(|path| !path.is_empty()).map(Self::from)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

/// Not set is the empty text, so that an environment can unset what a file sets.
impl<T: Setting> Setting for Option<T> {
    fn takes() -> String {
        format!("{}, or nothing", T::takes())
    }

    fn parse(raw: &Raw) -> Option<Self> {
        if raw.text().is_some_and(|text| text.is_empty()) {
            return Some(None);
        }
        T::parse(raw).map(Some)
    }

    fn to_toml(&self) -> String {
        self.as_ref().map_or_else(|| quoted(""), T::to_toml)
    }

    fn show(raw: &Raw) -> Option<String> {
        T::show(raw)
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn takes() -> String {
        format!("a list, each entry {}", T::takes())
    }

    fn parse(raw: &Raw) -> Option<Self> {
        raw.entries()?.iter().map(T::parse).collect()
    }

    fn to_toml(&self) -> String {
        let entries: Vec<_> = self.iter().map(T::to_toml).collect();
        format!("[{}]", entries.join(", "))
    }

    /// Only the entry that is at fault.
    fn show(raw: &Raw) -> Option<String> {
        match raw
            .entries()
            .unwrap_or_default()
            .iter()
            .find(|entry| T::parse(entry).is_none())
        {
            Some(entry) => T::show(entry),
            None => T::show(raw),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duration(text: &str) -> Option<Duration> {
        Duration::parse(&Raw::Text(text.to_owned()))
    }

    /// Times have a unit; a bare number means seconds, whether text or a TOML integer.
    #[test]
    fn times_are_read_with_their_units() {
        let rows = [
            ("500ms", Some(Duration::from_millis(500))),
            ("30s", Some(Duration::from_secs(30))),
            ("30", Some(Duration::from_secs(30))),
            ("5m", Some(Duration::from_secs(300))),
            ("12h", Some(Duration::from_secs(43_200))),
            ("30d", Some(Duration::from_secs(2_592_000))),
            ("30 d", Some(Duration::from_secs(2_592_000))),
            ("", None),
            ("s", None),
            ("-5s", None),
            ("1.5s", None),
            ("5 weeks", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ];
        for (text, expected) in rows {
            assert_eq!(duration(text), expected, "{text}");
        }
        assert_eq!(Duration::parse(&Raw::Integer(30)), Some(Duration::from_secs(30)));
        assert_eq!(Duration::parse(&Raw::Integer(-30)), None);
    }

    /// A time is printed in the largest unit that divides it, and reads back the same.
    #[test]
    fn times_survive_being_printed() {
        let rows = [
            (Duration::ZERO, "\"0s\""),
            (Duration::from_millis(1_500), "\"1500ms\""),
            (Duration::from_secs(90), "\"90s\""),
            (Duration::from_secs(300), "\"5m\""),
            (Duration::from_secs(7_200), "\"2h\""),
            (Duration::from_secs(34_560_000), "\"400d\""),
        ];
        for (time, printed) in rows {
            assert_eq!(time.to_toml(), printed);
            assert_eq!(duration(printed.trim_matches('"')), Some(time));
        }
    }

    /// A list is a TOML list, or text with commas; blanks around entries do not count.
    #[test]
    fn lists_are_read_from_both_forms() {
        let text = Raw::Text(" 127.0.0.1:1 , [::1]:2,".to_owned());
        let list = Raw::List(vec![
            Raw::Text("127.0.0.1:1".to_owned()),
            Raw::Text("[::1]:2".to_owned()),
        ]);
        let from_text: Vec<SocketAddr> = Setting::parse(&text).unwrap();
        let from_list: Vec<SocketAddr> = Setting::parse(&list).unwrap();
        assert_eq!(from_text, from_list);
        assert_eq!(from_text.len(), 2);
        assert_eq!(Vec::<SocketAddr>::parse(&Raw::Text(String::new())), Some(vec![]));
        assert_eq!(Vec::<SocketAddr>::parse(&Raw::Boolean(true)), None);
    }
}
