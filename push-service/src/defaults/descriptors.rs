//! File descriptors that are kept for everything but public connections (PR-44).

/// For Redis: up to four connections to each primary and its successor, and to sentinels. Chosen: sixteen primaries.
pub const REDIS_DESCRIPTORS: usize = 128;

/// For a public listener: its socket, and the connection that is accepted to be refused.
pub const LISTENER_DESCRIPTORS: usize = 2;

/// For the rest of the process: standard streams, the runtime's, signals, certificates that are reloaded, an ACME
/// server.
pub const OTHER_DESCRIPTORS: usize = 32;

/// Public connections that must fit beside all that. Chosen: with fewer the service would be useless.
pub const LEAST_CONNECTIONS: usize = 16;
