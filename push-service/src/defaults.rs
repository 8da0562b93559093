//! Every limit of the service, with its unit, its reason and its source.

use std::time::Duration;

/// What a waiting message counts beside its body, so that empty bodies are not free: about what its index entry, its
/// key and its header fields take in memory and on disk. In bytes.
pub const MESSAGE_OVERHEAD_BYTES: u64 = 128;

/// Victims of the eviction rule in one step; a message that would need more is refused. Source: PR-23, which bounds
/// the time for which one step holds its queue.
pub const EVICTIONS_PER_STEP: usize = 16;

/// The largest TLS record that is accepted, in bytes: a header of 5, and 2^14 of content grown by at most 2,048.
/// Source: RFC 5246 §6.2.3 (RFC 8446 §5.2 allows less). It is also all that a peer can make a connection hold before it
/// has sent a whole record or handshake message; ClientHellos are under 2 KB, with post-quantum key shares and a
/// ticket.
pub const TLS_RECORD_BYTES: usize = 5 + (1 << 14) + 2_048;

/// The plaintext that one TLS record can carry, in bytes. Source: RFC 8446 §5.1.
pub const TLS_PLAINTEXT_BYTES: usize = 1 << 14;

/// What encryption adds to a write, in bytes: at most 37 for a record (header, explicit nonce or padding, tag; RFC 5246
/// §6.2.3.3, RFC 8446 §5.2), and about as much for each of the key updates and alerts that may stand before it. Only a
/// first guess: when it is too small, more is taken.
pub const TLS_RECORD_OVERHEAD_BYTES: usize = 128;

/// What one read of a TLS socket can bring, in bytes, of buffer per thread. Chosen, because it must hold
/// [`TLS_RECORD_BYTES`] that came before and leave room for a useful read.
pub const TLS_READ_BYTES: usize = 32 * 1024;

const _: () = assert!(TLS_READ_BYTES > TLS_RECORD_BYTES);

/// How long a self-signed certificate is valid. Source: Apple's systems accept no server certificate that is valid for
/// longer than 825 days, even one that the user trusts.
pub const SELF_SIGNED_VALIDITY: Duration = Duration::from_secs(825 * DAY_SECONDS - 2 * DAY_SECONDS);

/// How long before its end a self-signed certificate is made anew. Chosen, because whoever trusts it should have it as
/// long as possible, but nobody should meet an expired one.
pub const SELF_SIGNED_RENEWAL: Duration = Duration::from_secs(DAY_SECONDS);

/// How long before it was made a self-signed certificate starts to be valid. Chosen, for peers whose clocks are late.
pub const SELF_SIGNED_BACKDATED: Duration = Duration::from_secs(DAY_SECONDS);

/// How often the certificate's files are looked at. Chosen, because a renewed certificate has days to be picked up, and
/// a revoked one should not be presented for long.
pub const CERTIFICATE_CHECK: Duration = Duration::from_secs(60);

const DAY_SECONDS: u64 = 24 * 60 * 60;
