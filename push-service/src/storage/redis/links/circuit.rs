//! Whether a primary answers: a circuit breaker.
//!
//! A primary that stops answering costs each step that was under way its deadline, and new ones nothing: until it answers
//! again they are refused at once, except for one now and then that finds out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::defaults::{REDIS_PROBE_EVERY, REDIS_PROBE_WITHIN, REDIS_STEP_WITHIN};

/// ```text
///                   something is not answered in time
///     ┌───────────┐ ──────────────────────────────► ┌─────────────┐ ◄────────────────┐
///     │ Answering │                                 │ FailingFast │                  │ the time is over
///     └───────────┘ ◄────────────────────────────── └─────────────┘                  │
///           ▲           something is answered              │ a step comes: it    ┌─────────┐
///           │                                              └────────────────────►│ Waiting │
///           │                                                 is sent            └─────────┘
///           └────────────────────────────────────────────────────────────────────────┘
///                                     something is answered
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CircuitState {
    /// Steps are sent.
    Answering,
    /// The next step is sent, to find out whether the primary answers again.
    FailingFast,
    /// Such a step was sent. Others are refused at once, until it is answered or the time is over.
    Waiting { until: Instant },
}

impl CircuitState {
    /// How long a step that comes now may take; `None`: it is refused.
    fn admit(&mut self, now: Instant) -> Option<Duration> {
        match *self {
            Self::Answering => Some(REDIS_STEP_WITHIN),
            Self::Waiting { until } if now < until => None,
            Self::FailingFast | Self::Waiting { .. } => {
                let until = now + REDIS_PROBE_EVERY;
                *self = Self::Waiting { until };
                Some(REDIS_PROBE_WITHIN)
            }
        }
    }

    fn answered(&mut self) {
        *self = Self::Answering;
    }

    fn not_answered(&mut self) {
        match self {
            Self::Answering => *self = Self::FailingFast,
            // Known already.
            Self::FailingFast | Self::Waiting { .. } => {}
        }
    }
}

/// [`CircuitState`], for many steps at once.
pub(super) struct Circuit {
    state: Mutex<CircuitState>,
    /// Whether the state is [`CircuitState::Answering`]: then a step takes no lock.
    is_answering: AtomicBool,
    started: Instant,
    /// When something was last answered, in microseconds since `started`.
    answered_at_us: AtomicU64,
}

impl Circuit {
    /// A primary answers until it does not.
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(CircuitState::Answering),
            is_answering: AtomicBool::new(true),
            started: Instant::now(),
            answered_at_us: AtomicU64::new(0),
        }
    }

    /// How long a step that comes now may take; `None`: it is refused at once.
    pub(super) fn admit(&self) -> Option<Duration> {
        if self.is_answering() {
            return Some(REDIS_STEP_WITHIN);
        }
        self.lock().admit(Instant::now())
    }

    /// Whether the primary answers, as far as is known.
    pub(super) fn is_answering(&self) -> bool {
        self.is_answering.load(Ordering::Relaxed)
    }

    /// Something was answered.
    pub(super) fn answered(&self) {
        self.answered_at_us
            .store(self.since_started_us(Instant::now()), Ordering::Relaxed);
        if !self.is_answering() {
            self.change(CircuitState::answered);
        }
    }

    /// Something that `began` then was not answered in time. It says nothing if other things were answered meanwhile: the
    /// deadlines of a silence run out after its end too.
    pub(super) fn not_answered(&self, began: Instant) {
        if self.answered_at_us.load(Ordering::Relaxed) <= self.since_started_us(began) {
            self.change(CircuitState::not_answered);
        }
    }

    fn change(&self, change: impl FnOnce(&mut CircuitState)) {
        let mut state = self.lock();
        change(&mut state);
        self.is_answering
            .store(*state == CircuitState::Answering, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, CircuitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_started_us(&self, then: Instant) -> u64 {
        let since = then.saturating_duration_since(self.started);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// PR-32: while nothing is answered, one step in each period finds out whether the primary answers again, and does not
    /// wait for long. The others are refused. One answer ends it.
    #[tokio::test(start_paused = true)]
    async fn one_step_at_a_time_finds_out() {
        let circuit = Circuit::new();
        assert_eq!(circuit.admit(), Some(REDIS_STEP_WITHIN));
        circuit.not_answered(Instant::now());
        for _ in 0..3 {
            assert!(!circuit.is_answering());
            let admitted: Vec<_> = (0..50).filter_map(|_| circuit.admit()).collect();
            assert_eq!(admitted, [REDIS_PROBE_WITHIN]);
            circuit.not_answered(Instant::now());
            advance(REDIS_PROBE_EVERY - Duration::from_millis(1)).await;
            assert_eq!(circuit.admit(), None);
            advance(Duration::from_millis(1)).await;
        }
        circuit.answered();
        assert_eq!(circuit.admit(), Some(REDIS_STEP_WITHIN));
    }

    /// PR-32: what was sent before the last answer and is late says nothing about what is sent now.
    #[tokio::test(start_paused = true)]
    async fn what_began_before_the_last_answer_says_nothing() {
        let circuit = Circuit::new();
        let began = Instant::now();
        advance(Duration::from_millis(1)).await;
        circuit.answered();
        circuit.not_answered(began);
        assert!(circuit.is_answering());
        circuit.not_answered(Instant::now());
        assert!(!circuit.is_answering());
    }
}
