//! Steps that are answered only when replicas, or the append-only file, have them (PR-33).
//!
//! `WAIT` counts only for the connection on which it is sent. So each primary has one connection for these steps, and a batch
//! of steps is sent with a `WAIT` behind it, in one pipeline. A step is confirmed if its own reply is no error, and enough
//! replicas confirmed the batch.
//!
//! With `wait_replicas = "all"` every connected replica has to confirm a batch. `ROLE` behind the `WAIT`, in the same pipeline,
//! says how many are connected. If a replica has joined meanwhile, `WAIT` is repeated for it. A replica that disconnected
//! still counts for a while, and nothing is confirmed without it: it may have been promoted, and this primary does not know
//! that yet.
//!
//! **Invariant:** one batch is in flight at a time, so a count never belongs to another batch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::failure::Failure;
use super::link::{Connector, Link, Slot, said};
use super::reply::{explained, text};
use crate::defaults::{
    REDIS_ANSWER_WITHIN, REDIS_CONFIRM_WITHIN, REDIS_CONFIRMED_BATCH, REDIS_CONFIRMED_WAITING,
};
use crate::storage::clock::millis;
use crate::storage::redis::replicas::WaitReplicas;
use crate::storage::redis::url::Address;
use crate::tasks::Task;

/// Which servers must have a step before it is confirmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Confirmation {
    /// How many replicas.
    pub(super) replicas: WaitReplicas,
    /// With `all`: how long a replica that disconnected still counts.
    pub(super) missed_for: Duration,
    /// Whether it must be in the append-only files of the primary and of those replicas.
    pub(super) on_disk: bool,
}

/// Sends steps to one primary and has them confirmed. Its task ends when it is dropped; steps in flight then fail.
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
    pub(super) fn start(
        address: Address,
        connector: Arc<Connector>,
        confirmation: Confirmation,
        connected: Arc<Connected>,
    ) -> Self {
        let (jobs, waiting) = mpsc::channel(REDIS_CONFIRMED_WAITING);
        let alarm = connector.alarm.clone();
        let writing = Writing {
            address,
            connector,
            confirmation,
            slot: Slot::new(),
            connected,
        };
        Self {
            jobs,
            _task: AbortOnDropHandle::new(tokio::spawn(
                alarm.watch(Task::RedisConfirm, writing.run(waiting)),
            )),
        }
    }

    /// Sends a step in the next batch and waits for its answer and confirmation.
    pub(super) async fn write(&self, cmd: Cmd, asking: bool) -> Result<Value, Failure> {
        let (answer, answered) = oneshot::channel();
        let gone = || Failure::NotSent(Arc::from("the connection to the primary was replaced"));
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
    connector: Arc<Connector>,
    confirmation: Confirmation,
    slot: Slot,
    connected: Arc<Connected>,
}

/// How many replicas of a primary count as connected.
#[derive(Default)]
pub(super) struct Connected(Mutex<Count>);

#[derive(Default)]
struct Count {
    counted: u32,
    fewer_since: Option<Instant>,
}

impl Connected {
    /// How many count.
    fn counted(&self) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).counted
    }

    /// Notes how many are connected now, and returns how many count: a replica that disconnected counts for `missed_for` longer.
    pub(super) fn seen(&self, connected: u32, missed_for: Duration) -> u32 {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_gone = || match count.fewer_since {
            Some(since) => since.elapsed() >= missed_for,
            None => missed_for.is_zero(),
        };
        if connected >= count.counted || is_gone() {
            count.counted = connected;
            count.fewer_since = None;
        } else if count.fewer_since.is_none() {
            count.fewer_since = Some(Instant::now());
        }
        count.counted
    }
}

impl Writing {
    async fn run(self, mut waiting: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, REDIS_CONFIRMED_BATCH).await > 0 {
            // A step whose caller is gone need not be sent.
            batch.retain(|job| !job.answer.is_closed());
            if !batch.is_empty() {
                self.write(&mut batch).await;
            }
        }
    }

    /// Sends a batch, and gives each caller its answer.
    async fn write(&self, batch: &mut Vec<Job>) {
        let link = match self.slot.link(&self.connector, &self.address).await {
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
        let deadline = Instant::now() + REDIS_ANSWER_WITHIN;
        let asked_for = self.add_wait(&mut pipeline, REDIS_CONFIRM_WITHIN);
        let sent = self.send(link.clone(), &pipeline, deadline).await;
        match sent {
            Ok(mut answers) => {
                let confirmed = self.confirmed(&mut answers, asked_for, link, deadline).await;
                answer(batch, answers, &confirmed);
            }
            Err(failure) => {
                for job in batch.drain(..) {
                    let _ = job.answer.send(Err(failure.again()));
                }
            }
        }
    }

    /// Adds the commands that ask replicas to confirm everything sent before. Returns how many replicas have to.
    fn add_wait(&self, pipeline: &mut Pipeline, within: Duration) -> u32 {
        let needed = self.confirmation.replicas.needed(self.connected.counted());
        pipeline.add_command(self.confirmation.command(needed, within));
        if self.confirmation.asks_who_is_connected() {
            pipeline.cmd("ROLE");
        }
        needed
    }

    /// Takes the replies to [`Self::add_wait`] from the end of `answers`, and waits again for replicas that joined meanwhile. An
    /// error is a sentence: too few replicas confirmed.
    async fn confirmed(
        &self,
        answers: &mut Vec<Value>,
        mut asked_for: u32,
        link: Link,
        deadline: Instant,
    ) -> Result<(), String> {
        loop {
            let role = self.confirmation.asks_who_is_connected().then(|| answers.pop());
            let counts = answers
                .pop()
                .ok_or("not confirmed: the server's answer is incomplete")?;
            let confirmed = self.confirmation.counted(&counts)?;
            let connected = match role {
                None => 0,
                Some(role) => replicas_of(role.as_ref())?,
            };
            let counted = self.connected.seen(connected, self.confirmation.missed_for);
            let needed = self.confirmation.replicas.needed(counted);
            if confirmed >= needed {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if needed <= asked_for || left < WAITED_AGAIN_AT_LEAST {
                return Err(format!(
                    "{}: stored on the primary, but only {confirmed} of {needed} replicas confirmed it",
                    self.address
                ));
            }
            let mut again = Pipeline::with_capacity(2);
            asked_for = self.add_wait(&mut again, (left / 2).min(REDIS_CONFIRM_WITHIN));
            let sent = self.send(link.clone(), &again, deadline).await;
            answers.extend(sent.map_err(|failure| format!("not confirmed: {}", failure.explained()))?);
        }
    }

    async fn send(
        &self,
        mut link: Link,
        pipeline: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Value>, Failure> {
        let sending = link
            .connection()
            .send_packed_commands(pipeline, 0, pipeline.len());
        let failure = match timeout_at(deadline, sending).await {
            Ok(Ok(answers)) => return Ok(answers),
            Ok(Err(error)) => Failure::Lost(format!("{}: {}", self.address, said(&error))),
            Err(_) => Failure::Late(format!("{} did not answer in time", self.address)),
        };
        self.slot.give_up(&link);
        Err(failure)
    }
}

/// Gives each caller of a batch its answer.
fn answer(batch: &mut Vec<Job>, answers: Vec<Value>, confirmed: &Result<(), String>) {
    let mut answers = answers.into_iter();
    for job in batch.drain(..) {
        if job.asking {
            answers.next();
        }
        let answer = match (answers.next(), confirmed) {
            (Some(Value::ServerError(error)), _) => Err(Failure::Reply(error)),
            (Some(answer), Ok(())) => Ok(answer),
            (Some(_), Err(why)) => Err(Failure::Unconfirmed(why.clone())),
            (None, _) => Err(Failure::Lost("an answer is missing".to_owned())),
        };
        let _ = job.answer.send(answer);
    }
}

/// With less time left than this, `WAIT` is not repeated. Chosen: a healthy replica confirms in a millisecond.
const WAITED_AGAIN_AT_LEAST: Duration = Duration::from_millis(20);

/// How many replicas are connected, from the reply to `ROLE`: `master`, an offset, and a list of them.
fn replicas_of(role: Option<&Value>) -> Result<u32, String> {
    match role {
        Some(Value::Array(parts)) => match parts.as_slice() {
            [word, _, Value::Array(replicas), ..] if text(word) == Some("master") => {
                Ok(u32::try_from(replicas.len()).unwrap_or(u32::MAX))
            }
            _ => Err("not confirmed: the server is no longer a primary".to_owned()),
        },
        Some(Value::ServerError(error)) => Err(format!("not confirmed: {}", explained(error))),
        _ => Err("not confirmed: the answer to ROLE cannot be read".to_owned()),
    }
}

impl Confirmation {
    /// Whether `ROLE` has to be asked, because all connected replicas must confirm.
    fn asks_who_is_connected(self) -> bool {
        matches!(self.replicas, WaitReplicas::All { .. })
    }

    /// The command that waits for so many replicas.
    fn command(self, needed: u32, within: Duration) -> Cmd {
        let within = millis(within);
        let mut cmd = Cmd::new();
        if self.on_disk {
            cmd.arg("WAITAOF").arg(1);
        } else {
            cmd.arg("WAIT");
        }
        cmd.arg(needed).arg(within);
        cmd
    }

    /// How many replicas confirmed, from the reply to [`Self::command`]. An error is a sentence: for example, the primary's own disk
    /// does not have it.
    fn counted(self, answer: &Value) -> Result<u32, String> {
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
            (Some(0), _) => Err("stored on the primary, but not on its disk in time".to_owned()),
            (_, Some(replicas)) => Ok(replicas),
            (_, None) => Err("not confirmed: the answer to WAIT cannot be read".to_owned()),
        }
    }
}
