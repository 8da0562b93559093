//! What a line of the log looks like: text for people, JSON for machines, and what systemd's journal expects.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Which format the log has (`log.format`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LogFormat {
    /// Text on a terminal and in systemd's journal, else JSON.
    #[default]
    Auto,
    /// Text.
    Text,
    /// JSON, one record a line.
    Json,
}

impl LogFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Text, Self::Json];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// What its lines look like there.
    pub(super) fn shape(self, to: Destination) -> Shape {
        match (self, to) {
            (Self::Auto | Self::Text, Destination::Terminal) => Shape::Coloured,
            (Self::Auto | Self::Text, Destination::Journal) => Shape::Journal,
            (Self::Text, Destination::Other) => Shape::Text,
            (Self::Auto, Destination::Other) | (Self::Json, _) => Shape::Json,
        }
    }
}

/// Where the log goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Destination {
    Terminal,
    Journal,
    Other,
}

impl Destination {
    /// Where standard error goes. `journal` is the variable by which systemd says so: device and inode of the journal's
    /// stream. A process that inherits the variable may have its standard error elsewhere, so both are compared.
    pub(super) fn of_stderr(journal: Option<&str>) -> Self {
        if io::stderr().is_terminal() {
            return Self::Terminal;
        }
        let stderr = io::stderr().as_fd().try_clone_to_owned();
        let stream = stderr.and_then(|stderr| File::from(stderr).metadata());
        let stream = stream.map(|stream| format!("{}:{}", stream.dev(), stream.ino()));
        match (journal, stream) {
            (Some(journal), Ok(stream)) if journal == stream => Self::Journal,
            _ => Self::Other,
        }
    }
}

/// How a line is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// Text with colours.
    Coloured,
    /// Text.
    Text,
    /// Text, with the level as the journal reads it, and without the time, which the journal has.
    Journal,
    /// JSON.
    Json,
}

/// Lines for the journal: sd-daemon(3) has the numbers of the levels.
pub(super) struct JournalFormat(Format<Full, ()>);

impl Default for JournalFormat {
    fn default() -> Self {
        Self(
            Format::default()
                .without_time()
                .with_level(false)
                .with_ansi(false),
        )
    }
}

impl<S, N> FormatEvent<S, N> for JournalFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text goes to people, with the journal's priorities where the journal reads it; a configured format is used everywhere.
    #[test]
    fn the_format_fits_its_reader() {
        use Destination::{Journal, Other, Terminal};
        let rows = [
            (LogFormat::Auto, [Shape::Coloured, Shape::Journal, Shape::Json]),
            (LogFormat::Text, [Shape::Coloured, Shape::Journal, Shape::Text]),
            (LogFormat::Json, [Shape::Json; 3]),
        ];
        for (format, shapes) in rows {
            assert_eq!(
                [Terminal, Journal, Other].map(|to| format.shape(to)),
                shapes,
                "{format:?}"
            );
        }
    }

    /// A variable that names another stream than standard error was inherited: the log is not for the journal.
    #[test]
    fn an_inherited_variable_is_no_journal() {
        for journal in [None, Some("1:1"), Some("")] {
            assert_ne!(Destination::of_stderr(journal), Destination::Journal);
        }
    }
}
