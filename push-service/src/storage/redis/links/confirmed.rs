//! Steps that are answered when replicas, or the disk, have them (PR-33).
//!
//! `WAIT` speaks of the connection that says it: so these steps have a connection of their own per primary, and a batch of
//! them goes out with its `WAIT` behind it in one pipeline. A step is confirmed if its own answer is good and the count
//! that came over the same connection is high enough.
//!
//! **Invariant:** one batch is under way at a time, so an answer can't be counted for the batch before or after it.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::link::{Door, Link, Slot, said};
use super::primary::Failure;
use crate::defaults::{
    REDIS_ANSWER_WITHIN, REDIS_CONFIRM_WITHIN, REDIS_CONFIRMED_BATCH, REDIS_CONFIRMED_WAITING,
};
use crate::storage::redis::url::Address;

/// What has to have a step before it is confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Confirmation {
    /// How many replicas.
    pub(super) replicas: u32,
    /// Whether the disks (the append-only files) of the primary and of those replicas.
    pub(super) on_disk: bool,
}

/// Sends confirmed steps to one primary. Ends when it is dropped; steps under way are then not confirmed.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    _task: AbortOnDropHandle<()>,
}

struct Job {
    cmd: Cmd,
    asking: bool,
    answer: oneshot::Sender<Result<Value, Failure>>,
}

impl Writer {
    /// Starts the task that writes.
    pub(super) fn start(address: Address, door: Arc<Door>, confirmation: Confirmation) -> Self {
        let (jobs, waiting) = mpsc::channel(REDIS_CONFIRMED_WAITING);
        let writing = Writing {
            address,
            door,
            confirmation,
            slot: Slot::new(),
        };
        Self {
            jobs,
            _task: AbortOnDropHandle::new(tokio::spawn(writing.run(waiting))),
        }
    }

    /// Sends a step in the next batch and waits for its answer and confirmation.
    pub(super) async fn write(&self, cmd: Cmd, asking: bool) -> Result<Value, Failure> {
        let (answer, answered) = oneshot::channel();
        let gone = || Failure::NotSent(Arc::from("the primary's writer has ended"));
        self.jobs
            .send(Job { cmd, asking, answer })
            .await
            .map_err(|_| gone())?;
        match answered.await {
            Ok(answer) => answer,
            // The writer was dropped with its primary, perhaps after it had sent this.
            Err(_) => Err(Failure::Lost("the primary changed".to_owned())),
        }
    }
}

struct Writing {
    address: Address,
    door: Arc<Door>,
    confirmation: Confirmation,
    slot: Slot,
}

impl Writing {
    async fn run(self, mut waiting: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, REDIS_CONFIRMED_BATCH).await > 0 {
            // Those whose asker has gone need not be sent.
            batch.retain(|job| !job.answer.is_closed());
            if !batch.is_empty() {
                self.write(&mut batch).await;
            }
        }
    }

    /// Sends a batch and answers everybody in it.
    async fn write(&self, batch: &mut Vec<Job>) {
        let link = match self.slot.link(&self.door, &self.address).await {
            Ok(link) => link,
            Err(why) => {
                for job in batch.drain(..) {
                    let _ = job.answer.send(Err(Failure::NotSent(Arc::clone(&why))));
                }
                return;
            }
        };
        let mut pipeline = Pipeline::with_capacity(2 * batch.len() + 1);
        for job in batch.iter_mut() {
            if job.asking {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(job.cmd.take());
        }
        pipeline.add_command(self.confirmation.command());
        match self.send(link, &pipeline).await {
            Ok(answers) => self.answer(batch, answers),
            Err(failure) => {
                for job in batch.drain(..) {
                    let _ = job.answer.send(Err(failure.again()));
                }
            }
        }
    }

    async fn send(&self, mut link: Link, pipeline: &Pipeline) -> Result<Vec<Value>, Failure> {
        let sending = link
            .connection()
            .send_packed_commands(pipeline, 0, pipeline.len());
        let failure = match timeout(REDIS_ANSWER_WITHIN, sending).await {
            Ok(Ok(answers)) => return Ok(answers),
            Ok(Err(error)) => Failure::Lost(format!("{}: {}", self.address, said(&error))),
            Err(_) => Failure::Late(format!("{} did not answer in time", self.address)),
        };
        self.slot.give_up(&link);
        Err(failure)
    }

    fn answer(&self, batch: &mut Vec<Job>, mut answers: Vec<Value>) {
        let confirmed = match answers.pop() {
            Some(count) => self.confirmation.met_by(&count),
            None => Err("the server's answer is incomplete".to_owned()),
        };
        let mut answers = answers.into_iter();
        for job in batch.drain(..) {
            if job.asking {
                answers.next();
            }
            let answer = match (answers.next(), &confirmed) {
                (Some(Value::ServerError(error)), _) => Err(Failure::Reply(error)),
                (Some(answer), Ok(())) => Ok(answer),
                (Some(_), Err(why)) => Err(Failure::Unconfirmed(format!("{}: {why}", self.address))),
                (None, _) => Err(Failure::Lost(format!("{}: an answer is missing", self.address))),
            };
            let _ = job.answer.send(answer);
        }
    }
}

impl Confirmation {
    fn command(self) -> Cmd {
        let within = millis(REDIS_CONFIRM_WITHIN);
        let mut cmd = Cmd::new();
        if self.on_disk {
            cmd.arg("WAITAOF").arg(1);
        } else {
            cmd.arg("WAIT");
        }
        cmd.arg(self.replicas).arg(within);
        cmd
    }

    /// Whether the answer to [`Self::command`] says that enough have it; a sentence if not.
    fn met_by(self, answer: &Value) -> Result<(), String> {
        let count = |value: Option<&Value>| match value {
            Some(Value::Int(count)) => u32::try_from(*count).ok(),
            _ => None,
        };
        let (local, replicas) = match answer {
            Value::Array(counts) if self.on_disk => (count(counts.first()), count(counts.get(1))),
            Value::Int(_) if !self.on_disk => (Some(1), count(Some(answer))),
            Value::ServerError(error) => {
                return Err(format!(
                    "not confirmed: {}",
                    error.details().unwrap_or(error.code())
                ));
            }
            _ => (None, None),
        };
        match (local, replicas) {
            (Some(1..), Some(replicas)) if replicas >= self.replicas => Ok(()),
            (Some(0), _) => Err("stored on the primary, but not on its disk in time".to_owned()),
            (_, Some(replicas)) => Err(format!(
                "stored on the primary, but only {replicas} of {} replicas confirmed it",
                self.replicas
            )),
            (_, None) => Err("not confirmed: the answer to WAIT is none".to_owned()),
        }
    }
}

impl Failure {
    /// The same for another step of the batch.
    fn again(&self) -> Self {
        match self {
            Self::Reply(error) => Self::Reply(error.clone()),
            Self::NotSent(why) => Self::NotSent(Arc::clone(why)),
            Self::Lost(why) => Self::Lost(why.clone()),
            Self::Late(why) => Self::Late(why.clone()),
            Self::Unconfirmed(why) => Self::Unconfirmed(why.clone()),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
