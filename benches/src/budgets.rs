//! The budgets: what each figure may be, and what others show.
//!
//! This is the one place to change them. They are for one core for the service and another for the load tool, and bodies
//! of 1,000 bytes. `peer` is the best deployed service that was measured in the same way; `floor` does the same system
//! calls and keeps nothing. Those of the user agent are chosen: what was measured, and a margin of a tenth for
//! memory and of a third for CPU. Decrypting is most of the latter.

use crate::service::Storage;

/// Everything that is measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Figure {
    /// CPU of the service per message from its POST to its acknowledgement, a fresh VAPID token each.
    DeliveredFresh,
    /// … one VAPID token reused.
    DeliveredReused,
    /// … no VAPID.
    DeliveredNone,
    /// CPU of the service per message over a WebSocket on TLS, one VAPID token reused.
    DeliveredTls,
    /// CPU of the service per message by server push over HTTP/2, acknowledged on the same connection, a fresh VAPID token
    /// each.
    PushedFresh,
    /// … one VAPID token reused.
    PushedReused,
    /// … one VAPID token reused, over TLS.
    PushedTls,
    /// CPU of the service per message as a Server-Sent Event over HTTP/1.1, acknowledged over a second connection, one
    /// VAPID token reused.
    Told,
    /// CPU of the service per message whose receipt is told by server push, delivered over a WebSocket, one VAPID token
    /// reused.
    Receipt,
    /// CPU of Redis per message from its POST to its acknowledgement.
    RedisLive,
    /// … when it comes in at one node and goes out at another.
    RedisAcross,
    /// Memory of Redis per stored message.
    RedisStored,
    /// CPU of the service per message that it stores for an absent user agent.
    Stored,
    /// CPU of the service per user agent that connects, says hello and registers.
    Connect,
    /// … over TLS.
    ConnectTls,
    /// Resident memory per idle WebSocket.
    Idle,
    /// … over TLS.
    IdleTls,
    /// Resident memory per idle HTTP/2 connection that monitors a set.
    IdlePush,
    /// … over TLS.
    IdlePushTls,
    /// Resident memory per idle stream of Server-Sent Events over HTTP/1.1.
    IdleEvents,
    /// Messages per second to user agents that all come back at once.
    Drain,
    /// From the moment a message is due to its arrival, half of the messages.
    DeliveryP50,
    /// … all but one in a hundred.
    DeliveryP99,
    /// From the moment a message is due to its 201, half of the messages.
    AcceptanceP50,
    /// … all but one in a hundred.
    AcceptanceP99,
    /// From exec to listening.
    Startup,
    /// Resident memory with nothing connected.
    Resident,
    /// Resident memory per idle user agent of the library, with one subscription.
    UserAgentIdle,
    /// CPU of the library per message from the socket to its acknowledgement, state in memory.
    UserAgentMessage,
    /// … with a state directory.
    UserAgentKept,
    /// Of many user agents that lost their service, the most that come back within 100 ms, in percent.
    UserAgentsTogether,
    /// … from the moment when the service is there again until the last of them has come back.
    UserAgentsBack,
    /// From the moment when a service has forgotten a user agent until its 10,000 subscriptions are renewed.
    UserAgentRenewed,
    /// … what is written to the state directory meanwhile.
    UserAgentWritten,

    // Measured with other options than those of the budgets.
    /// [`Figure::DeliveryP50`] or [`Figure::DeliveryP99`] at another rate.
    DeliveryAt {
        /// Messages per second.
        rate: f64,
        /// Of so many in a hundred messages.
        percent: u8,
    },
    /// [`Figure::Drain`] of another number of user agents.
    DrainOf {
        /// How many come back.
        user_agents: usize,
    },
    /// [`Figure::UserAgentRenewed`] of another number of subscriptions.
    RenewedOf {
        /// How many are renewed.
        subscriptions: usize,
    },
    /// [`Figure::UserAgentWritten`] of another number of subscriptions.
    WrittenOf {
        /// How many are renewed.
        subscriptions: usize,
    },
}

/// In what a figure is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// Microseconds of CPU time.
    Micros,
    /// Milliseconds.
    Millis,
    /// Bytes, of 1,000 to the kilobyte.
    Bytes,
    /// Per second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Percent.
    Percent,
}

/// On which side of the budget a figure has to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Limit {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
    /// Measured, to be compared with itself; it has no limit yet.
    Open,
}

/// What is expected of a figure.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Budget {
    /// Of which figure.
    pub(crate) figure: Figure,
    /// Its name for readers.
    pub(crate) name: &'static str,
    /// Its unit.
    pub(crate) unit: Unit,
    /// Ours, with embedded storage.
    pub(crate) limit: Limit,
    /// The peer's figure, if it has one.
    pub(crate) peer: Option<f64>,
    /// The floor, if it was measured.
    pub(crate) floor: Option<f64>,
}

use Figure::{
    AcceptanceP50, AcceptanceP99, Connect, ConnectTls, DeliveredFresh, DeliveredNone, DeliveredReused,
    DeliveredTls, DeliveryP50, DeliveryP99, Drain, Idle, IdleEvents, IdlePush, IdlePushTls, IdleTls,
    PushedFresh, PushedReused, PushedTls, Receipt, RedisAcross, RedisLive, RedisStored, Resident, Startup,
    Stored, Told, UserAgentIdle, UserAgentKept, UserAgentMessage, UserAgentRenewed, UserAgentWritten,
    UserAgentsBack, UserAgentsTogether,
};
use Limit::{AtLeast, AtMost, Open};
use Unit::{Bytes, Micros, Millis, PerSecond, Percent, Seconds};

/// The budgets of one node, with embedded storage where that makes a difference, in the order in which they are shown.
#[rustfmt::skip]
const BUDGETS: &[Budget] = &[
    row(DeliveredFresh,  "CPU per delivered message, fresh VAPID token",   Micros,    AtMost(115.0),      Some(679.0),    Some(91.0)),
    row(DeliveredReused, "CPU per delivered message, reused VAPID token",  Micros,    AtMost(45.0),       Some(663.0),    Some(13.0)),
    row(DeliveredNone,   "CPU per delivered message, no VAPID",            Micros,    AtMost(42.0),       Some(352.0),    Some(13.0)),
    row(DeliveredTls,    "CPU per message, TLS WebSocket, reused token",   Micros,    Open,               None,           None),
    row(PushedFresh,     "CPU per message, HTTP/2 push, fresh token",      Micros,    Open,               None,           None),
    row(PushedReused,    "CPU per message, HTTP/2 push, reused token",     Micros,    Open,               None,           None),
    row(PushedTls,       "CPU per message, HTTP/2 push over TLS, reused",  Micros,    Open,               None,           None),
    row(Told,            "CPU per message, server-sent event, reused",     Micros,    Open,               None,           None),
    row(Receipt,         "CPU per delivered message with a receipt",       Micros,    Open,               None,           None),
    row(Stored,          "CPU per message stored for an absent agent",     Micros,    AtMost(35.0),       Some(858.0),    Some(12.0)),
    row(RedisLive,       "Redis: CPU per live message",                    Micros,    AtMost(16.0),       Some(70.0),     Some(10.0)),
    row(RedisAcross,     "Redis: CPU per live message, across two nodes",  Micros,    AtMost(22.0),       None,           None),
    row(RedisStored,     "Redis: memory per stored message",               Bytes,     AtMost(1_500.0),    Some(2_431.0),  Some(1_361.0)),
    row(Connect,         "CPU per connect, hello and register",            Micros,    AtMost(70.0),       Some(316.0),    Some(39.0)),
    row(ConnectTls,      "CPU per connect, hello and register, TLS",       Micros,    AtMost(300.0),      None,           None),
    row(Idle,            "memory per idle WebSocket",                      Bytes,     AtMost(2_000.0),    Some(29_300.0), Some(1_200.0)),
    row(IdleTls,         "memory per idle WebSocket, TLS",                 Bytes,     AtMost(6_000.0),    None,           Some(4_700.0)),
    row(IdlePush,        "memory per idle HTTP/2 monitor",                 Bytes,     Open,               None,           None),
    row(IdlePushTls,     "memory per idle HTTP/2 monitor, TLS",            Bytes,     Open,               None,           None),
    row(IdleEvents,      "memory per idle stream of server-sent events",   Bytes,     Open,               None,           None),
    row(Drain,           "messages to 2,000 agents back at once",          PerSecond, AtLeast(20_000.0),  None,           None),
    row(DeliveryP50,     "delivery at 750 messages/s, p50",                Millis,    AtMost(0.5),        Some(0.84),     Some(0.26)),
    row(DeliveryP99,     "delivery at 750 messages/s, p99",                Millis,    AtMost(1.5),        Some(1.7),      Some(0.74)),
    row(AcceptanceP50,   "201 at 1,000 messages/s, p50",                   Millis,    AtMost(1.0),        None,           None),
    row(AcceptanceP99,   "201 at 1,000 messages/s, p99",                   Millis,    AtMost(10.0),       None,           None),
    row(Startup,         "start to listening",                             Millis,    AtMost(50.0),       Some(60.0),     None),
    row(Resident,        "memory with nothing connected",                  Bytes,     AtMost(15e6),       Some(75e6),     None),
    row(UserAgentIdle,   "user agent: memory per idle one",                Bytes,     AtMost(6_600.0),    None,           None),
    row(UserAgentMessage,"user agent: CPU per message",                    Micros,    AtMost(170.0),      None,           None),
    row(UserAgentKept,   "user agent: CPU per message, state directory",   Micros,    AtMost(160.0),      None,           None),
    row(UserAgentsTogether,"user agents: back within the same 100 ms",     Percent,   AtMost(10.0),       None,           None),
    row(UserAgentsBack,  "user agents: all back after their service",      Seconds,   AtMost(30.0),       None,           None),
    row(UserAgentRenewed,"user agent: 10,000 subscriptions renewed",       Seconds,   AtMost(20.0),       None,           None),
    row(UserAgentWritten,"user agent: written meanwhile",                  Bytes,     AtMost(100e6),      None,           None),
];

/// What is less with Redis: nothing is written to disk, and no step waits for it.
const LESS_ON_REDIS: [(Figure, Limit); 3] = [
    (DeliveredReused, AtMost(38.0)),
    (DeliveredNone, AtMost(35.0)),
    (Stored, AtMost(30.0)),
];

const fn row(
    figure: Figure,
    name: &'static str,
    unit: Unit,
    limit: Limit,
    peer: Option<f64>,
    floor: Option<f64>,
) -> Budget {
    Budget {
        figure,
        name,
        unit,
        limit,
        peer,
        floor,
    }
}

impl Figure {
    /// What is expected of it, and its place in the table.
    pub(crate) fn budget(self) -> Option<(usize, &'static Budget)> {
        BUDGETS
            .iter()
            .enumerate()
            .find(|(_, budget)| budget.figure == self)
    }
}

impl Figure {
    /// Name and unit of a figure that was measured with other options than those of the budgets.
    pub(crate) fn of_other_options(self) -> Option<(String, Unit)> {
        match self {
            Self::DeliveryAt { rate, percent } => {
                Some((format!("delivery at {rate} messages/s, p{percent}"), Millis))
            }
            Self::DrainOf { user_agents } => Some((
                format!("messages to {user_agents} agents back at once"),
                PerSecond,
            )),
            Self::RenewedOf { subscriptions } => Some((
                format!("user agent: {subscriptions} subscriptions renewed"),
                Seconds,
            )),
            Self::WrittenOf { subscriptions } => {
                Some((format!("user agent: written for {subscriptions} renewals"), Bytes))
            }
            _ => None,
        }
    }
}

impl Budget {
    /// Ours, with that storage.
    pub(crate) fn limit_on(&self, storage: Storage) -> Limit {
        let mut less = LESS_ON_REDIS.iter().filter(|_| storage == Storage::Redis);
        let found = less.find(|(figure, _)| *figure == self.figure);
        found.map_or(self.limit, |(_, limit)| *limit)
    }
}

impl Limit {
    /// How many times worse than the limit a figure is; at most 1 is within it.
    pub(crate) fn excess(self, value: f64) -> Option<f64> {
        match self {
            Self::AtMost(limit) => Some(value / limit),
            Self::AtLeast(limit) => Some(limit / value),
            Self::Open => None,
        }
    }
}

impl Unit {
    /// A figure as people read it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Micros => format!("{value:.1} µs"),
            Self::Millis => format!("{value:.2} ms"),
            Self::Bytes if value >= 1e6 => format!("{:.1} MB", value / 1e6),
            Self::Bytes => format!("{value:.0} B"),
            Self::PerSecond => format!("{value:.0} /s"),
            Self::Seconds => format!("{value:.1} s"),
            Self::Percent => format!("{value:.1} %"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is better than its limit is within it, on both sides.
    #[test]
    fn better_is_within() {
        let limit = |figure: Figure| figure.budget().unwrap().1.limit;
        assert!(limit(Connect).excess(69.0) < Some(1.0));
        assert!(limit(Connect).excess(141.0) > Some(2.0));
        assert!(limit(Drain).excess(25_000.0) < Some(1.0));
        assert!(limit(Drain).excess(10_000.0) >= Some(2.0));
        assert_eq!(limit(PushedReused).excess(1e9), None);
    }
}
