//! Seats: who takes delivery for a user agent, and what the steps that take or keep one answer.

use std::time::Duration;

use push_protocol::session::{Page, WakeUp};
use push_protocol::{MessageNumber, UserAgentId};

/// Which session of which process takes delivery for a user agent.
///
/// Both halves are random and compared for equality, never for order (PR-10).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Seat {
    /// One run of one process.
    pub incarnation: u64,
    /// One session in it.
    pub session: u64,
}

/// What a storage announces. Called inside a step: must return at once and never call back into storage.
pub trait Announce: Send + Sync + 'static {
    /// Hands a wake-up to the session that holds `seat`, if this process has it.
    fn announce(&self, user_agent: UserAgentId, seat: Seat, wake_up: WakeUp);

    /// The outbox of this user agent has entries to be relayed (PR-25). A hint.
    fn outbox_filled(&self, _user_agent: UserAgentId) {}

    /// Wake-ups of user agents in these buckets may have been lost: their sessions are compared with storage soon
    /// (PR-14). Only a storage that is shared loses any.
    fn gap(&self, _buckets: &[u16]) {}

    /// The half of this process's seats that all of them share: seats with another are told over the network.
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
    /// As everybody does: may be told to wait (PR-15).
    Asking,
    /// After it has waited as it was told.
    Insisting,
}

/// What came of [`Storage::attach`](super::Storage::attach).
#[derive(Clone, Debug)]
pub enum Attached {
    /// A healthy, fully loaded store knows nothing of this user agent. Nothing was written (PR-3).
    Unknown,
    /// This user agent was attached [`ATTACHES_PER_MINUTE`] times within a minute: two devices that share an identity,
    /// say, and displace each other. Nothing was changed; ask again [`Manner::Insisting`] (PR-15).
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
        /// Who held the seat before.
        displaced: Option<Seat>,
    },
}

/// What came of [`Storage::page`](super::Storage::page).
#[derive(Clone, Debug)]
pub enum Paged {
    /// The page. If nobody held the seat, the caller holds it now.
    Page(Page),
    /// Another session holds the seat: close.
    Displaced,
    /// The user agent's record is gone.
    Unknown,
}

/// What [`Storage::refresh`](super::Storage::refresh) found of a session's seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refreshed {
    /// It's the session's, or nobody's and now the session's.
    Held {
        /// The number of the last message accepted: a session that has not come so far has missed something (PR-14).
        last: MessageNumber,
    },
    /// Another session has it: close.
    Displaced,
    /// There is no record.
    Unknown,
    /// The part of the store that would know has trouble; the others answered.
    Trouble,
}
