//! Many user agents at once: connecting, listening, and coming back.
//!
//! Each has one subscription, whose number is its place in the fleet.

use std::sync::Arc;

use push_protocol::session::user_agent as session;
use push_protocol::vapid::PublicKey;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::application_server::PushResource;
use crate::door::Door;
use crate::failure::{Failure, Outcome, While as _, within};
use crate::ledger::Ledger;
use crate::user_agent::{UserAgent, subscription_name};

/// Connections that are being made at a time. Chosen: the service is kept busy, and its backlog does not overflow.
pub(crate) const CONNECTING: usize = 64;

/// A user agent between two connections.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// What the service calls it.
    uaid: session::Identity,
    /// Its subscription's push resource.
    push_resource: session::PushResource,
}

impl Identity {
    /// Of a user agent that was here before.
    pub(crate) fn new(uaid: session::Identity, push_resource: session::PushResource) -> Self {
        Self { uaid, push_resource }
    }
}

/// Connected user agents, in their order.
pub(crate) struct Fleet {
    user_agents: Vec<UserAgent>,
}

/// A fleet that takes its messages.
pub(crate) struct Listening {
    tasks: JoinSet<Outcome<UserAgent>>,
    stop: watch::Sender<bool>,
}

impl Fleet {
    /// Connects new user agents and says hello for each. Returns what they are called, too.
    pub(crate) async fn connect(door: &Door, count: usize) -> Outcome<(Self, Vec<session::Identity>)> {
        let made = each(count, CONNECTING, |_| {
            let door = door.clone();
            async move {
                let mut user_agent = UserAgent::connect(&door).await?;
                let uaid = user_agent.hello(None).await?;
                Ok((user_agent, uaid))
            }
        });
        let (user_agents, uaids) = made.await?.into_iter().unzip();
        Ok((Self { user_agents }, uaids))
    }

    /// Registers one subscription for each.
    pub(crate) async fn register(
        self,
        uaids: Vec<session::Identity>,
        key: Option<PublicKey>,
    ) -> Outcome<(Self, Vec<Identity>)> {
        let mut user_agents: Vec<_> = self.user_agents.into_iter().map(Some).collect();
        let registered = each(user_agents.len(), CONNECTING, |nth| {
            let user_agent = user_agents[nth].take();
            async move {
                let mut user_agent =
                    user_agent.ok_or_else(|| Failure::new("a user agent is registered twice"))?;
                let push_resource = user_agent.register(subscription_name(nth), key).await?;
                Ok((user_agent, push_resource))
            }
        });
        let registered = registered.await?;
        let (user_agents, push_resources): (_, Vec<_>) = registered.into_iter().unzip();
        let identities = std::iter::zip(uaids, push_resources)
            .map(|(uaid, push_resource)| Identity { uaid, push_resource })
            .collect();
        Ok((Self { user_agents }, identities))
    }

    /// Connects and registers.
    pub(crate) async fn subscribe(
        door: &Door,
        count: usize,
        key: Option<PublicKey>,
    ) -> Outcome<(Self, Vec<Identity>)> {
        let (fleet, uaids) = Self::connect(door, count).await?;
        fleet.register(uaids, key).await
    }

    /// Lets everyone take messages; the ledger is told of each.
    pub(crate) fn listen(self, ledger: &Arc<Ledger>) -> Listening {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (nth, mut user_agent) in self.user_agents.into_iter().enumerate() {
            let (ledger, stopped) = (Arc::clone(ledger), stopped.clone());
            tasks.spawn(async move {
                listen(&mut user_agent, nth, &ledger, stopped).await?;
                Ok(user_agent)
            });
        }
        Listening { tasks, stop }
    }
}

impl Listening {
    /// A fleet that comes back all at once: everyone connects, says hello and takes what waits, as soon as it can.
    ///
    /// They come to all of `doors` in turn.
    pub(crate) fn come_back(doors: &[Door], identities: &[Identity], ledger: &Arc<Ledger>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for ((nth, identity), door) in identities.iter().enumerate().zip(doors.iter().cycle()) {
            let (door, identity, ledger, stopped) = (
                door.clone(),
                identity.clone(),
                Arc::clone(ledger),
                stopped.clone(),
            );
            tasks.spawn(async move {
                let mut user_agent = within("coming back", come_back(&door, &identity)).await?;
                listen(&mut user_agent, nth, &ledger, stopped).await?;
                Ok(user_agent)
            });
        }
        Self { tasks, stop }
    }

    /// Everyone waits until its acknowledgements were read, which an answer to a ping tells, and closes its connection.
    pub(crate) async fn stop(mut self) -> Outcome<()> {
        // If all have failed nobody listens, and the failure comes out below.
        let _ = self.stop.send(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.doing("ending a user agent")??;
        }
        Ok(())
    }

    /// Runs `work`, unless a user agent fails first: then that is why.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        tokio::select! {
            done = work => done,
            Some(ended) = self.tasks.join_next() => match ended.doing("a user agent")? {
                Ok(_) => Err(Failure::new("a user agent stopped listening")),
                Err(failure) => Err(failure),
            },
        }
    }
}

/// The push resources of these user agents.
pub(crate) fn push_resources(identities: &[Identity]) -> Outcome<Vec<PushResource>> {
    identities
        .iter()
        .map(|identity| PushResource::new(identity.push_resource.as_str()))
        .collect()
}

/// That nothing is left: everyone comes back once more, and must be offered no message. What was acknowledged has left
/// storage, and is not delivered a second time.
pub(crate) async fn expect_nothing(door: &Door, identities: &[Identity]) -> Outcome<()> {
    let visits = each(identities.len(), CONNECTING, |nth| {
        let (door, identity) = (door.clone(), identities[nth].clone());
        async move {
            let mut user_agent = come_back(&door, &identity).await?;
            user_agent.ping().await
        }
    });
    match visits.await?.iter().sum() {
        0 => Ok(()),
        left => Err(Failure::new(format!(
            "{left} messages were offered again that had been acknowledged"
        ))),
    }
}

async fn come_back(door: &Door, identity: &Identity) -> Outcome<UserAgent> {
    let mut user_agent = UserAgent::connect(door).await?;
    let uaid = user_agent.hello(Some(identity.uaid.clone())).await?;
    if uaid != identity.uaid {
        return Err(Failure::new("the service has forgotten a user agent"));
    }
    Ok(user_agent)
}

async fn listen(
    user_agent: &mut UserAgent,
    nth: usize,
    ledger: &Ledger,
    stop: watch::Receiver<bool>,
) -> Outcome<()> {
    let own = subscription_name(nth).to_string();
    let arrived = |name: &str, body: &[u8]| {
        // A subscription that is nobody's has no number in the ledger.
        let subscription = if name == own { nth } else { usize::MAX };
        ledger.arrived(subscription, body);
    };
    user_agent.listen(stop, arrived).await?;
    match within("ending a channel", user_agent.ping()).await? {
        0 => Ok(()),
        late => Err(Failure::new(format!("{late} messages too many arrived"))),
    }
}

/// Does a step `count` times, at most `width` at a time, and returns what came of each, in order.
pub(crate) async fn each<T: Send + 'static, F: Future<Output = Outcome<T>> + Send + 'static>(
    count: usize,
    width: usize,
    mut step: impl FnMut(usize) -> F,
) -> Outcome<Vec<T>> {
    let turns = Arc::new(Semaphore::new(width));
    let mut tasks = JoinSet::new();
    for nth in 0..count {
        let (turns, step) = (Arc::clone(&turns), step(nth));
        tasks.spawn(async move {
            let _turn = turns.acquire().await.doing("waiting for a turn")?;
            within("a user agent's step", step).await.map(|done| (nth, done))
        });
    }
    let mut done: Vec<_> = (0..count).map(|_| None).collect();
    while let Some(ended) = tasks.join_next().await {
        let (nth, result) = ended.doing("a step")??;
        done[nth] = Some(result);
    }
    Ok(done.into_iter().flatten().collect())
}
