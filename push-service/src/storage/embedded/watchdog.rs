//! Watches the writer, because it can wait for ever: a commit waits while tables have to be written first, and fjall's worker,
//! which would write them, ends at its first error. Then nothing wakes the commit.
//!
//! The writer counts each call into fjall at its start and at its end. A call that lasts longer than [`STORE_WATCH_EVERY`]
//! makes the watchdog ask fjall for its state, from a thread of its own: the question waits if the disk is slow. "Poisoned"
//! means that the worker ended or a write failed, so the store has failed for good (PR-5). A store that is only slow goes
//! on, until one call has taken [`STORE_CALL_LIMIT`].
//!
//! **Invariant:** when it declares a failure the writer is given up: no thread waits for the writer's thread any more.
//!
//! It does not know what is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fjall::{Database, PersistMode};

use super::Shared;
use super::failure::FailOnPanic;
use crate::defaults::{STORE_CALL_LIMIT, STORE_WATCH_EVERY};

/// The calls of the writer into fjall, counted for the watchdog.
#[derive(Default)]
pub(super) struct Calls {
    /// Odd while a call is under way.
    count: AtomicU64,
    given_up: AtomicBool,
}

impl Calls {
    /// Makes a call of the writer into fjall.
    pub(super) fn make<T>(&self, call: impl FnOnce() -> T) -> T {
        self.count.fetch_add(1, Ordering::Relaxed);
        let outcome = call();
        self.count.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    /// Whether the writer's thread may never end.
    pub(super) fn are_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    fn under_way(&self) -> Option<u64> {
        Some(self.count.load(Ordering::Relaxed)).filter(|count| count % 2 == 1)
    }
}

/// Kept by the writer: when it is dropped, the watchdog ends.
pub(super) struct WriterAlive(#[expect(dead_code, reason = "its drop is what tells")] Sender<()>);

/// Starts the thread.
pub(super) fn start(
    database: &Database,
    shared: &Arc<Shared>,
) -> std::io::Result<(WriterAlive, JoinHandle<()>)> {
    let (watched, writer_ends) = channel();
    let watchdog = Watchdog {
        database: database.clone(),
        shared: Arc::clone(shared),
        call: None,
        question: None,
    };
    let thread = std::thread::Builder::new().name("store-watchdog".to_owned());
    let watch = FailOnPanic::new(shared, "watchdog");
    let thread = thread.spawn(move || {
        let _watch = watch;
        watchdog.run(&writer_ends);
    })?;
    Ok((WriterAlive(watched), thread))
}

struct Watchdog {
    database: Database,
    shared: Arc<Shared>,
    /// The call that was under way at the last look, and since when at least.
    call: Option<(u64, Instant)>,
    /// A question that fjall has not answered yet.
    question: Option<Receiver<fjall::Result<()>>>,
}

impl Watchdog {
    fn run(mut self, writer_ends: &Receiver<()>) {
        while writer_ends.recv_timeout(STORE_WATCH_EVERY) == Err(RecvTimeoutError::Timeout) {
            if let Some(why) = self.look() {
                self.shared.calls.given_up.store(true, Ordering::Release);
                self.shared.failure.happen(&why);
                tracing::error!("{why}");
                return;
            }
        }
    }

    /// Why the writer has to be given up, if it has.
    fn look(&mut self) -> Option<String> {
        let lasts = self.same_call_lasts(Instant::now())?;
        if lasts >= STORE_CALL_LIMIT {
            let limit = STORE_CALL_LIMIT.as_secs();
            return Some(format!(
                "the disk did not finish a write or sync within {limit} s"
            ));
        }
        match self.question.as_ref().map(Receiver::try_recv) {
            Some(Ok(Err(error))) => Some(format!(
                "the store failed in the background, so no write can end: {error}"
            )),
            // Not answered yet: the disk is slow.
            Some(Err(TryRecvError::Empty)) => None,
            Some(Ok(Ok(())) | Err(TryRecvError::Disconnected)) | None => {
                self.question = ask(self.database.clone());
                None
            }
        }
    }

    /// How long the call has lasted that was under way at the last look; `None` if that one has ended.
    fn same_call_lasts(&mut self, now: Instant) -> Option<Duration> {
        let under_way = self.shared.calls.under_way();
        match (under_way, self.call) {
            (Some(count), Some((seen, since))) if count == seen => Some(now - since),
            (count, _) => {
                self.call = count.map(|count| (count, now));
                None
            }
        }
    }
}

/// Asks fjall whether it has failed. `None` if there is no thread for it: the next look asks again.
fn ask(database: Database) -> Option<Receiver<fjall::Result<()>>> {
    let (answer, question) = channel();
    let thread = std::thread::Builder::new().name("store-question".to_owned());
    let asking = thread.spawn(move || {
        // Nothing waits to be handed to the system: each commit has done that itself.
        let state = database.persist(PersistMode::Buffer);
        drop(database);
        // The watchdog may have ended.
        let _ = answer.send(state);
    });
    asking.ok().map(|_| question)
}
