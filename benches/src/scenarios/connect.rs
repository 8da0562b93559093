//! User agents that come for the first time: connect, upgrade, hello, register.

use std::fmt;

use clap::Args;

use super::idle::per_connection;
use super::{Meter, Report, Spent, held_bytes};
use crate::application_server::{Tokens, Vapid};
use crate::budgets::Figure;
use crate::failure::BenchResult;
use crate::fleet::{Fleet, Newcomers};
use crate::report::Measured;
use crate::target::Target;

/// User agents that come before anything is measured.
const WARM_UP: usize = 200;

/// Options of `connect`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Connect {
    /// How many user agents connect
    #[arg(long, value_name = "N", default_value_t = Self::default().user_agents)]
    pub(crate) user_agents: usize,

    /// Connect over TLS, each with a full handshake
    #[arg(long)]
    pub(crate) over_tls: bool,
}

impl Default for Connect {
    fn default() -> Self {
        Self {
            user_agents: 4_000,
            over_tls: false,
        }
    }
}

/// What it took.
pub(crate) struct Connected {
    options: Connect,
    hello: Spent,
    register: Spent,
    /// What Redis holds of each, if there is one.
    record_bytes: Option<f64>,
}

impl Connect {
    /// Measures the two steps one after the other: connecting needs no storage, registering does.
    pub(crate) async fn run(self, target: &Target) -> BenchResult<Connected> {
        let connector = target.connector(self.over_tls)?;
        // Subscriptions are restricted to a key, as those of browsers are.
        let key = Tokens::new(Vapid::Reused)?.public_key();
        Fleet::subscribe(connector, WARM_UP, key).await?;
        let held_before = held_bytes(target)?;

        let meter = Meter::start(target)?;
        let newcomers = Newcomers::connect(connector, self.user_agents).await?;
        let hello = meter.stop()?;

        let meter = Meter::start(target)?;
        let fleet = newcomers.register(key).await?;
        let register = meter.stop()?;
        let held = held_bytes(target)?;
        drop(fleet);
        Ok(Connected {
            options: self,
            hello,
            register,
            record_bytes: std::iter::zip(held, held_before)
                .map(|(held, before)| per_connection(held, before, self.user_agents))
                .next(),
        })
    }
}

impl Connected {
    fn micros(&self) -> Option<f64> {
        let [hello, register] =
            [self.hello, self.register].map(|step| step.micros_per(self.options.user_agents));
        Some(hello? + register?)
    }
}

impl Report for Connected {
    fn figures(&self) -> Vec<Measured> {
        let figure = if self.options.over_tls {
            Figure::ConnectTls
        } else {
            Figure::Connect
        };
        self.micros().map(|micros| (figure, micros)).into_iter().collect()
    }
}

impl fmt::Display for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = if self.options.over_tls { " over TLS" } else { "" };
        let count = self.options.user_agents;
        let [hello, register] = [self.hello, self.register].map(|step| step.cpu_per(count));
        writeln!(
            f,
            "connect{over}: {count} user agents, CPU of the service for each"
        )?;
        writeln!(f, "  connect, upgrade, hello: {hello}, {}", self.hello)?;
        write!(f, "  register: {register}, {}", self.register)?;
        f.write_str(&self.register.redis_line(count))?;
        match self.record_bytes {
            Some(bytes) => write!(
                f,
                "\n  {bytes:.0} B of Redis's memory for each, with one subscription"
            ),
            None => Ok(()),
        }
    }
}
