//! One step for each of many user agents, some of them at a time.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::failure::{BenchResult, While as _, within};

/// Connections that are being made at a time. Chosen: the service is kept busy, and its backlog does not overflow.
pub(crate) const CONNECTING: usize = 64;

/// Does a step `count` times, at most `width` at a time, and returns the results in order.
pub(crate) async fn each<T: Send + 'static, F: Future<Output = BenchResult<T>> + Send + 'static>(
    count: usize,
    width: usize,
    mut step: impl FnMut(usize) -> F,
) -> BenchResult<Vec<T>> {
    let turns = Arc::new(Semaphore::new(width));
    let mut tasks = JoinSet::new();
    for nth in 0..count {
        let (turns, step) = (Arc::clone(&turns), step(nth));
        tasks.spawn(async move {
            let _turn = turns.acquire().await.doing("waiting for a turn")?;
            within("a user agent's step", step).await.map(|done| (nth, done))
        });
    }
    let mut done: Vec<_> = (0..count).map(|_| None).collect();
    while let Some(ended) = tasks.join_next().await {
        let (nth, result) = ended.doing("a step")??;
        done[nth] = Some(result);
    }
    Ok(done.into_iter().flatten().collect())
}
