//! One primary: its connections, one for each kind of work, and whether it answers ([`Circuit`]).
//!
//! What it deliberately does not know: which buckets it holds, and what to do about an error.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use redis::{Cmd, Pipeline, RedisError, Value};
use tokio::time::{Instant, timeout_at};

use super::circuit::Circuit;
use super::confirmed::{Confirmation, Connected, Writer};
use super::failure::Failure;
use super::link::{Connector, Link, Slot, said};
use crate::defaults::REDIS_ANSWER_WITHIN;
use crate::storage::redis::url::Address;

/// Which connection something goes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage::redis) enum Work {
    /// Small steps, all pipelined on one connection.
    Step,
    /// What may bring a lot back: attach, pages, reads of many (PR-34).
    Page,
    /// What is answered when replicas or the disk have it (PR-33).
    Confirmed,
}

/// A server that takes writes, as long as it does.
pub(super) struct Primary {
    /// Different for each, also for two at one address one after the other.
    pub(super) id: u64,
    pub(super) address: Address,
    pub(super) connector: Arc<Connector>,
    steps: Slot,
    pages: Slot,
    confirmed: OnceLock<Writer>,
    confirmation: Option<Confirmation>,
    /// How many replicas it has.
    connected: Arc<Connected>,
    /// Whether it answers.
    pub(super) circuit: Circuit,
    /// It said that it is no primary: what is connected to it must go.
    deposed: AtomicBool,
}

impl Primary {
    /// A primary to which nothing is connected yet.
    pub(super) fn new(
        address: Address,
        connector: Arc<Connector>,
        confirmation: Option<Confirmation>,
    ) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            address,
            connector,
            steps: Slot::new(),
            pages: Slot::new(),
            confirmed: OnceLock::new(),
            confirmation,
            connected: Arc::default(),
            circuit: Circuit::new(),
            deposed: AtomicBool::new(false),
        })
    }

    /// Sends a command and waits for its answer, until `deadline` at the latest. `asking` is what the target of an ASK
    /// has to be told before.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have been sent or not, as after a lost connection. Other commands are not touched.
    pub(super) async fn send(
        &self,
        work: Work,
        cmd: Cmd,
        asking: bool,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let began = Instant::now();
        if let (Work::Confirmed, Some(confirmation)) = (work, self.confirmation) {
            let writer = self.confirmed.get_or_init(|| {
                let (connector, connected) = (Arc::clone(&self.connector), Arc::clone(&self.connected));
                Writer::start(self.address.clone(), connector, confirmation, connected)
            });
            let sent = timeout_at(deadline, writer.write(cmd, asking)).await;
            // Too late here says that replicas are slow, not that the primary is silent: that the writer tells.
            let slow = || Failure::Lost(format!("{}: replicas did not confirm in time", self.address));
            return self.noted(began, sent.unwrap_or_else(|_| Err(slow())));
        }
        let answer = if asking {
            let mut pipeline = Pipeline::with_capacity(2);
            pipeline.cmd("ASKING").add_command(cmd);
            self.send_all(work, &pipeline, deadline)
                .await
                .map(|mut answers| answers.pop().unwrap_or(Value::Nil))?
        } else {
            let mut link = self.link(work, deadline).await?;
            let sent = timeout_at(deadline, link.connection().send_packed_command(&cmd)).await;
            self.heard(work, &link, began, sent)?
        };
        match answer {
            Value::ServerError(error) => Err(Failure::Reply(error)),
            answer => Ok(answer),
        }
    }

    /// Sends commands in one pipeline; errors of single ones stand in their places.
    pub(super) async fn send_all(
        &self,
        work: Work,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Value>, Failure> {
        let began = Instant::now();
        let mut link = self.link(work, deadline).await?;
        let sent = link
            .connection()
            .send_packed_commands(commands, 0, commands.len());
        let sent = timeout_at(deadline, sent).await;
        self.heard(work, &link, began, sent)
    }

    /// When an answer to something that is sent now is too late.
    pub(super) fn answer_by(deadline: Instant) -> Instant {
        deadline.min(Instant::now() + REDIS_ANSWER_WITHIN)
    }

    /// Notes how many replicas are connected, also while nothing has to be confirmed.
    pub(super) fn has_replicas(&self, connected: u32) {
        if let Some(confirmation) = self.confirmation {
            self.connected.seen(connected, confirmation.missed_for);
        }
    }

    /// Takes note that it is no primary.
    pub(super) fn depose(&self) {
        self.deposed.store(true, Ordering::Relaxed);
    }

    /// Whether it said that it is no primary.
    pub(super) fn is_deposed(&self) -> bool {
        self.deposed.load(Ordering::Relaxed)
    }

    async fn link(&self, work: Work, deadline: Instant) -> Result<Link, Failure> {
        let began = Instant::now();
        let slot = self.slot(work);
        if let Some(link) = slot.ready() {
            return Ok(link);
        }
        match timeout_at(deadline, slot.link(&self.connector, &self.address)).await {
            Ok(Ok(link)) => {
                self.circuit.answered();
                Ok(link)
            }
            Ok(Err(why)) => {
                self.circuit.not_answered(began);
                Err(Failure::NotSent(why))
            }
            Err(_) => {
                self.circuit.not_answered(began);
                Err(Failure::NotSent(
                    format!("{} does not answer", self.address).into(),
                ))
            }
        }
    }

    /// Notes the end of a command that was sent over `link`, after it `began`.
    fn heard<T>(
        &self,
        work: Work,
        link: &Link,
        began: Instant,
        sent: Result<Result<T, RedisError>, tokio::time::error::Elapsed>,
    ) -> Result<T, Failure> {
        let failure = match sent {
            Ok(Ok(answer)) => {
                self.circuit.answered();
                return Ok(answer);
            }
            Ok(Err(error)) => Failure::Lost(format!("{}: {}", self.address, said(&error))),
            Err(_) => self.late(),
        };
        self.slot(work).give_up(link);
        self.noted(began, Err(failure))
    }

    fn noted<T>(&self, began: Instant, sent: Result<T, Failure>) -> Result<T, Failure> {
        match &sent {
            Ok(_) | Err(Failure::Reply(_) | Failure::Unconfirmed(_)) => self.circuit.answered(),
            Err(Failure::Late(_)) => self.circuit.not_answered(began),
            Err(Failure::NotSent(_) | Failure::Lost(_)) => {}
        }
        sent
    }

    fn late(&self) -> Failure {
        Failure::Late(format!("{} did not answer in time", self.address))
    }

    /// The connection for small steps, if there is one.
    #[cfg(test)]
    pub(super) fn steps_link(&self) -> Option<Link> {
        self.steps.ready()
    }

    fn slot(&self, work: Work) -> &Slot {
        match work {
            Work::Page => &self.pages,
            Work::Step | Work::Confirmed => &self.steps,
        }
    }
}
