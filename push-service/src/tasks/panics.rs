//! Each panic is counted once, and logged once with its place.
//!
//! Its message is logged only if it stands in the source as it is: a message that was put together may hold what a peer
//! sent, or a secret.

use std::cell::{Cell, RefCell};
use std::panic::{self, PanicHookInfo};
use std::sync::LazyLock;

use prometheus::{IntCounterVec, Opts};

use super::Task;

thread_local! {
    /// Whose poll this thread is in.
    static POLLED: Cell<Task> = const { Cell::new(Task::Other) };
    /// Where this thread panicked last.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The panics of the process, by task.
pub(crate) fn panics() -> &'static IntCounterVec {
    static PANICS: LazyLock<IntCounterVec> = LazyLock::new(|| {
        let options = Opts::new("panics_total", "Panics, by the task that panicked; each is a bug");
        let panics = IntCounterVec::new(options, &["task"]).expect("names and labels are valid constants");
        for task in Task::ALL {
            // Exported as 0 from the start, so that a rate sees the first one.
            panics.with_label_values(&[task.as_str()]);
        }
        panics
    });
    &PANICS
}

/// Makes each panic of the process one line of the log and one count, in place of the text that Rust prints.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let task = note(panic);
        let thread = std::thread::current();
        tracing::error!(
            task = task.as_str(),
            place = last_place(),
            says = literal(panic),
            thread = thread.name(),
            "a task panicked: this is a bug; please report it with its place"
        );
    }));
}

/// The same for tests: counts and remembers the place, and leaves the text to Rust, so that failed assertions are seen.
#[cfg(test)]
pub(super) fn note_panics() {
    use std::sync::Once;
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            note(panic);
            before(panic);
        }));
    });
}

fn note(panic: &PanicHookInfo<'_>) -> Task {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    // Fails if the thread is ending, or panicked in here: then the place is not known.
    let _ = PLACE.try_with(|last| last.try_borrow_mut().map(|mut last| *last = place));
    let task = POLLED.try_with(Cell::get).unwrap_or(Task::Other);
    panics().with_label_values(&[task.as_str()]).inc();
    task
}

/// The panic's message, if it is a constant of the source.
fn literal(panic: &PanicHookInfo<'_>) -> Option<&'static str> {
    panic.payload().downcast_ref::<&'static str>().copied()
}

/// Where this thread panicked last: file, line, column.
pub(super) fn last_place() -> String {
    let place = PLACE.try_with(|last| last.borrow().clone()).unwrap_or_default();
    if place.is_empty() {
        "an unknown place".to_owned()
    } else {
        place
    }
}

/// While it lives, panics of this thread are those of a task.
pub(super) struct Polling {
    before: Task,
}

impl Polling {
    pub(super) fn begin(task: Task) -> Self {
        Self {
            before: POLLED.replace(task),
        }
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        POLLED.set(self.before);
    }
}
