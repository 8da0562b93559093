//! The one wiring place: builds the service from its configuration, runs it, drains it.

use std::fmt;

use crate::config::Config;

/// Why the service ended before it was told to.
#[derive(Debug)]
pub struct ServiceError(String);

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServiceError {}

/// Runs until it is told to leave.
///
/// # Errors
///
/// What keeps it from starting or from going on.
pub async fn run(config: Config) -> Result<(), ServiceError> {
    drop(config);
    Err(ServiceError("there is nothing to run yet".to_owned()))
}
