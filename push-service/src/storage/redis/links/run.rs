//! Runs one step, and sends it again where that is safe (PR-32).
//!
//! Some errors prove that the step did not run: the server does not have the script; its bucket has moved or is moving; the server
//! is loading, busy, or no longer a primary. Then the step is sent again. After any other error it may have run, and it is sent
//! again only if it may be repeated. All of this ends within [`REDIS_STEP_WITHIN`].

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ServerError, Value};
use tokio::time::{Instant, sleep_until};

use super::Primaries;
use super::failure::{Failure, unavailable};
use super::primary::{Primary, Work};
use super::reply::{explained, redirected};
use super::script::{Repeat, Script};
use crate::defaults::{REDIS_PAUSE_FIRST, REDIS_PAUSE_LONGEST, REDIS_STEP_WITHIN};
use crate::storage::StorageError;
use crate::storage::redis::bucket::Bucket;

impl Primaries {
    /// Runs a step's script on the primary of `bucket`, to which all of `keys` belong, and returns its answer.
    ///
    /// # Errors
    ///
    /// [`StorageError::Full`] when the server's memory is. Else [`StorageError::Unavailable`]: the step may or may not have
    /// run, or ran and was not confirmed. No sentence holds anything of `keys` or `args`.
    ///
    /// # Cancel safety
    ///
    /// Dropped before its first poll, it does nothing. Dropped later, the step may have run or not. Others go on.
    pub(in crate::storage::redis) async fn run(
        &self,
        work: Work,
        bucket: Bucket,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<Value, StorageError> {
        let _permit = self.permit()?;
        self.ask(work, bucket, &Step::Script { script, keys, args }).await
    }

    /// Does one thing on the primary of a bucket.
    pub(super) async fn ask(
        &self,
        work: Work,
        bucket: Bucket,
        step: &Step<'_>,
    ) -> Result<Value, StorageError> {
        let primary = self.map.primary(bucket);
        let within = match &primary {
            Some(primary) => primary.circuit.admit().ok_or_else(|| {
                self.map.refresh();
                unavailable(format!("{} does not answer", primary.address))
            })?,
            None => REDIS_STEP_WITHIN,
        };
        let deadline = Instant::now() + within;
        let failed = match primary {
            Some(primary) => {
                let sent = primary.send(
                    work,
                    step.command(Form::ByName),
                    false,
                    Primary::answer_by(deadline),
                );
                match sent.await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => Some((failure, primary)),
                }
            }
            None => None,
        };
        // Rare and large: not in every step's future.
        Box::pin(self.ask_again(work, bucket, step, failed, deadline)).await
    }

    /// Goes on after a first try that failed, or could not be made because no server has the bucket.
    async fn ask_again(
        &self,
        work: Work,
        bucket: Bucket,
        step: &Step<'_>,
        mut failed: Option<(Failure, Arc<Primary>)>,
        deadline: Instant,
    ) -> Result<Value, StorageError> {
        let mut pause = REDIS_PAUSE_FIRST;
        let (mut hops, mut torn) = (0, 0);
        loop {
            let next = match failed.take() {
                Some((failure, primary)) => {
                    // What a server says is an answer; silence and lost connections may have a reason that others know.
                    if !matches!(failure, Failure::Reply(_)) {
                        self.map.refresh();
                    }
                    self.judge(failure, primary, step)
                }
                None => Next::Later("no server of the Redis cluster serves this slot".to_owned()),
            };
            let (primary, form, asking) = match next {
                Next::Refuse(error) => return Err(error),
                // Servers that send a step around among them are asked no faster than others.
                Next::Send { to, form, asking } if hops < HOPS && Instant::now() < deadline => {
                    hops += 1;
                    (to, form, asking)
                }
                Next::Send { to, .. } => {
                    pause_until(deadline, &mut pause, || {
                        format!("the command was redirected too often, last to {}", to.address)
                    })
                    .await?;
                    hops = 0;
                    (to, Form::ByName, false)
                }
                // The first time, the rest of the keys may be about to move anyway.
                Next::Torn(why) => {
                    torn += 1;
                    pause_until(deadline, &mut pause, || why).await?;
                    if torn > 1
                        && let Step::Script { script, keys, args } = step
                        && let Some((ran, primary)) = self
                            .run_behind(work, bucket, (script, keys, args), deadline)
                            .await
                    {
                        match ran {
                            Ok(answer) => return Ok(answer),
                            Err(failure) => failed = Some((failure, primary)),
                        }
                        continue;
                    }
                    let Some(primary) = self.map.primary(bucket) else {
                        continue;
                    };
                    (primary, Form::ByName, false)
                }
                Next::Later(why) => {
                    self.map.refresh();
                    pause_until(deadline, &mut pause, || why).await?;
                    let Some(primary) = self.map.primary(bucket) else {
                        continue;
                    };
                    (primary, Form::ByName, false)
                }
            };
            let sent = primary.send(work, step.command(form), asking, Primary::answer_by(deadline));
            match sent.await {
                Ok(answer) => return Ok(answer),
                // Where a slot is being moved to, a script that is not known has to be brought, asking again.
                Err(Failure::Reply(error)) if asking && error.code() == "NOSCRIPT" => {
                    let brought = step.command(Form::BySource);
                    match primary
                        .send(work, brought, true, Primary::answer_by(deadline))
                        .await
                    {
                        Ok(answer) => return Ok(answer),
                        Err(failure) => failed = Some((failure, primary)),
                    }
                }
                Err(failure) => failed = Some((failure, primary)),
            }
        }
    }
}

/// Redirections that are followed without a pause. Chosen: a moved slot takes one, a slot that is moving another.
const HOPS: u32 = 4;

/// Waits, twice as long the next time; refuses with `why` when that would last beyond the deadline.
async fn pause_until(
    deadline: Instant,
    pause: &mut Duration,
    why: impl FnOnce() -> String,
) -> Result<(), StorageError> {
    let until = Instant::now() + *pause;
    if until >= deadline {
        return Err(unavailable(why()));
    }
    sleep_until(until).await;
    *pause = (*pause * 2).min(REDIS_PAUSE_LONGEST);
    Ok(())
}

/// What is to be done.
pub(super) enum Step<'a> {
    /// A script.
    Script {
        script: &'a Script,
        keys: &'a [&'a [u8]],
        args: &'a [&'a [u8]],
    },
    /// A command that may be repeated.
    Command(&'a Cmd),
}

/// How a script is called.
#[derive(Clone, Copy)]
enum Form {
    ByName,
    BySource,
}

impl Step<'_> {
    fn command(&self, form: Form) -> Cmd {
        match (self, form) {
            (Self::Script { script, keys, args }, Form::ByName) => script.by_name(keys, args),
            (Self::Script { script, keys, args }, Form::BySource) => script.by_source(keys, args),
            (Self::Command(cmd), _) => (*cmd).clone(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Script { script, .. } => script.name,
            Self::Command(_) => "command",
        }
    }

    fn repeat(&self) -> Repeat {
        match self {
            Self::Script { script, .. } => script.repeat,
            Self::Command(_) => Repeat::Always,
        }
    }
}

/// What to do after a failure.
///
/// ```text
///               ┌──────────────────────────────────────────────────┐
///               ▼                                                  │ it fails
///   failure ─► Next ─┬─ Send ── at once, a few times in a row ─────┤
///                    ├─ Torn ── pause ─ bring its keys together ───┤
///                    ├─ Later ─ pause ─ to the primary of then ────┘
///                    └─ Refuse
/// ```
///
/// A pause that would last beyond the deadline refuses.
enum Next {
    /// Send it there. `asking`: its bucket is on its way there.
    Send {
        to: Arc<Primary>,
        form: Form,
        asking: bool,
    },
    /// Its keys are on both sides of a moving slot, or on neither: bring them to one.
    Torn(String),
    /// Send it again after a pause, to the server that is primary then.
    Later(String),
    /// Give up.
    Refuse(StorageError),
}

impl Primaries {
    /// What to do about a failure that came from this primary.
    fn judge(&self, failure: Failure, from: Arc<Primary>, step: &Step<'_>) -> Next {
        match failure {
            Failure::Reply(error) => self.judge_reply(&error, from, step),
            Failure::NotSent(why) => Next::Later(why.to_string()),
            Failure::Lost(why) if step.repeat() == Repeat::Always => Next::Later(why),
            Failure::Late(why) if step.repeat() == Repeat::Always => Next::Later(why),
            failure => Next::Refuse(unavailable(failure.explained())),
        }
    }

    /// What to do about a server's error. All but [`Next::Refuse`] prove that the step did not run.
    fn judge_reply(&self, error: &ServerError, from: Arc<Primary>, step: &Step<'_>) -> Next {
        let send = |to, form, asking| Next::Send { to, form, asking };
        let address = from.address.clone();
        let said = || format!("{address}: {}", explained(error));
        match error.code() {
            "NOSCRIPT" if matches!(step, Step::Script { .. }) => send(from, Form::BySource, false),
            "MOVED" => match redirected(error, &address) {
                Some(owner) => {
                    self.map.refresh();
                    send(self.map.at(&owner), Form::ByName, false)
                }
                None => Next::Later(said()),
            },
            "ASK" => match redirected(error, &address) {
                Some(owner) => send(self.map.at(&owner), Form::ByName, true),
                None => Next::Later(said()),
            },
            "READONLY" => {
                from.depose();
                Next::Later(said())
            }
            "TRYAGAIN" => Next::Torn(said()),
            "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "BUSY" => Next::Later(said()),
            "OOM" => Next::Refuse(StorageError::Full),
            // The error code of our own scripts for a store that they cannot use (PR-3). A sentence for the operator follows it.
            "TROUBLE" => Next::Refuse(unavailable(
                error
                    .details()
                    .unwrap_or("the store is not as this service left it")
                    .to_owned(),
            )),
            _ => Next::Refuse(unavailable(format!("{}: {}", step.name(), said()))),
        }
    }
}

/// A step that is tried again has time for several pauses.
const _: () = assert!(REDIS_STEP_WITHIN.as_millis() > 4 * Duration::as_millis(&REDIS_PAUSE_LONGEST));
