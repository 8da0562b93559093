//! Seats: which session delivers to a user agent. And the answers of the steps that take or keep a seat.

use std::time::Duration;

use push_protocol::session::{Page, WakeUp};
use push_protocol::{MessageNumber, UserAgentId};

use super::RemovedMessage;

/// Which session of which process delivers to a user agent.
///
/// Both halves are random and compared for equality, never for order (PR-10).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Seat {
    /// One run of a process.
    pub incarnation: u64,
    /// One session in it.
    pub session: u64,
}

/// What a storage announces. Called inside a step: must return at once and never call back into storage.
pub trait Announce: Send + Sync + 'static {
    /// Hands a wake-up to the session that holds `seat`, if this process has it.
    fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp);

    /// A message left its queue without an acknowledgement, in a step of this process. What a shared storage ends by itself is
    /// told by no process. For people: it may be told of a change that a crash undoes.
    fn removed(&self, _user_agent: UserAgentId, _message: RemovedMessage) {}

    /// The outbox of this user agent has entries to be relayed (PR-25). A hint.
    fn outbox_filled(&self, _user_agent: UserAgentId) {}

    /// Wake-ups of user agents in these buckets may have been lost: their sessions are compared with storage soon
    /// (PR-14). Only a storage that is shared loses any.
    fn gap(&self, _buckets: &[u16]) {}

    /// The half that all seats of this process share. Sessions with another one are told over the network.
    fn incarnation(&self) -> u64 {
        0
    }
}

/// For a process without sessions: ignores what is announced.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoSessions;

impl Announce for NoSessions {
    fn announce(&self, _: UserAgentId, _: Seat, _: WakeUp) {}
}

/// Parts into which user agents are divided, so that wake-ups travel by part. Source: PR-13.
pub const BUCKETS: u16 = 1_024;

/// Which of the [`BUCKETS`] a user agent is in: the first ten bits of its id.
pub fn bucket(user_agent: UserAgentId) -> u16 {
    u16::from_be_bytes([user_agent.0[0], user_agent.0[1]]) >> 6
}

/// How a session asks for its seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// As usual: it may have to wait (PR-15).
    Asking,
    /// After it has waited: it gets the seat.
    Insisting,
}

/// The answer of [`Storage::attach`](super::Storage::attach).
#[derive(Clone, Debug)]
pub enum Attached {
    /// A healthy, fully loaded store knows nothing of this user agent. Nothing was written (PR-3).
    Unknown,
    /// This user agent was attached [`ATTACHES_PER_MINUTE`] times within a minute: for example by two devices that share an
    /// identity and displace each other. Nothing was changed; ask again with [`Manner::Insisting`] (PR-15).
    ///
    /// [`ATTACHES_PER_MINUTE`]: crate::defaults::ATTACHES_PER_MINUTE
    TooOften {
        /// When the minute is over.
        retry_after: Duration,
    },
    /// The seat is taken, and this is the head of the queue, read in the same step.
    Known {
        /// The head.
        page: Page,
        /// The seat that was displaced.
        displaced: Option<Seat>,
    },
}

/// The answer of [`Storage::page`](super::Storage::page).
#[derive(Clone, Debug)]
pub enum Paged {
    /// The page. If the seat was free, the caller holds it now.
    Page(Page),
    /// Another session holds the seat: close.
    Displaced,
    /// The user agent's record is gone.
    Unknown,
}

/// The answer of [`Storage::refresh`](super::Storage::refresh) for one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refreshed {
    /// The session holds the seat, or took a free one.
    Held {
        /// The number of the last message accepted: a session that has not come so far has missed something (PR-14).
        last: MessageNumber,
    },
    /// Another session holds the seat: close.
    Displaced,
    /// There is no record.
    Unknown,
    /// The part of the store with this user agent has trouble; the others answered.
    Trouble,
}
