//! How many replicas must have what is confirmed (PR-33, PR-41).

use std::fmt;

use crate::defaults::{WAIT_REPLICAS, WAIT_REPLICAS_MIN, WAIT_REPLICAS_MOST};

/// `storage.redis.wait_replicas`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitReplicas {
    /// This number of the connected ones. 0: the primary alone.
    Number(u32),
    /// Every replica that the primary counts as connected, and never fewer than this.
    All {
        /// `storage.redis.wait_replicas_min`.
        least: u32,
    },
}

impl Default for WaitReplicas {
    fn default() -> Self {
        Self::Number(WAIT_REPLICAS)
    }
}

impl WaitReplicas {
    /// Reads a number from 0 to [`WAIT_REPLICAS_MOST`], or `all`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "all" {
            let least = WAIT_REPLICAS_MIN;
            return Some(Self::All { least });
        }
        let number = text.parse().ok()?;
        (number <= WAIT_REPLICAS_MOST).then_some(Self::Number(number))
    }

    /// Whether any replica has to confirm anything.
    pub fn is_any(self) -> bool {
        self != Self::Number(0)
    }

    /// How many have to confirm if this number is connected.
    pub(super) fn needed(self, connected: u32) -> u32 {
        match self {
            Self::Number(number) => number,
            Self::All { least } => connected.max(least),
        }
    }

    /// The warning for a primary with this number of connected replicas, if any (PR-41).
    pub(super) fn warning(self, primary: &impl fmt::Display, connected: u32) -> Option<String> {
        match self {
            Self::Number(number) if number < connected => Some(format!(
                "{primary} has {connected} connected replicas, but storage.redis.wait_replicas is {number}: \
                 a planned failover may promote a replica that lacks messages which were answered 201. Set \
                 it to {connected} or to \"all\""
            )),
            Self::All { least } if connected < least => Some(format!(
                "{primary} has {connected} connected replicas, but storage.redis.wait_replicas_min is \
                 {least}: pushes get 503 until that many replicas are connected"
            )),
            _ => None,
        }
    }
}

impl fmt::Display for WaitReplicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::All { .. } => f.write_str("all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PR-41: a number or `all` is parsed and printed unchanged; anything else is refused.
    #[test]
    fn a_number_or_all() {
        for text in ["0", "1", "16", "all"] {
            assert_eq!(WaitReplicas::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "17", "-1", "All", "1.0"] {
            assert_eq!(WaitReplicas::parse(text), None, "{text}");
        }
    }

    /// PR-41: a warning comes if more replicas are connected than waited for, or fewer than the minimum.
    #[test]
    fn replicas_without_a_wait_are_warned_of() {
        let all = |least| WaitReplicas::All { least };
        let rows = [
            (WaitReplicas::Number(0), 0, None),
            (WaitReplicas::Number(0), 1, Some("wait_replicas is 0")),
            (WaitReplicas::Number(1), 2, Some("wait_replicas is 1")),
            (WaitReplicas::Number(2), 2, None),
            (WaitReplicas::Number(2), 1, None),
            (all(1), 3, None),
            (all(2), 1, Some("wait_replicas_min is 2")),
        ];
        for (wanted, connected, expected) in rows {
            let warning = wanted.warning(&"redis", connected);
            match (&warning, expected) {
                (None, None) => {}
                (Some(warning), Some(expected)) if warning.contains(expected) => {}
                _ => panic!("{wanted:?}, {connected}: {warning:?}"),
            }
        }
    }
}
