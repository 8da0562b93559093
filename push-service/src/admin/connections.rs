//! Connections of the admin listener: a bounded number, of which the least useful gives way.
//!
//! Without this, a peer could hold all connections without sending a request. Then no probe would be answered, and an
//! orchestrator would take a healthy node for a dead one.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::{AbortHandle, JoinSet};

/// How a connection was used.
pub(super) struct Use {
    /// A request is being answered.
    is_busy: AtomicBool,
    was_asked: AtomicBool,
    /// When it was opened or last used, counted in events of all connections.
    last: AtomicU64,
    events: Arc<AtomicU64>,
}

impl Use {
    /// A request has come.
    pub(super) fn begins(&self) {
        self.was_asked.store(true, Ordering::Relaxed);
        self.is_busy.store(true, Ordering::Relaxed);
        self.touch();
    }

    /// The request was answered.
    pub(super) fn ends(&self) {
        self.is_busy.store(false, Ordering::Relaxed);
        self.touch();
    }

    /// Whether there was ever a request.
    pub(super) fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        let now = self.events.fetch_add(1, Ordering::Relaxed);
        self.last.store(now, Ordering::Relaxed);
    }

    /// The lowest gives way: idle connections before busy ones, then the one that was used longest ago.
    fn rank(&self) -> (bool, u64) {
        (
            self.is_busy.load(Ordering::Relaxed),
            self.last.load(Ordering::Relaxed),
        )
    }
}

/// All that are open. Dropping it ends them.
pub(super) struct Connections {
    most: usize,
    events: Arc<AtomicU64>,
    tasks: JoinSet<()>,
    open: Vec<(Arc<Use>, AbortHandle)>,
}

impl Connections {
    /// No connection yet; at most `most` at a time.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            events: Arc::default(),
            tasks: JoinSet::new(),
            open: Vec::new(),
        }
    }

    /// Accepts one more. If there are too many, another one is closed.
    pub(super) fn open<F>(&mut self, converse: impl FnOnce(Arc<Use>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.open.retain(|(_, task)| !task.is_finished());
        if self.open.len() >= self.most {
            let ranks = self.open.iter().map(|(used, _)| used.rank()).enumerate();
            if let Some((at, _)) = ranks.min_by_key(|(_, rank)| *rank) {
                self.open.swap_remove(at).1.abort();
            }
        }
        let used = Arc::new(Use {
            is_busy: AtomicBool::new(false),
            was_asked: AtomicBool::new(false),
            last: AtomicU64::new(0),
            events: Arc::clone(&self.events),
        });
        used.touch();
        let task = self.tasks.spawn(converse(Arc::clone(&used)));
        self.open.push((used, task));
    }

    /// Resolves when one has ended. Pends for ever if there is no connection.
    pub(super) async fn one_ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves when all have ended.
    pub(super) async fn all_ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;

    /// Sends its number when it is dropped, at the end of its connection.
    struct Ends(usize, UnboundedSender<usize>);

    impl Drop for Ends {
        fn drop(&mut self) {
            let _ = self.1.send(self.0);
        }
    }

    /// PR-44: a connection whose request is being answered gives way last, even if it is the oldest.
    #[tokio::test]
    async fn a_busy_connection_gives_way_last() {
        let mut connections = Connections::new(2);
        let (ended, mut ends) = unbounded_channel();
        for number in 0..3 {
            let ends = Ends(number, ended.clone());
            connections.open(|used| {
                if number == 0 {
                    used.begins();
                }
                async move {
                    let _ends = ends;
                    std::future::pending::<()>().await;
                }
            });
        }
        assert_eq!(ends.recv().await, Some(1));
    }
}
