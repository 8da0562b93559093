//! Runs scripts on the keys of what they are about.
//!
//! Guarantees that a script's keys are all in the slot of its subject, and that each script is told the node's time and
//! incarnation. It deliberately does not know what a script does.

use std::sync::Arc;

use redis::Value;

use super::layout::letter;
use super::links::{Primaries, Work};
use super::scripts::Step;
use crate::storage::StorageError;
use crate::storage::clock::Clock;

pub(super) struct Runner {
    pub(super) primaries: Arc<Primaries>,
    pub(super) prefix: String,
    pub(super) incarnation: u64,
    /// The time of each step, instead of Redis's own: for tests.
    pub(super) clock: Option<Arc<dyn Clock>>,
    pub(super) own_clock: Arc<dyn Clock>,
}

impl Runner {
    /// Runs a step about `of`, and once more with the outbox if it turns out to need it.
    ///
    /// # Errors
    ///
    /// Those of [`Primaries::run`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the step may have run or not.
    pub(super) async fn run<Of: Copy>(
        &self,
        work: Work,
        step: &Step<Of>,
        of: Of,
        args: &[&[u8]],
    ) -> Result<Value, StorageError> {
        let answer = self.run_one(work, step, of, args).await?;
        match &step.with_outbox {
            Some(with_outbox) if is_again(&answer) => self.run_one(work, with_outbox, of, args).await,
            _ => Ok(answer),
        }
    }

    async fn run_one<Of: Copy>(
        &self,
        work: Work,
        step: &Step<Of>,
        of: Of,
        args: &[&[u8]],
    ) -> Result<Value, StorageError> {
        let keys = (step.keys.of)(&self.prefix, of);
        let (time, incarnation) = (self.time(), self.incarnation.to_be_bytes());
        let mut all: Vec<&[u8]> = Vec::with_capacity(args.len() + 2);
        all.push(time.as_bytes());
        all.push(&incarnation);
        all.extend(args);
        let names = keys.names();
        self.primaries
            .run(work, keys.bucket, &step.script, &names, &all)
            .await
    }

    /// This node's idea of the time, for what needn't be exact.
    pub(super) fn now_ms(&self) -> u64 {
        match &self.clock {
            Some(clock) => clock.now_us() / 1_000,
            None => self.own_clock.now_us() / 1_000,
        }
    }

    /// The time for scripts: this node's, in microseconds, to compare with Redis's own. A test's clock has a letter
    /// in front, and scripts use it instead of Redis's.
    fn time(&self) -> String {
        match &self.clock {
            Some(clock) => format!("t{}", clock.now_us()),
            None => self.own_clock.now_us().to_string(),
        }
    }
}

fn is_again(answer: &Value) -> bool {
    matches!(answer, Value::BulkString(answer) if *answer == [letter::AGAIN])
}
