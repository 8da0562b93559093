//! A service that has forgotten a user agent with many subscriptions: how long it takes to make them again, with new keys,
//! and what is written to the state directory meanwhile.
//!
//! The user agent comes through a gate, behind which there is another service all at once.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;
use user_agent_client::{Event, Events, Options, Trust, UserAgent};

use super::gate::Gate;
use super::{State, stop};
use crate::failure::{BenchResult, Failure, While as _};
use crate::process::Process;
use crate::target::{Target, data_directory};

/// News may be lost when many come at once. After so long without any, the user agent is asked.
const SILENCE: Duration = Duration::from_secs(1);

/// All have to be made, and renewed, within this time. Chosen: far over the budget.
const WITHIN: Duration = Duration::from_secs(600);

/// What it took.
pub(super) struct Renewed {
    count: usize,
    /// To make them at first.
    made_in: Duration,
    renewed_in: Duration,
    written_bytes: u64,
}

/// Lets the service forget a user agent with so many subscriptions.
pub(super) async fn renew(target: &Target, count: usize) -> BenchResult<Renewed> {
    let gate = Gate::open(target.clear().address())?;
    let data = data_directory()?;
    let state = State::open(data.path()).doing("opening a state directory")?;
    let url = gate.connector(target.clear())?.url().clone();
    let started = UserAgent::start(url, Trust::insecure(), state, &Options::default());
    let (agent, mut events) = started.doing("starting a user agent")?;
    let began = Instant::now();
    subscribe(&agent, count).await?;
    let made_in = began.elapsed();

    let other = target.another()?;
    let before = Process::own().written_bytes()?;
    let began = Instant::now();
    gate.shut();
    gate.open_to(other.clear().address());
    let renewed = timeout(WITHIN, all_renewed(&agent, &mut events, count)).await;
    let renewed = renewed.map_err(|_| Failure::new(format!("not renewed within {WITHIN:?}")));
    renewed
        .and_then(|renewed| renewed)
        .map_err(|failure| other.explain(failure))?;
    let renewed_in = began.elapsed();
    let written_bytes = Process::own().written_bytes()?.saturating_sub(before);
    stop(target.clear(), vec![agent]).await?;
    Ok(Renewed {
        count,
        made_in,
        renewed_in,
        written_bytes,
    })
}

/// Asks for all of them at once: those that are confirmed together are written together.
async fn subscribe(agent: &UserAgent, count: usize) -> BenchResult<()> {
    let mut asking = JoinSet::new();
    for nth in 0..count {
        let agent = agent.clone();
        asking.spawn(async move { agent.subscribe(&format!("bench {nth}"), None).await });
    }
    let made = timeout(WITHIN, async {
        while let Some(made) = asking.join_next().await {
            made.doing("a subscription")?.doing("subscribing")?;
        }
        Ok(())
    });
    made.await
        .map_err(|_| Failure::new(format!("not subscribed within {WITHIN:?}")))?
}

async fn all_renewed(agent: &UserAgent, events: &mut Events, count: usize) -> BenchResult<()> {
    let mut heard = 0;
    while heard < count {
        match timeout(SILENCE, events.next()).await {
            Ok(Some(Event::Renewed(_))) => heard += 1,
            Ok(Some(_)) => {}
            Ok(None) => return Err(Failure::new("the user agent stopped")),
            Err(_) => {
                let subscriptions = agent.subscriptions().await;
                let renewed = subscriptions.iter();
                let renewed = renewed.filter(|one| one.replaced && one.push_resource.is_some());
                heard = renewed.count();
            }
        }
    }
    Ok(())
}

impl Renewed {
    pub(super) fn seconds(&self) -> f64 {
        self.renewed_in.as_secs_f64()
    }

    pub(super) fn written_bytes(&self) -> f64 {
        self.written_bytes as f64
    }
}

impl fmt::Display for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  1 with a state directory and {} subscriptions, made in {:.1} s: the service forgets it; all renewed after \
             {:.1} s, {:.1} MB written",
            self.count,
            self.made_in.as_secs_f64(),
            self.seconds(),
            self.written_bytes() / 1e6
        )
    }
}
