//! Limits of the storage in Redis.

use std::time::Duration;

use super::SECOND;

/// What the names of all keys begin with. Chosen; another one lets several services share a Redis.
pub const REDIS_PREFIX: &str = "push";

/// Messages of a user agent that ends which are subtracted from the sums of their senders: the others stay in them until they
/// would have expired. More than one step may remove, but these are only read, once, and their pushes have paid for it.
/// Chosen: the default of `limits.queue_messages`, which takes some 1 ms.
pub const REDIS_ENDING_COUNTED: usize = 1_000;

/// Messages that one step in Redis acknowledges, pages or drops. Source: PR-31.
pub const REDIS_STEP_MESSAGES: usize = 100;

/// The most entries of an index that one page looks at in Redis. Chosen: a full default queue, about a millisecond. Only the
/// page of a session that wants few messages of a long queue looks at so many.
pub const REDIS_ENTRIES_EXAMINED: usize = 1_000;

/// User agents that are remembered because something of them is due to be dropped. Chosen: 1 MiB; one too many is noticed
/// again by the next step that passes.
pub const REDIS_SWEEPS_WAITING: usize = 16 * 1024;

/// How long a connection to Redis may take to be made, TLS and login included. Chosen: a lost SYN is sent again after a
/// second, and by then another attempt is as good.
pub const REDIS_CONNECT_WITHIN: Duration = SECOND;

/// How long Redis may take to answer a step. Chosen: a hundred times what a loaded server takes, and below what senders
/// and user agents wait for.
pub const REDIS_ANSWER_WITHIN: Duration = SECOND.saturating_mul(2);

/// How long moving the keys of one user agent to another server of a cluster may take. Chosen: a full default queue is 4 MiB, which
/// takes some hundredths of a second; Redis does nothing else meanwhile.
pub const REDIS_MIGRATE_WITHIN: Duration = SECOND;

/// How long a step may take in all, with every repetition (PR-32). Chosen: a failover or the move of a slot is over, or is
/// not worth waiting for any more; above [`REDIS_ANSWER_WITHIN`], so that one late answer leaves time for another try.
pub const REDIS_STEP_WITHIN: Duration = SECOND.saturating_mul(3);

/// Steps that wait for Redis at a time; one more is answered "unavailable". Chosen: at 10,000 a second, what comes in a
/// stall of most of a second; with bodies of 4,096 bytes they hold 32 MB.
pub const REDIS_STEPS_UNDER_WAY: usize = 8_192;

/// Commands that wait to be written to one connection. Chosen: enough that a busy connection writes many at once.
pub const REDIS_LINK_WAITING: usize = 1_024;

/// How often a step tries a primary that does not answer, and how long after a failed attempt the next connection to it is
/// tried. Chosen: a healed store is noticed at once, and ten attempts a second cost next to nothing.
pub const REDIS_PROBE_EVERY: Duration = Duration::from_millis(100);

/// How long the step waits that tries such a primary. Chosen: a healthy one answers in a hundredth of it, and its sender is
/// hardly worse off than those who are refused at once. A connection that is being made meanwhile is left to the next.
pub const REDIS_PROBE_WITHIN: Duration = Duration::from_millis(250);

/// The first pause before a step that did not run is sent again. Doubles up to [`REDIS_PAUSE_LONGEST`]. Chosen: about what
/// the move of a slot takes.
pub const REDIS_PAUSE_FIRST: Duration = Duration::from_millis(25);

/// The longest such pause. Chosen: a failover takes seconds, and 8,192 steps that ask every 0.4 s are no burden.
pub const REDIS_PAUSE_LONGEST: Duration = Duration::from_millis(400);

/// How long the start waits for a Redis that loads its data or is not there yet, and how long checks and other commands do.
/// Chosen: containers that start together are up by then, and supervisors start a process that gave up again.
pub const REDIS_START_WITHIN: Duration = SECOND.saturating_mul(10);

/// The longest pause between two attempts of the start; the first is [`REDIS_PAUSE_FIRST`], and it doubles. Chosen: a thousand
/// nodes that wait are no burden to the Redis that comes, and a start is hardly later for it.
pub const REDIS_START_PAUSE_LONGEST: Duration = SECOND.saturating_mul(2);

/// How often sentinels or a cluster are asked who is primary when nothing seems wrong. Chosen: a change that causes
/// no error, such as the move of a slot that is not used, matters little.
pub const REDIS_WATCH_EVERY: Duration = SECOND.saturating_mul(2);

/// How far apart such questions are at least, however many steps fail. Chosen: members of a cluster agree no faster.
pub const REDIS_REFRESH_APART: Duration = Duration::from_millis(100);

/// Servers that a cluster's redirections name and that its table doesn't have yet, at a time. Chosen: members are added one
/// by one.
pub const REDIS_REDIRECT_TARGETS: usize = 16;

/// Steps that are confirmed with one `WAIT` (PR-33). Chosen: beyond, the last one of a batch waits longer and none costs
/// less.
pub const REDIS_CONFIRMED_BATCH: usize = 256;

/// Steps that wait for the next such batch, per primary. Chosen: some batches; who finds no place waits until its deadline.
pub const REDIS_CONFIRMED_WAITING: usize = 4 * REDIS_CONFIRMED_BATCH;

/// How long replicas or disks may take to confirm (PR-33). Chosen: a healthy replica takes a millisecond, an fsync some;
/// below [`REDIS_ANSWER_WITHIN`], so that the count is heard.
pub const REDIS_CONFIRM_WITHIN: Duration = SECOND;

/// How long sentinels or cluster members may take to say which server is primary, before "unknown" is answered
/// (PR-40). Chosen: a healthy one takes a millisecond; a silent one delays the answer no longer than this.
pub const REDIS_PROOF_WITHIN: Duration = Duration::from_millis(500);

/// The least time between such questions. Chosen: a hundred a second cost sentinels and clusters little, and a delay
/// of ten milliseconds does not matter.
pub const REDIS_PROOFS_APART: Duration = Duration::from_millis(10);

/// Steps that may wait for the next such question; a further one waits for a place. Chosen: as many as steps that may
/// be in progress.
pub const REDIS_PROOFS_WAITING: usize = REDIS_STEPS_UNDER_WAY;

/// How long a sentinel that did not answer is not asked again. Chosen: then it costs [`REDIS_PROOF_WITHIN`] once a
/// second.
pub const REDIS_SENTINEL_SILENT_FOR: Duration = SECOND;

/// With `wait_replicas = "all"`, how long a replica that went away still counts as connected, so that nothing is confirmed
/// without it (PR-41). Chosen: a primary whose replica was promoted is told so by sentinels within 20 s (eight, and two looks).
pub const REDIS_REPLICA_MISSED_FOR: Duration = Duration::from_secs(30);

/// Reads that go out in one pipeline. Chosen: bounds what one answer holds in memory.
pub const REDIS_PIPELINE_COMMANDS: usize = 128;

/// Channels that are subscribed to in one pipeline. Chosen: a few kilobytes.
pub const REDIS_SUBSCRIBE_BATCH: usize = 128;

/// How often a connection that only listens is pinged (PR-14). Chosen: a wake-up that was lost with it is found in the
/// queue that soon; together with [`REDIS_ANSWER_WITHIN`] that is 5 s.
pub const REDIS_PING_EVERY: Duration = SECOND.saturating_mul(3);

/// For how long after a primary has changed or returned, sessions with waiting messages read their queues from the start.
/// A longer `cluster.reconcile` makes it longer. Chosen: all sessions are compared within half of `cluster.reconcile`, or
/// at 5,000 a second if that is faster (PR-14).
pub const REDIS_DOUBTED_FOR: Duration = super::CLUSTER_RECONCILE;

/// How often each primary is asked whether it is well and what time it has. Chosen: `/readyz` is no older.
pub const REDIS_LOOK_EVERY: Duration = SECOND;

/// How often each primary is asked for settings that make it less safe than it may look, and for the rights of the service's
/// user. Chosen: some forty small questions, which a minute does not notice; `/status` tells of a change within a minute.
pub const REDIS_INSPECT_EVERY: Duration = SECOND.saturating_mul(60);

/// How far this machine's clock may be from a primary's before the node is not ready. Source: PR-30.
pub const REDIS_CLOCK_OFFSET: Duration = SECOND.saturating_mul(30);

/// How far this machine's clock may be from a primary's before its steps are refused: one of the two has leapt, and
/// what ends by a wrong clock is lost. Chosen: as much as embedded storage accepts at once.
pub const REDIS_CLOCK_REFUSED: Duration = super::CLOCK_STEP_BELIEVED;
