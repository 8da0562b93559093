//! User agents, as far as a measurement needs them: one channel each, and nothing above it.
//!
//! They keep no state and decrypt nothing: they have to be cheaper than the service, which is what is measured. What a
//! whole user agent costs is a scenario of its own.

mod events;
mod http2;
pub(crate) mod set;
mod websocket;

use push_protocol::Coding;
use push_protocol::message::Content;
use push_protocol::session::user_agent as session;
use tokio::sync::watch;

pub(crate) use self::websocket::{UserAgent as OnWebSocket, subscription_name};
use crate::connector::{Connector, Transport};
use crate::failure::{BenchResult, Failure, within};
use crate::ledger::Ledger;

/// A user agent between two connections, with one subscription.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// What the service calls it: a `uaid`, or the URL of a subscription set.
    pub(crate) name: session::Identity,
    /// Its subscription's push resource.
    pub(crate) push_resource: session::PushResource,
}

/// A connected user agent.
pub(crate) enum UserAgent {
    /// On a WebSocket.
    WebSocket(OnWebSocket),
    /// Monitors a set by server push.
    Http2(Box<http2::UserAgent>),
    /// Monitors a set by Server-Sent Events.
    Events(Box<events::UserAgent>),
}

impl UserAgent {
    /// Comes in as one that the service knows.
    pub(crate) async fn come_back(connector: &Connector, identity: &Identity) -> BenchResult<Self> {
        match connector.transport() {
            Transport::WebSocket => on_websocket(connector, identity).await.map(Self::WebSocket),
            Transport::Http2 => {
                let user_agent = http2::UserAgent::monitor(connector, identity).await?;
                Ok(Self::Http2(Box::new(user_agent)))
            }
            Transport::Events => {
                let user_agent = events::UserAgent::monitor(connector, identity).await?;
                Ok(Self::Events(Box::new(user_agent)))
            }
        }
    }

    /// Takes messages for the `nth` subscription, tells the ledger and acknowledges them until `stop` changes; then waits
    /// until its acknowledgements were read.
    ///
    /// Cancel safe: no; ask it to stop.
    pub(crate) async fn listen(
        self,
        nth: usize,
        ledger: &Ledger,
        stop: watch::Receiver<bool>,
    ) -> BenchResult<()> {
        // A message for an unknown subscription has no number in the ledger.
        let arrived = |is_own: bool, body: &[u8]| ledger.arrived(if is_own { nth } else { usize::MAX }, body);
        match self {
            Self::WebSocket(mut user_agent) => {
                let own = subscription_name(nth).to_string();
                let arrived = |name: &str, body: &[u8]| arrived(name == own, body);
                user_agent.listen(stop, arrived).await?;
                match within("ending a channel", user_agent.ping()).await? {
                    0 => Ok(()),
                    late => Err(Failure::new(format!("{late} messages too many arrived"))),
                }
            }
            Self::Http2(user_agent) => user_agent.listen(stop, arrived).await,
            Self::Events(user_agent) => user_agent.listen(stop, arrived).await,
        }
    }
}

/// How many messages wait for one that is not there. They are not acknowledged.
pub(crate) async fn waiting(connector: &Connector, identity: &Identity) -> BenchResult<usize> {
    match connector.transport() {
        Transport::WebSocket => on_websocket(connector, identity).await?.ping().await,
        // A monitor has no answer that comes behind all that waits, but one that asks once has.
        Transport::Http2 | Transport::Events => events::waiting(connector, identity).await,
    }
}

async fn on_websocket(connector: &Connector, identity: &Identity) -> BenchResult<OnWebSocket> {
    let mut user_agent = OnWebSocket::connect(connector).await?;
    let name = user_agent.hello(Some(identity.name.clone())).await?;
    if name != identity.name {
        return Err(Failure::new("the service has forgotten a user agent"));
    }
    Ok(user_agent)
}

fn body(content: Option<&Content>) -> BenchResult<&[u8]> {
    match content {
        Some(content) if content.coding == Coding::Aes128gcm => Ok(&content.body),
        _ => Err(Failure::new("a message can't be read, or is in another encoding")),
    }
}
