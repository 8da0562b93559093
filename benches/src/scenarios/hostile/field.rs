//! The hostile side: its own thread on the load tool's core, with a lower priority than everything else there.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::attacks::Attack;
use super::ground::{Ground, Seen};
use crate::failure::{BenchResult, Failure, While as _};
use crate::target::Target;

/// The niceness of the hostile thread: the lowest priority, because honest peers and Redis share its core.
const NICENESS: i32 = 19;

/// How long an attack may take to end.
const END_WITHIN: Duration = Duration::from_secs(5);

/// An attack that is prepared or running.
pub(super) struct Field {
    thread: JoinHandle<usize>,
    go: watch::Sender<Step>,
    ground: Arc<Ground>,
    over: oneshot::Receiver<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Prepare,
    Attack,
    End,
}

impl Field {
    /// Lets every hostile connection prepare, and returns when all have, or when the time is over.
    pub(super) async fn prepare(
        target: &Target,
        attack: Attack,
        connections: usize,
        addresses: Option<u16>,
        within: Duration,
    ) -> BenchResult<Self> {
        let ground = Arc::new(Ground::new(target, connections, addresses));
        let (go, steps) = watch::channel(Step::Prepare);
        let (ready, prepared) = oneshot::channel();
        let (done, over) = oneshot::channel();
        let shared = Arc::clone(&ground);
        let thread = std::thread::Builder::new()
            .name("hostile".to_owned())
            .spawn(move || {
                // If this fails, the figures are only worse for honest peers.
                let _ = rustix::process::setpriority_process(None, NICENESS);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let unprepared = runtime.map_or(connections, |runtime| {
                    runtime.block_on(hostile(attack, shared, steps, ready, within))
                });
                let _ = done.send(());
                unprepared
            });
        let field = Self {
            thread: thread.doing("starting a thread")?,
            go,
            ground,
            over,
        };
        prepared.await.doing("preparing an attack")?;
        Ok(field)
    }

    /// Starts the attack.
    pub(super) fn attack(&self) {
        self.ground.begin_counting();
        // If the thread has ended, joining it says why.
        let _ = self.go.send(Step::Attack);
    }

    /// Ends the attack, and returns what it counted.
    pub(super) async fn end(self) -> BenchResult<Seen> {
        let mut seen = self.ground.seen();
        let _ = self.go.send(Step::End);
        if timeout(END_WITHIN, self.over).await.is_err() {
            return Err(Failure::new("hostile connections do not end"));
        }
        let joined = self.thread.join();
        seen.unprepared = joined.map_err(|_| Failure::new("the hostile thread panicked"))?;
        Ok(seen)
    }
}

async fn hostile(
    attack: Attack,
    ground: Arc<Ground>,
    mut steps: watch::Receiver<Step>,
    ready: oneshot::Sender<()>,
    within: Duration,
) -> usize {
    let mut preparing = JoinSet::new();
    for nth in 0..ground.connections {
        let ground = Arc::clone(&ground);
        preparing.spawn(async move { (nth, attack.prepare(&ground, nth).await) });
    }
    let mut prepared = Vec::new();
    let all = async {
        while let Some(done) = preparing.join_next().await {
            if let Ok((nth, Ok(arms))) = done {
                prepared.push((nth, arms));
            }
        }
    };
    // A connection that is not ready by then does not take part.
    let _ = timeout(within, all).await;
    preparing.abort_all();
    let unprepared = ground.connections - prepared.len();
    let _ = ready.send(());
    let _ = steps.wait_for(|step| *step != Step::Prepare).await;
    let mut attacking = JoinSet::new();
    for (nth, mut arms) in prepared {
        let ground = Arc::clone(&ground);
        attacking.spawn(async move {
            loop {
                if attack.strike(&ground, nth, &mut arms).await.is_err() {
                    ground.broke();
                    // It connects again soon, but does not spin.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
    }
    let _ = steps.wait_for(|step| *step == Step::End).await;
    attacking.shutdown().await;
    unprepared
}
