//! A user agent on HTTP/2 (RFC 8030 §6.1): the library's channel, which monitors a set by server push.
//!
//! It acknowledges each message by a `DELETE` on the connection over which it came.

use std::sync::Arc;

use push_protocol::session::user_agent::{Arrived, Disposition, Durable, Farewell, Say, Wish};
use tokio::sync::watch;
use user_agent_client::http2::{Channel, Incoming, Pushed};
use user_agent_client::{ServerUrl, Trust};

use super::{Identity, body};
use crate::connector::Connector;
use crate::failure::{BenchResult, Failure, While as _, within};

/// A connection that monitors.
pub(crate) struct UserAgent {
    channel: Channel,
    push_resource: Box<str>,
    /// Nothing: it makes no subscription and ends none.
    known: Durable,
}

impl UserAgent {
    /// Connects and begins to monitor. When this is done, the service has seen the request.
    pub(super) async fn monitor(connector: &Connector, identity: &Identity) -> BenchResult<Self> {
        // The origin of the set, wherever the listener is that leads to it.
        let origin = ServerUrl::parse(&super::set::origin_of(identity)?).doing("a set's origin")?;
        let channel = Channel::begin(connector.connect().await?, &origin, &Trust::insecure()).await;
        let mut user_agent = Self {
            channel: channel.doing("speaking HTTP/2")?,
            push_resource: identity.push_resource.as_str().into(),
            known: Durable::default(),
        };
        let hello = Say::Hello(Some(identity.name.clone()), Wish::default());
        user_agent.channel.say(&hello, &user_agent.known);
        match user_agent.channel.next().await {
            Incoming::Monitoring(set) if set == identity.name => Ok(user_agent),
            other => Err(unexpected(&other)),
        }
    }

    /// Takes and acknowledges messages until `stop` changes, then takes leave: all acknowledgements were answered.
    /// `arrived` sees whether a message is for its own subscription, and the body.
    pub(super) async fn listen(
        mut self,
        mut stop: watch::Receiver<bool>,
        mut arrived: impl FnMut(bool, &[u8]),
    ) -> BenchResult<()> {
        loop {
            tokio::select! {
                incoming = self.channel.next() => match incoming {
                    Incoming::Pushed(pushed) => self.take(pushed, &mut arrived)?,
                    Incoming::SignOfLife => {}
                    other => return Err(unexpected(&other)),
                },
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        within("ending a monitor", async {
            self.channel.close(Farewell::Leaving).await;
            Ok(())
        })
        .await
    }

    fn take(&mut self, pushed: Pushed, arrived: &mut impl FnMut(bool, &[u8])) -> BenchResult<()> {
        arrived(
            pushed.push_resource == self.push_resource,
            body(pushed.content.as_ref())?,
        );
        let message = Arc::new(Arrived {
            subscription: Box::default(),
            id: pushed.path,
            content: None,
            metadata: None,
        });
        let done = Say::Acknowledge {
            message,
            disposition: Disposition::Delivered,
        };
        self.channel.say(&done, &self.known);
        Ok(())
    }
}

/// Without what may be secret in it: a set, a push resource, a body.
fn unexpected(incoming: &Incoming) -> Failure {
    let what = match incoming {
        Incoming::Forgotten => "has lost a subscription set",
        Incoming::Ended(ended) => return Failure::new(format!("an HTTP/2 channel is over: {ended:?}")),
        Incoming::Nonsense => "promises a resource that it must not promise",
        _ => "does what was not requested",
    };
    Failure::new(format!("the service {what}"))
}
