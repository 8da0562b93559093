//! The log: text for people, JSON for machines, always on standard error. What is logged can be changed while the process runs.
//!
//! What is never logged: payloads, keys, tokens, capability URLs. Here nothing can filter that; the types hide
//! themselves when printed. What peers wrote is escaped here, in every record.

mod current_filter;
mod escaped;
mod filter;
mod format;
mod seldom;

use std::fmt;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;

pub(crate) use self::current_filter::{change_filter, filter_now};
use self::escaped::EscapedStderr;
use self::filter::AcceptedNames;
pub use self::format::LogFormat;
use self::format::{Destination, JournalFormat, Shape};
pub(crate) use self::seldom::Seldom;

/// The variable that says what is logged.
pub(crate) const VARIABLE: &str = "PUSH_SERVICE_LOG";

/// The variable that many programs read, for when [`VARIABLE`] is not set. Beside the keys of
/// the configuration, the service reads only these two, and [`JOURNAL`].
const SHARED_VARIABLE: &str = "RUST_LOG";

/// The variable by which systemd says that standard error is its journal.
const JOURNAL: &str = "JOURNAL_STREAM";

/// What is logged if no variable is set. Not the warnings of the HTTP/2 library: a peer could write as many of them as it has
/// frames to send, and the frames are counted anyway.
const DEFAULT_FILTER: &str = "info,h2=error";

/// A filter that cannot be used.
#[derive(Debug)]
pub struct LoggingError {
    variable: &'static str,
    why: String,
}

impl fmt::Display for LoggingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.why)
    }
}

impl std::error::Error for LoggingError {}

/// Starts logging for the whole process; a second call changes nothing.
///
/// # Errors
///
/// A variable is set, and its value is not a filter.
pub fn init(format: LogFormat) -> Result<(), LoggingError> {
    let filter = filter(|name| std::env::var(name).ok())?;
    let lines = tracing_subscriber::fmt::layer()
        // A log that can't be written is lost; saying so on the same standard error would panic (PR-5, PR-36).
        .log_internal_errors(false);
    let journal = std::env::var(JOURNAL).ok();
    let lines = match format.shape(Destination::of_stderr(journal.as_deref())) {
        Shape::Coloured => lines.with_writer(EscapedStderr::coloured).boxed(),
        Shape::Text => lines.with_ansi(false).with_writer(EscapedStderr::text).boxed(),
        Shape::Journal => lines
            .with_ansi(false)
            .with_writer(EscapedStderr::text)
            .event_format(JournalFormat::default())
            .boxed(),
        Shape::Json => lines
            .json()
            .flatten_event(true)
            .with_ansi(false)
            .with_writer(EscapedStderr::json)
            .boxed(),
    };
    current_filter::start(lines, filter);
    Ok(())
}

/// Whether an environment variable of this name says what is logged.
pub(crate) fn reads(name: &str) -> bool {
    [VARIABLE, SHARED_VARIABLE].contains(&name)
}

/// What the variables say is to be logged.
///
/// # Errors
///
/// A variable is set, and its value is not a filter.
pub(crate) fn filter(variable: impl Fn(&str) -> Option<String>) -> Result<Targets, LoggingError> {
    let set = |name| variable(name).filter(|text| !text.is_empty());
    let (variable, text, names) = if let Some(text) = set(VARIABLE) {
        (VARIABLE, text, AcceptedNames::Ours)
    } else if let Some(text) = set(SHARED_VARIABLE) {
        (SHARED_VARIABLE, text, AcceptedNames::Any)
    } else {
        (VARIABLE, DEFAULT_FILTER.to_owned(), AcceptedNames::Ours)
    };
    filter::parse(&text, names).map_err(|why| LoggingError { variable, why })
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    /// Our own variable comes before the general one; without any the level is info, and what peers make h2 say is not logged.
    #[test]
    fn the_filter_comes_from_the_first_variable_that_is_set() {
        let rows = [
            (None, None, Level::INFO, Level::ERROR),
            (None, Some("warn"), Level::WARN, Level::WARN),
            (Some("debug"), Some("warn"), Level::DEBUG, Level::DEBUG),
            (Some(""), Some("warn"), Level::WARN, Level::WARN),
        ];
        for (ours, general, service, h2) in rows {
            let given = |name: &str| {
                let value = if name == VARIABLE { ours } else { general };
                value.map(str::to_owned)
            };
            let filter = filter(given).unwrap();
            for (target, most) in [("push_service", service), ("h2::proto", h2)] {
                for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                    let is_logged = filter.would_enable(target, &level);
                    assert_eq!(is_logged, level <= most, "{ours:?} {general:?}: {target} {level}");
                }
            }
        }
    }

    /// A filter that cannot be used is refused with its variable, not ignored.
    #[test]
    fn a_filter_that_cannot_be_used_is_refused() {
        for variable in [VARIABLE, SHARED_VARIABLE] {
            let given = |name: &str| (name == variable).then(|| "push_service=loud".to_owned());
            let refused = filter(given).unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("{variable}: `loud` is not a level")),
                "{refused}"
            );
        }
    }
}
