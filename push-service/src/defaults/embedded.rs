//! Limits of the embedded store.

use std::time::Duration;

/// Block cache of the embedded store, in bytes. Chosen: a returning user agent's index and bodies are read one after the
/// other, so only what is between those two reads has to fit; the operating system caches the files as well.
pub const STORE_CACHE_BYTES: u64 = 8 << 20;

/// Writes of the embedded store that are sorted in memory before they become a table, in bytes. Chosen: a message that is
/// acknowledged before its memtable is full never reaches a table, and flushes, which stall commits, come some seconds
/// apart at 1,000 messages a second; empty when nothing was written.
pub const STORE_MEMTABLE_BYTES: u64 = 16 << 20;

/// Journals of the embedded store, in bytes of disk; the least that the store accepts, because it bounds the time of a
/// start after a crash.
pub const STORE_JOURNAL_BYTES: u64 = 64 << 20;

/// Table files that the embedded store keeps open. Chosen: far below the usual limit of 1,024 descriptors, which
/// connections need.
pub const STORE_OPEN_FILES: usize = 128;

/// Background threads of the embedded store, which flush and compact. Source: measured; of two, one spins while the other
/// compacts (fjall 3.1.13), which cost a fifth of all CPU time, and commits do not stall before four memtables wait.
pub const STORE_THREADS: usize = 1;

/// Threads that read for cold user agents and pages. Chosen: one read of a cold block must not delay all others, and more
/// would only compete for one disk.
pub const STORE_READERS: usize = 2;

/// Reads that may wait for a reader; one more is answered "unavailable". Chosen: twice the 2,000 user agents that come
/// back at once in the budget.
pub const STORE_READS_WAITING: usize = 4_096;

/// Steps that one commit takes at most. Source: measured; beyond, a batch costs no less per step and its last step waits
/// longer.
pub const STORE_BATCH_STEPS: usize = 512;

/// Steps decided and not yet committed, for all user agents together. Chosen: eight batches, so that the writer never
/// runs dry, and at most 4,096 bodies wait in memory for the disk.
pub const STORE_STEPS_WAITING: usize = 8 * STORE_BATCH_STEPS;

/// The longest that a step waits for a place among those; then it is answered "unavailable". Chosen: above the stalls of
/// 150 ms that were measured, below the patience of an application server.
pub const STORE_STEP_WAIT: Duration = Duration::from_secs(5);

/// How often it is looked whether the store's writer is in the same call as before; if so, fjall is asked whether it has
/// failed. Chosen: soon enough that a failed node is replaced before application servers give up, and the question costs a
/// thread only while the disk is this slow.
pub const STORE_WATCH_EVERY: Duration = Duration::from_secs(1);

/// The longest that one write or sync may take; then the store has failed, although fjall does not say so. Chosen: above
/// what a machine under heavy load, a frozen virtual machine's disk or a network disk that fails over takes.
pub const STORE_CALL_LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long an acknowledgement without a waiting caller may stay unsynced. Source: PR-4 promises 100 ms.
pub const STORE_SYNC_WITHIN: Duration = Duration::from_millis(50);

/// How long the writer is idle after a sync before it records in the journal that it synced (PR-38). Chosen: under
/// load the next batch records it at no cost; short, so that after a kill damage can be told from a torn end.
pub const STORE_MARK_AFTER: Duration = Duration::from_millis(50);

/// Bodies longer than this stand apart from their message's header, in bytes (PR-43). Chosen: loading a cold user agent
/// with 1,000 messages then reads at most some 2 MB, whatever their bodies; usual messages are shorter, and need no second
/// entry in a commit.
pub const STORE_SEPARATE_BODY_BYTES: usize = 2_048;

/// Torn ends of journals that are kept beside the store. Chosen: a few, for the operator to examine after a power
/// loss; the store needs none.
pub const TORN_FILES: usize = 3;

/// The most that is kept of one torn end, in bytes. Chosen: many batches, enough to examine.
pub const TORN_BYTES: usize = 1 << 20;

/// How long a torn end is kept; checked when the store opens. Source: no message waits longer (RFC 8030 §5.2, clamped
/// to 30 days), so its bodies are not kept longer either.
pub const TORN_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// User agents that embedded storage keeps at hand, in bytes of records and index. Chosen: about 50,000 idle ones; the
/// others are loaded when something happens to them.
pub const USER_AGENT_CACHE_BYTES: usize = 16 << 20;

/// Locks over which the user agents at hand are spread. Chosen: eight times the cores of a small machine, so that two
/// steps rarely meet.
pub const USER_AGENT_CACHE_SHARDS: usize = 16;

/// User agents that are looked at when one has to leave the cache. Chosen: bounds the time under the lock; if all of them
/// are in use the cache grows by one until the next time.
pub const USER_AGENT_CACHE_LOOKS: usize = 8;

/// Free disk below which embedded storage refuses new messages and subscriptions, in bytes. Source: PR-5; chosen to hold
/// a journal, a flush and a compaction, so that deletes go on and give space back.
pub const FREE_DISK_RESERVE_BYTES: u64 = 256 << 20;

/// How often free disk is looked at, at most. Chosen: at 100 MB a second the reserve outlasts two looks.
pub const FREE_DISK_CHECK_EVERY: Duration = Duration::from_secs(1);

/// How far behind the last complete sweep the next one starts to look. Chosen: longer than any step takes from reading
/// the clock to its commit; what is skipped is only the remains of entries deleted before.
pub const SWEEP_LOOK_BACK: Duration = Duration::from_secs(60);

/// The most descriptors that embedded storage holds at one time; listeners leave that many free (PR-44). Source:
/// fjall 3.1.13 and lsm-tree 3.1.10 open a lock and a journal (2), a second journal and the directory while journals
/// rotate (2), the tables that are kept open ([`STORE_OPEN_FILES`]), one table for each of at most 32 runs that a
/// compaction merges, the tables, version files and directories that it writes (6), and for each reader tables that
/// are no longer kept (8); the rest is to spare.
pub const EMBEDDED_DESCRIPTORS: usize = STORE_OPEN_FILES + 64;
