//! The one thread that writes: it commits many steps as one batch with one sync, and then replies to all of them.
//!
//! Requests arrive in the order in which their steps were decided and are committed in that order, so a user agent's
//! state on disk is always one that it had. A batch without a step that waits for the disk is written without a sync, and
//! synced soon after (PR-4).
//!
//! After the first failed write or sync nothing is written any more, and every step gets that failure (PR-5): after a failed
//! sync a disk may claim success for data that it lost, so it is not asked again. A panic of the writer counts as a failure
//! too: otherwise steps would wait for ever.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fjall::PersistMode;
use push_protocol::{MessageNumber, UserAgentId};
use tokio::sync::oneshot;

use super::Shared;
use super::commit_replies::{self, Replier};
use super::failure::FailOnPanic;
use super::layout::{self, StoreState};
use super::store::Store;
use super::watchdog::WriterAlive;
use crate::defaults::{STORE_BATCH_STEPS, STORE_MARK_AFTER, STORE_SYNC_WITHIN};
use crate::storage::queue::{ReceiptChanges, Stored, SweepMove};
use crate::storage::reports::UsageChange;
use crate::storage::senders::SenderChanges;
use crate::storage::{SenderTag, StorageError, WakeUp};

/// The writes of one step.
pub(super) struct StepWrites {
    pub(super) user_agent: UserAgentId,
    pub(super) record: Option<Record>,
    pub(super) stored: Option<Stored>,
    pub(super) removed: Vec<MessageNumber>,
    /// Whether bodies of the removed messages may be stored separately.
    pub(super) has_separate_bodies: bool,
    pub(super) sweep: Option<SweepMove>,
    pub(super) usage: UsageChange,
    pub(super) senders: SenderChanges,
    pub(super) receipts: Option<Box<ReceiptChanges>>,
    /// Gets the result when the step is durable. `None` for what may be synced a little later.
    pub(super) reply: Option<Replier>,
}

/// What to do with a record.
pub(super) enum Record {
    Put(Vec<u8>),
    Delete,
}

/// What steps ask of the writer.
#[expect(clippy::large_enum_variant, reason = "nearly all are steps")]
pub(super) enum WriterCommand {
    Step(StepWrites),
    /// A value of the store about itself.
    Metadata(&'static [u8], Vec<u8>, Replier),
    /// Nothing but a reply, when all that came before is in the store.
    Flush(oneshot::Sender<()>),
    /// A sync of all that came before, and a reply.
    Sync(Replier),
    /// Sync, reply, end.
    Close(Replier),
}

/// Starts the thread. It ends after [`WriterCommand::Close`], or when all senders are dropped.
pub(super) fn start(
    store: Store,
    state: StoreState,
    shared: Arc<Shared>,
    alive: WriterAlive,
) -> std::io::Result<(Sender<WriterCommand>, JoinHandle<()>)> {
    let (send, receive) = channel();
    let writer = Writer {
        _panics: FailOnPanic::new(&shared, "writer"),
        _alive: alive,
        store,
        state,
        shared,
        receive,
        due: Due::Nothing,
        filled_outboxes: Vec::new(),
    };
    let thread = std::thread::Builder::new().name("store-writer".to_owned());
    let thread = thread.spawn(move || writer.run())?;
    Ok((send, thread))
}

struct Writer {
    /// First, so that it is dropped before the commands that wait in `receive`.
    _panics: FailOnPanic,
    _alive: WriterAlive,
    store: Store,
    state: StoreState,
    shared: Arc<Shared>,
    receive: Receiver<WriterCommand>,
    due: Due,
    /// User agents whose outboxes got entries since the last sync: told of when these are synced.
    filled_outboxes: Vec<UserAgentId>,
}

/// What the writer has to do when no command comes.
#[derive(Clone, Copy)]
enum Due {
    Nothing,
    /// Sync what was written without a sync.
    Sync(Instant),
    /// Record what was synced (PR-38).
    Mark(Instant),
}

/// The commands of one commit.
#[derive(Default)]
struct Gathered {
    steps: Vec<StepWrites>,
    metadata: Vec<(&'static [u8], Vec<u8>)>,
    /// Replied to when all of it is durable.
    waiting: Vec<Replier>,
    flushed: Vec<oneshot::Sender<()>>,
    syncing: Vec<Replier>,
    close: Option<Replier>,
}

impl Writer {
    fn run(mut self) {
        loop {
            match self.next() {
                Ok(first) => {
                    let mut gathered = self.gather(first);
                    let close = gathered.close.take();
                    self.commit(gathered);
                    if let Some(reply) = close {
                        commit_replies::send_all(vec![reply], &self.close());
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    // The next step reports a failure, which ends the process (PR-5).
                    let _ = match self.due {
                        Due::Mark(_) => self.mark(),
                        Due::Sync(_) | Due::Nothing => self.sync(),
                    };
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.close();
                    return;
                }
            }
        }
    }

    fn next(&self) -> Result<WriterCommand, RecvTimeoutError> {
        match self.due {
            Due::Sync(due) | Due::Mark(due) => {
                let left = due.saturating_duration_since(Instant::now());
                self.receive.recv_timeout(left.max(Duration::from_micros(1)))
            }
            Due::Nothing => self.receive.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Takes the commands that have arrived, and gives the permits of their steps back.
    fn gather(&self, first: WriterCommand) -> Gathered {
        let mut gathered = Gathered::default();
        gathered.add(first);
        while gathered.close.is_none() && gathered.steps.len() < STORE_BATCH_STEPS {
            let Ok(command) = self.receive.try_recv() else {
                break;
            };
            gathered.add(command);
        }
        self.shared.permits.add_permits(gathered.steps.len());
        gathered
    }

    fn commit(&mut self, gathered: Gathered) {
        // Dropped before `gathered`: a step that finds that no reply comes has to find the reason as well.
        let _panics = FailOnPanic::new(&self.shared, "writer");
        let outcome = self.shared.failure.check().and_then(|()| self.write(&gathered));
        if outcome.is_ok() {
            for request in &gathered.steps {
                self.shared.cache.committed(request);
                self.tell_of_receipts(request);
            }
        }
        commit_replies::send_all(gathered.waiting, &outcome);
        for flushed in gathered.flushed {
            let _ = flushed.send(());
        }
        if !gathered.syncing.is_empty() {
            commit_replies::send_all(gathered.syncing, &outcome.and_then(|()| self.sync()));
        }
    }

    fn write(&mut self, gathered: &Gathered) -> Result<(), StorageError> {
        if gathered.steps.is_empty() && gathered.metadata.is_empty() {
            return Ok(());
        }
        for step in &gathered.steps {
            if step.fills_outbox() {
                self.filled_outboxes.push(step.user_agent);
            }
            self.state.usage.change(step.usage);
            let number = step
                .stored
                .as_ref()
                .map_or(0, |stored| stored.message.id.number.0);
            self.state.clock_us = self.state.clock_us.max(number);
        }
        let sums = self.count_senders(&gathered.steps);
        self.commit_batch(|batch, keys| {
            for step in &gathered.steps {
                step.write_to(batch, keys);
            }
            for (sender, bytes) in sums {
                match bytes {
                    0 => batch.remove(keys, layout::sender_key(sender)),
                    bytes => batch.insert(keys, layout::sender_key(sender), bytes.to_be_bytes()),
                }
            }
            for (key, value) in &gathered.metadata {
                batch.insert(keys, *key, value.as_slice());
            }
        })?;
        if !matches!(self.due, Due::Sync(_)) {
            self.due = Due::Sync(Instant::now() + STORE_SYNC_WITHIN);
        }
        if !gathered.waiting.is_empty() {
            self.sync()?;
        }
        self.shared.usage.publish(self.state.usage);
        Ok(())
    }

    /// Counts what steps changed for senders, and returns the new sum of each of these.
    fn count_senders(&self, steps: &[StepWrites]) -> Vec<(SenderTag, u64)> {
        let mut changed: Vec<SenderTag> = Vec::new();
        let mut sums = self.shared.senders();
        for step in steps {
            sums.change(&step.senders);
            changed.extend(step.senders.iter().map(|(sender, _)| sender));
        }
        changed.sort_unstable();
        changed.dedup();
        changed
            .into_iter()
            .map(|sender| (sender, sums.of(sender)))
            .collect()
    }

    fn commit_batch(
        &mut self,
        fill: impl FnOnce(&mut fjall::OwnedWriteBatch, &fjall::Keyspace),
    ) -> Result<(), StorageError> {
        // PR-30: no time in this batch is later than the time that it records.
        self.state.clock_us = self.state.clock_us.max(self.shared.clock.now().us);
        let (mut batch, state) = self.store.batch(self.state);
        self.state = state;
        fill(&mut batch, &self.store.keys);
        let written = self.shared.calls.make(|| {
            self.shared.disk.before_write()?;
            batch.commit()
        });
        written.map_err(|error| self.fail("write", &error))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.shared.failure.check()?;
        if !matches!(self.due, Due::Sync(_)) {
            return Ok(());
        }
        self.sync_files()?;
        self.state.mark.synced = self.state.mark.number;
        self.due = Due::Mark(Instant::now() + STORE_MARK_AFTER);
        for user_agent in self.filled_outboxes.drain(..) {
            self.shared.announce.outbox_filled(user_agent);
        }
        Ok(())
    }

    fn sync_files(&mut self) -> Result<(), StorageError> {
        self.due = Due::Nothing;
        let synced = self.shared.calls.make(|| {
            self.shared.disk.before_sync()?;
            self.store.database.persist(PersistMode::SyncData)
        });
        synced.map_err(|error| self.fail("sync", &error))
    }

    /// PR-38: records what was synced, in a batch of its own. No step waits for it, so it needs no sync: if it is
    /// lost, nothing else is.
    fn mark(&mut self) -> Result<(), StorageError> {
        self.shared.failure.check()?;
        self.due = Due::Nothing;
        self.commit_batch(|_, _| {})
    }

    /// Syncs, and durably records that everything was synced.
    fn close(&mut self) -> Result<(), StorageError> {
        self.sync()?;
        if matches!(self.due, Due::Mark(_)) {
            self.mark()?;
            self.sync_files()?;
        }
        Ok(())
    }

    /// PR-1: a monitor is told of receipts when they are durable. The step that settled them waits for a sync, so now they
    /// are.
    fn tell_of_receipts(&self, request: &StepWrites) {
        let seat = request.receipts.as_ref();
        let seat = seat.and_then(|receipts| receipts.read_again);
        if let Some(seat) = seat {
            let announce = &self.shared.announce;
            announce.announce(request.user_agent, seat, WakeUp::ReadAgain);
        }
    }

    fn fail(&self, what: &str, error: &fjall::Error) -> StorageError {
        let why = format!("a {what} failed: {error}");
        // Before the log, which may have nowhere to write to either.
        self.shared.failure.happen(&why);
        tracing::error!(%error, "storage failed: a {what} returned an error, and nothing more is written");
        StorageError::Failed(why)
    }
}

impl Gathered {
    fn add(&mut self, command: WriterCommand) {
        match command {
            WriterCommand::Step(mut request) => {
                self.waiting.extend(request.reply.take());
                self.steps.push(request);
            }
            WriterCommand::Metadata(key, value, reply) => {
                self.waiting.push(reply);
                self.metadata.push((key, value));
            }
            WriterCommand::Flush(flushed) => self.flushed.push(flushed),
            WriterCommand::Sync(reply) => self.syncing.push(reply),
            WriterCommand::Close(reply) => self.close = Some(reply),
        }
    }
}

impl StepWrites {
    /// A step that changes nothing.
    #[cfg(test)]
    pub(super) fn nothing(user_agent: UserAgentId) -> Self {
        Self {
            user_agent,
            record: None,
            stored: None,
            removed: Vec::new(),
            has_separate_bodies: false,
            sweep: None,
            usage: UsageChange::default(),
            senders: SenderChanges::default(),
            receipts: None,
            reply: None,
        }
    }

    fn fills_outbox(&self) -> bool {
        self.receipts
            .as_ref()
            .is_some_and(|receipts| !receipts.outbox.is_empty())
    }

    fn write_to(&self, batch: &mut fjall::OwnedWriteBatch, keys: &fjall::Keyspace) {
        let record_key = layout::queue_key(self.user_agent, MessageNumber::START);
        match &self.record {
            Some(Record::Put(record)) => batch.insert(keys, record_key, record.as_slice()),
            Some(Record::Delete) => batch.remove(keys, record_key),
            None => {}
        }
        for number in &self.removed {
            batch.remove(keys, layout::queue_key(self.user_agent, *number));
            if self.has_separate_bodies {
                batch.remove(keys, layout::body_key(self.user_agent, *number));
            }
        }
        if let Some(stored) = &self.stored {
            self.write_message(stored, batch, keys);
        }
        if let Some(receipts) = &self.receipts {
            self.write_receipt_changes(receipts, batch, keys);
        }
        let Some(sweep) = self.sweep else { return };
        if let Some(from_ms) = sweep.from_ms {
            batch.remove(keys, layout::sweep_key(from_ms, self.user_agent));
        }
        if let Some(to_ms) = sweep.to_ms {
            batch.insert(keys, layout::sweep_key(to_ms, self.user_agent), []);
        }
    }

    fn write_message(&self, stored: &Stored, batch: &mut fjall::OwnedWriteBatch, keys: &fjall::Keyspace) {
        let number = stored.message.id.number;
        batch.insert(
            keys,
            layout::queue_key(self.user_agent, number),
            layout::encode_message(stored),
        );
        if let Some(body) = layout::separate_body(stored) {
            batch.insert(keys, layout::body_key(self.user_agent, number), body);
        }
    }

    fn write_receipt_changes(
        &self,
        changes: &ReceiptChanges,
        batch: &mut fjall::OwnedWriteBatch,
        keys: &fjall::Keyspace,
    ) {
        for expected in &changes.forgotten {
            batch.remove(keys, layout::queue_key(self.user_agent, expected.number));
            batch.remove(keys, layout::deadline_key_of(self.user_agent, expected));
        }
        if let Some(expected) = &changes.expected {
            let key = layout::queue_key(self.user_agent, expected.number);
            batch.insert(keys, key, layout::encode_expectation(expected));
            let key = layout::deadline_key_of(self.user_agent, expected);
            batch.insert(keys, key, layout::encode_deadline(expected));
        }
        if let Some(passing) = &changes.passing {
            let key = layout::queue_key(self.user_agent, passing.number);
            batch.insert(keys, key, layout::encode_passing(passing));
        }
        for (number, ended) in &changes.outbox {
            let key = layout::queue_key(self.user_agent, *number);
            batch.insert(keys, key, layout::encode_outbox_entry(ended));
            if self.has_separate_bodies {
                batch.remove(keys, layout::body_key(self.user_agent, *number));
            }
        }
        for stored in &changes.joined {
            self.write_message(stored, batch, keys);
        }
        match changes.listed {
            Some(true) => batch.insert(keys, layout::outbox_key(self.user_agent), []),
            Some(false) => batch.remove(keys, layout::outbox_key(self.user_agent)),
            None => {}
        }
    }
}
