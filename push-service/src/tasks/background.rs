//! The tasks that run as long as the service.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::SetOnce;
use tokio::task::JoinSet;

use super::Task;
use super::panics;
use super::watched::{Owner, Watched};

/// Background tasks, and the first of them that ended although the service still needs it. Dropping it ends its tasks.
///
/// **Invariant:** no task of it ends before [`Background::end`] without [`Background::failed`] resolving.
#[derive(Default)]
pub struct Background {
    tasks: Mutex<JoinSet<()>>,
    alarm: PanicAlarm,
}

/// Makes the panic of a task one of [`Background::failed`], for tasks that start and end while the service runs. A clone is
/// another handle to the same.
#[derive(Clone, Default)]
pub struct PanicAlarm(Arc<SetOnce<String>>);

impl PanicAlarm {
    /// The work of a task that may end, but must not panic. Its caller spawns it.
    pub fn watch<F>(&self, task: Task, work: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let alarm = self.clone();
        async move {
            if let Err(how) = run(task, work).await {
                alarm.raise(task, &how);
            }
        }
    }

    fn raise(&self, task: Task, how: &str) {
        // Only the first counts: others may have ended because of it.
        let _ = self
            .0
            .set(format!("the background task \"{}\" {how}", task.as_str()));
    }
}

/// Does the work; `Err` says that it panicked, and where.
async fn run(task: Task, work: impl Future<Output = ()>) -> Result<(), String> {
    let work = Watched::new(task, Owner::NONE, work);
    // The content of a task that panicked is not used any more.
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.map_err(|_| format!("panicked at {}", panics::last_place()))
}

impl Background {
    /// No task yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task that has to run until [`Background::end`] ends it.
    pub fn spawn(&self, task: Task, work: impl Future<Output = ()> + Send + 'static) {
        self.lock().spawn(self.needed(task, work));
    }

    /// The same for a task that its caller spawns, ends and waits for.
    pub fn needed<F>(&self, task: Task, work: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let alarm = self.alarm.clone();
        async move {
            let ended = run(task, work).await;
            alarm.raise(task, &ended.err().unwrap_or_else(|| "ended by itself".to_owned()));
        }
    }

    /// For tasks that are not needed all the time, but must not panic.
    pub fn alarm(&self) -> &PanicAlarm {
        &self.alarm
    }

    /// Resolves when a task has ended although the service needs it, with which and how. Never resolves otherwise.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again: the answer stays the same.
    pub async fn failed(&self) -> String {
        self.alarm.0.wait().await.clone()
    }

    /// Ends all tasks, and resolves when they are gone.
    pub async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        tasks.shutdown().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
