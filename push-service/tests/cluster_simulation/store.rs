//! The storage that all nodes share: the decision core in memory, in virtual time.
//!
//! It returns the wake-ups of each step; [`link`](crate::link) and [`bus`](crate::bus) carry them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use push_protocol::UserAgentId;
use push_service::defaults::RETENTION;
use push_service::storage::clock::Clock;
use push_service::storage::memory::Memory;
use push_service::storage::{Announce, Seat, Storage as _, StorageError, WakeUp};
use tokio::time::Instant;

/// A clock in virtual time that can be set.
pub(crate) struct SetClock {
    start: Instant,
    ahead_us: AtomicI64,
}

/// The start of every world, in microseconds since 1970.
const EPOCH_US: u64 = 1_700_000_000_000_000;

impl SetClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            ahead_us: AtomicI64::new(0),
        })
    }

    /// Moves it by this number of seconds, forward or back.
    pub(crate) fn set_by(&self, secs: i64) {
        self.ahead_us.fetch_add(secs * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now_us(&self) -> u64 {
        (EPOCH_US + self.monotonic_us()).saturating_add_signed(self.ahead_us.load(Ordering::Relaxed))
    }

    fn monotonic_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

/// A notice from a step.
pub(crate) enum Notice {
    WakeUp(UserAgentId, Seat, WakeUp),
    /// A user agent's outbox is not empty.
    Owes(UserAgentId),
}

/// The notices since the last call of `told`.
#[derive(Default)]
struct Announced(Mutex<Vec<Notice>>);

impl Announced {
    fn push(&self, told: Notice) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    }
}

impl Announce for Announced {
    fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp) {
        self.push(Notice::WakeUp(user_agent, seat, wake_up));
    }

    fn outbox_filled(&self, user_agent: UserAgentId) {
        self.push(Notice::Owes(user_agent));
    }
}

/// The shared storage.
pub(crate) struct Store {
    pub(crate) memory: Memory,
    pub(crate) clock: Arc<SetClock>,
    announced: Arc<Announced>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let clock = SetClock::new();
        let announced = Arc::new(Announced::default());
        Self {
            memory: Memory::new(
                Arc::clone(&announced) as Arc<dyn Announce>,
                Arc::clone(&clock) as Arc<dyn Clock>,
                RETENTION,
            ),
            clock,
            announced,
        }
    }

    /// The notices since the last call.
    pub(crate) fn take_told(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.announced.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the store has a seat for this user agent.
    pub(crate) fn is_seated(&self, user_agent: UserAgentId) -> bool {
        at_once(self.memory.inspect(user_agent)).is_some_and(|report| report.seated)
    }
}

/// A step of storage in memory is done at its first poll.
pub(crate) fn at_once<T>(step: impl Future<Output = Result<T, StorageError>>) -> T {
    match step.now_or_never() {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => unreachable!("storage in memory has no trouble of its own: {error}"),
        None => unreachable!("storage in memory waits for nothing"),
    }
}

pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
