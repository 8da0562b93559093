//! The limits of a session, the actions that it asks its driver for, and their results.

use std::sync::Arc;
use std::time::Duration;

use super::queue::{Page, PageRequest};
use crate::identifiers::{MessageId, SubscriptionId, UserAgentId, UserAgentIdentity};
use crate::message::PushMessage;

/// The bounds of every session of a service.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a channel may stay silent before its hello.
    // WS-CON-5.
    pub hello_within: Duration,
    /// How long storage may take over a hello; the user agent gives up after 10 s.
    // WS-REG-9.
    pub attach_within: Duration,
    /// Unacknowledged messages on the wire.
    // PR-16.
    pub in_flight: u16,
    /// How long a message may stay unacknowledged on the wire.
    // PR-17.
    pub acknowledge_within: Duration,
    /// Messages in one page.
    pub page_messages: usize,
    /// Bytes of bodies in one page.
    pub page_bytes: usize,
    /// How long to wait before storage is asked again after it failed.
    pub ask_storage_again_after: Duration,
    /// Silence after which the service asks whether the user agent is there.
    // WS-CON-8.
    pub ping_every: Duration,
    /// How long the answer may take.
    pub pong_within: Duration,
    /// How long a channel may take nothing of what is written to it.
    // PR-16.
    pub write_within: Duration,
    /// The pace at which a user agent may ask for answers that need no storage: one in so long …
    // WS-PNG-3.
    pub answer_every: Duration,
    /// … and so many at once.
    pub answer_burst: u32,
    /// How long a drained channel waits for acknowledgements.
    // PR-36.
    pub drain_within: Duration,
}

/// What the driver of a channel has to do.
#[derive(Debug)]
pub enum Action {
    /// Enter the registry as this user agent; then take the seat and read the head of the queue. Answered by
    /// [`Session::attached`](super::Session::attached).
    Attach {
        /// Who says hello.
        user_agent: UserAgentId,
        /// What to read with the seat.
        head: PageRequest,
    },
    /// Answer the hello with this identity. If it's a fresh one, enter the registry first.
    Welcome {
        /// Known, or fresh.
        identity: UserAgentIdentity,
        /// Nothing of this user agent is stored yet.
        fresh: bool,
    },
    /// Read on. Answered by [`Session::paged`](super::Session::paged).
    Page(PageRequest),
    /// Write this message.
    Offer(Arc<PushMessage>),
    /// Remove these messages from storage.
    Acknowledge(Vec<MessageId>),
    /// Ask the user agent whether it's there.
    Ping,
    /// This message with TTL 0 passed unheard: the channel was not writable, or the filter refused it.
    // PR-21.
    Unheard(Arc<PushMessage>),
    /// A subscription ended, or with `None` all of them: its monitors are told.
    // R30-EXP-2.
    Ended(Option<SubscriptionId>),
    /// So many messages went unacknowledged for too long.
    Unacknowledged(usize),
    /// Say why and close. Nothing follows.
    Close(CloseReason),
}

/// The result of [`Action::Attach`].
#[derive(Debug)]
pub enum AttachOutcome {
    /// The seat is taken; the head of the queue.
    Known(Page),
    /// A healthy store doesn't know this user agent.
    // PR-3.
    Unknown,
    /// Storage has trouble, which says nothing about the user agent.
    Trouble,
}

/// The result of [`Action::Page`].
#[derive(Debug)]
pub enum PageOutcome {
    /// The page.
    Page(Page),
    /// Another session holds the seat.
    Displaced,
    /// Storage has trouble; ask again later.
    Trouble,
}

/// Why the service closes a channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// No hello in time.
    HelloTimeout,
    /// The first message was no hello.
    NotHello,
    /// A second hello.
    SecondHello,
    /// A text that is not a message.
    Malformed(&'static str),
    /// A binary message.
    Binary,
    /// A version of the protocol without push messages.
    Protocol(&'static str),
    /// A text that is not UTF-8.
    NotUtf8,
    /// A message over the limit.
    TooLarge,
    /// The user agent asks for answers faster than it may.
    TooManyRequests,
    /// The user agent or its address caused more work than its budget allows, and reading the channel slowly did not
    /// end that.
    OverBudget,
    /// A user agent that a healthy store does not know: it monitors, or an operator has ended it.
    // R30-MON-17.
    Unknown,
    /// Everything that waited was offered, and no more was asked for.
    // R30-MON-12.
    CaughtUp,
    /// The same user agent has a newer channel.
    Displaced,
    /// No answer to a ping.
    PongTimeout,
    /// The user agent doesn't read.
    SlowReader,
    /// Storage has trouble: come back later, nothing is lost.
    // PR-3.
    TryAgainLater,
    /// The node leaves.
    // PR-36.
    GoingAway,
    /// Storage failed and the node stops.
    // PR-5.
    ServiceRestart,
}
