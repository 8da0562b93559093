//! Keys whose values are not known, because the given values were refused. Rules that depend on such a key are not checked:
//! they would be checked against a default that the operator did not choose.

use std::collections::BTreeSet;

/// The keys whose values are not known.
#[derive(Clone, Default, Debug)]
pub(crate) struct Unsure {
    everything: bool,
    keys: BTreeSet<String>,
}

impl Unsure {
    /// The value of this key is not known.
    pub(crate) fn note(&mut self, key: &str) {
        self.keys.insert(key.to_owned());
    }

    /// A source could not be read, and may have set any key.
    pub(crate) fn note_everything(&mut self) {
        self.everything = true;
    }

    /// Whether the values of all these keys are known.
    pub(crate) fn is_sure_of(&self, keys: &[&str]) -> bool {
        !self.everything && !keys.iter().any(|key| self.keys.contains(*key))
    }
}
