//! Commands for many buckets at once, in as few round trips as there are primaries: reads, and writes that say the same
//! each time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use tokio::time::{Instant, sleep};

use super::Primaries;
use super::failure::unavailable;
use super::primary::{Primary, Work};
use super::reply::explained;
use super::run::Step;
use crate::defaults::{REDIS_PAUSE_LONGEST, REDIS_PIPELINE_COMMANDS, REDIS_STEP_WITHIN};
use crate::storage::StorageError;
use crate::storage::redis::bucket::Bucket;

impl Primaries {
    /// Sends each command to the primary of its bucket: grouped, over the connections for pages. One answer for each, in
    /// their order. A command may be sent twice, so doing it twice must be doing it once.
    ///
    /// # Errors
    ///
    /// Each for itself, as those of [`Primaries::run`].
    pub(in crate::storage::redis) async fn pipeline(
        &self,
        commands: Vec<(Bucket, Cmd)>,
    ) -> Vec<Result<Value, StorageError>> {
        let deadline = Instant::now() + REDIS_STEP_WITHIN;
        let answers = self.answers(&commands).await;
        self.finished(answers, &commands, deadline).await
    }

    /// The same for who can do nothing else meanwhile: while any of them is not answered at all, because a connection broke
    /// say, all are sent again, for so long.
    ///
    /// # Errors
    ///
    /// Those of [`Primaries::pipeline`]. What a server refuses is not sent again.
    pub(in crate::storage::redis) async fn pipeline_patiently(
        &self,
        commands: Vec<(Bucket, Cmd)>,
        patience: Duration,
    ) -> Vec<Result<Value, StorageError>> {
        let until = Instant::now() + patience;
        let mut answers = self.answers(&commands).await;
        while answers.iter().any(Option::is_none) && Instant::now() + REDIS_PAUSE_LONGEST < until {
            sleep(REDIS_PAUSE_LONGEST).await;
            answers = self.answers(&commands).await;
        }
        let deadline = Instant::now() + REDIS_STEP_WITHIN;
        self.finished(answers, &commands, deadline).await
    }

    /// What the primaries answer, as far as they do.
    async fn answers(&self, commands: &[(Bucket, Cmd)]) -> Vec<Option<Value>> {
        let mut groups: BTreeMap<u64, (Arc<Primary>, Vec<usize>)> = BTreeMap::new();
        let table = self.map.now();
        for (place, (bucket, _)) in commands.iter().enumerate() {
            if let Some(primary) = table
                .primary(*bucket)
                .filter(|primary| primary.circuit.admit().is_some())
            {
                let group = groups
                    .entry(primary.id)
                    .or_insert_with(|| (Arc::clone(primary), Vec::new()));
                group.1.push(place);
            }
        }
        let mut answers: Vec<Option<Value>> = vec![None; commands.len()];
        let sent = groups
            .values()
            .map(|(primary, places)| send_group(primary, places, commands));
        for (place, value) in join_all(sent).await.into_iter().flatten() {
            answers[place] = Some(value);
        }
        answers
    }

    /// Sends again by itself what a server was not ready for, until `deadline`.
    async fn finished(
        &self,
        answers: Vec<Option<Value>>,
        commands: &[(Bucket, Cmd)],
        deadline: Instant,
    ) -> Vec<Result<Value, StorageError>> {
        let mut finished = Vec::with_capacity(commands.len());
        for (answer, (bucket, cmd)) in answers.into_iter().zip(commands) {
            finished.push(match answer {
                Some(Value::ServerError(_)) if Instant::now() < deadline => self.one(*bucket, cmd).await,
                Some(Value::ServerError(error)) => Err(unavailable(explained(&error))),
                Some(value) => Ok(value),
                None => Err(unavailable("Redis did not answer".to_owned())),
            });
        }
        finished
    }

    /// Sends one by itself, with all that a single step is worth: its bucket has moved, or its server was not ready.
    async fn one(&self, bucket: Bucket, cmd: &Cmd) -> Result<Value, StorageError> {
        let _permit = self.permit()?;
        self.ask(Work::Page, bucket, &Step::Command(cmd)).await
    }
}

/// Sends those of `commands` that stand at `places`, a bounded number at a time, and returns what was answered.
async fn send_group(primary: &Primary, places: &[usize], commands: &[(Bucket, Cmd)]) -> Vec<(usize, Value)> {
    let mut answered = Vec::with_capacity(places.len());
    for places in places.chunks(REDIS_PIPELINE_COMMANDS) {
        let mut pipeline = Pipeline::with_capacity(places.len());
        for place in places {
            pipeline.add_command(commands[*place].1.clone());
        }
        let deadline = Primary::answer_by(Instant::now() + REDIS_STEP_WITHIN);
        let Ok(answers) = primary.send_all(Work::Page, &pipeline, deadline).await else {
            break;
        };
        answered.extend(places.iter().copied().zip(answers));
    }
    answered
}
