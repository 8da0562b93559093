//! Session tickets that every node opens, without a word between the nodes.
//!
//! A user agent that comes back may meet another node than the one it left. So the keys of tickets are derived from the
//! secrets that all nodes share and from the time: in each period of [`TICKET_PERIOD`] another key seals, and only that
//! one and the one before open. Of several secrets the first seals and all open, so they can be rotated one node after
//! the other. A ticket that does not open, for whatever reason, costs a full handshake and nothing else.
//!
//! ```text
//! ticket = name, 8 bytes || salt, 16 bytes || nonce, 12 bytes || AES-256-GCM( session ) || tag, 16 bytes
//! name   = HMAC-SHA-256( secret, "name" || period ), cut to 8 bytes
//! key    = HMAC-SHA-256( secret, "key!" || period || salt )
//! ```
//!
//! Each ticket has a key of its own, so that the bound on random nonces under one key is never met (NIST SP 800-38D §8.3).
//!
//! # Forward secrecy
//!
//! A thief of a secret can derive the keys of the past. With TLS 1.3 that opens no recorded connection: rustls resumes
//! only with a fresh (EC)DHE exchange (`psk_dhe_ke`, RFC 8446 §2.2). A ticket of TLS 1.2 holds the keys of its connection,
//! and so is sealed under random keys that this process forgets after hours, which no other node knows (RFC 9325 §3.4).
//!
//! What it deliberately does not know: where the secrets come from.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use rustls::crypto::ring::Ticketer;
use rustls::server::ProducesTickets;

use crate::defaults::TICKET_PERIOD;
use crate::random;

const NAME_BYTES: usize = 8;
const SALT_BYTES: usize = 16;

/// Secrets of 256 bits that all nodes have, from which the keys of session tickets are derived: the first seals, all open.
#[derive(Clone)]
pub struct TicketSecrets(Vec<hmac::Key>);

impl TicketSecrets {
    /// Takes bits that are secret, random, and used for nothing else.
    pub fn new(secrets: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let key = |secret: [u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Self(secrets.into_iter().map(key).collect())
    }

    /// A secret of this process only: no other process resumes its sessions.
    pub fn of_this_process() -> Self {
        Self::new([random::bytes()])
    }
}

impl fmt::Debug for TicketSecrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TicketSecrets(…)")
    }
}

/// Seals and opens the tickets of an acceptor.
pub(super) struct Tickets {
    secrets: TicketSecrets,
    /// For TLS 1.2: see the head of this file.
    of_this_process: Arc<dyn ProducesTickets>,
}

impl Tickets {
    pub(super) fn new(secrets: TicketSecrets) -> Result<Self, rustls::Error> {
        Ok(Self {
            secrets,
            of_this_process: Ticketer::new()?,
        })
    }

    /// Seals a session in a period; `None` without a secret.
    fn seal(&self, session: &[u8], period: u64) -> Option<Vec<u8>> {
        let secret = self.secrets.0.first()?;
        let (name, salt) = (name(secret, period), random::bytes::<SALT_BYTES>());
        let nonce = random::bytes::<NONCE_LEN>();
        let mut sealed = session.to_vec();
        key(secret, period, &salt)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut sealed)
            .ok()?;
        Some([&name[..], &salt, &nonce, &sealed].concat())
    }

    /// Opens a ticket that was sealed in `period` or the one before, with any of the secrets.
    fn open(&self, ticket: &[u8], period: u64) -> Option<Vec<u8>> {
        let (shown, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let periods = [Some(period), period.checked_sub(1)];
        let candidates = periods
            .into_iter()
            .flatten()
            .flat_map(|period| self.secrets.0.iter().map(move |secret| (secret, period)));
        candidates
            .filter(|(secret, period)| name(secret, *period) == *shown)
            .find_map(|(secret, period)| {
                let mut session = sealed.to_vec();
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let opened = key(secret, period, salt)?.open_in_place(nonce, Aad::from(shown), &mut session);
                let length = opened.ok()?.len();
                session.truncate(length);
                Some(session)
            })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// A ticket opens for at least one period after the one in which it was sealed.
    fn lifetime(&self) -> u32 {
        u32::try_from(TICKET_PERIOD.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        if is_tls13(session) {
            self.seal(session, period(SystemTime::now()))
        } else {
            self.of_this_process.encrypt(session)
        }
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, period(SystemTime::now()))
            // Sealed here for TLS 1.3 alone: a session of 1.2 that opens was not sealed by this code.
            .filter(|session| is_tls13(session))
            .or_else(|| self.of_this_process.decrypt(ticket))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tickets").finish_non_exhaustive()
    }
}

/// Whether rustls wants to remember a session of TLS 1.3: the version stands behind the server's name, if there is one.
///
/// What cannot be read counts as TLS 1.2, so that a rustls that writes this differently loses us resumption on other
/// nodes, which a test would tell, and not the forward secrecy of anybody.
fn is_tls13(session: &[u8]) -> bool {
    let rest = match session {
        [0, rest @ ..] => Some(rest),
        [1, length, rest @ ..] => rest.get(usize::from(*length)..),
        _ => None,
    };
    rest.is_some_and(|rest| rest.starts_with(&[3, 4]))
}

fn period(now: SystemTime) -> u64 {
    // A clock before 1970 counts as 1970: tickets that this makes open nowhere else.
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    since_epoch.as_secs() / TICKET_PERIOD.as_secs()
}

fn name(secret: &hmac::Key, period: u64) -> [u8; NAME_BYTES] {
    let digest = derive(secret, *b"name", period, &[]);
    let mut name = [0; NAME_BYTES];
    name.copy_from_slice(&digest.as_ref()[..NAME_BYTES]);
    name
}

fn key(secret: &hmac::Key, period: u64, salt: &[u8; SALT_BYTES]) -> Option<LessSafeKey> {
    let digest = derive(secret, *b"key!", period, salt);
    UnboundKey::new(&AES_256_GCM, digest.as_ref())
        .ok()
        .map(LessSafeKey::new)
}

fn derive(secret: &hmac::Key, role: [u8; 4], period: u64, salt: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(secret);
    context.update(&role);
    context.update(&period.to_be_bytes());
    context.update(salt);
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &[u8] = &[0, 3, 4, 19, 2, 7, 7, 7];

    fn tickets(secrets: &[u8]) -> Tickets {
        Tickets::new(TicketSecrets::new(secrets.iter().map(|&secret| [secret; 32]))).unwrap()
    }

    /// RFC 8446 §4.6.1: a ticket opens in its period and the next, on every node with the secret, and never again; and the
    /// lifetime that peers are told is no longer than that, and no longer than seven days.
    #[test]
    fn a_ticket_opens_in_its_period_and_the_next() {
        let (ours, theirs) = (tickets(&[1]), tickets(&[1]));
        let ticket = ours.seal(SESSION, 100).unwrap();
        for (period, opens) in [(99, false), (100, true), (101, true), (102, false), (0, false)] {
            let opened = theirs.open(&ticket, period);
            assert_eq!(opened.as_deref(), opens.then_some(SESSION), "{period}");
        }
        assert!(u64::from(ours.lifetime()) <= TICKET_PERIOD.as_secs());
        assert!(ours.lifetime() <= 7 * 24 * 60 * 60 && TICKET_PERIOD.as_secs() > 0);
    }

    /// The first secret seals and all open, so that nodes between which a secret was added understand each other; a secret
    /// that was dropped opens nothing.
    #[test]
    fn secrets_are_rotated_one_node_after_the_other() {
        let (before, between, after) = (tickets(&[1]), tickets(&[1, 2]), tickets(&[2, 1]));
        let nodes = [&before, &between, &after];
        let opens = |sealed_by: &Tickets| {
            let ticket = sealed_by.seal(SESSION, 5).unwrap();
            nodes.map(|node| node.open(&ticket, 5).is_some())
        };
        assert_eq!(opens(&before), [true, true, true]);
        assert_eq!(opens(&between), [true, true, true]);
        assert_eq!(opens(&after), [false, true, true]);
        assert_eq!(opens(&tickets(&[3])), [false; 3]);
    }

    /// No ticket is like another, and one that was changed anywhere, cut or invented does not open.
    #[test]
    fn a_changed_ticket_does_not_open() {
        let tickets = tickets(&[1]);
        let ticket = tickets.seal(SESSION, 5).unwrap();
        assert_ne!(ticket, tickets.seal(SESSION, 5).unwrap());
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.open(&changed, 5), None, "{at}");
            assert_eq!(tickets.open(&ticket[..at], 5), None, "{at}");
        }
        assert_eq!(tickets.decrypt(b""), None);
        assert_eq!(tickets.decrypt(&[0; 4_096]), None);
    }

    /// RFC 9325 §3.4: a session of TLS 1.2, which holds its connection's keys, or one of a form that is not known, is sealed
    /// with nothing that another node could derive.
    #[test]
    fn only_tls13_is_sealed_with_shared_secrets() {
        let (ours, theirs) = (tickets(&[1]), tickets(&[1]));
        let named = |version: u8| [&[1, 9][..], b"localhost", &[3, version, 19, 2, 7]].concat();
        let sessions = [
            (SESSION.to_vec(), true),
            (named(4), true),
            (named(3), false),
            (vec![0, 3, 3, 19, 2], false),
            (vec![], false),
            (vec![1], false),
            (vec![1, 200, 3, 4], false),
            (vec![2, 3, 4], false),
        ];
        for (session, shared) in sessions {
            let ticket = ours.encrypt(&session).unwrap();
            assert_eq!(ours.decrypt(&ticket), Some(session.clone()));
            assert_eq!(theirs.decrypt(&ticket), shared.then_some(session));
        }
    }

    /// Secrets are never printed.
    #[test]
    fn secrets_are_not_printed() {
        let tickets = tickets(&[123]);
        let printed = format!("{:?} {tickets:?}", tickets.secrets);
        assert!(!printed.contains("123") && !printed.contains("Key"), "{printed}");
    }
}
