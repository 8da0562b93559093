//! The values that an operator gave, each with its source, as they stand between reading and understanding them.

use std::collections::BTreeMap;

use super::setting::Raw;

/// How every variable begins that is a key. Two underscores, because Kubernetes sets `PUSH_SERVICE_PORT` and its like in every
/// pod beside a Service of our name.
pub(crate) const PREFIX: &str = "PUSH_SERVICE__";

/// What the name of a key gets at its end when it names a file.
pub(super) const ENDING: &str = "_file";

/// Which source a value comes from.
#[derive(Clone)]
pub(crate) enum Source {
    /// A file, by the name that the operator gave it.
    File(String),
    /// The environment.
    Environment,
    /// A file with one value, by the path that a variable of the environment has.
    KeyFile(String),
}

impl Source {
    /// A key as it is spelt in this source, for a sentence.
    pub(crate) fn name(&self, key: &str) -> String {
        match self {
            Self::File(file) => format!("{file}: {key}"),
            Self::Environment => variable(key),
            Self::KeyFile(path) => format!("{}: {path}", variable(&format!("{key}{ENDING}"))),
        }
    }

    /// Whether a sentence may quote what was given there.
    pub(crate) fn may_be_quoted(&self) -> bool {
        !matches!(self, Self::KeyFile(_))
    }
}

/// `limits.body_bytes` is `PUSH_SERVICE__LIMITS__BODY_BYTES`.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// The values that were given, by dotted key.
#[derive(Default)]
pub(crate) struct Given(BTreeMap<String, (Raw, Source)>);

impl Given {
    /// Keeps a value; it takes the place of one that an earlier source gave.
    pub(crate) fn keep(&mut self, key: String, value: Raw, source: Source) {
        self.0.insert(key, (value, source));
    }

    /// Takes a value out.
    pub(crate) fn take(&mut self, key: &str) -> Option<(Raw, Source)> {
        self.0.remove(key)
    }
}
