//! Many user agents at once: connecting, listening, and coming back.
//!
//! Each has one subscription, whose number is its place in the fleet.

use std::sync::Arc;

use push_protocol::SubscriptionName;
use push_protocol::session::user_agent as session;
use push_protocol::vapid::PublicKey;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::application_server::PushResource;
use crate::connector::{Connector, Transport};
use crate::each::{CONNECTING, each};
use crate::failure::{BenchResult, Failure, While as _, within};
use crate::ledger::Ledger;
use crate::user_agent::{Identity, OnWebSocket, UserAgent, set, subscription_name, waiting};

/// Subscriptions of RFC 8030 that are being made at a time: each takes one request after the other.
const SUBSCRIBING: usize = 8;

/// Connected user agents, in their order.
pub(crate) struct Fleet {
    user_agents: Vec<UserAgent>,
}

/// User agents on WebSockets that have no subscription yet, and what they are called.
pub(crate) struct Newcomers {
    user_agents: Vec<(OnWebSocket, session::Identity)>,
    connector: Connector,
}

/// A fleet that takes its messages.
pub(crate) struct Listening {
    tasks: JoinSet<BenchResult<()>>,
    stop: watch::Sender<bool>,
}

impl Newcomers {
    /// Connects new user agents and says hello for each.
    pub(crate) async fn connect(connector: &Connector, count: usize) -> BenchResult<Self> {
        let made = each(count, CONNECTING, |_| {
            let connector = connector.clone();
            async move {
                let mut user_agent = OnWebSocket::connect(&connector).await?;
                let name = user_agent.hello(None).await?;
                Ok((user_agent, name))
            }
        });
        Ok(Self {
            user_agents: made.await?,
            connector: connector.clone(),
        })
    }

    /// Registers one subscription for each.
    pub(crate) async fn register(self, key: Option<PublicKey>) -> BenchResult<(Fleet, Vec<Identity>)> {
        let connector = self.connector;
        let mut newcomers: Vec<_> = self.user_agents.into_iter().map(Some).collect();
        let registered = each(newcomers.len(), CONNECTING, |nth| {
            let (newcomer, connector) = (newcomers[nth].take(), connector.clone());
            async move {
                let (mut user_agent, name) =
                    newcomer.ok_or_else(|| Failure::new("a user agent is registered twice"))?;
                let subscription = subscription_name(nth);
                let push_resource = user_agent.register(subscription, key).await?;
                connector.made(|| unregister(connector.clone(), name.clone(), subscription));
                let identity = Identity { name, push_resource };
                Ok((UserAgent::WebSocket(user_agent), identity))
            }
        });
        let (user_agents, identities) = registered.await?.into_iter().unzip();
        Ok((Fleet { user_agents }, identities))
    }
}

/// Connects as this user agent and ends its subscription.
async fn unregister(
    connector: Connector,
    name: session::Identity,
    subscription: SubscriptionName,
) -> BenchResult<()> {
    let mut user_agent = OnWebSocket::connect(&connector.by(Transport::WebSocket)).await?;
    user_agent.hello(Some(name)).await?;
    user_agent.unregister(subscription).await
}

impl Fleet {
    /// Makes subscriptions, and connects whom they are for.
    pub(crate) async fn subscribe(
        connector: &Connector,
        count: usize,
        key: Option<PublicKey>,
    ) -> BenchResult<(Self, Vec<Identity>)> {
        if connector.transport() == Transport::WebSocket {
            return Newcomers::connect(connector, count).await?.register(key).await;
        }
        let identities = subscribe(connector, count, key).await?;
        let fleet = Self::come_back(connector, &identities).await?;
        Ok((fleet, identities))
    }

    /// Connects user agents that the service knows.
    pub(crate) async fn come_back(connector: &Connector, identities: &[Identity]) -> BenchResult<Self> {
        let back = each(identities.len(), CONNECTING, |nth| {
            let (connector, identity) = (connector.clone(), identities[nth].clone());
            async move { UserAgent::come_back(&connector, &identity).await }
        });
        let user_agents = back.await?;
        Ok(Self { user_agents })
    }

    /// Lets everyone take messages; the ledger is told of each.
    pub(crate) fn listen(self, ledger: &Arc<Ledger>) -> Listening {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (nth, user_agent) in self.user_agents.into_iter().enumerate() {
            let (ledger, stopped) = (Arc::clone(ledger), stopped.clone());
            tasks.spawn(async move { user_agent.listen(nth, &ledger, stopped).await });
        }
        Listening { tasks, stop }
    }
}

/// Makes subscriptions of RFC 8030, each in a set of its own, over a few connections that are closed again.
pub(crate) async fn subscribe(
    connector: &Connector,
    count: usize,
    key: Option<PublicKey>,
) -> BenchResult<Vec<Identity>> {
    let part = count.div_ceil(SUBSCRIBING);
    let mut tasks = JoinSet::new();
    for nth in 0..SUBSCRIBING {
        let mine = part.min(count.saturating_sub(nth * part));
        let connector = connector.clone();
        tasks.spawn(async move { set::subscribe(&connector, mine, key).await });
    }
    let mut identities = Vec::with_capacity(count);
    while let Some(made) = tasks.join_next().await {
        identities.extend(made.doing("subscribing")??);
    }
    Ok(identities)
}

impl Listening {
    /// A fleet that comes back all at once: everyone connects, says hello and takes what waits, as soon as it can.
    ///
    /// They come to all of `connectors` in turn.
    pub(crate) fn come_back(connectors: &[Connector], identities: &[Identity], ledger: &Arc<Ledger>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for ((nth, identity), connector) in identities.iter().enumerate().zip(connectors.iter().cycle()) {
            let (connector, identity, ledger, stopped) = (
                connector.clone(),
                identity.clone(),
                Arc::clone(ledger),
                stopped.clone(),
            );
            tasks.spawn(async move {
                let user_agent = within("coming back", UserAgent::come_back(&connector, &identity)).await?;
                user_agent.listen(nth, &ledger, stopped).await
            });
        }
        Self { tasks, stop }
    }

    /// Everyone waits until its acknowledgements were read, and closes its connection.
    pub(crate) async fn stop(mut self) -> BenchResult<()> {
        // If all have failed, there is no receiver, and the failure comes out below.
        let _ = self.stop.send(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.doing("ending a user agent")??;
        }
        Ok(())
    }

    /// Runs `work`, unless a user agent fails first: then that is why.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = BenchResult<T>>) -> BenchResult<T> {
        tokio::select! {
            done = work => done,
            Some(ended) = self.tasks.join_next() => match ended.doing("a user agent")? {
                Ok(()) => Err(Failure::new("a user agent stopped listening")),
                Err(failure) => Err(failure),
            },
        }
    }
}

/// The push resources of these user agents.
pub(crate) fn push_resources(identities: &[Identity]) -> BenchResult<Vec<PushResource>> {
    identities
        .iter()
        .map(|identity| PushResource::new(identity.push_resource.as_str()))
        .collect()
}

/// That nothing is left: everyone comes back once more, and must be offered no message. What was acknowledged has left
/// storage, and is not delivered a second time.
pub(crate) async fn expect_nothing(connector: &Connector, identities: &[Identity]) -> BenchResult<()> {
    let visits = each(identities.len(), CONNECTING, |nth| {
        let (connector, identity) = (connector.clone(), identities[nth].clone());
        async move { waiting(&connector, &identity).await }
    });
    match visits.await?.iter().sum() {
        0 => Ok(()),
        left => Err(Failure::new(format!(
            "{left} messages were offered again that had been acknowledged"
        ))),
    }
}
