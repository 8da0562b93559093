//! What a user agent did to a service, and when.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::PATIENCE;

/// What a user agent can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A connection of TCP was accepted.
    Connected,
    /// The WebSocket was asked for.
    Upgraded,
    /// A hello came, with this identity.
    Greeted(Option<String>),
    /// The answer to its hello was sent: what the service did, for tests that need the order.
    WasAnswered,
    /// A subscription was asked for.
    Subscribed,
    /// The end of a subscription was asked for.
    Unsubscribed,
    /// The subscription set was monitored.
    Monitored,
    /// A message was acknowledged: the last part of its subscription's push resource (the WebSocket only), its id, and the code
    /// (the WebSocket only).
    Acknowledged {
        /// The subscription; empty over HTTP/2.
        subscription: String,
        /// The message.
        id: String,
        /// 100: decrypted, 101: not decrypted, 102: not handled.
        code: Option<u64>,
    },
    /// The connection ended.
    Left,
}

/// Something that the user agent did, with its connection and its time.
#[derive(Clone, Debug)]
pub struct RecordedStep {
    /// When.
    pub at: Instant,
    /// The number of the connection, from 1.
    pub connection: usize,
    /// What.
    pub step: Step,
}

/// All that was done, in its order.
#[derive(Clone, Debug)]
pub struct Record(watch::Sender<Vec<RecordedStep>>);

impl Record {
    pub(super) fn new() -> Self {
        Self(watch::channel(Vec::new()).0)
    }

    pub(super) fn enter(&self, connection: usize, step: Step) {
        let step = RecordedStep {
            at: Instant::now(),
            connection,
            step,
        };
        self.0.send_modify(|steps| steps.push(step));
    }

    /// All so far.
    pub fn steps(&self) -> Vec<RecordedStep> {
        self.0.borrow().clone()
    }

    /// How often this was done so far.
    pub fn count(&self, is_meant: impl Fn(&Step) -> bool) -> usize {
        let steps = self.0.borrow();
        steps.iter().filter(|step| is_meant(&step.step)).count()
    }

    /// Waits until this was done `times` times in all; returns the last of these steps.
    ///
    /// # Panics
    ///
    /// When it was not within [`PATIENCE`]; `what` names it.
    pub async fn shows(&self, what: &str, times: usize, is_meant: impl Fn(&Step) -> bool) -> RecordedStep {
        self.shows_within(PATIENCE, what, times, is_meant).await
    }

    /// The same with another time.
    ///
    /// # Panics
    ///
    /// As [`shows`](Self::shows).
    pub async fn shows_within(
        &self,
        patience: Duration,
        what: &str,
        times: usize,
        is_meant: impl Fn(&Step) -> bool,
    ) -> RecordedStep {
        let find = |steps: &Vec<RecordedStep>| {
            let mut meant = steps.iter().filter(|step| is_meant(&step.step));
            meant.nth(times.saturating_sub(1)).cloned()
        };
        let mut news = self.0.subscribe();
        let seen = news.wait_for(|steps| find(steps).is_some());
        match tokio::time::timeout(patience, seen).await {
            Ok(steps) => {
                let steps = steps.expect("the record is there");
                find(&steps).expect("it was found before")
            }
            Err(_) => panic!(
                "not within {patience:?}: {what}. The user agent did: {}",
                self.told()
            ),
        }
    }

    /// Waits for an acknowledgement of this message.
    pub async fn shows_acknowledged(&self, message: &str) -> RecordedStep {
        let what = format!("an acknowledgement of {message}");
        self.shows(
            &what,
            1,
            |step| matches!(step, Step::Acknowledged { id, .. } if id == message),
        )
        .await
    }

    fn told(&self) -> String {
        let steps = self.0.borrow();
        let lines = steps
            .iter()
            .map(|RecordedStep { connection, step, .. }| format!("\n  {connection}: {step:?}"));
        lines.collect()
    }
}
