//! How often a test kills, and by which random choices: the printed seed brings back the choices, not the execution.

use std::time::{SystemTime, UNIX_EPOCH};

/// How often to kill, and by which plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Kills.
    pub rounds: usize,
    /// What all random choices come from.
    pub seed: u64,
}

impl Plan {
    /// So many kills, with a seed from the clock.
    pub fn new(rounds: usize) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            rounds,
            seed: since_1970.expect("the clock is past 1970").as_secs(),
        }
    }

    /// What the command line (`[--rounds N] [--seed N]`) changes of it; `None` if that can't be read.
    pub fn changed_by(mut self, mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        while let Some(option) = arguments.next() {
            let value = arguments.next()?;
            match option.as_str() {
                "--rounds" => self.rounds = value.parse().ok()?,
                "--seed" => self.seed = value.parse().ok()?,
                _ => return None,
            }
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each option changes its number, and what can't be read is refused.
    #[test]
    fn options_are_read() {
        let plan = Plan { rounds: 200, seed: 7 };
        let changed = |line: &str| plan.changed_by(line.split_whitespace().map(str::to_owned));
        assert_eq!(changed(""), Some(plan));
        assert_eq!(changed("--seed 9 --rounds 3"), Some(Plan { rounds: 3, seed: 9 }));
        for wrong in ["--seed", "--seed x", "--rounds -1", "--round 3", "3"] {
            assert_eq!(changed(wrong), None, "{wrong}");
        }
    }
}
