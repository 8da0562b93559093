//! Messages to user agents that are connected: what each costs, how many there can be, how long each takes.
//!
//! Closed: every sender waits until its message was answered and delivered. So the service is as busy as it can be, and
//! CPU per message and the rate are what counts. Open: messages are due at a fixed rate. So latency is what counts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::sending::{Campaign, Senders, Until, connect};
use super::{Meter, Report, Spent};
use crate::application_server::{PushResource, Tokens, Vapid};
use crate::budgets::Figure;
use crate::connector::Transport;
use crate::failure::{BenchResult, Failure};
use crate::fleet::{Fleet, expect_nothing, push_resources};
use crate::ledger::{Ledger, Times};
use crate::receipts::Receipts;
use crate::report::Measured;
use crate::target::Target;

/// Of the measured messages, how many go before them to warm up: one in so many.
const WARM_UP_PART: usize = 8;

/// How senders go about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// Each sender sends its next message when the last one was answered and has arrived: as fast as the service can
    Closed,
    /// All senders together send at --rate, also if the service is slower
    Open,
}

/// Options of `throughput`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Throughput {
    /// How the sending rate is chosen
    #[arg(long, value_enum, default_value = "closed")]
    pub(crate) mode: Mode,

    /// How senders sign their messages
    #[arg(long, value_enum, default_value = "reused")]
    pub(crate) vapid: Vapid,

    /// How many user agents are connected, each with a subscription
    #[arg(long, value_name = "N", default_value_t = Self::default().user_agents)]
    pub(crate) user_agents: usize,

    /// How many connections the application servers have
    #[arg(long, value_name = "N", default_value_t = Self::default().senders)]
    pub(crate) senders: usize,

    /// How many messages are measured
    #[arg(long, value_name = "N", default_value_t = Self::default().messages)]
    pub(crate) messages: usize,

    /// Messages per second, with --mode open
    #[arg(long, value_name = "PER_SECOND", default_value_t = Self::default().rate)]
    pub(crate) rate: f64,

    /// The transport to the user agents
    #[arg(long, value_enum, value_name = "TRANSPORT", default_value = "websocket")]
    pub(crate) over: Transport,

    /// User agents connect over TLS
    #[arg(long)]
    pub(crate) over_tls: bool,

    /// Each message asks for a receipt; one application server gets all receipts by server push
    #[arg(long)]
    pub(crate) receipts: bool,
}

impl Default for Throughput {
    fn default() -> Self {
        Self {
            mode: Mode::Closed,
            vapid: Vapid::Reused,
            user_agents: 200,
            senders: 32,
            messages: 40_000,
            rate: 750.0,
            over: Transport::WebSocket,
            over_tls: false,
            receipts: false,
        }
    }
}

/// The result.
pub(crate) struct Delivered {
    options: Throughput,
    nodes: usize,
    spent: Spent,
    delivery: Times,
    acceptance: Times,
    /// How late the worst message was sent, when open.
    latest: Duration,
}

impl Throughput {
    /// Sends all messages, and checks that each arrived once.
    pub(crate) async fn run(self, target: &Target) -> BenchResult<Delivered> {
        if self.over == Transport::Events && self.over_tls {
            return Err(Failure::new("events are measured in clear only"));
        }
        let connector = &target.connector(self.over_tls)?.by(self.over);
        let warm_up = self.messages / WARM_UP_PART;
        let total = warm_up + self.messages;
        let tokens = Tokens::new(self.vapid)?;
        let (fleet, identities) = Fleet::subscribe(connector, self.user_agents, tokens.public_key()).await?;
        let receipts = match self.receipts {
            true => Some(Receipts::listen(target.sending()).await?),
            false => None,
        };
        let told_at = receipts.as_ref().map(Receipts::subscription);
        let push_resources = push_resources(&identities)?.into_iter();
        let asking = |push_resource: PushResource| match told_at {
            Some(subscription) => push_resource.with_receipts(Some(subscription)),
            None => push_resource,
        };
        let mut campaign = Campaign {
            ledger: Arc::new(Ledger::new(total, warm_up)?),
            push_resources: push_resources.map(asking).collect(),
            tokens,
            bodies: Vec::new(),
            receipts,
        };
        campaign.sign(total)?;
        let campaign = Arc::new(campaign);

        let mut listening = fleet.listen(&campaign.ledger);
        let senders = connect(target.sending(), self.senders).await?;
        let measured = listening.during(self.measure(target, &campaign, senders, warm_up, total));
        let (spent, latest) = measured.await?;
        listening.stop().await?;
        campaign.ledger.settle()?;
        if let Some(receipts) = &campaign.receipts {
            receipts.settle()?;
        }
        expect_nothing(connector, &identities).await?;
        Ok(Delivered {
            options: self,
            nodes: target.nodes(),
            spent,
            delivery: campaign.ledger.delivery(),
            acceptance: campaign.ledger.acceptance(),
            latest,
        })
    }

    async fn measure(
        self,
        target: &Target,
        campaign: &Arc<Campaign>,
        senders: Senders,
        warm_up: usize,
        total: usize,
    ) -> BenchResult<(Spent, Duration)> {
        let (senders, _) = self.send(campaign, senders, 0, warm_up).await?;
        let meter = Meter::start(target)?;
        let (_, latest) = self.send(campaign, senders, warm_up, total).await?;
        Ok((meter.stop()?, latest))
    }

    async fn send(
        self,
        campaign: &Arc<Campaign>,
        senders: Senders,
        from: usize,
        to: usize,
    ) -> BenchResult<(Senders, Duration)> {
        let sent = match self.mode {
            Mode::Closed => {
                let senders = campaign.send_closed(senders, from..to, Until::Delivered).await?;
                (senders, Duration::ZERO)
            }
            Mode::Open => campaign.send_open(senders, from..to, self.rate).await?,
        };
        campaign.ledger.arrivals(to).await?;
        if let Some(receipts) = &campaign.receipts {
            receipts.told(to).await?;
        }
        Ok(sent)
    }
}

impl Delivered {
    /// The service's CPU for each message.
    fn micros(&self) -> Option<f64> {
        self.spent.micros_per(self.options.messages)
    }

    /// Whether it is another way than that of most budgets.
    fn is_special(&self) -> bool {
        self.options.over != Transport::WebSocket || self.options.over_tls || self.options.receipts
    }

    /// The figure of another way, if it is one of those that are compared.
    fn special_figure(&self) -> Option<Measured> {
        let Throughput {
            over,
            over_tls,
            receipts,
            vapid,
            ..
        } = self.options;
        let figure = match (over, over_tls, receipts, vapid) {
            (Transport::WebSocket, true, false, Vapid::Reused) => Figure::DeliveredTls,
            (Transport::WebSocket, false, true, Vapid::Reused) => Figure::Receipt,
            (Transport::Http2, false, false, Vapid::Fresh) => Figure::PushedFresh,
            (Transport::Http2, false, false, Vapid::Reused) => Figure::PushedReused,
            (Transport::Http2, true, false, Vapid::Reused) => Figure::PushedTls,
            (Transport::Events, false, false, Vapid::Reused) => Figure::Told,
            _ => return None,
        };
        Some((figure, self.micros()?))
    }

    /// Redis's CPU for each message, if there is a Redis.
    fn redis_figure(&self, figure: Figure) -> impl Iterator<Item = Measured> {
        let did = self.spent.redis.into_iter();
        did.map(move |did| (figure, did.cpu.micros_per(self.options.messages)))
    }

    /// The figures of an open loop that tell about acceptance: of one at a rate that is not for delivery.
    pub(crate) fn acceptance_figures(&self) -> Vec<Measured> {
        vec![
            (Figure::AcceptanceP50, millis(self.acceptance.p50)),
            (Figure::AcceptanceP99, millis(self.acceptance.p99)),
        ]
    }
}

impl Report for Delivered {
    fn figures(&self) -> Vec<Measured> {
        let closed = |figure| self.micros().map(|micros| (figure, micros)).into_iter();
        match (self.options.mode, self.options.vapid) {
            (Mode::Closed, _) if self.nodes > 1 => self.redis_figure(Figure::RedisAcross).collect(),
            (Mode::Closed, _) if self.is_special() => self.special_figure().into_iter().collect(),
            (Mode::Closed, Vapid::Fresh) => closed(Figure::DeliveredFresh).collect(),
            (Mode::Closed, Vapid::Reused) => closed(Figure::DeliveredReused)
                .chain(self.redis_figure(Figure::RedisLive))
                .collect(),
            (Mode::Closed, Vapid::None) => closed(Figure::DeliveredNone).collect(),
            (Mode::Open, _) if self.is_special() => Vec::new(),
            (Mode::Open, _) => {
                let rate = self.options.rate;
                let at = |percent| Figure::DeliveryAt { rate, percent };
                let (half, most) = match rate == Throughput::default().rate {
                    true => (Figure::DeliveryP50, Figure::DeliveryP99),
                    false => (at(50), at(99)),
                };
                vec![
                    (half, millis(self.delivery.p50)),
                    (most, millis(self.delivery.p99)),
                ]
            }
        }
    }
}

impl fmt::Display for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Throughput {
            mode,
            vapid,
            user_agents,
            senders,
            messages,
            rate,
            over,
            over_tls,
            receipts,
        } = self.options;
        let vapid = format!("{vapid:?}").to_lowercase();
        match mode {
            Mode::Closed => write!(f, "throughput, closed loop of {senders} senders")?,
            Mode::Open => write!(f, "throughput, open loop at {rate} messages/s")?,
        }
        writeln!(
            f,
            ", VAPID {vapid}: {messages} messages to {user_agents} user agents{}{}, each once{}",
            match over {
                Transport::WebSocket => "",
                Transport::Http2 => " by server push",
                Transport::Events => " as events",
            },
            if over_tls { " over TLS" } else { "" },
            if receipts { ", and told so once" } else { "" },
        )?;
        let (cpu, per_second) = (self.spent.cpu_per(messages), self.spent.per_second(messages));
        writeln!(f, "  {cpu} of the service's CPU each, {per_second:.0} messages/s")?;
        writeln!(f, "  {}{}", self.spent, self.spent.redis_line(messages))?;
        writeln!(f, "  delivery: {}", self.delivery)?;
        write!(f, "  201: {}", self.acceptance)?;
        if mode == Mode::Open {
            write!(f, "\n  sent at most {:.2} ms late", millis(self.latest))?;
        }
        Ok(())
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
