//! Where values come from: a TOML file, then the environment, the later over the earlier.
//!
//! Knows names and places, not what a value means. An unknown name is refused here, with the nearest known one: a
//! misspelt limit that is silently ignored is worse than a service that does not start.

use std::collections::HashMap;

use config::{Environment, File, FileFormat, Source as _, Value, ValueKind};

use super::given::{Given, PREFIX, Source, variable};
use super::sections::{Item, Section as _, dotted};
use super::setting::Raw;
use super::{Config, ConfigError};

/// Collects from a file's name and text, and from environment variables.
pub(crate) fn collect(
    file: Option<(&str, &str)>,
    variables: HashMap<String, String>,
) -> Result<Given, ConfigError> {
    let mut collector = Collector::new();
    if let Some((name, text)) = file {
        let values = File::from_str(text, FileFormat::Toml)
            .collect()
            .map_err(|error| ConfigError::one(format!("{name}: {}", without_snippet(&error.to_string()))))?;
        collector.add("", values, &Source::File(name.to_owned()));
    }
    let values = Environment::with_prefix(PREFIX.trim_end_matches('_'))
        .prefix_separator("__")
        .separator("__")
        .source(Some(variables))
        .collect()
        .map_err(|_| ConfigError::one("the environment cannot be read".to_owned()))?;
    collector.add("", values, &Source::Environment);
    collector.finish()
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
                    _ => self.faults.push(format!(
                        "{} is a section, not a key; its keys are {}",
                        source.name(&key),
                        self.keys_of(&key, source),
                    )),
                }
            } else {
                match value.kind {
                    ValueKind::Table(inner) if !inner.is_empty() => self.add(&key, inner, source),
                    _ => self.unknown(&key, source),
                }
            }
        }
    }

    fn unknown(&mut self, key: &str, source: &Source) {
        let nearest = self.keys.iter().min_by_key(|known| distance(key, known));
        let nearest = nearest.map_or_else(String::new, |known| match source {
            Source::File(_) => known.clone(),
            Source::Environment => variable(known),
        });
        self.faults.push(format!(
            "{}: there is no such key; did you mean {nearest}?",
            source.name(key)
        ));
    }

    fn keys_of(&self, section: &str, source: &Source) -> String {
        let inside = |key: &&String| key.rsplit_once('.').is_some_and(|(path, _)| path == section);
        let names = self.keys.iter().filter(inside).map(|key| match source {
            Source::File(_) => key.clone(),
            Source::Environment => variable(key),
        });
        names.collect::<Vec<_>>().join(", ")
    }

    fn finish(mut self) -> Result<Given, ConfigError> {
        if self.faults.is_empty() {
            return Ok(self.given);
        }
        self.faults.sort();
        Err(ConfigError { faults: self.faults })
    }
}

/// How far two keys are apart; a key in the wrong section is near to its namesake in the right one.
fn distance(key: &str, known: &str) -> usize {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let whole = strsim::damerau_levenshtein(key, known);
    let name = strsim::damerau_levenshtein(&last(key), &last(known)) + 1;
    whole.min(name)
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
