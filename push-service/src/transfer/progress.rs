//! How far an export or an import has come: on a terminal in place, elsewhere a line now and then on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use super::lines::Counts;
use crate::defaults::{PROGRESS_EVERY, PROGRESS_LINE_EVERY};

/// Says how far it has come, and not too often.
#[derive(Debug)]
pub struct Progress {
    verb: &'static str,
    /// User agents in all, if that is known.
    total: Option<u64>,
    in_place: bool,
    every: Duration,
    shown: Instant,
    /// Something stands in the terminal's last line.
    dirty: bool,
}

impl Progress {
    /// On standard error. `verb` is what is done: "exported".
    pub fn new(verb: &'static str, total: Option<u64>) -> Self {
        let in_place = std::io::stderr().is_terminal();
        Self {
            verb,
            total,
            in_place,
            every: if in_place {
                PROGRESS_EVERY
            } else {
                PROGRESS_LINE_EVERY
            },
            shown: Instant::now(),
            dirty: false,
        }
    }

    /// Shows it, if it is time.
    pub fn show(&mut self, counts: Counts) {
        if self.shown.elapsed() < self.every {
            return;
        }
        self.shown = Instant::now();
        let sentence = sentence(self.verb, self.total, counts);
        // Fails if the terminal is gone; then progress is not needed.
        let mut errors = std::io::stderr();
        if self.in_place {
            self.dirty = true;
            let _ = write!(errors, "\r{sentence}\x1b[K");
        } else {
            let _ = writeln!(errors, "{sentence}");
        }
    }

    /// Leaves the terminal's line to what comes next.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.dirty) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn sentence(verb: &str, total: Option<u64>, counts: Counts) -> String {
    let Counts {
        user_agents,
        messages,
        ..
    } = counts;
    let of = match total {
        Some(total) if total >= user_agents && total > 0 => {
            let percent = u128::from(user_agents) * 100 / u128::from(total);
            format!(" of {total} ({percent} %)")
        }
        _ => String::new(),
    };
    format!("{verb} {user_agents}{of} user agents, {messages} messages")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-37: progress says how far it has come, of how much where that is known.
    #[test]
    fn progress_is_a_sentence() {
        let counts = Counts {
            user_agents: 50,
            subscriptions: 60,
            messages: 7,
            receipts: 0,
        };
        let rows = [
            (Some(200), "exported 50 of 200 (25 %) user agents, 7 messages"),
            (Some(10), "exported 50 user agents, 7 messages"),
            (None, "exported 50 user agents, 7 messages"),
        ];
        for (total, expected) in rows {
            assert_eq!(sentence("exported", total, counts), expected);
        }
    }
}
