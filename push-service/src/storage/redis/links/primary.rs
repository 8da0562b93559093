//! One primary: its connections, one for each kind of work, and whether it answers.
//!
//! A primary that stops answering costs each step that was under way its deadline, and new ones nothing: until it answers
//! again they are refused at once, except for one now and then that finds out.
//!
//! What it deliberately does not know: which buckets it holds, and what to do about an error.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use redis::{Cmd, Pipeline, RedisError, ServerError, Value};
use tokio::time::{Instant, timeout_at};

use super::confirmed::{Confirmation, Connected, Writer};
use super::link::{Door, Link, Slot, said};
use crate::defaults::{REDIS_ANSWER_WITHIN, REDIS_PROBE_EVERY};
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

/// Why a command has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server answered with an error.
    Reply(ServerError),
    /// It was not sent.
    NotSent(Arc<str>),
    /// It may have been sent, and the connection ended.
    Lost(String),
    /// It was sent, and no answer came in time.
    Late(String),
    /// It ran, and was not confirmed.
    Unconfirmed(String),
}

/// A server that takes writes, as long as it does.
pub(super) struct Primary {
    /// Different for each, also for two at one address one after the other.
    pub(super) id: u64,
    pub(super) address: Address,
    pub(super) door: Arc<Door>,
    steps: Slot,
    pages: Slot,
    confirmed: OnceLock<Writer>,
    confirmation: Option<Confirmation>,
    /// How many replicas it has.
    connected: Arc<Connected>,
    /// Nothing was answered since something was not answered in time.
    silent: AtomicBool,
    made_at: Instant,
    /// When something was last answered, in microseconds since `made_at`: what was sent before may be late and is no sign
    /// of silence.
    answered_at_us: AtomicU64,
    next_probe: Mutex<Instant>,
    /// It said that it is no primary: what is connected to it must go.
    deposed: AtomicBool,
}

impl Primary {
    /// A primary to which nothing is connected yet.
    pub(super) fn new(address: Address, door: Arc<Door>, confirmation: Option<Confirmation>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            address,
            door,
            steps: Slot::new(),
            pages: Slot::new(),
            confirmed: OnceLock::new(),
            confirmation,
            connected: Arc::default(),
            silent: AtomicBool::new(false),
            made_at: Instant::now(),
            answered_at_us: AtomicU64::new(0),
            next_probe: Mutex::new(Instant::now()),
            deposed: AtomicBool::new(false),
        })
    }

    /// Whether a new step may be tried: refused while nothing is answered, but for one every [`REDIS_PROBE_EVERY`].
    pub(super) fn admits(&self) -> bool {
        if !self.silent.load(Ordering::Relaxed) {
            return true;
        }
        let now = Instant::now();
        let mut next = self.next_probe.lock().unwrap_or_else(PoisonError::into_inner);
        let due = now >= *next;
        if due {
            *next = now + REDIS_PROBE_EVERY;
        }
        due
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
                let (door, connected) = (Arc::clone(&self.door), Arc::clone(&self.connected));
                Writer::start(self.address.clone(), door, confirmation, connected)
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

    /// Whether nothing was answered since something was not answered in time.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
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
        match timeout_at(deadline, slot.link(&self.door, &self.address)).await {
            Ok(Ok(link)) => {
                self.answered();
                Ok(link)
            }
            Ok(Err(why)) => {
                self.fall_silent(began);
                Err(Failure::NotSent(why))
            }
            Err(_) => {
                self.fall_silent(began);
                Err(Failure::NotSent(
                    format!("{} does not answer", self.address).into(),
                ))
            }
        }
    }

    /// Notes what came of something that was sent over `link`, after it `began`.
    fn heard<T>(
        &self,
        work: Work,
        link: &Link,
        began: Instant,
        sent: Result<Result<T, RedisError>, tokio::time::error::Elapsed>,
    ) -> Result<T, Failure> {
        let failure = match sent {
            Ok(Ok(answer)) => {
                self.answered();
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
            Ok(_) | Err(Failure::Reply(_) | Failure::Unconfirmed(_)) => self.answered(),
            Err(Failure::Late(_)) => self.fall_silent(began),
            Err(Failure::NotSent(_) | Failure::Lost(_)) => {}
        }
        sent
    }

    fn answered(&self) {
        let now_us = self.since_made_us(Instant::now());
        self.answered_at_us.store(now_us, Ordering::Relaxed);
        if self.silent.load(Ordering::Relaxed) {
            self.silent.store(false, Ordering::Relaxed);
        }
    }

    /// Something that `began` then was not answered in time. It says nothing if other things were answered meanwhile: the
    /// deadlines of a silence run out after its end too.
    fn fall_silent(&self, began: Instant) {
        if self.answered_at_us.load(Ordering::Relaxed) <= self.since_made_us(began) {
            self.silent.store(true, Ordering::Relaxed);
        }
    }

    fn since_made_us(&self, then: Instant) -> u64 {
        let since = then.saturating_duration_since(self.made_at);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
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
