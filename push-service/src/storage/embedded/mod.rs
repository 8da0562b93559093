//! Storage on the disk of this machine: survives kill -9 and power loss, and needs no server.
//!
//! A step is decided in memory by the core in `queue`, on the state of its user agent. Its writes go in order to one writer
//! thread, which commits many steps with one sync. A decision is announced at once and answered when it is durable: delivery
//! to a connected user agent does not wait for the disk, the answer to the sender does.
//!
//! ```text
//!   step ──► cache: has the state? ──no──► readers: load it
//!              │ yes                           │
//!              ▼                               ▼
//!           decide, announce  ◄────────────────┘
//!              │ writes, in order of decision
//!              ▼
//!           writer: one batch, one sync ──► replies
//! ```
//!
//! **Invariant:** no lock is held while the disk is read or written, and no async thread ever does either.
//!
//! The sums of senders are written with the batch that changes them, so they are right after any crash. A message is checked
//! against the sums of the last batch. So the steps under way, at most [`STORE_STEPS_WAITING`], may
//! go over a cap together.

mod cache;
mod commit_replies;
mod disk;
mod failure;
mod guard;
mod inspect;
mod journal;
mod keys;
mod layout;
mod marks;
mod open_error;
mod readers;
mod scan;
mod steps;
mod store;
#[cfg(test)]
mod tests;
mod values;
mod watchdog;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use push_protocol::{PushMessage, UserAgentId};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use self::cache::{Cache, CacheLookup, CachedAgent};
use self::commit_replies::{CommitWaiter, Replier};
use self::disk::FreeSpace;
pub use self::disk::{Disk, MachineDisk};
use self::failure::{Failure, Gauges};
use self::layout::SEALING_KEY_KEY;
pub use self::open_error::OpenError;
use self::readers::Readers;
use self::store::Store;
use self::watchdog::Calls;
use self::writer::{Record, StepWrites, WriterCommand};
use super::Swept;
use super::clock::{Clock, Forward, Now, SystemClock};
use super::leases::Leases;
use super::queue::{Changes, Picked, PickedPage, Step, Stored, UserAgent};
use super::senders::Sums;
use super::{Announce, Confirm, Page, RECEIPTS, Retention, StorageError};
use crate::defaults::{RETENTION, STORE_MEMTABLE_BYTES, STORE_STEP_WAIT, STORE_STEPS_WAITING};

/// How a store is opened.
pub struct Options {
    /// Its directory. Made, for its owner only, if it is not there.
    pub directory: PathBuf,
    /// What is told of wake-ups.
    pub announce: Arc<dyn Announce>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// How long an abandoned record is kept (PR-29).
    pub retention: Retention,
    /// The size of the writes that are sorted in memory before they become a table, in bytes. A store keeps the value
    /// that it was created with.
    pub memtable_bytes: u64,
}

impl Options {
    /// A store on this machine's disk, by this machine's clock.
    pub fn new(directory: impl Into<PathBuf>, announce: Arc<dyn Announce>) -> Self {
        Self {
            directory: directory.into(),
            announce,
            clock: Arc::new(SystemClock),
            disk: Arc::new(MachineDisk),
            retention: RETENTION.into(),
            memtable_bytes: STORE_MEMTABLE_BYTES,
        }
    }
}

/// Queues and subscriptions on disk.
///
/// Dropped without [`Storage::close`](super::Storage::close), its threads finish what they have, sync, and end on their own.
pub struct Embedded {
    shared: Arc<Shared>,
    retention: Retention,
    free_space: FreeSpace,
    swept_to_ms: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
    writer: Sender<WriterCommand>,
    readers: Readers,
    leases: Mutex<Leases>,
}

/// What steps and the writer share.
struct Shared {
    cache: Cache,
    announce: Arc<dyn Announce>,
    clock: Forward,
    disk: Arc<dyn Disk>,
    /// Permits for steps that are decided and not yet in a batch.
    permits: Semaphore,
    failure: Failure,
    calls: Calls,
    usage: Gauges,
    /// How many bytes wait of each sender, as of the last batch.
    senders: Mutex<Sums>,
}

impl Shared {
    fn senders(&self) -> MutexGuard<'_, Sums> {
        // The writer may have panicked while it held them, and then the store has failed.
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Embedded {
    /// Opens the store, or makes one. Blocks for as long as the disk takes to replay its journal.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let Options {
            directory,
            announce,
            clock,
            disk,
            retention,
            memtable_bytes,
        } = options;
        let (store, state) = Store::open(&directory, memtable_bytes)?;
        let senders = store.senders(&directory)?;
        let shared = Arc::new(Shared {
            cache: Cache::new(),
            announce,
            clock: Forward::new(clock, state.clock_us),
            disk: Arc::clone(&disk),
            permits: Semaphore::new(STORE_STEPS_WAITING),
            failure: Failure::default(),
            calls: Calls::default(),
            usage: Gauges::default(),
            senders: Mutex::new(senders),
        });
        shared.usage.publish(state.usage);
        let no_thread = |error| OpenError::Io {
            directory: directory.clone(),
            error,
        };
        let (readers, mut threads) = Readers::start(&store, &shared).map_err(no_thread)?;
        let (watched, watchdog) = watchdog::start(&store.database, &shared).map_err(no_thread)?;
        let (writer, thread) =
            writer::start(store, state, Arc::clone(&shared), watched).map_err(no_thread)?;
        threads.extend([watchdog, thread]);
        Ok(Self {
            shared,
            retention,
            free_space: FreeSpace::new(disk, directory),
            swept_to_ms: AtomicU64::new(0),
            threads: Mutex::new(threads),
            writer,
            readers,
            leases: Mutex::default(),
        })
    }

    /// The key that the store keeps for sealing URLs, if it was ever asked to keep one (PR-28).
    pub async fn sealing_key(&self) -> Result<Option<[u8; 32]>, StorageError> {
        let kept = self.readers.read(|store| store.metadata(SEALING_KEY_KEY)).await?;
        let unreadable = |_| StorageError::Unavailable("the store's sealing key cannot be read".to_owned());
        kept.map(|kept| kept.try_into().map_err(unreadable)).transpose()
    }

    /// Keeps a key for sealing URLs, durably.
    pub async fn keep_sealing_key(&self, key: [u8; 32]) -> Result<(), StorageError> {
        self.keep(SEALING_KEY_KEY, key.to_vec()).await
    }

    /// Keeps a value of the store about itself, durably.
    async fn keep(&self, key: &'static [u8], value: Vec<u8>) -> Result<(), StorageError> {
        let (reply, kept) = commit_replies::channel();
        self.command(WriterCommand::Metadata(key, value, reply))?;
        self.wait_for(kept).await
    }

    /// Resolves when everything that was decided before is durable.
    async fn sync(&self) -> Result<(), StorageError> {
        let (reply, synced) = commit_replies::channel();
        self.command(WriterCommand::Sync(reply))?;
        self.wait_for(synced).await
    }

    /// Waits for the writer's reply. After a failure none may come: the writer may be in a call that does not end.
    async fn wait_for(&self, reply: CommitWaiter) -> Result<(), StorageError> {
        tokio::select! {
            biased;
            result = reply.wait() => result.unwrap_or_else(|| Err(self.ended())),
            why = self.shared.failure.happened() => Err(StorageError::Failed(why)),
        }
    }

    /// Resolves when everything that was decided before is written, synced or not.
    async fn flush(&self) -> Result<(), StorageError> {
        let (reply, flushed) = oneshot::channel();
        self.command(WriterCommand::Flush(reply))?;
        tokio::select! {
            biased;
            flushed = flushed => flushed.map_err(|_| self.ended())?,
            why = self.shared.failure.happened() => return Err(StorageError::Failed(why)),
        }
        self.shared.failure.check()
    }

    /// Runs one step. With [`Confirm::Durably`], resolves when everything that its answer says is durable.
    async fn step<T>(
        &self,
        user_agent: UserAgentId,
        confirm: Confirm,
        decide: impl FnOnce(&mut UserAgent, Now) -> Step<T>,
    ) -> Result<T, StorageError> {
        self.shared.failure.check()?;
        let permit = self.permit().await?;
        let mut undecided = Undecided {
            decide: Some(decide),
            permit: Some(permit),
        };
        let (outcome, durable) = loop {
            if let Some(decided) = self.decide(user_agent, confirm, &mut undecided)? {
                break decided;
            }
            self.ensure_cached(user_agent).await?;
        };
        if let Some(durable) = durable {
            self.wait_for(durable).await?;
        }
        Ok(outcome)
    }

    /// Looks at a user agent and changes nothing.
    async fn look<T>(
        &self,
        user_agent: UserAgentId,
        look: impl FnOnce(&mut UserAgent, Now) -> T,
    ) -> Result<T, StorageError> {
        let look = |state: &mut UserAgent, now| Step {
            outcome: look(state, now),
            changes: Changes::default(),
        };
        self.step(user_agent, Confirm::Soon, look).await
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a permit: the number of steps that the writer has not taken yet is bounded. Backpressure of the disk.
    async fn permit(&self) -> Result<SemaphorePermit<'_>, StorageError> {
        let permits = &self.shared.permits;
        if let Ok(permit) = permits.try_acquire() {
            return Ok(permit);
        }
        let permit = tokio::time::timeout(STORE_STEP_WAIT, permits.acquire()).await;
        permit
            .map_err(|_| {
                StorageError::Unavailable("the disk is too slow: too many steps wait for it".to_owned())
            })?
            .map_err(|_| closed())
    }

    /// The step itself, or `None` if its user agent is cold.
    ///
    /// Decision, announcement and handing over to the writer happen under one lock, so that all three have one order.
    fn decide<T, F: FnOnce(&mut UserAgent, Now) -> Step<T>>(
        &self,
        user_agent: UserAgentId,
        confirm: Confirm,
        undecided: &mut Undecided<'_, F>,
    ) -> Result<Option<(T, Option<CommitWaiter>)>, StorageError> {
        let mut shard = self.shared.cache.shard(user_agent);
        let Some(cell) = shard.touch(user_agent) else {
            return Ok(None);
        };
        let (Some(decide), Some(permit)) = (undecided.decide.take(), undecided.permit.take()) else {
            return Ok(None);
        };
        let Step { outcome, mut changes } = decide(&mut cell.state, self.shared.clock.now());
        for (seat, wake_up) in changes.wake_ups.drain(..) {
            self.shared.announce.announce(user_agent, seat, wake_up);
        }
        for message in changes.left.drain(..) {
            self.shared.announce.removed(user_agent, message);
        }
        // The answer may depend on an earlier change that is not durable yet, so it waits for that one too.
        let waits = confirm == Confirm::Durably && (changes.must_be_written() || cell.uncommitted > 0);
        if !changes.must_be_written() && !waits {
            shard.forget_if_blank(user_agent);
            return Ok(Some((outcome, None)));
        }
        let (reply, durable) = if waits {
            let (reply, durable) = commit_replies::channel();
            (Some(reply), Some(durable))
        } else {
            (None, None)
        };
        cell.uncommitted += 1;
        let request = step_writes(user_agent, cell, changes, reply);
        shard.weigh(user_agent);
        permit.forget();
        self.command(WriterCommand::Step(request))?;
        Ok(Some((outcome, durable)))
    }

    fn command(&self, command: WriterCommand) -> Result<(), StorageError> {
        self.writer.send(command).map_err(|_| self.ended())
    }

    /// Why the writer no longer answers.
    fn ended(&self) -> StorageError {
        self.shared.failure.check().err().unwrap_or_else(closed)
    }

    /// Loads a user agent into the cache, or waits if a load is in progress.
    async fn ensure_cached(&self, user_agent: UserAgentId) -> Result<(), StorageError> {
        let wait = match self.shared.cache.look_up(user_agent) {
            CacheLookup::Cached => return Ok(()),
            CacheLookup::Loading(wait) => wait,
            CacheLookup::Cold(wait) => {
                let shared = Arc::clone(&self.shared);
                let load = move |store: &Store| shared.cache.fill(user_agent, store.load(user_agent));
                if let Err(error) = self.readers.submit(load) {
                    self.shared.cache.fill(user_agent, Err(error));
                }
                wait
            }
        };
        wait.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Finds the bodies of a page: in memory those that are not committed yet, on disk the others.
    ///
    /// A receipt leaves only when it is durable (PR-1), so a page that has one of the former waits.
    async fn bodies(&self, user_agent: UserAgentId, picked: PickedPage) -> Result<Page, StorageError> {
        let PickedPage { messages, upto, more } = picked;
        let is_early_receipt = |picked: &Picked| {
            let message = picked.message.as_deref();
            message.is_some_and(|message| message.subscription == RECEIPTS)
        };
        if messages.iter().any(is_early_receipt) {
            self.flush().await?;
        }
        let messages = if messages.iter().all(|picked| picked.message.is_some()) {
            let here = |picked: &Picked| Some(picked.hand_out(picked.message.as_deref()?));
            messages.iter().filter_map(here).collect()
        } else {
            let read = move |store: &Store| read_page(store, user_agent, &messages);
            self.readers.read(read).await?
        };
        Ok(Page { messages, upto, more })
    }

    /// Sweeps one user agent for an entry of the sweep index.
    async fn sweep(&self, due_ms: u64, user_agent: UserAgentId, limit: usize) -> Result<Swept, StorageError> {
        let retention = self.retention;
        self.step(user_agent, Confirm::Soon, |state, now| {
            if state.sweep_at_ms != Some(due_ms) {
                return state.remove_stale_sweep(due_ms);
            }
            state.sweep(limit, retention, now)
        })
        .await
    }
}

/// A step that waits for its user agent's state.
struct Undecided<'a, F> {
    decide: Option<F>,
    permit: Option<SemaphorePermit<'a>>,
}

fn step_writes(
    user_agent: UserAgentId,
    cell: &mut CachedAgent,
    changes: Changes,
    reply: Option<Replier>,
) -> StepWrites {
    let state = &cell.state;
    let record = changes.record.then(|| match state.recorded {
        true => Record::Put(layout::encode_record(state)),
        false => Record::Delete,
    });
    let is_separate = |stored: &Stored| layout::separate_body(stored).is_some();
    let has_separate_bodies = cell.has_separate_bodies || changes.stored.as_ref().is_some_and(is_separate);
    cell.has_separate_bodies = has_separate_bodies && state.waiting.len() > 0;
    StepWrites {
        user_agent,
        record,
        stored: changes.stored,
        removed: changes.removed,
        has_separate_bodies,
        sweep: changes.sweep,
        usage: changes.usage,
        senders: changes.senders,
        receipts: changes.receipts,
        reply,
    }
}

/// Reads the bodies of a page. A message that left since the page was picked is not in it.
fn read_page(
    store: &Store,
    user_agent: UserAgentId,
    messages: &[Picked],
) -> Result<Vec<Arc<PushMessage>>, StorageError> {
    let mut page = Vec::with_capacity(messages.len());
    for picked in messages {
        if let Some(message) = &picked.message {
            page.push(picked.hand_out(message));
            continue;
        }
        let read = store.message(user_agent, picked.id.number)?;
        if let Some(message) = read.filter(|message| message.id == picked.id) {
            let name = picked.name;
            page.push(picked.hand_out(&PushMessage { name, ..message }));
        }
    }
    Ok(page)
}

fn closed() -> StorageError {
    StorageError::Unavailable("the store is closed".to_owned())
}
