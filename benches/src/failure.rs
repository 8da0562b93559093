//! How a measurement fails: with a sentence, and with no figure.

use std::fmt;
use std::time::Duration;

/// A step that takes longer has failed: everything here runs on one machine, and the service itself waits for no peer that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no figure.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// A step of a measurement.
pub(crate) type BenchResult<T> = Result<T, Failure>;

impl Failure {
    /// For this reason.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// Because the reader of the figures has gone (`| head -1`): there is nothing to say.
    pub(crate) fn reader_gone() -> Self {
        Self(String::new())
    }

    /// Whether there is nothing to say.
    pub(crate) fn is_quiet(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Says what was being done when an error came.
pub(crate) trait While<T> {
    /// Puts `doing` in front of the error.
    fn doing(self, doing: impl fmt::Display) -> BenchResult<T>;
}

impl<T, E: fmt::Display> While<T> for Result<T, E> {
    fn doing(self, doing: impl fmt::Display) -> BenchResult<T> {
        self.map_err(|error| Failure(format!("{doing}: {error}")))
    }
}

/// Waits for a step, but not for ever.
pub(crate) async fn within<T>(step: &str, future: impl Future<Output = BenchResult<T>>) -> BenchResult<T> {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure(format!(
            "{step}: not done after {} s",
            PATIENCE.as_secs()
        ))),
    }
}
