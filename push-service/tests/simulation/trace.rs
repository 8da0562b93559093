//! What happened last, kept only when it will be read: a seed that failed is run once more with it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static LINES: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// How many lines are kept.
const KEPT: usize = 20_000;

pub(crate) fn is_on() -> bool {
    ON.get()
}

pub(crate) fn begin() {
    ON.set(true);
    LINES.with_borrow_mut(VecDeque::clear);
}

/// Ends it and gives the last lines.
pub(crate) fn end(last: usize) -> Vec<String> {
    ON.set(false);
    let lines = LINES.take();
    let skipped = lines.len().saturating_sub(last);
    lines.into_iter().skip(skipped).collect()
}

pub(crate) fn line(at_ms: u64, what: &str) {
    LINES.with_borrow_mut(|lines| {
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(format!("{:>9}.{:03}  {what}", at_ms / 1_000, at_ms % 1_000));
    });
}

/// Costs nothing unless it is on.
macro_rules! trace {
    ($world:expr, $($what:tt)*) => {
        if $crate::trace::is_on() {
            $crate::trace::line($world.time_ms(), &format!($($what)*));
        }
    };
}
pub(crate) use trace;
