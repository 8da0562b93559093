//! User agents that are away: messages are stored for them, and they all come back at once.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::idle::per_connection as per_message;
use super::sending::{Campaign, Until, connect};
use super::{Meter, Report, Spent, held_bytes};
use crate::application_server::{Tokens, Vapid};
use crate::budgets::Figure;
use crate::failure::BenchResult;
use crate::fleet::{Fleet, Listening, expect_nothing, push_resources};
use crate::ledger::{Ledger, Times};
use crate::report::Measured;
use crate::target::Target;
use crate::user_agent::Identity;

/// After the last connection has ended, until the service has noticed it and is at rest.
const GONE_AFTER: Duration = Duration::from_millis(500);

/// Options of `offline` and `drain`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Absent {
    /// How many user agents are not connected, each with a subscription
    #[arg(long, value_name = "N", default_value_t = Self::default().user_agents)]
    pub(crate) user_agents: usize,

    /// How many messages wait for each user agent
    #[arg(long, value_name = "N", default_value_t = Self::default().messages_each)]
    pub(crate) messages_each: usize,

    /// How many connections the application servers have, each with one message at a time
    #[arg(long, value_name = "N", default_value_t = Self::default().senders)]
    pub(crate) senders: usize,

    /// How senders sign their messages
    #[arg(long, value_enum, default_value = "reused")]
    pub(crate) vapid: Vapid,
}

impl Default for Absent {
    fn default() -> Self {
        Self {
            user_agents: 2_000,
            messages_each: 10,
            senders: 64,
            vapid: Vapid::Reused,
        }
    }
}

/// The result.
pub(crate) struct Returned {
    options: Absent,
    stored: Spent,
    acceptance: Times,
    drained: Spent,
    /// From the first connection to the last message.
    drained_in: Duration,
    /// Of each node: what it had in use before all came back, and the most that it had while they did.
    memory: Vec<[u64; 2]>,
    /// What Redis holds of each message, if there is one.
    held_bytes: Option<f64>,
    /// Once more, when nothing waits.
    again: Spent,
}

impl Absent {
    /// Stores messages for all, lets them come back, and checks that each got its own, once.
    pub(crate) async fn run(self, target: &Target) -> BenchResult<Returned> {
        let connector = target.clear();
        let tokens = Tokens::new(self.vapid)?;
        let (fleet, identities) = Fleet::subscribe(connector, self.user_agents, tokens.public_key()).await?;
        drop(fleet);
        tokio::time::sleep(GONE_AFTER).await;

        let mut campaign = Campaign {
            ledger: Arc::new(Ledger::new(self.messages(), 0)?),
            push_resources: push_resources(&identities)?,
            tokens,
            bodies: Vec::new(),
            receipts: None,
        };
        campaign.sign(self.messages())?;
        let campaign = Arc::new(campaign);
        let held_before = held_bytes(target)?;
        let stored = self.store(target, &campaign).await?;
        let held = std::iter::zip(held_bytes(target)?, held_before);
        let acceptance = campaign.ledger.acceptance();

        let memory_before = resident(target)?;
        let (drained, drained_in) = self.drain(target, &identities, &campaign.ledger).await?;
        let memory = std::iter::zip(memory_before, target.processes());
        let memory = memory.map(|(before, process)| Ok([before, process.peak_bytes()?]));
        let memory = memory.collect::<BenchResult<_>>()?;

        let meter = Meter::start(target)?;
        expect_nothing(connector, &identities).await?;
        let again = meter.stop()?;
        Ok(Returned {
            options: self,
            stored,
            acceptance,
            drained,
            drained_in,
            memory,
            held_bytes: held
                .map(|(held, before)| per_message(held, before, self.messages()))
                .next(),
            again,
        })
    }

    async fn store(self, target: &Target, campaign: &Arc<Campaign>) -> BenchResult<Spent> {
        let senders = connect(target.sending(), self.senders).await?;
        let meter = Meter::start(target)?;
        campaign
            .send_closed(senders, 0..self.messages(), Until::Accepted)
            .await?;
        meter.stop()
    }

    async fn drain(
        self,
        target: &Target,
        identities: &[Identity],
        ledger: &Arc<Ledger>,
    ) -> BenchResult<(Spent, Duration)> {
        let meter = Meter::start(target)?;
        let started = Instant::now();
        let mut listening = Listening::come_back(&target.all_clear(), identities, ledger);
        listening.during(ledger.arrivals(self.messages())).await?;
        let spent = meter.stop()?;
        listening.stop().await?;
        ledger.settle()?;
        Ok((spent, ledger.last_arrival() - started))
    }

    fn messages(self) -> usize {
        self.user_agents * self.messages_each
    }
}

fn resident(target: &Target) -> BenchResult<Vec<u64>> {
    let mut resident = Vec::new();
    for process in target.processes() {
        resident.push(process.resident_bytes()?);
        process.forget_peak()?;
    }
    Ok(resident)
}

impl Report for Returned {
    fn figures(&self) -> Vec<Measured> {
        let messages = self.options.messages();
        let user_agents = self.options.user_agents;
        let drain = match user_agents == Absent::default().user_agents {
            true => Figure::Drain,
            false => Figure::DrainOf { user_agents },
        };
        let stored = self.stored.micros_per(messages);
        let stored = stored.map(|micros| (Figure::Stored, micros));
        let drained = (drain, messages as f64 / self.drained_in.as_secs_f64());
        let held = self.held_bytes.map(|bytes| (Figure::RedisStored, bytes));
        stored.into_iter().chain([drained]).chain(held).collect()
    }
}

impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user_agents, messages) = (self.options.user_agents, self.options.messages());
        let stored = self.stored.cpu_per(messages);
        let drained = self.drained.cpu_per(messages);
        let rate = messages as f64 / self.drained_in.as_secs_f64();
        let vapid = format!("{:?}", self.options.vapid).to_lowercase();
        writeln!(
            f,
            "absent: {messages} messages for {user_agents} user agents, VAPID {vapid}"
        )?;
        writeln!(
            f,
            "  stored: {stored} of the service's CPU each, {:.0} messages/s",
            self.stored.per_second(messages)
        )?;
        writeln!(f, "  {}{}", self.stored, self.stored.redis_line(messages))?;
        if let Some(bytes) = self.held_bytes {
            writeln!(f, "  {bytes:.0} B of Redis's memory for each")?;
        }
        writeln!(f, "  201: {}", self.acceptance)?;
        writeln!(
            f,
            "  drained: {rate:.0} messages/s from the first connection to the last message, each once, in {:.2} s; \
             {drained} each, connections included",
            self.drained_in.as_secs_f64()
        )?;
        writeln!(f, "  {}{}", self.drained, self.drained.redis_line(messages))?;
        for [before, most] in &self.memory {
            let [before, most] = [*before as f64 / 1e6, *most as f64 / 1e6];
            writeln!(
                f,
                "  memory of a node: {before:.1} MB before, {most:.1} MB at the most"
            )?;
        }
        let again = self.again.cpu_per(user_agents);
        write!(
            f,
            "  once more, for nothing: {again} for each user agent, connecting and leaving included{}",
            self.again.redis_line(user_agents)
        )
    }
}
