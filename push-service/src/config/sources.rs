//! Where values come from: a TOML file, then the environment, the later over the earlier.
//!
//! Knows names and places, not what a value means. An unknown name is refused here, with the nearest known one if one is
//! near: a misspelt limit that is silently ignored is worse than a service that does not start.

use std::ffi::OsString;

use config::{Environment, File, FileFormat, Source as _, Value, ValueKind};

use super::Config;
use super::environment;
use super::given::{ENDING, Given, PREFIX, Source, variable};
use super::key_files;
use super::sections::{Item, Section as _, dotted};
use super::setting::Raw;
use super::unsure::Unsure;
use crate::nearest::nearest;

/// What the sources give.
pub(crate) struct Collected {
    pub(crate) given: Given,
    pub(crate) faults: Vec<String>,
    pub(crate) unsure: Unsure,
}

/// Collects from a file's name and text (or why it cannot be read), and from environment variables.
pub(crate) fn collect(
    file: Option<(String, Result<String, String>)>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Collected {
    let mut collector = Collector::new();
    if let Some((name, text)) = file {
        let values = text.and_then(|text| {
            let values = File::from_str(&text, FileFormat::Toml).collect();
            values.map_err(|error| without_snippet(&error.to_string()))
        });
        match values {
            Ok(values) => collector.add("", values, &Source::File(name)),
            Err(why) => {
                collector.unsure.note_everything();
                collector.faults.push(format!("{name}: {why}"));
            }
        }
    }
    let mut variables = environment::sort(variables, &collector.keys, &mut collector.unsure);
    collector.faults.extend(variables.faults);
    let files = key_files::take(&mut variables.keys, &collector.keys);
    let values = Environment::with_prefix(PREFIX.trim_end_matches('_'))
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables.keys))
        .collect();
    match values {
        Ok(values) => collector.add("", values, &Source::Environment),
        Err(_) => {
            collector.unsure.note_everything();
            collector.faults.push("the environment cannot be read".to_owned());
        }
    }
    for file in files {
        match file.read() {
            Ok(text) => collector
                .given
                .keep(file.key, Raw::Lines(text), Source::KeyFile(file.path)),
            Err(why) => {
                collector.unsure.note(&file.key);
                collector.faults.push(why);
            }
        }
    }
    collector.faults.sort();
    Collected {
        given: collector.given,
        faults: collector.faults,
        unsure: collector.unsure,
    }
}

/// The parser's message without the lines that it quotes, because they may hold a secret.
fn without_snippet(message: &str) -> String {
    let quotes = |line: &&str| {
        line.split_once('|')
            .is_some_and(|(number, _)| number.trim().bytes().all(|b| b.is_ascii_digit()))
    };
    let kept: Vec<_> = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !quotes(line))
        .collect();
    kept.join(": ")
}

struct Collector {
    keys: Vec<String>,
    sections: Vec<&'static str>,
    given: Given,
    faults: Vec<String>,
    unsure: Unsure,
}

impl Collector {
    fn new() -> Self {
        let mut items = Vec::new();
        Config::describe(&mut items);
        let (mut keys, mut sections) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Section { path, .. } => sections.push(path),
                Item::Key { name, .. } => keys.push(dotted(sections.last().unwrap_or(&""), name)),
            }
        }
        Self {
            keys,
            sections,
            given: Given::default(),
            faults: Vec::new(),
            unsure: Unsure::default(),
        }
    }

    fn add(&mut self, section: &str, values: impl IntoIterator<Item = (String, Value)>, source: &Source) {
        for (name, value) in values {
            let key = dotted(section, &name);
            if self.keys.contains(&key) {
                self.given.keep(key, raw(value.kind), source.clone());
            } else if self.sections.contains(&key.as_str()) {
                match value.kind {
                    ValueKind::Table(inner) => self.add(&key, inner, source),
                    _ => self.not_a_key(&key, source),
                }
            } else {
                match value.kind {
                    ValueKind::Table(inner) if !inner.is_empty() => self.add(&key, inner, source),
                    _ => self.unknown(&key, source),
                }
            }
        }
    }

    fn not_a_key(&mut self, section: &str, source: &Source) {
        let inside = |key: &&String| key.starts_with(&format!("{section}."));
        for key in self.keys.iter().filter(inside) {
            self.unsure.note(key);
        }
        self.faults.push(format!(
            "{} is a section, not a key; its keys are {}",
            source.name(section),
            self.keys_of(section, source),
        ));
    }

    fn unknown(&mut self, key: &str, source: &Source) {
        let named = key
            .strip_suffix(ENDING)
            .filter(|key| self.keys.iter().any(|known| known == key));
        // Of a variable for a file, the nearest is one as well.
        let ending = match source {
            Source::Environment if key.ends_with(ENDING) => ENDING,
            _ => "",
        };
        let (start, _) = key.split_at(key.len() - ending.len());
        let start = nearest(start, self.keys.iter().map(String::as_str));
        let whole = nearest(key, self.keys.iter().map(String::as_str));
        let (meant, ending) = match whole {
            Some(whole) => (Some(whole), ""),
            None => (start, ending),
        };
        if let Some(meant) = named.or(meant) {
            self.unsure.note(meant);
        }
        let meant = match (meant, source) {
            (_, Source::File(_)) if named.is_some() => format!(
                "only the environment names files with values: set {}",
                variable(key)
            ),
            (None, _) => "`push-service config print-default` prints all keys".to_owned(),
            (Some(known), Source::File(_)) => format!("did you mean {known}?"),
            (Some(known), Source::Environment | Source::KeyFile(_)) => {
                format!("did you mean {}?", variable(&format!("{known}{ending}")))
            }
        };
        let place = source.name(key);
        self.faults
            .push(format!("{place}: there is no such key; {meant}"));
    }

    fn keys_of(&self, section: &str, source: &Source) -> String {
        let inside = |key: &&String| key.rsplit_once('.').is_some_and(|(path, _)| path == section);
        let names = self.keys.iter().filter(inside).map(|key| match source {
            Source::File(_) => key.clone(),
            Source::Environment | Source::KeyFile(_) => variable(key),
        });
        names.collect::<Vec<_>>().join(", ")
    }
}

fn raw(kind: ValueKind) -> Raw {
    match kind {
        ValueKind::String(text) => Raw::Text(text),
        ValueKind::I64(number) => Raw::Integer(number),
        ValueKind::Float(number) => Raw::Float(number),
        ValueKind::Boolean(truth) => Raw::Boolean(truth),
        ValueKind::Array(values) => Raw::List(values.into_iter().map(|value| raw(value.kind)).collect()),
        _ => Raw::Other,
    }
}
