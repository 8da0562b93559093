//! The log: for people on a terminal, JSON for machines elsewhere, always on standard error.
//!
//! What is never logged: payloads, keys, tokens, capability URLs. Here nothing can filter that; the types hide
//! themselves when printed.

mod seldom;

use std::fmt;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

pub(crate) use self::seldom::Seldom;

/// Which variables say what is logged; the first that is set counts. Together with the configuration's, they are the
/// only variables that the service reads.
const VARIABLES: [&str; 2] = ["PUSH_SERVICE_LOG", "RUST_LOG"];

/// What is logged if no variable is set. Not the warnings of the HTTP/2 library: a peer could write as many of them as it has
/// frames to send, and the frames are counted anyway.
const DEFAULT_FILTER: &str = "info,h2=error";

/// A filter that cannot be read.
#[derive(Debug)]
pub struct LoggingError {
    variable: &'static str,
    cause: ParseError,
}

impl fmt::Display for LoggingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}; it takes a level such as `info`, or targets with levels such as `push_service=debug`",
            self.variable, self.cause
        )
    }
}

impl std::error::Error for LoggingError {}

/// Starts logging for the whole process; a second call changes nothing.
///
/// # Errors
///
/// A variable that is set but is no filter.
pub fn init() -> Result<(), LoggingError> {
    let filter = filter(|name| std::env::var(name).ok())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A log that can't be written is lost; saying so on the same standard error would panic (PR-5, PR-36).
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // An error means that a log is there already, as in tests: then that one stays.
    let _already = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).with_ansi(false).try_init()
    };
    Ok(())
}

fn filter(variable: impl Fn(&str) -> Option<String>) -> Result<EnvFilter, LoggingError> {
    let set = |name: &'static str| Some((name, variable(name).filter(|text| !text.is_empty())?));
    match VARIABLES.into_iter().find_map(set) {
        Some((variable, text)) => EnvFilter::builder()
            .parse(text)
            .map_err(|cause| LoggingError { variable, cause }),
        None => Ok(EnvFilter::new(DEFAULT_FILTER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Our own variable comes before the general one; without any the level is info, and what peers make h2 say is not logged.
    #[test]
    fn the_filter_comes_from_the_first_variable_that_is_set() {
        let rows = [
            (None, None, "h2=error,info"),
            (None, Some("warn"), "warn"),
            (Some("debug"), Some("warn"), "debug"),
            (Some(""), Some("warn"), "warn"),
        ];
        for (ours, general, expected) in rows {
            let given = |name: &str| {
                let value = if name == "PUSH_SERVICE_LOG" { ours } else { general };
                value.map(str::to_owned)
            };
            assert_eq!(filter(given).unwrap().to_string(), expected);
        }
    }

    /// A level that does not exist is refused with its variable, not ignored.
    #[test]
    fn a_filter_that_is_none_is_refused() {
        let refused = filter(|_| Some("push_service=loud".to_owned())).unwrap_err();
        assert!(refused.to_string().starts_with("PUSH_SERVICE_LOG: "), "{refused}");
    }
}
