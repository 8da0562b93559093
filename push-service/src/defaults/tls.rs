//! Limits of TLS, and of certificates that an ACME server issues.

use std::time::Duration;

use super::{DAY, MINUTE};

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

/// How often the certificate's files are looked at. Chosen, because a renewed certificate has days to be picked up, and
/// a revoked one should not be presented for long.
pub const CERTIFICATE_CHECK: Duration = Duration::from_secs(60);

/// Certificates in `tls.directory`. Chosen: each is a few kilobytes, and all are looked at every [`CERTIFICATE_CHECK`].
pub const TLS_DIRECTORY_PAIRS: usize = 1_000;

/// How long one key seals session tickets, and for how long at least each ticket opens. Source: RFC 9325 §3.4 wants another
/// key at least every week, RFC 8446 §4.6.1 no ticket older than that. Chosen: a user agent that was away for a night
/// resumes, and what a stolen ticket key is good for ends with the next day.
pub const TICKET_PERIOD: Duration = DAY;

/// How long a self-signed certificate is valid. Source: Apple's systems accept no server certificate that is valid for
/// longer than 825 days, even one that the user trusts.
pub const SELF_SIGNED_VALIDITY: Duration = Duration::from_secs(825 * 24 * 60 * 60 - 2 * 24 * 60 * 60);

/// How long before its end a self-signed certificate is made anew. Chosen, because a user agent that trusts it should have it as
/// long as possible, but should never meet an expired one.
pub const SELF_SIGNED_RENEWAL: Duration = DAY;

/// How long before it was made a self-signed certificate starts to be valid. Chosen, for peers whose clocks are late.
pub const SELF_SIGNED_BACKDATED: Duration = DAY;

// Certificates from an ACME server.

/// The ACME server that is asked if no other is named. Chosen: free, and without registration.
pub const ACME_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// The most host names of one certificate that is ordered. Source: the usual limit of ACME servers.
pub const ACME_DOMAINS: usize = 100;

/// How long an ACME server may take for one answer. Chosen: some of them sign with slow hardware while we wait.
pub const ACME_REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// The longest answer of an ACME server, in bytes. Chosen: a chain is some kilobytes, and an order of a hundred names too.
pub const ACME_ANSWER_BYTES: usize = 1 << 20;

/// How long an order may take from its beginning to the certificate. Chosen: servers that look from several places of the
/// world take up to a minute.
pub const ACME_ORDER_WITHIN: Duration = MINUTE.saturating_mul(5);

/// When an order is looked at for the first time. Chosen: a server that is near is done by then.
pub const ACME_POLL_FIRST: Duration = Duration::from_millis(250);

/// How many times longer each later look waits than the one before. Chosen: a dozen looks in the first minute.
pub const ACME_POLL_GROWTH: f32 = 1.5;

/// The pause after an order that failed, and after one that did not. Doubles up to [`ACME_PAUSE_LONGEST`]. Source: Let's
/// Encrypt allows five failures an hour and host; four come in the first 35 minutes, the fifth after 75.
pub const ACME_PAUSE_FIRST: Duration = MINUTE.saturating_mul(5);

/// The longest such pause. Chosen: a name that was mended at last is served within a working day, and a server that was
/// down for a week is not stormed.
pub const ACME_PAUSE_LONGEST: Duration = MINUTE.saturating_mul(6 * 60);

/// The longest that an ACME server is left alone because it asks for it. Chosen: its word is believed, and a mistake in it
/// costs a day and not a certificate.
pub const ACME_PATIENCE_LONGEST: Duration = DAY;

/// How often the kept certificate is looked at while there is nothing to do. Chosen: another node may have renewed it.
pub const ACME_LOOK_EVERY: Duration = MINUTE.saturating_mul(60);
