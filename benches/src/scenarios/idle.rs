//! User agents that are there and quiet: what each costs in memory, and whether it is all given back.
//!
//! Memory per connection is a slope: what the later nine tenths add after the first tenth. So what the service takes
//! once, for its first connections, does not count.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use clap::Args;

use super::Report;
use crate::budgets::Figure;
use crate::connector::{Connector, Transport};
use crate::failure::{BenchResult, Failure};
use crate::fleet::{Fleet, Newcomers, subscribe};
use crate::process::Process;
use crate::report::Measured;
use crate::target::Target;
use crate::user_agent::Identity;

/// Two readings of memory that are so close are taken as rest.
const AT_REST_BYTES: u64 = 64 * 1024;

/// How often memory is read, and how many times before it counts as at rest anyway.
const LOOK_EVERY: Duration = Duration::from_millis(150);
const LOOKS: usize = 40;

/// Connections that come and go before anything is measured.
const WARM_UP: usize = 50;

/// What the last round may take beyond the one before, per connection: more would be a leak.
const LEAK_BYTES: f64 = 200.0;

/// The fewest rounds that tell a leak, which grows with each, from an allocator that has not found its shape yet.
const LEAST_ROUNDS: usize = 2;

/// Options of `idle`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// How many connections are held
    #[arg(long, value_name = "N", default_value_t = Self::default().connections)]
    pub(crate) connections: usize,

    /// How many times all connect and disconnect; the last round shows whether memory leaks. Streams of events connect once
    #[arg(long, value_name = "N", default_value_t = Self::default().rounds)]
    pub(crate) rounds: usize,

    /// Connect over TLS
    #[arg(long)]
    pub(crate) over_tls: bool,

    /// The transport: a WebSocket after its hello, or a monitor of a set with one subscription
    #[arg(long, value_enum, value_name = "TRANSPORT", default_value = "websocket")]
    pub(crate) over: Transport,
}

/// Who is connected.
enum Crowd {
    /// New user agents each time.
    New,
    /// User agents that subscribed before: a subscription is not a connection, and stays.
    Known(Vec<Identity>),
}

/// Connections that are held.
struct Held {
    _newcomers: Option<Newcomers>,
    _fleet: Option<Fleet>,
}

impl Default for Idle {
    fn default() -> Self {
        Self {
            connections: 5_000,
            rounds: 3,
            over_tls: false,
            over: Transport::WebSocket,
        }
    }
}

/// What they took.
pub(crate) struct Idled {
    options: Idle,
    empty: u64,
    /// A connection, from the slope of the first round.
    each: f64,
    rounds: Vec<Round>,
    descriptors: [usize; 2],
}

/// All connected, then all gone.
#[derive(Clone, Copy)]
struct Round {
    tenth: u64,
    full: u64,
    left: u64,
}

impl Idle {
    /// Connects all, lets them go, and does it again.
    pub(crate) async fn run(self, target: &Target) -> BenchResult<Idled> {
        let process = target.process()?;
        let untouched = process.descriptors()?;
        let connector = target.connector(self.over_tls)?.by(self.over);
        let crowd = match self.over {
            Transport::WebSocket => Crowd::New,
            Transport::Http2 | Transport::Events => {
                Crowd::Known(subscribe(&connector, self.connections + WARM_UP, None).await?)
            }
        };
        let first = crowd
            .connect(&connector, self.connections..self.connections + WARM_UP)
            .await?;
        let kept = Some(first).filter(|_| !self.is_noticed());
        let expected = untouched + if kept.is_some() { WARM_UP } else { 0 };
        until_closed(process, expected).await?;
        let descriptors_before = process.descriptors()?;
        let empty = at_rest(process).await?;
        let mut rounds = Vec::new();
        for _ in 0..self.rounds() {
            rounds.push(
                self.round(process, &connector, &crowd, descriptors_before)
                    .await?,
            );
        }
        let idled = Idled {
            options: self,
            empty,
            each: per_connection(rounds[0].full, rounds[0].tenth, self.connections - self.tenth()),
            rounds,
            descriptors: [descriptors_before, process.descriptors()?],
        };
        idled.check()
    }

    async fn round(
        self,
        process: Process,
        connector: &Connector,
        crowd: &Crowd,
        descriptors: usize,
    ) -> BenchResult<Round> {
        let early = crowd.connect(connector, 0..self.tenth()).await?;
        let tenth = at_rest(process).await?;
        let late = crowd.connect(connector, self.tenth()..self.connections).await?;
        let full = at_rest(process).await?;
        let held = process.descriptors()?;
        if held < descriptors + self.connections {
            return Err(Failure::new(format!(
                "the service dropped connections: it holds {held} descriptors for {} connections",
                self.connections
            )));
        }
        drop((early, late));
        if self.is_noticed() {
            until_closed(process, descriptors).await?;
        }
        let left = at_rest(process).await?;
        Ok(Round { tenth, full, left })
    }

    fn rounds(self) -> usize {
        if self.is_noticed() {
            self.rounds.max(LEAST_ROUNDS)
        } else {
            1
        }
    }

    /// Whether the service notices at once that connections are closed. A stream of events may be half closed, so it only
    /// notices when its next comment can't be written, half a minute later or more: that is not waited for here.
    fn is_noticed(self) -> bool {
        self.over != Transport::Events
    }

    fn tenth(self) -> usize {
        self.connections / 10
    }
}

impl Crowd {
    async fn connect(&self, connector: &Connector, which: Range<usize>) -> BenchResult<Held> {
        match self {
            Self::New => Ok(Held {
                _newcomers: Some(Newcomers::connect(connector, which.len()).await?),
                _fleet: None,
            }),
            Self::Known(identities) => Ok(Held {
                _newcomers: None,
                _fleet: Some(Fleet::come_back(connector, &identities[which]).await?),
            }),
        }
    }
}

impl Idled {
    fn check(self) -> BenchResult<Self> {
        let [before, after] = self.descriptors;
        let growth = self.growth();
        if after > before && self.options.is_noticed() {
            return Err(Failure::new(format!(
                "descriptors leak: {before} before, {after} after\n{self}"
            )));
        }
        if growth > LEAK_BYTES {
            return Err(Failure::new(format!(
                "memory leaks: the last round took {growth:.0} B more per connection\n{self}"
            )));
        }
        Ok(self)
    }

    /// What the last round took beyond the one before, per connection.
    fn growth(&self) -> f64 {
        match self.rounds[..] {
            [.., before, last] => per_connection(last.full, before.full, self.options.connections),
            _ => 0.0,
        }
    }
}

impl Report for Idled {
    fn figures(&self) -> Vec<Measured> {
        let figure = match (self.options.over, self.options.over_tls) {
            (Transport::WebSocket, false) => Figure::Idle,
            (Transport::WebSocket, true) => Figure::IdleTls,
            (Transport::Http2, false) => Figure::IdlePush,
            (Transport::Http2, true) => Figure::IdlePushTls,
            (Transport::Events, _) => Figure::IdleEvents,
        };
        vec![(figure, self.each)]
    }
}

impl fmt::Display for Idled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = if self.options.over_tls { " over TLS" } else { "" };
        let what = match self.options.over {
            Transport::WebSocket => "WebSockets",
            Transport::Http2 => "HTTP/2 monitors",
            Transport::Events => "streams of events",
        };
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let (count, each, growth) = (self.options.connections, self.each, self.growth());
        let [before, after] = self.descriptors;
        writeln!(
            f,
            "idle{over}: {count} {what}, {each:.0} B each; the last of {} rounds adds {growth:.0} B each",
            self.rounds.len()
        )?;
        write!(f, "  resident: empty {:.1} MB", mb(self.empty))?;
        for Round { full, left, .. } in &self.rounds {
            write!(f, ", full {:.1}, all gone {:.1}", mb(*full), mb(*left))?;
        }
        writeln!(f)?;
        write!(f, "  descriptors: {before} before, {after} after")
    }
}

pub(super) fn per_connection(more: u64, less: u64, connections: usize) -> f64 {
    (more as f64 - less as f64) / connections as f64
}

/// Memory, once it has stopped changing.
pub(super) async fn at_rest(process: Process) -> BenchResult<u64> {
    let mut last = process.resident_bytes()?;
    for _ in 0..LOOKS {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = process.resident_bytes()?;
        if now.abs_diff(last) <= AT_REST_BYTES {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

async fn until_closed(process: Process, descriptors: usize) -> BenchResult<()> {
    for _ in 0..LOOKS {
        if process.descriptors()? <= descriptors {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let held = process.descriptors()?;
    Err(Failure::new(format!(
        "the service keeps closed connections: {held} descriptors, {descriptors} at the start"
    )))
}
