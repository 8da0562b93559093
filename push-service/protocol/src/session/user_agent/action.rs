//! The limits of the user agent's session, what it is told, and the actions that it asks its driver for.

use std::sync::Arc;
use std::time::Duration;

use super::durable::Change;
use super::metadata::Metadata;
use super::names::{Identity, MessageKey, PushResource, SubscriptionResource, Wish};
use crate::identifiers::SubscriptionName;
use crate::message::{Coding, Content};
use crate::p256::PublicKey;

/// The bounds of a user agent.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first packet to an open channel.
    pub connect_within: Duration,
    /// How long the service may take over the hello, a request or a ping.
    // WS-CLS-2.
    pub answer_within: Duration,
    /// The shortest silence after which the service is asked whether it is there …
    pub keepalive_least: Duration,
    /// … and the longest.
    pub keepalive_most: Duration,
    /// What the shortest silence may fall to, where the network forgets channels even sooner.
    pub keepalive_floor: Duration,
    /// The shortest wait before the next connection, whatever chance says: what keeps a bad service from a busy loop.
    pub backoff_least: Duration,
    /// The longest wait after the first failure; it doubles with each …
    pub backoff_base: Duration,
    /// … up to this.
    pub backoff_most: Duration,
    /// The longest wait that a service may ask for (`Retry-After`).
    pub retry_after_most: Duration,
    /// A channel that lived for so long was a good one.
    pub steady_after: Duration,
    /// A service that says that it does not know us is believed when it says so again after this time.
    pub forgotten_apart: Duration,
    /// The time between two changes of the network that are heeded, in a storm of them; it doubles with each, up to
    /// [`Limits::network_calm`].
    pub network_apart: Duration,
    /// A network that was quiet for so long is at rest: its next change is heeded at once.
    pub network_calm: Duration,
    /// Messages that are with the application, or wait to be tried again.
    pub held_messages: usize,
    /// Bytes of the bodies of these messages.
    pub held_bytes: usize,
    /// How often a message is handed to an application that fails on it.
    // WP-RCV-6.
    pub attempts: u32,
    /// How often the process may end while the application has a message, until that is given up. Attempts that failed in
    /// earlier runs count, too: an outage may have caused them, and the process ended before that could be seen.
    // PR-45.
    pub crashes: u32,
    /// The wait before the second attempt; it doubles with each …
    pub retry_base: Duration,
    /// … up to this.
    pub retry_most: Duration,
    /// The wait before an application that can't work at all is given a message again; it doubles with each time …
    pub pause_base: Duration,
    /// … up to this.
    pub pause_most: Duration,
    /// Requests that wait for an answer.
    pub requests: usize,
    /// The wait before a request is repeated that the service could not serve; it doubles with each failure, up to
    /// [`Limits::backoff_most`].
    pub ask_again_after: Duration,
    /// Texts on one channel that are no messages, before it is closed.
    pub nonsense: u32,
    /// The shortest time between two changes of what the service is asked to bring: it counts what needs no storage.
    pub wish_every: Duration,
    /// How long the application may take over the messages in its hands when the user agent stops.
    pub stop_within: Duration,
}

/// What the driver has to do, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Keep this change. What follows in the list may rest on it.
    Save(Change),
    /// Open a channel; then call [`opened`](super::UserAgent::opened) or [`channel_ended`](super::UserAgent::channel_ended).
    Connect,
    /// Say this to the service.
    Say(Say),
    /// Send a ping whose answer is reported like every sign of life, by [`heard`](super::UserAgent::heard).
    Ping,
    /// Decrypt the message and hold it ready for the application. When that is about to take it, call
    /// [`taken`](super::UserAgent::taken); when it is done, or if there is no point,
    /// [`handled`](super::UserAgent::handled).
    HandOver {
        /// The message.
        message: Arc<Arrived>,
        /// Which attempt this is, from 1. Crashes count; releases do not.
        attempt: u32,
    },
    /// Don't give this message to the application, which has not taken it: not now, or never if
    /// [`holds`](super::UserAgent::holds) says that the session has it no more. [`handled`](super::UserAgent::handled) is not
    /// called for it.
    TakeBack(MessageKey),
    /// Close the channel, or give up opening one. [`channel_ended`](super::UserAgent::channel_ended) is not called for it.
    Disconnect(Farewell),
    /// Tell the application.
    Tell(Event),
}

/// What a user agent says to its service.
#[derive(Clone, PartialEq, Debug)]
pub enum Say {
    /// Who we are, if the service may know us, and what it is to bring.
    Hello(Option<Identity>, Wish),
    /// Bring this from now on, in place of what was asked for before. Said also behind a hello, for services that can't hear
    /// it there: then it is the same wish again.
    Bring(Wish),
    /// Make a subscription, or find it again.
    Register {
        /// Our name for it.
        name: SubscriptionName,
        /// Who alone may send.
        application_server: Option<PublicKey>,
    },
    /// End a subscription.
    Unregister(SubscriptionName),
    /// A message need not come again.
    Acknowledge {
        /// The message, as it arrived.
        message: Arc<Arrived>,
        /// How it was disposed of.
        disposition: Disposition,
    },
}

/// How the user agent disposed of a message. Each of them ends it.
// WS-ACK-1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Disposition {
    /// The application has it.
    Delivered,
    /// It can't be decrypted.
    // E91-15.
    NotDecrypted,
    /// For no subscription of ours, or given up.
    NotDelivered,
}

/// A push message as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// Its subscription, exactly as the service wrote it.
    pub subscription: Box<str>,
    /// Its id, exactly as the service wrote it.
    pub id: Box<str>,
    /// What is in it; `None` if that can't be read.
    pub content: Option<Content>,
    /// What the service says about it beside the content, if it says anything.
    pub metadata: Option<Box<Metadata>>,
}

impl Arrived {
    /// The longest valid id, in bytes. Over HTTP/2 an id is the path of a URL, and no URL is longer.
    pub const ID_BYTES: usize = PushResource::MAX_BYTES;

    /// Whether its id is valid: neither empty nor too long, and without control characters. Applications put ids into file
    /// names, logs and environment variables.
    pub fn has_valid_id(&self) -> bool {
        (1..=Self::ID_BYTES).contains(&self.id.len()) && !self.id.chars().any(char::is_control)
    }

    /// Our name of its subscription, if it can be one.
    pub fn name(&self) -> Option<SubscriptionName> {
        SubscriptionName::parse(&self.subscription)
    }

    /// Which message it is, at a fixed size.
    pub fn key(&self) -> MessageKey {
        MessageKey::of(&self.subscription, &self.id)
    }

    /// All of it that a service can make long.
    pub(super) fn bytes(&self) -> usize {
        let content = self.content.as_ref().map_or(0, |content| {
            let coding = match &content.coding {
                Coding::Aesgcm {
                    encryption,
                    crypto_key,
                } => encryption.len() + crypto_key.len(),
                Coding::Other(name) => name.len(),
                Coding::Absent | Coding::Aes128gcm => 0,
            };
            content.body.len() + coding
        });
        self.id.len() + content
    }
}

/// What the application did with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The application has it for good.
    Succeeded,
    /// The application failed on it: an attempt, unless it turns out that the application fails on every message.
    Failed,
    /// The application can't work now, with any message of this subscription: no attempt. It is tried again after a pause.
    Unable,
    /// It can't be decrypted, now or ever.
    NotDecrypted,
    /// The application gives it back, or never saw it: no attempt. It comes again on the next channel.
    Released,
}

/// Why a message is given up: which limit it has reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GiveUpReason {
    /// The application failed on it, and not on others: [`Limits::attempts`].
    Attempts,
    /// The process ended while the application had it, or it failed in earlier runs: [`Limits::crashes`].
    Crashes,
    /// It failed in several outages, each of which ended with the success of another message: so the message is at fault, and not the
    /// application.
    Outages,
}

/// What the service answered to a `register`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Registered {
    /// Done: messages are sent to this push resource.
    At(PushResource),
    /// Refused for good, with this status.
    Refused(u16),
    /// The service can't do it now.
    Trouble,
    /// The service can't do it now, and said when to ask again (`Retry-After`).
    Later(Duration),
    /// The service does not know our identity.
    Unknown,
}

/// What the service answered to an `unregister`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unregistered {
    /// The subscription is gone.
    Done,
    /// The service can't do it now.
    Trouble,
    /// The service can't do it now, and said when to ask again (`Retry-After`).
    Later(Duration),
}

/// What an RFC 8030 service answers to a request for a subscription (RFC 8030 §4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSubscription {
    /// The set that the subscription is in: who we are to the service.
    pub set: Identity,
    /// Where it is ended.
    pub resource: SubscriptionResource,
    /// Where its messages are to be sent.
    pub push_resource: PushResource,
}

/// How a channel ended, or wasn't opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChannelEnd {
    /// No server answers there, or TLS failed.
    Unreachable,
    /// The service answered with an HTTP status that opens no channel, and may have said when to come back.
    Refused {
        /// The status.
        status: u16,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The service closed it, with its code if it gave one.
    Closed(Option<u16>),
    /// The connection broke.
    Lost,
    /// The service doesn't speak the protocol of the channel.
    Garbled,
}

/// Why there is no channel any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DisconnectReason {
    /// It ended.
    Ended(ChannelEnd),
    /// It took too long to open.
    NotOpened,
    /// The service didn't answer in time.
    NoAnswer,
    /// The service's hello can't be used.
    NoWelcome,
    /// The service sent too many texts that are no messages.
    Nonsense,
    /// The service says that it does not know us: it is asked again.
    Forgotten,
    /// Messages were passed over because too many were held: a new channel brings them again.
    CatchUp,
    /// The application stopped the user agent.
    Stopped,
}

/// How a user agent closes a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Farewell {
    /// In order: it stops, or comes back later.
    Leaving,
    /// The service broke the protocol.
    ProtocolError,
    /// The service did not answer; most likely it does not receive the farewell either.
    TimedOut,
}

/// What the application may want to know.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The channel is open and the service knows us.
    Connected,
    /// There is no channel.
    Disconnected {
        /// Why.
        why: DisconnectReason,
        /// When the next attempt begins; `None`: not before the network changes or the application asks for something.
        again_in: Option<Duration>,
    },
    /// The service confirmed a subscription.
    Subscribed {
        /// Which.
        name: SubscriptionName,
        /// Where its messages are to be sent.
        push_resource: PushResource,
    },
    /// A subscription has another push resource, and other keys: tell the application server, then call
    /// [`confirm_renewal`](super::UserAgent::confirm_renewal). It is said again after a restart until then.
    // WP-RFR-2.
    Renewed {
        /// Which.
        name: SubscriptionName,
        /// Where messages went before. Nothing arrives there any more.
        previous: PushResource,
        /// Where they are to be sent from now on.
        push_resource: PushResource,
    },
    /// The service won't make this subscription: it is gone.
    Refused {
        /// Which.
        name: SubscriptionName,
        /// The service's status.
        status: u16,
    },
    /// The service can't serve a request for this subscription now; it is asked again.
    Waiting {
        /// Which.
        name: SubscriptionName,
        /// When.
        again_in: Duration,
    },
    /// The service confirmed that a subscription is gone.
    Unsubscribed(SubscriptionName),
    /// A message was tried too often.
    // WP-RCV-6, PR-45.
    GaveUp {
        /// Of which subscription.
        name: SubscriptionName,
        /// Which message.
        message: MessageKey,
        /// Which limit it has reached.
        reason: GiveUpReason,
    },
    /// The application can't work with the messages of this subscription: they wait, and one of them is tried after a while. It
    /// is said again with each such try that fails.
    // PR-45.
    Paused {
        /// Of which subscription.
        name: SubscriptionName,
        /// When the next message is tried.
        again_in: Duration,
    },
    /// The application works again with the messages of this subscription.
    Resumed {
        /// Of which subscription.
        name: SubscriptionName,
    },
    /// The service can't take acknowledgements now, and said for how long (`Retry-After`).
    AcknowledgementsWait {
        /// When they are said again.
        again_in: Duration,
    },
    /// Nothing waits with the service any more, and all that waited is done. Only for one that fetches
    /// [what waits](super::UserAgent::fetching_what_waits).
    Empty,
    /// The user agent has stopped; nothing follows.
    Stopped,
}

/// Counts of what is not reported as an [`Event`]. Only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Messages handed to the application, each attempt counted.
    pub handed_over: u64,
    /// Messages that came again after they were done.
    pub duplicates: u64,
    /// Messages for no subscription of ours.
    pub unknown_subscription: u64,
    /// Messages that can't be decrypted.
    pub not_decrypted: u64,
    /// Messages with an invalid id.
    pub refused: u64,
    /// Messages that were tried too often.
    pub given_up: u64,
    /// Messages passed over because too many were held.
    pub passed_over: u64,
    /// Texts that are no messages.
    pub nonsense: u64,
}
