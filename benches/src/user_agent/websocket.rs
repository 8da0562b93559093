//! A user agent on the WebSocket, as far as a measurement needs one: the library's channel, and nothing above it.
//!
//! One connection, in the order in which its life goes: [`UserAgent::connect`], [`UserAgent::hello`],
//! [`UserAgent::register`], [`UserAgent::listen`]. It acknowledges each message as Firefox does, one `ack` for each, and
//! leaves it to the caller what to think of them.

use std::sync::Arc;

use push_protocol::SubscriptionName;
use push_protocol::session::user_agent::{
    ChannelEnd, Disposition, Identity, PushResource, Registered, Say, Wish,
};
use push_protocol::vapid::PublicKey;
use push_protocol::wire::websocket::Reply;
use tokio::sync::watch;
use user_agent_client::channel::{Channel, Incoming};

use super::body;
use crate::connector::Connector;
use crate::failure::{BenchResult, Failure};

/// A connected user agent.
pub(crate) struct UserAgent {
    channel: Channel,
}

impl UserAgent {
    /// Connects and upgrades.
    pub(crate) async fn connect(connector: &Connector) -> BenchResult<Self> {
        let channel = connector.open().await?;
        Ok(Self { channel })
    }

    /// Says who it is, if it is anybody yet, and returns who it is from now on.
    pub(crate) async fn hello(&mut self, identity: Option<Identity>) -> BenchResult<Identity> {
        self.channel.say(&Say::Hello(identity, Wish::default()));
        match self.answer().await? {
            Reply::Hello(Some(identity)) => Ok(identity),
            other => Err(unexpected("hello", &other)),
        }
    }

    /// Makes a subscription, restricted to `key` if one is given, and returns its push resource.
    pub(crate) async fn register(
        &mut self,
        name: SubscriptionName,
        key: Option<PublicKey>,
    ) -> BenchResult<PushResource> {
        self.channel.say(&Say::Register {
            name,
            application_server: key,
        });
        match self.answer().await? {
            Reply::Registered(Some(of), Registered::At(push_resource), _) if of == name => Ok(push_resource),
            other => Err(unexpected("register", &other)),
        }
    }

    /// Ends a subscription. Messages that come before the answer are for nobody.
    pub(crate) async fn unregister(&mut self, name: SubscriptionName) -> BenchResult<()> {
        self.channel.say(&Say::Unregister(name));
        loop {
            match self.answer().await? {
                Reply::Unregistered(Some(of), true) if of == name => return Ok(()),
                Reply::Arrived(_) => {}
                other => return Err(unexpected("unregister", &other)),
            }
        }
    }

    /// Takes and acknowledges messages until `stop` changes. `arrived` sees the subscription and the body of each.
    ///
    /// Cancel safe: no; ask it to stop.
    pub(crate) async fn listen(
        &mut self,
        mut stop: watch::Receiver<bool>,
        mut arrived: impl FnMut(&str, &[u8]),
    ) -> BenchResult<()> {
        loop {
            // All that one read brought, so that its acknowledgements leave in one write.
            while let Some(incoming) = self.channel.try_next() {
                self.take(incoming, &mut arrived)?;
            }
            tokio::select! {
                incoming = self.channel.next() => self.take(incoming, &mut arrived)?,
                // What is still to be sent goes with what is said next.
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }

    /// Asks for a sign of life and returns how many messages came before it. They are not acknowledged.
    pub(crate) async fn ping(&mut self) -> BenchResult<usize> {
        self.channel.ping();
        let mut before = 0;
        loop {
            match self.channel.next().await {
                // The answer: the service asks for none itself before minutes have passed.
                Incoming::SignOfLife => return Ok(before),
                Incoming::Reply(Reply::Arrived(_)) => before += 1,
                Incoming::Reply(other) => return Err(unexpected("ping", &other)),
                Incoming::Nonsense => return Err(nonsense()),
                Incoming::Ended(ended) => return Err(over(ended)),
            }
        }
    }

    /// Waits for the next thing that the service says.
    async fn answer(&mut self) -> BenchResult<Reply> {
        loop {
            match self.channel.next().await {
                Incoming::Reply(answer) => return Ok(answer),
                Incoming::SignOfLife => {}
                Incoming::Nonsense => return Err(nonsense()),
                Incoming::Ended(ended) => return Err(over(ended)),
            }
        }
    }

    fn take(&mut self, incoming: Incoming, arrived: &mut impl FnMut(&str, &[u8])) -> BenchResult<()> {
        let message = match incoming {
            Incoming::Reply(Reply::Arrived(message)) => message,
            Incoming::SignOfLife => return Ok(()),
            Incoming::Reply(other) => return Err(unexpected("nothing", &other)),
            Incoming::Nonsense => return Err(nonsense()),
            Incoming::Ended(ended) => return Err(over(ended)),
        };
        arrived(&message.subscription, body(message.content.as_ref())?);
        self.channel.say(&Say::Acknowledge {
            message: Arc::new(message),
            disposition: Disposition::Delivered,
        });
        Ok(())
    }
}

/// The name of the `nth` subscription, as user agents make them: a UUID.
pub(crate) fn subscription_name(nth: usize) -> SubscriptionName {
    let [_, _, a, b, c, d, e, f] = (nth as u64).to_be_bytes();
    SubscriptionName([c, d, e, f, 0, 0, 0x40, 0, 0x80, 0, a, b, c, d, e, f])
}

/// Without what may be secret in it: a push resource, a body.
fn unexpected(said: &str, answer: &Reply) -> Failure {
    let answer = match answer {
        Reply::Hello(Some(_)) => "a hello",
        Reply::Hello(None) => "a hello that is a refusal",
        Reply::Registered(_, Registered::At(_), _) => "a register, or one for another subscription",
        Reply::Registered(..) => "a register that is a refusal",
        Reply::Unregistered(..) => "an unregister",
        Reply::Arrived(_) => "a notification",
        Reply::SignOfLife => "a text that means nothing",
    };
    Failure::new(format!("{said} is answered by {answer}"))
}

fn nonsense() -> Failure {
    Failure::new("the service says what is no message")
}

fn over(ended: ChannelEnd) -> Failure {
    Failure::new(match ended {
        ChannelEnd::Closed(code) => {
            let code = code.unwrap_or(1005);
            format!("the service closed a channel with code {code}")
        }
        ChannelEnd::Lost => "the service ended a connection without a word".to_owned(),
        _ => "the service broke the WebSocket protocol".to_owned(),
    })
}
