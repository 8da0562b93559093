//! How much is remembered of what happened to messages, and how often the log repeats itself.

use std::time::Duration;

use super::SECOND;

/// Steps of one user agent that are remembered. Chosen: ten messages with three steps each; a step takes 32 bytes.
pub const HISTORY_STEPS: usize = 32;

/// User agents whose steps are remembered. Chosen: on most nodes, all that were active lately, in at most 18 MB.
pub const HISTORY_USER_AGENTS: usize = 16 * 1024;

/// Locks by which the history is divided. Chosen: more than any machine has cores; a power of two.
pub const HISTORY_SHARDS: usize = 64;

/// For how long a line about refusals for one reason is not repeated. Chosen: there are 22 reasons, so even if strangers cause
/// all of them without end, a day has 3,200 lines.
pub const REFUSAL_LINE_EVERY: Duration = SECOND.saturating_mul(600);

/// How often storage is asked for its health, so that the log says when trouble begins and ends. Chosen: shorter than the time
/// in which an operator is called, and without cost: storage knows the answer.
pub const STORAGE_HEALTH_EVERY: Duration = SECOND;

/// For how long trouble with storage that changes its reason is not reported again. Chosen: a failover passes through
/// several reasons within seconds.
pub const STORAGE_TROUBLE_AGAIN: Duration = SECOND.saturating_mul(10);
