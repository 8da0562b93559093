//! How much is remembered of what happened to messages.

/// Steps of one user agent that are remembered. Chosen: ten messages with three steps each; a step takes 32 bytes.
pub const HISTORY_STEPS: usize = 32;

/// User agents of which steps are remembered. Chosen: all that were active lately on most nodes, in at most 18 MB; user agents
/// beyond it cost nothing.
pub const HISTORY_USER_AGENTS: usize = 16 * 1024;

/// Locks by which the history is divided. Chosen: more than any machine has cores; a power of two.
pub const HISTORY_SHARDS: usize = 64;
