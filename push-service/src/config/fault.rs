//! A fault between keys: the sentence, and the keys that it is about.

/// Something wrong between keys.
pub(super) struct Fault {
    /// The keys that it is about. If the value of one of them is unsure, this may be no fault.
    pub(super) keys: Vec<&'static str>,
    /// What is wrong, and what to change.
    pub(super) sentence: String,
}

impl Fault {
    pub(super) fn new(keys: &[&'static str], sentence: impl Into<String>) -> Self {
        Self {
            keys: keys.to_vec(),
            sentence: sentence.into(),
        }
    }
}
