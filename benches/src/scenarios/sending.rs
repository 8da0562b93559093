//! How application servers send: each as fast as it is served, or all together at a given rate.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::set_current_timer_slack;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::application_server::{ApplicationServer, Body, PushResource, Tokens};
use crate::connector::Connector;
use crate::failure::{BenchResult, Failure, While as _, within};
use crate::ledger::Ledger;
use crate::receipts::Receipts;

/// What is sent, to whom, and by whom.
pub(super) struct Campaign {
    /// Where it is written down.
    pub(super) ledger: Arc<Ledger>,
    /// Messages go round them in turn.
    pub(super) push_resources: Vec<PushResource>,
    /// One for each message, if each has a fresh one.
    pub(super) tokens: Tokens,
    /// What is sent instead of the ledger's bodies, if that is something else: one for each message.
    pub(super) bodies: Vec<Vec<u8>>,
    /// Who is told of them, if each asks for a receipt.
    pub(super) receipts: Option<Receipts>,
}

/// What an application server in a closed loop waits for before it sends the next message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Until {
    /// Its 201: no user agent is there to take the message.
    Accepted,
    /// Its 201, and its arrival.
    Delivered,
}

/// Connections of application servers.
pub(super) type Senders = Vec<ApplicationServer>;

/// Connects application servers.
pub(super) async fn connect(connector: &Connector, count: usize) -> BenchResult<Senders> {
    let mut senders = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        senders.push(ApplicationServer::connect(connector).await?);
    }
    Ok(senders)
}

impl Campaign {
    /// The origin for which tokens have to be.
    pub(super) fn sign(&mut self, messages: usize) -> BenchResult<()> {
        match self.push_resources.first() {
            Some(push_resource) => self.tokens.sign(push_resource.origin(), messages),
            None => Err(Failure::new("--user-agents must be at least 1")),
        }
    }

    /// A closed loop: each sender sends its next message when its last one is done.
    pub(super) async fn send_closed(
        self: &Arc<Self>,
        senders: Senders,
        numbers: Range<usize>,
        until: Until,
    ) -> BenchResult<Senders> {
        let next = Arc::new(AtomicUsize::new(numbers.start));
        let mut tasks = JoinSet::new();
        for mut sender in senders {
            let (campaign, next, end) = (Arc::clone(self), Arc::clone(&next), numbers.end);
            tasks.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return Ok(sender);
                    }
                    campaign.send(&mut sender, number, Instant::now()).await?;
                    if until == Until::Delivered {
                        campaign.await_arrival(number).await?;
                    }
                }
            });
        }
        all(tasks).await
    }

    /// An open loop: messages are due at an even rate, whether or not the service keeps up. Returns how late they were
    /// sent at the worst, which is this program's own fault or that of a service that keeps all senders waiting.
    pub(super) async fn send_open(
        self: &Arc<Self>,
        senders: Senders,
        numbers: Range<usize>,
        rate: f64,
    ) -> BenchResult<(Senders, Duration)> {
        let (give_back, mut idle) = mpsc::unbounded_channel();
        for sender in senders {
            give_back.send(sender).doing("a pool of senders")?;
        }
        let mut pace = Pace::start(rate, numbers.len())?;
        let mut tasks = JoinSet::new();
        for number in numbers {
            let due = pace.next().await?;
            let mut sender = idle
                .recv()
                .await
                .ok_or_else(|| Failure::new("no sender is left"))?;
            let (campaign, give_back) = (Arc::clone(self), give_back.clone());
            tasks.spawn(async move {
                let late = due.elapsed();
                campaign.send(&mut sender, number, due).await?;
                give_back.send(sender).doing("a pool of senders")?;
                Ok(late)
            });
        }
        let lateness = all(tasks).await?;
        drop(give_back);
        let mut senders = Vec::new();
        while let Some(sender) = idle.recv().await {
            senders.push(sender);
        }
        Ok((senders, lateness.into_iter().max().unwrap_or_default()))
    }

    async fn send(&self, sender: &mut ApplicationServer, number: usize, due: Instant) -> BenchResult<()> {
        let subscription = number % self.push_resources.len();
        self.ledger.sent(number, subscription, due);
        let authorization = self.tokens.authorization(number);
        let to = &self.push_resources[subscription];
        let body = match self.bodies.get(number) {
            Some(body) => Body::Made(body),
            None => Body::Numbered(self.ledger.bodies(), number),
        };
        sender.push(to, authorization, body).await?;
        if let Some(receipts) = &self.receipts {
            receipts.asked(sender.location()?);
        }
        self.ledger.accepted(number);
        Ok(())
    }

    async fn await_arrival(&self, number: usize) -> BenchResult<()> {
        within("a message arrives", self.ledger.arrival_of(number)).await
    }
}

/// Says when messages are due.
///
/// From a thread of its own, which sleeps: the runtime's timers have a grain of a millisecond, more than what is to be
/// measured.
struct Pace(mpsc::UnboundedReceiver<Instant>);

impl Pace {
    fn start(rate: f64, messages: usize) -> BenchResult<Self> {
        if !(rate > 0.0 && rate <= 1e6) {
            return Err(Failure::new("--rate must be above 0 and below 1000000"));
        }
        let interval = Duration::from_secs_f64(1.0 / rate);
        let (tell, due) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            // Without this the system may wake a sleeper 50 µs late. If it can't be had, lateness is in the report.
            let _ = set_current_timer_slack(NonZeroU64::new(1));
            let mut due = Instant::now();
            for _ in 0..messages {
                due += interval;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if tell.send(due).is_err() {
                    return;
                }
            }
        });
        Ok(Self(due))
    }

    /// Waits until the next message is due, and returns when that is or was.
    async fn next(&mut self) -> BenchResult<Instant> {
        let due = self.0.recv().await;
        due.ok_or_else(|| Failure::new("more messages than were planned"))
    }
}

async fn all<T: 'static>(mut tasks: JoinSet<BenchResult<T>>) -> BenchResult<Vec<T>> {
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(ended) = tasks.join_next().await {
        results.push(ended.doing("an application server")??);
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is due is told for each message, also after a while without a question: no message is left out or moved.
    #[tokio::test]
    async fn the_pace_does_not_wait() {
        let mut pace = Pace::start(1_000.0, 10).unwrap();
        let first = pace.next().await.unwrap();
        std::thread::sleep(Duration::from_millis(20));
        for nth in 1..10 {
            let due = pace.next().await.unwrap();
            assert_eq!(due - first, Duration::from_millis(nth));
        }
        assert!(first.elapsed() >= Duration::from_millis(20));
        assert!(Pace::start(0.0, 1).is_err());
    }
}
