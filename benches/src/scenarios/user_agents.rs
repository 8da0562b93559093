//! Whole user agents of the library, with session, keys and state: what each costs where it runs.
//!
//! Here it is this program whose memory and CPU time count; the service only has to be there. Memory is a slope, as in
//! [`idle`](super::idle). CPU time is that of the thread on which the user agents and their applications run: application
//! servers have another one, and what they send was encrypted before.

mod gate;
mod lost;
mod renewed;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use ring::rand::SystemRandom;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use user_agent_client::{Event, Events, Options, State, Subscription, Trust, UserAgent, state};

use self::lost::CameBack;
use self::renewed::Renewed;
use super::Report;
use super::idle::{at_rest, per_connection};
use super::sending::{Campaign, connect};
use crate::application_server::{PushResource, Tokens, Vapid};
use crate::budgets::Figure;
use crate::connector::Connector;
use crate::each::{CONNECTING, each};
use crate::failure::{BenchResult, Failure, While as _};
use crate::fleet::expect_nothing;
use crate::ledger::{Ledger, Times};
use crate::process::{CpuTime, CpuUsed, Process};
use crate::report::Measured;
use crate::target::{Target, data_directory};
use crate::user_agent::Identity;

/// The subscription's name in each of them.
const LABEL: &str = "bench";

/// Connections of application servers.
const SENDERS: usize = 32;

/// Of the measured messages, how many go before them to warm up: one in so many.
const WARM_UP_PART: usize = 8;

/// Options of `user-agents`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct UserAgents {
    /// How many user agents are idle, each with a subscription
    #[arg(long, value_name = "N", default_value_t = Self::default().idle)]
    pub(crate) idle: usize,

    /// How many user agents receive messages
    #[arg(long, value_name = "N", default_value_t = Self::default().busy)]
    pub(crate) busy: usize,

    /// How many messages are measured, with state in memory and again with a state directory
    #[arg(long, value_name = "N", default_value_t = Self::default().messages)]
    pub(crate) messages: usize,

    /// Messages per second
    #[arg(long, value_name = "PER_SECOND", default_value_t = Self::default().rate)]
    pub(crate) rate: f64,

    /// How many user agents lose their service and reconnect
    #[arg(long, value_name = "N", default_value_t = Self::default().lost)]
    pub(crate) lost: usize,

    /// How many subscriptions of one user agent are renewed after the service forgot it; 0 skips this
    #[arg(long, value_name = "N", default_value_t = Self::default().renewed)]
    pub(crate) renewed: usize,

    /// Connect over TLS, except where the service is lost or forgets
    #[arg(long)]
    pub(crate) over_tls: bool,
}

impl Default for UserAgents {
    fn default() -> Self {
        Self {
            idle: 3_000,
            busy: 200,
            messages: 8_000,
            rate: 1_000.0,
            lost: 1_000,
            renewed: 10_000,
            over_tls: false,
        }
    }
}

/// What they took.
pub(crate) struct Ran {
    options: UserAgents,
    /// Of an idle one.
    each: f64,
    in_memory: Took,
    on_disk: Took,
    came_back: Option<CameBack>,
    renewed: Option<Renewed>,
}

/// What messages took.
struct Took {
    used: CpuUsed,
    elapsed: Duration,
    delivery: Times,
}

/// One that runs.
struct Member {
    agent: UserAgent,
    events: Events,
    subscription: Subscription,
}

impl UserAgents {
    /// Measures those that are idle, then many that take messages, then one with a state directory; then many
    /// that lose their service, and one that its service forgets.
    pub(crate) async fn run(self, target: &Target) -> BenchResult<Ran> {
        let connector = target.connector(self.over_tls)?;
        let each = self.rest(connector).await?;
        let in_memory = self.work(
            target,
            start(connector, self.busy, || Ok(State::in_memory())).await?,
        );
        let in_memory = in_memory.await?;
        let data = data_directory()?;
        let open = || State::open(data.path()).doing("opening a state directory");
        let on_disk = self.work(target, start(connector, 1, open).await?).await?;
        // One that was unsubscribed has nothing that could wait.
        if !connector.leaves_nothing() {
            let kept = state::read(data.path()).doing("reading a state directory")?;
            expect_nothing(connector, &[identity(&kept)?]).await?;
        }
        let came_back = match self.lost {
            // The gate is in clear.
            _ if target.clear().url().is_secure() => None,
            0 => None,
            count => Some(lost::lose(target, count).await?),
        };
        let renewed = match self.renewed {
            // It takes a second service, which has forgotten the user agent.
            _ if !target.is_own() => None,
            0 => None,
            count => Some(renewed::renew(target, count).await?),
        };
        Ok(Ran {
            options: self,
            each,
            in_memory,
            on_disk,
            came_back,
            renewed,
        })
    }

    async fn rest(self, connector: &Connector) -> BenchResult<f64> {
        let few = self.idle / 6;
        let early = hold(connector, few).await?;
        let before = at_rest(Process::own()).await?;
        let late = hold(connector, self.idle - few).await?;
        let after = at_rest(Process::own()).await?;
        for (agents, _events) in [early, late] {
            stop(connector, agents).await?;
        }
        Ok(per_connection(after, before, self.idle - few))
    }

    async fn work(self, target: &Target, members: Vec<Member>) -> BenchResult<Took> {
        let warm_up = self.messages / WARM_UP_PART;
        let total = warm_up + self.messages;
        let campaign = Arc::new(encrypted(&members, total, warm_up)?);
        let ledger = &campaign.ledger;
        let (mut agents, mut applications) = (Vec::new(), JoinSet::new());
        for (nth, member) in members.into_iter().enumerate() {
            applications.spawn(apply(nth, member.events, Arc::clone(ledger)));
            agents.push(member.agent);
        }
        let connector = target.clear();
        let measure = async {
            self.send(connector, &campaign, 0..warm_up).await?;
            let (before, started) = (CpuTime::of_this_thread()?, Instant::now());
            self.send(connector, &campaign, warm_up..total).await?;
            let used = CpuTime::of_this_thread()?.since(&before);
            BenchResult::Ok((used, started.elapsed()))
        };
        let (used, elapsed) = tokio::select! {
            measured = measure => measured?,
            Some(ended) = applications.join_next() => {
                ended.doing("an application")??;
                return Err(Failure::new("a user agent stopped"));
            }
        };
        ledger.settle()?;
        check(&agents, total).await?;
        stop(target.clear(), agents).await?;
        while let Some(ended) = applications.join_next().await {
            ended.doing("an application")??;
        }
        Ok(Took {
            used,
            elapsed,
            delivery: ledger.delivery(),
        })
    }

    /// Sends, and waits until all has arrived.
    async fn send(
        self,
        connector: &Connector,
        campaign: &Arc<Campaign>,
        numbers: Range<usize>,
    ) -> BenchResult<()> {
        let (connector, theirs, end) = (connector.clone(), Arc::clone(campaign), numbers.end);
        aside(async move {
            let senders = connect(&connector, SENDERS).await?;
            theirs.send_open(senders, numbers, self.rate).await
        })
        .await?;
        campaign.ledger.arrivals(end).await
    }
}

/// Ends the subscription of a user agent, unless it was stopped: then it was unsubscribed before.
async fn unsubscribe(agent: UserAgent) -> BenchResult<()> {
    if agent.unsubscribe(LABEL).await.is_ok() {
        agent.wait_until_unsubscribed().await;
        agent.stop().await;
    }
    Ok(())
}

/// Starts user agents that are subscribed.
async fn start(
    connector: &Connector,
    count: usize,
    mut state: impl FnMut() -> BenchResult<State>,
) -> BenchResult<Vec<Member>> {
    let (trust, options) = (Trust::insecure(), Options::default());
    let states: Vec<_> = (0..count).map(|_| state()).collect::<BenchResult<_>>()?;
    let mut states = states.into_iter();
    let started = each(count, CONNECTING, |_| {
        let (url, trust, options) = (connector.url().clone(), trust.clone(), options.clone());
        let (state, connector) = (states.next().unwrap_or_default(), connector.clone());
        async move {
            let started = UserAgent::start(url, trust, state, &options);
            let (agent, events) = started.doing("starting a user agent")?;
            connector.made(|| unsubscribe(agent.clone()));
            let subscription = agent.subscribe(LABEL, None).await.doing("subscribing")?;
            Ok(Member {
                agent,
                events,
                subscription,
            })
        }
    });
    started.await
}

/// Starts idle ones, of which an application keeps the handle and the stream. It has read what happened so far.
async fn hold(connector: &Connector, count: usize) -> BenchResult<(Vec<UserAgent>, Vec<Events>)> {
    let (mut agents, mut streams) = (Vec::new(), Vec::new());
    for mut member in start(connector, count, || Ok(State::in_memory())).await? {
        match member.events.next().await {
            Some(Event::Connected) => {}
            other => return Err(Failure::new(format!("a user agent was told {other:?}"))),
        }
        agents.push(member.agent);
        streams.push(member.events);
    }
    Ok((agents, streams))
}

/// Stops them and waits until each is gone, unsubscribed if nothing may be left.
async fn stop(connector: &Connector, agents: Vec<UserAgent>) -> BenchResult<()> {
    let is_ended = connector.leaves_nothing();
    let stopped = each(agents.len(), CONNECTING, |nth| {
        let agent = agents[nth].clone();
        async move {
            if is_ended && agent.unsubscribe(LABEL).await.is_ok() {
                agent.wait_until_unsubscribed().await;
            }
            agent.stop().await;
            Ok(())
        }
    });
    stopped.await.map(drop)
}

/// An application: takes each message, looks whether it is the right one, and is done with it.
async fn apply(nth: usize, mut events: Events, ledger: Arc<Ledger>) -> BenchResult<()> {
    while let Some(event) = events.next().await {
        match event {
            Event::Message(message) => {
                let body = message.data().map_or(&[][..], |data| data.bytes());
                ledger.arrived(nth, body);
                message.acknowledge();
            }
            // It is unsubscribed at the end.
            Event::Connected | Event::Unsubscribed => {}
            other => return Err(Failure::new(format!("a user agent was told {other:?}"))),
        }
    }
    Ok(())
}

/// That each message was handed over once, and none was lost on the way from the channel to the application.
async fn check(agents: &[UserAgent], total: usize) -> BenchResult<()> {
    let (mut handed_over, mut other) = (0, 0);
    for agent in agents {
        let counters = agent.counters().await;
        handed_over += counters.handed_over;
        other += counters.duplicates + counters.unknown_subscription + counters.not_decrypted;
    }
    if (handed_over, other) != (total as u64, 0) {
        return Err(Failure::new(format!(
            "of {total} messages {handed_over} were handed over, and {other} were not to be"
        )));
    }
    Ok(())
}

/// Bodies as in every measurement, but encrypted for those who get them.
fn encrypted(members: &[Member], total: usize, warm_up: usize) -> BenchResult<Campaign> {
    let ledger = Ledger::new(total, warm_up)?;
    let random = SystemRandom::new();
    let subscriptions = || members.iter().map(|member| &member.subscription);
    let seal = |number: usize, subscription: &Subscription| {
        let mut body = Vec::new();
        ledger.bodies().write(number as u64, &mut body);
        let sealed = subscription.recipient.encrypt(&body, 0, &random);
        sealed.doing("encrypting a message")
    };
    let bodies = subscriptions().cycle().take(total).enumerate();
    let bodies = bodies.map(|(number, subscription)| seal(number, subscription));
    let bodies = bodies.collect::<BenchResult<_>>()?;
    let push_resource = |subscription: &Subscription| match &subscription.push_resource {
        Some(push_resource) => PushResource::new(push_resource.as_str()),
        None => Err(Failure::new("a subscription without a push resource")),
    };
    Ok(Campaign {
        push_resources: subscriptions().map(push_resource).collect::<BenchResult<_>>()?,
        tokens: Tokens::new(Vapid::None)?,
        bodies,
        receipts: None,
        ledger: Arc::new(ledger),
    })
}

/// Who a user agent is, from what it kept.
fn identity(kept: &state::Snapshot) -> BenchResult<Identity> {
    let name = kept.durable().identity.clone();
    let push_resource = kept.subscription(LABEL).and_then(|kept| kept.push_resource);
    match (name, push_resource) {
        (Some(name), Some(push_resource)) => Ok(Identity { name, push_resource }),
        _ => Err(Failure::new("a user agent did not keep who it is")),
    }
}

/// Runs application servers on a thread of their own.
async fn aside<T: Send + 'static>(
    work: impl Future<Output = BenchResult<T>> + Send + 'static,
) -> BenchResult<T> {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = runtime
            .doing("starting a runtime")
            .and_then(|runtime| runtime.block_on(work));
        // A task that waits no longer has failed already.
        let _ = tell.send(outcome);
    });
    told.await.doing("application servers")?
}

impl Report for Ran {
    fn figures(&self) -> Vec<Measured> {
        let micros = |took: &Took| took.used.micros_per(self.options.messages);
        let mut figures = vec![
            (Figure::UserAgentIdle, self.each),
            (Figure::UserAgentMessage, micros(&self.in_memory)),
            (Figure::UserAgentKept, micros(&self.on_disk)),
        ];
        if let Some(came_back) = &self.came_back {
            figures.push((Figure::UserAgentsTogether, came_back.largest_share() * 100.0));
            figures.push((Figure::UserAgentsBack, came_back.last_seconds()));
        }
        if let Some(renewed) = &self.renewed {
            let subscriptions = self.options.renewed;
            let (time, written) = match subscriptions == UserAgents::default().renewed {
                true => (Figure::UserAgentRenewed, Figure::UserAgentWritten),
                false => (
                    Figure::RenewedOf { subscriptions },
                    Figure::WrittenOf { subscriptions },
                ),
            };
            figures.push((time, renewed.seconds()));
            figures.push((written, renewed.written_bytes()));
        }
        figures
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = if self.options.over_tls { " over TLS" } else { "" };
        let UserAgents {
            idle, busy, messages, ..
        } = self.options;
        write!(
            f,
            "user agents{over}: {idle} idle ones with a subscription, {:.0} B each",
            self.each
        )?;
        let mut took = |who: &str, took: &Took| {
            let micros = took.used.micros_per(messages);
            writeln!(
                f,
                "\n  {who}: {messages} messages, each received, decrypted, handed over and acknowledged once"
            )?;
            write!(
                f,
                "    {micros:.1} µs of CPU each ({:.0} % in the kernel), {:.0} messages/s, {}",
                took.used.in_kernel * 100.0,
                messages as f64 / took.elapsed.as_secs_f64(),
                took.delivery
            )
        };
        took(&format!("{busy} with state in memory"), &self.in_memory)?;
        took("1 with a state directory", &self.on_disk)?;
        for further in [
            self.came_back.as_ref().map(ToString::to_string),
            self.renewed.as_ref().map(ToString::to_string),
        ]
        .into_iter()
        .flatten()
        {
            write!(f, "\n{further}")?;
        }
        Ok(())
    }
}
