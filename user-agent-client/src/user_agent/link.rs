//! The way to the service: none, one that is being opened, or a channel.

use std::future::{Future, pending};
use std::pin::Pin;

use push_protocol::session::user_agent::{Farewell, Say};

use crate::channel::{Channel, Incoming, OpenError};
use crate::server_url::ServerUrl;
use crate::tls::Trust;

/// What the task has of it.
pub(super) enum Link {
    None,
    Opening(Pin<Box<dyn Future<Output = Result<Channel, OpenError>> + Send>>),
    Open(Box<Channel>),
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// What came of waiting for it.
pub(super) enum Moved {
    Opened,
    NotOpened(OpenError),
    Said(Incoming),
}

impl Link {
    pub(super) fn open(&mut self, server: &ServerUrl, trust: &Trust) {
        let (server, trust) = (server.clone(), trust.clone());
        *self = Self::Opening(Box::pin(async move { Channel::open(&server, &trust).await }));
    }

    /// Without a channel nothing is said: the session repeats itself on the next one.
    pub(super) fn say(&mut self, say: &Say) {
        if let Self::Open(channel) = self {
            channel.say(say);
        }
    }

    pub(super) fn ping(&mut self) {
        if let Self::Open(channel) = self {
            channel.ping();
        }
    }

    /// Begins to close what is there; the rest happens while somebody waits for [`Link::moved`] or [`Link::closed`].
    pub(super) fn close(&mut self, farewell: Farewell) {
        *self = match std::mem::replace(self, Self::None) {
            Self::Open(channel) => Self::Closing(Box::pin(channel.close(farewell))),
            Self::Closing(closing) => Self::Closing(closing),
            Self::None | Self::Opening(_) => Self::None,
        };
    }

    /// Forgets a channel that ended by itself.
    pub(super) fn drop_channel(&mut self) {
        *self = Self::None;
    }

    /// What the service said before, if anything of it is unread; without waiting.
    pub(super) fn already_said(&mut self) -> Option<Incoming> {
        match self {
            Self::Open(channel) => channel.try_next(),
            Self::None | Self::Opening(_) | Self::Closing(_) => None,
        }
    }

    /// Waits for the next thing to happen; for ever while nothing can. Also sends what was said. Cancel safe.
    pub(super) async fn moved(&mut self) -> Moved {
        if let Self::Closing(closing) = self {
            closing.await;
            *self = Self::None;
        }
        match self {
            Self::None | Self::Closing(_) => pending().await,
            Self::Open(channel) => Moved::Said(channel.next().await),
            Self::Opening(opening) => match opening.await {
                Ok(channel) => {
                    *self = Self::Open(Box::new(channel));
                    Moved::Opened
                }
                Err(error) => {
                    *self = Self::None;
                    Moved::NotOpened(error)
                }
            },
        }
    }

    /// Waits until what was being closed is closed.
    pub(super) async fn closed(&mut self) {
        if let Self::Closing(closing) = self {
            closing.await;
        }
        *self = Self::None;
    }
}
