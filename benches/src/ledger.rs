//! What a measurement records: what was sent, what arrived, and how long it took.
//!
//! A figure only counts if every message arrived exactly once, unchanged, at the right subscription; the ledger is what
//! knows. It knows neither sockets nor services: senders and user agents tell it what they did.
//!
//! **Invariant:** a message's times count from the moment at which it was to be sent. A sender that could not keep up
//! shows in the latency, and not as messages that were never measured (coordinated omission).

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::body::Bodies;
use crate::failure::{BenchResult, Failure, PATIENCE, While as _};

/// Nothing arrived for so long: what is missing is lost. Longer than any stall of a store that was seen.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// Times are kept to three digits from here on, up to the time after which a step has failed.
const SHORTEST_NANOS: u64 = 1_000;

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Faults that are told; a broken service makes thousands.
const FAULTS_TOLD: usize = 5;

/// What was sent and what arrived.
pub(crate) struct Ledger {
    bodies: Bodies,
    measured: Mutex<Measured>,
}

struct Measured {
    messages: Vec<Message>,
    /// Times count from this message on: what comes before warms up.
    measured_from: usize,
    arrived: usize,
    last_arrival: Instant,
    delivery: Histogram<u64>,
    acceptance: Histogram<u64>,
    faults: Vec<String>,
}

#[derive(Clone, Default)]
struct Message {
    /// To which subscription, and when it was to be sent.
    sent: Option<(usize, Instant)>,
    has_arrived: bool,
    /// The sender that waits for it.
    waiting: Option<Waker>,
}

/// How long messages took.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Times {
    /// Half of them at most.
    pub(crate) p50: Duration,
    /// All but one in a hundred.
    pub(crate) p99: Duration,
    /// Any of them.
    pub(crate) max: Duration,
}

impl Ledger {
    /// For `total` messages, numbered from 0, of which the first `warm_up` don't count for times.
    pub(crate) fn new(total: usize, warm_up: usize) -> BenchResult<Self> {
        let longest = nanos(PATIENCE);
        let times = || Histogram::new_with_bounds(SHORTEST_NANOS, longest, 3).doing("making a histogram");
        let measured = Measured {
            messages: vec![Message::default(); total],
            measured_from: warm_up,
            arrived: 0,
            last_arrival: Instant::now(),
            delivery: times()?,
            acceptance: times()?,
            faults: Vec::new(),
        };
        Ok(Self {
            bodies: Bodies::new(run_number()),
            measured: Mutex::new(measured),
        })
    }

    /// The bodies of these messages.
    pub(crate) fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    /// A message is about to be sent, which was to happen at `due`.
    pub(crate) fn sent(&self, number: usize, subscription: usize, due: Instant) {
        self.measured().messages[number].sent = Some((subscription, due));
    }

    /// A message was answered 201.
    pub(crate) fn accepted(&self, number: usize) {
        let mut measured = self.measured();
        if let Some((_, due)) = measured.messages[number].sent
            && number >= measured.measured_from
        {
            measured.acceptance.saturating_record(nanos(due.elapsed()));
        }
    }

    /// A subscription's user agent got this body.
    pub(crate) fn arrived(&self, subscription: usize, body: &[u8]) {
        let number = self.bodies.read(body);
        let mut measured = self.measured();
        let fault = match number {
            Ok(number) => measured.arrived(subscription, number as usize),
            Err(harm) => Err(harm.to_owned()),
        };
        if let Err(fault) = fault {
            measured.faults.push(fault);
            measured.wake_all();
        }
    }

    /// Waits until this message has arrived, or something has gone wrong with any.
    pub(crate) async fn arrival_of(&self, number: usize) -> BenchResult<()> {
        poll_fn(|cx| {
            let mut measured = self.measured();
            measured.check()?;
            let message = &mut measured.messages[number];
            if message.has_arrived {
                return Poll::Ready(Ok(()));
            }
            message.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Waits until `count` messages have arrived.
    pub(crate) async fn arrivals(&self, count: usize) -> BenchResult<()> {
        let started = Instant::now();
        loop {
            {
                let measured = self.measured();
                measured.check()?;
                if measured.arrived >= count {
                    return Ok(());
                }
                if measured.last_arrival.max(started).elapsed() > LOST_AFTER {
                    return Err(measured.lost(count));
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// When the latest message arrived.
    pub(crate) fn last_arrival(&self) -> Instant {
        self.measured().last_arrival
    }

    /// That every message arrived once and unharmed. The figures of a run are worth nothing before.
    pub(crate) fn settle(&self) -> BenchResult<()> {
        let measured = self.measured();
        measured.check()?;
        if measured.arrived < measured.messages.len() {
            return Err(measured.lost(measured.messages.len()));
        }
        Ok(())
    }

    /// From being due to arriving at the user agent.
    pub(crate) fn delivery(&self) -> Times {
        Times::of(&self.measured().delivery)
    }

    /// From being due to its 201.
    pub(crate) fn acceptance(&self) -> Times {
        Times::of(&self.measured().acceptance)
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Measured {
    fn arrived(&mut self, subscription: usize, number: usize) -> Result<(), String> {
        let now = Instant::now();
        let message = self.messages.get_mut(number);
        let message = message.ok_or_else(|| format!("message {number} was never made"))?;
        let Some((addressee, due)) = message.sent else {
            return Err(format!("message {number} arrived before it was sent"));
        };
        if addressee != subscription {
            return Err(format!("message {number} arrived at another subscription"));
        }
        if message.has_arrived {
            return Err(format!("message {number} arrived twice"));
        }
        message.has_arrived = true;
        if let Some(waiting) = message.waiting.take() {
            waiting.wake();
        }
        self.arrived += 1;
        self.last_arrival = now;
        if number >= self.measured_from {
            self.delivery.saturating_record(nanos(now - due));
        }
        Ok(())
    }

    fn wake_all(&mut self) {
        let waiting = self
            .messages
            .iter_mut()
            .filter_map(|message| message.waiting.take());
        waiting.for_each(Waker::wake);
    }

    fn check(&self) -> BenchResult<()> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let told = self.faults[..self.faults.len().min(FAULTS_TOLD)].join("; ");
        let count = self.faults.len();
        Err(Failure::new(format!(
            "the service broke its promise {count} times: {told}"
        )))
    }

    fn lost(&self, expected: usize) -> Failure {
        let arrived = self.arrived;
        let missing = expected - arrived;
        Failure::new(format!(
            "{missing} of {expected} messages did not arrive; {arrived} did"
        ))
    }
}

impl Times {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| Duration::from_nanos(histogram.value_at_quantile(quantile));
        Self {
            p50: at(0.5),
            p99: at(0.99),
            max: Duration::from_nanos(histogram.max()),
        }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p99, max) = (millis(self.p50), millis(self.p99), millis(self.max));
        write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.1} ms")
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Different for every ledger that is made on this machine while it runs.
fn run_number() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    nanos(now.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(ledger: &Ledger, number: u64) -> Vec<u8> {
        let mut body = Vec::new();
        ledger.bodies().write(number, &mut body);
        body
    }

    /// Exactly once, at the right place: everything else spoils the run.
    #[test]
    fn every_fault_is_told() {
        type Spoil = fn(&Ledger);
        let rows: &[(Spoil, &str)] = &[
            (|_| (), "1 of 2 messages did not arrive"),
            (
                |measured| measured.arrived(0, &body(measured, 0)),
                "arrived twice",
            ),
            (
                |measured| measured.arrived(1, &body(measured, 1)),
                "another subscription",
            ),
            (|measured| measured.arrived(0, b"nonsense"), "too short"),
        ];
        for (spoil, expected) in rows {
            let ledger = Ledger::new(2, 0).unwrap();
            ledger.sent(0, 0, Instant::now());
            ledger.sent(1, 0, Instant::now());
            ledger.arrived(0, &body(&ledger, 0));
            spoil(&ledger);
            let told = ledger.settle().unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        }
    }

    /// Times count from when a message was due, also if it was sent later, and not for what warms up.
    #[test]
    fn times_count_from_the_plan() {
        let ledger = Ledger::new(2, 1).unwrap();
        let due = Instant::now() - Duration::from_secs(1);
        for number in 0..2 {
            ledger.sent(number, 0, due);
            ledger.accepted(number);
            ledger.arrived(0, &body(&ledger, number as u64));
        }
        ledger.settle().unwrap();
        assert!(ledger.delivery().p50 >= Duration::from_millis(999));
        assert!(ledger.acceptance().p50 >= Duration::from_millis(999));
        assert_eq!(ledger.measured().delivery.len(), 1);
    }
}
