//! The filter of the log, which can be changed while the process runs.
//!
//! The log belongs to the whole process, and so does its filter. A change lasts until the process ends.

use std::sync::OnceLock;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use super::filter::{self, AcceptedNames};

/// What writes the lines.
type Lines = Box<dyn Layer<Registry> + Send + Sync>;

static FILTER: OnceLock<Handle<Targets, Layered<Lines, Registry>>> = OnceLock::new();

/// Starts the log of this process. If there is one already, as in tests, that one stays.
pub(super) fn start(lines: Lines, filter: Targets) {
    let (filter, handle) = reload::Layer::new(filter);
    let started = tracing_subscriber::registry().with(lines).with(filter).try_init();
    if started.is_ok() {
        // Cannot fail: only the first log starts.
        let _ = FILTER.set(handle);
    }
}

/// What is logged now, as a filter; `None` if this process has started no log.
pub(crate) fn filter_now() -> Option<String> {
    FILTER.get()?.with_current(ToString::to_string).ok()
}

/// Changes what is logged, and returns it as [`filter_now`] does. `before` is told of the new filter while the old one applies.
///
/// # Errors
///
/// A sentence for the operator: what is wrong with the filter, or that this process has started no log.
pub(crate) fn change_filter(text: &str, before: impl FnOnce(&Targets)) -> Result<String, String> {
    let filter = filter::parse(text, AcceptedNames::Ours)?;
    let no_log = || "this process has started no log".to_owned();
    let handle = FILTER.get().ok_or_else(no_log)?;
    before(&filter);
    handle.reload(filter).map_err(|error| error.to_string())?;
    filter_now().ok_or_else(no_log)
}
