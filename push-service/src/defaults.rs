//! Every limit of the service, with its unit, its reason and its source.

/// What a waiting message counts beside its body, so that empty bodies are not free: about what its index entry, its
/// key and its header fields take in memory and on disk. In bytes.
pub const MESSAGE_OVERHEAD_BYTES: u64 = 128;

/// Victims of the eviction rule in one step; a message that would need more is refused. Source: PR-23, which bounds
/// the time for which one step holds its queue.
pub const EVICTIONS_PER_STEP: usize = 16;
