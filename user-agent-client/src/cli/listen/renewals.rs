//! Renewed subscriptions, and when the command of `--on-renew` is run for each.
//!
//! A command that fails is run again after a growing wait: until it has succeeded, messages are sent to the old push resource, and are
//! lost. **Invariant:** of one subscription, it runs once at a time.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use user_agent_client::defaults::{RENEW_AGAIN_AFTER, RENEW_AGAIN_MOST};

/// By the subscription's name. Not more than there are subscriptions.
#[derive(Default)]
pub(super) struct Renewals(HashMap<Box<str>, Renewal>);

struct Renewal {
    /// The key that was passed on: a subscription that was renewed once more has another one.
    key: String,
    failures: u32,
    /// `None` while the command runs, and once it has succeeded.
    again_at: Option<Instant>,
    runs: bool,
}

impl Renewals {
    /// Whether the command is to be run for this subscription now; then it counts as running.
    pub(super) fn begin(&mut self, label: &str, key: &str, now: Instant) -> bool {
        let Some(known) = self.0.get_mut(label) else {
            self.0.insert(label.into(), Renewal::begun(key));
            return true;
        };
        let begins = !known.runs && (known.key != key || known.again_at.is_some_and(|at| at <= now));
        if begins && known.key == key {
            known.again_at = None;
            known.runs = true;
        } else if begins {
            *known = Renewal::begun(key);
        }
        begins
    }

    /// It succeeded.
    pub(super) fn succeeded(&mut self, label: &str) {
        if let Some(known) = self.0.get_mut(label) {
            known.runs = false;
            known.failures = 0;
        }
    }

    /// It failed; and how long until it is run again.
    pub(super) fn failed(&mut self, label: &str, now: Instant) -> Duration {
        let Some(known) = self.0.get_mut(label) else {
            return RENEW_AGAIN_AFTER;
        };
        let doubled = RENEW_AGAIN_AFTER.saturating_mul(1_u32.checked_shl(known.failures).unwrap_or(u32::MAX));
        let wait = doubled.min(RENEW_AGAIN_MOST);
        known.failures = known.failures.saturating_add(1);
        known.again_at = Some(now + wait);
        known.runs = false;
        wait
    }

    /// When the next one is to be run again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().filter_map(|known| known.again_at).min()
    }
}

impl Renewal {
    fn begun(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            failures: 0,
            again_at: None,
            runs: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WP-RFR-2: a command that fails is run again after 5 s, 10 s, … 300 s at most, and no more once it has succeeded.
    #[test]
    fn a_failure_is_repeated() {
        let (mut renewals, mut now) = (Renewals::default(), Instant::now());
        assert!(renewals.begin("door", "one", now));
        assert!(!renewals.begin("door", "one", now), "it runs");
        for expected in [5, 10, 20, 40, 80, 160, 300, 300] {
            let wait = renewals.failed("door", now);
            assert_eq!(wait.as_secs(), expected);
            assert_eq!(renewals.next_due(), Some(now + wait));
            assert!(!renewals.begin("door", "one", now + wait - Duration::from_millis(1)));
            now += wait;
            assert!(renewals.begin("door", "one", now));
            assert_eq!(renewals.next_due(), None);
        }
        renewals.succeeded("door");
        assert!(!renewals.begin("door", "one", now + RENEW_AGAIN_MOST));
    }

    /// WP-RFR-2: other keys are news, at once, but only when the command that told of the old ones has ended; other
    /// subscriptions wait for none of that.
    #[test]
    fn other_keys_are_news() {
        let (mut renewals, now) = (Renewals::default(), Instant::now());
        assert!(renewals.begin("door", "one", now));
        assert!(renewals.begin("window", "one", now));
        assert!(!renewals.begin("door", "two", now), "the first one runs");
        renewals.failed("door", now);
        assert!(renewals.begin("door", "two", now));
        assert_eq!(
            renewals.failed("door", now),
            RENEW_AGAIN_AFTER,
            "a wait of its own"
        );
        let mut failures = Renewals::default();
        failures.begin("door", "one", now);
        for _ in 0..100 {
            assert!(failures.failed("door", now) <= RENEW_AGAIN_MOST);
        }
    }
}
