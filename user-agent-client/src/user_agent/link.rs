//! The link to the service: none, one that is being opened, or an open channel.

use std::future::{Future, pending};
use std::pin::Pin;

use push_protocol::SubscriptionName;
use push_protocol::session::Moment;
use push_protocol::session::user_agent::{Action, Durable, Farewell, Registered, Say, UserAgent};
use push_protocol::wire::websocket::Reply;

use crate::channel;
use crate::connection::OpenError;
use crate::http2::{self, Form};
use crate::request_error::RequestError;
use crate::server_url::{ServerUrl, Transport};
use crate::tls::Trust;

/// The state of the link.
pub(super) enum Link {
    None,
    Opening(Pin<Box<dyn Future<Output = Result<Channel, OpenError>> + Send>>),
    Open(Channel),
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// A channel of either kind.
pub(super) enum Channel {
    WebSocket(Box<channel::Channel>),
    Http2(Box<http2::Channel>),
}

/// What the service did.
pub(super) enum Incoming {
    WebSocket(channel::Incoming),
    Http2(http2::Incoming),
}

/// What a link waits for: it is open, it could not be opened, or the service did something.
pub(super) enum LinkEvent {
    Opened,
    NotOpened(OpenError),
    Incoming(Incoming),
}

impl Link {
    /// `form`: how messages are asked for first, over HTTP/2.
    pub(super) fn open(&mut self, server: &ServerUrl, trust: &Trust, known: &Durable, form: Form) {
        let (server, trust) = (server.clone(), trust.clone());
        // As the hello: an identity is shown only while there is something that rests on it.
        let set = known.identity.clone().filter(|_| !known.registrations.is_empty());
        *self = Self::Opening(Box::pin(async move {
            Ok(match server.transport() {
                Transport::WebSocket => {
                    Channel::WebSocket(Box::new(channel::Channel::open(&server, &trust).await?))
                }
                Transport::Http2 => {
                    let channel = http2::Channel::open(&server, &trust, set.as_ref(), form).await?;
                    Channel::Http2(Box::new(channel))
                }
            })
        }));
    }

    /// Without a channel nothing is said: the session repeats itself on the next one. `believes_forgotten`: if the service says that it
    /// doesn't know us, that is believed.
    pub(super) fn say(&mut self, say: &Say, known: &Durable, believes_forgotten: bool) {
        match self {
            Self::Open(Channel::WebSocket(channel)) => channel.say(say),
            Self::Open(Channel::Http2(channel)) => {
                if believes_forgotten {
                    channel.believe();
                }
                channel.say(say, known);
            }
            Self::None | Self::Opening(_) | Self::Closing(_) => {}
        }
    }

    pub(super) fn ping(&mut self) {
        match self {
            Self::Open(Channel::WebSocket(channel)) => channel.ping(),
            Self::Open(Channel::Http2(channel)) => channel.ping(),
            Self::None | Self::Opening(_) | Self::Closing(_) => {}
        }
    }

    /// Begins to close what is there; the rest happens while a caller waits for [`Link::next`] or [`Link::closed`].
    pub(super) fn close(&mut self, farewell: Farewell) {
        *self = match std::mem::replace(self, Self::None) {
            Self::Open(Channel::WebSocket(channel)) => Self::Closing(Box::pin(channel.close(farewell))),
            Self::Open(Channel::Http2(channel)) => Self::Closing(Box::pin(channel.close(farewell))),
            Self::Closing(closing) => Self::Closing(closing),
            Self::None | Self::Opening(_) => Self::None,
        };
    }

    /// Forgets a channel that ended by itself. Returns what it could not acknowledge; over the WebSocket that is not known.
    pub(super) fn drop_channel(&mut self) -> Vec<Box<str>> {
        match std::mem::replace(self, Self::None) {
            Self::Open(Channel::Http2(mut channel)) => channel.unacknowledged(),
            _ => Vec::new(),
        }
    }

    /// Acknowledges what an earlier channel could not.
    pub(super) fn acknowledge(&mut self, paths: &[Box<str>]) {
        if let Self::Open(Channel::Http2(channel)) = self {
            channel.acknowledge(paths);
        }
    }

    /// What the service says about what it just did, for people; taken.
    pub(super) fn take_explanation(&mut self) -> Option<Box<str>> {
        match self {
            Self::Open(Channel::WebSocket(channel)) => channel.take_explanation(),
            Self::Open(Channel::Http2(channel)) => channel.take_explanation(),
            Self::None | Self::Opening(_) | Self::Closing(_) => None,
        }
    }

    /// What the service said before, if anything of it is unread; without waiting.
    pub(super) fn already_said(&mut self) -> Option<Incoming> {
        match self {
            Self::Open(Channel::WebSocket(channel)) => channel.try_next().map(Incoming::WebSocket),
            // Its connection collects what is written by itself.
            Self::Open(Channel::Http2(_)) => None,
            Self::None | Self::Opening(_) | Self::Closing(_) => None,
        }
    }

    /// Waits for the next thing to happen; for ever while nothing can. Also sends what was said. Cancel safe.
    pub(super) async fn next(&mut self) -> LinkEvent {
        if let Self::Closing(closing) = self {
            closing.await;
            *self = Self::None;
        }
        match self {
            Self::None | Self::Closing(_) => pending().await,
            Self::Open(Channel::WebSocket(channel)) => {
                LinkEvent::Incoming(Incoming::WebSocket(channel.next().await))
            }
            Self::Open(Channel::Http2(channel)) => LinkEvent::Incoming(Incoming::Http2(channel.next().await)),
            Self::Opening(opening) => match opening.await {
                Ok(channel) => {
                    *self = Self::Open(channel);
                    LinkEvent::Opened
                }
                Err(error) => {
                    *self = Self::None;
                    LinkEvent::NotOpened(error)
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

impl Incoming {
    /// Whether this was the last of the channel.
    pub(super) fn is_end(&self) -> bool {
        matches!(
            self,
            Self::WebSocket(channel::Incoming::Ended(_)) | Self::Http2(http2::Incoming::Ended(_))
        )
    }

    /// Which request the service did not do, and why.
    pub(super) fn refusal(&self) -> Option<(SubscriptionName, RequestError)> {
        match self {
            Self::WebSocket(channel::Incoming::Reply(Reply::Registered(Some(name), answer, details))) => {
                let is_there = matches!(answer, Registered::At(_));
                (!is_there).then(|| {
                    (
                        *name,
                        RequestError::of_reply(details.status, details.words.as_deref()),
                    )
                })
            }
            Self::Http2(
                http2::Incoming::SubscriptionNotMade(name, _, why)
                | http2::Incoming::Unregistered(name, _, Some(why)),
            ) => Some((*name, why.clone())),
            Self::WebSocket(_) | Self::Http2(_) => None,
        }
    }

    /// Tells the session.
    pub(super) fn tell(self, session: &mut UserAgent, now: Moment, out: &mut Vec<Action>) {
        match self {
            Self::WebSocket(channel::Incoming::Reply(reply)) => reply.tell(session, now, out),
            Self::WebSocket(channel::Incoming::SignOfLife) => session.heard(now),
            Self::WebSocket(channel::Incoming::Nonsense) => session.nonsense(now, out),
            Self::WebSocket(channel::Incoming::Ended(ended)) => session.channel_ended(ended, now, out),
            Self::Http2(incoming) => incoming.tell(session, now, out),
        }
    }
}
