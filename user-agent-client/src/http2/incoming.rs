//! What a service did over HTTP/2, in the session's words.

use std::fmt;
use std::time::Duration;

use push_protocol::identifiers::SubscriptionName;
use push_protocol::message::Content;
use push_protocol::session::Moment;
use push_protocol::session::user_agent::{
    Action, Arrived, ChannelEnd, Identity, Metadata, NewSubscription, Registered, Unregistered, UserAgent,
};

use crate::request_error::RequestError;

/// What the service did.
#[derive(PartialEq, Eq, Debug)]
pub enum Incoming {
    /// It monitors our set: the channel is live.
    Monitoring(Identity),
    /// It has answered; we have no set before the first subscription: the channel is live.
    WithoutSet,
    /// Our set is gone.
    // R30-MON-17.
    Forgotten,
    /// It has pushed all waiting messages; `true`: there were none.
    // R30-MON-12, R30-MON-13.
    CaughtUp(bool),
    /// It made a subscription.
    SubscriptionMade(SubscriptionName, NewSubscription),
    /// It did not make a subscription; the answer for the session, and the reason for people.
    SubscriptionNotMade(SubscriptionName, Registered, RequestError),
    /// The answer to a request to end a subscription; and why it is not ended, for people.
    Unregistered(SubscriptionName, Unregistered, Option<RequestError>),
    /// A push message.
    Pushed(Pushed),
    /// It made a promise that RFC 9113 forbids: not a `GET`, or for another origin.
    Nonsense,
    /// It asked for no acknowledgements for this time. They wait.
    AcknowledgementsWait(Duration),
    /// It answered a ping or a request.
    SignOfLife,
    /// The service or a proxy does not support server push: messages come as Server-Sent Events. Reported once.
    WithoutPush,
    /// The channel has ended. Every further call returns this.
    Ended(ChannelEnd),
}

/// A push message as it was pushed, or told as an event. Its URLs are capabilities, so it prints without them.
#[derive(PartialEq, Eq)]
pub struct Pushed {
    /// Where it was sent to, absolute; nothing if the service didn't say.
    pub push_resource: Box<str>,
    /// The path of its message resource: its id, and where it is acknowledged.
    pub path: Box<str>,
    /// What is in it; `None` if that can't be read.
    pub content: Option<Content>,
    /// What else the service says about it.
    pub metadata: Option<Box<Metadata>>,
}

impl Incoming {
    /// Tells the session.
    pub fn tell(self, user_agent: &mut UserAgent, now: Moment, out: &mut Vec<Action>) {
        match self {
            Self::Monitoring(set) => user_agent.monitoring(set, now, out),
            Self::WithoutSet => user_agent.opened_without_set(now, out),
            Self::Forgotten => user_agent.forgotten(now, out),
            Self::CaughtUp(nothing) => user_agent.caught_up(nothing, now, out),
            Self::SubscriptionMade(name, made) => user_agent.subscription_made(name, made, now, out),
            Self::SubscriptionNotMade(name, answer, _) => user_agent.registered(name, answer, now, out),
            Self::Unregistered(name, answer, _) => user_agent.unregistered(name, answer, now, out),
            Self::AcknowledgementsWait(again_in) => user_agent.acknowledgements_wait(again_in, now, out),
            Self::Pushed(pushed) => {
                let name = user_agent.durable().subscription_at(&pushed.push_resource);
                let arrived = Arrived {
                    // Without a name it belongs to no subscription, and the session rejects it.
                    subscription: name.map_or_else(Box::default, |name| name.to_string().into()),
                    id: pushed.path,
                    content: pushed.content,
                    metadata: pushed.metadata,
                };
                user_agent.arrived(arrived, now, out);
            }
            Self::Nonsense => user_agent.nonsense(now, out),
            Self::SignOfLife | Self::WithoutPush => user_agent.heard(now),
            Self::Ended(ended) => user_agent.channel_ended(ended, now, out),
        }
    }
}

impl fmt::Debug for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pushed(…)")
    }
}
