//! What is promised in each failure: every row of the table "What a failure costs" in docs/redis.md, and further
//! failures from the docs, as data.
//!
//! Contract: a row from the table repeats the table's words exactly. So if a row of the table is added or changed,
//! the test `every_row_of_the_docs_is_played` fails until the row here is changed, too.

use std::time::Duration;

use super::check::{Acknowledgements, Lost, Rules};
use super::history::SECOND;
use super::nemesis::{BELIEVED_LEAP_SECONDS, Nemesis};
use super::topology::{Special, Start, Topology};
use crate::redis::program::Program;

/// The answers that a sender may get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Senders {
    /// Every message is accepted.
    Nothing,
    /// 503, the first after at most this number of milliseconds.
    Refused(u64),
}

/// A row of the docs' table, in its words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Documented {
    /// The first column.
    pub failure: &'static str,
    /// The second.
    pub setting: &'static str,
    /// The third: what is lost.
    pub lost: &'static str,
}

/// A failure, and what is promised in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The row's name, for `--only`.
    pub id: &'static str,
    /// Its row in the table, if it has one.
    pub documented: Option<Documented>,
    /// The topology.
    pub start: Start,
    /// The fault.
    pub nemesis: Nemesis,
    /// What may be lost and what may come again.
    pub rules: Rules,
    /// The answers that senders may get.
    pub senders: Senders,
    /// How long after the fault the service recovers, in milliseconds.
    pub well_again: u64,
    /// Whether it is part of the short form.
    pub is_short: bool,
}

/// How much a busy machine may add to a documented time. Chosen: two cores that compile at the same time delay a
/// process for seconds; a retry only every half minute is still found.
pub const SLACK: Duration = Duration::from_secs(12);

const NOTHING: Rules = Rules {
    lost: Lost::Nothing,
    acknowledgements: Acknowledgements::Kept,
    leap: 0,
};
/// No answered request is lost, except acknowledgements, which do not wait for replicas.
const NOTHING_ANSWERED: Rules = lost(Lost::Nothing);
const RECENT: Rules = lost(Lost::Recent);
/// The promoted replica may lack what was confirmed just before: fewer replicas confirm than there are.
const JUST_BEFORE: Rules = lost(Lost::JustBefore);
const NOT_ASKED: Rules = lost(Lost::NotAsked);
/// What the deposed primary accepts is lost, because nothing confirms it, and what the promoted replica lacks.
const BY_THE_DEPOSED: Rules = lost(Lost::ByTheDeposed);
/// Clocks leap. A small leap is believed, so a short time to live may end early. A leap of more than an hour is refused.
const LEAPS: Rules = Rules {
    leap: BELIEVED_LEAP_SECONDS * SECOND,
    ..NOTHING_ANSWERED
};

/// This may be lost, and acknowledged messages may return.
const fn lost(lost: Lost) -> Rules {
    Rules {
        lost,
        acknowledgements: Acknowledgements::MayReturn,
        leap: 0,
    }
}

const ALONE: Start = Start {
    topology: Topology::Alone,
    program: Program::Redis,
    special: Special::None,
    wait_replicas: "",
    nodes: 2,
};
const EMBEDDED: Start = Start {
    topology: Topology::Embedded,
    ..ALONE
};

const fn special(special: Special) -> Start {
    Start { special, ..ALONE }
}

const fn sentinel(replicas: usize, wait_replicas: &'static str) -> Start {
    Start {
        topology: Topology::Sentinel(replicas),
        wait_replicas,
        ..ALONE
    }
}

const fn cluster(replicas: usize, wait_replicas: &'static str) -> Start {
    Start {
        topology: Topology::Cluster(replicas),
        wait_replicas,
        ..ALONE
    }
}

const fn documented(failure: &'static str, setting: &'static str, lost: &'static str) -> Option<Documented> {
    Some(Documented {
        failure,
        setting,
        lost,
    })
}

/// A row beside the table: nothing is lost.
const fn beside(id: &'static str, start: Start, nemesis: Nemesis) -> Row {
    Row {
        id,
        documented: None,
        start,
        nemesis,
        rules: NOTHING_ANSWERED,
        senders: Senders::Refused(3_500),
        well_again: 1_000,
        is_short: false,
    }
}

/// A row on Valkey.
const fn valkey(id: &'static str, start: Start, nemesis: Nemesis) -> Row {
    let start = Start {
        program: Program::Valkey,
        ..start
    };
    beside(id, start, nemesis)
}

impl Row {
    const fn short(mut self) -> Self {
        self.is_short = true;
        self
    }

    const fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    const fn senders(mut self, senders: Senders) -> Self {
        self.senders = senders;
        self
    }

    const fn says(mut self, failure: &'static str, setting: &'static str, lost: &'static str) -> Self {
        self.documented = documented(failure, setting, lost);
        self
    }
}

/// The failure of a deposed primary: its settings, and what is lost with each.
const DEPOSED: (&str, [&str; 3], [&str; 3]) = (
    "a primary was deposed and does not know it (partition)",
    [
        "`\"all\"`, or the number of replicas",
        "`wait_replicas` below the number of replicas",
        "`wait_replicas = 0`",
    ],
    [
        "acknowledgements that it takes meanwhile",
        "the same, and what was accepted just before if the promoted replica is not the most advanced",
        "the same, and everything that it accepts meanwhile",
    ],
);

/// All rows.
pub const ROWS: &[Row] = &[
    // The table.
    beside("redis-killed", special(Special::Durable), Nemesis::RedisKilled)
        .says("Redis killed, started again", "`appendfsync always`", "nothing")
        .rules(NOTHING)
        .short(),
    beside("redis-emptied", ALONE, Nemesis::RedisEmptied)
        .says(
            "Redis killed, started again",
            "in memory only",
            "everything: see [lost data](#lost-data)",
        )
        .rules(NOT_ASKED)
        .short(),
    beside("redis-silent", ALONE, Nemesis::RedisSilent)
        .says(
            "Redis silent (stopped, network)",
            "any",
            "nothing; acknowledgements sent meanwhile are kept and applied",
        )
        .rules(NOTHING)
        .short(),
    beside("redis-loads", special(Special::LoadsSlowly), Nemesis::RedisLoads)
        .says("Redis loads its data", "any", "nothing")
        .rules(NOTHING)
        .short(),
    beside("primary-dies", sentinel(1, "1"), Nemesis::PrimaryDies(1))
        .says(
            "primary dies under Sentinel",
            "`wait_replicas` = number of replicas",
            "nothing that was answered 201",
        )
        .short(),
    beside(
        "primary-dies-unconfirmed",
        sentinel(1, ""),
        Nemesis::PrimaryDies(1),
    )
    .says(
        "primary dies under Sentinel",
        "`wait_replicas = 0`",
        "what the promoted replica had not received: messages, subscriptions, answers of any kind",
    )
    .rules(JUST_BEFORE)
    .short(),
    beside("replica-silent", sentinel(1, "1"), Nemesis::ReplicaSilent)
        .says("a replica is silent", "`wait_replicas` counts it", "nothing")
        .short(),
    beside("shard-fails-over", cluster(1, "1"), Nemesis::PrimaryDies(1))
        .says(
            "a shard of a cluster fails over",
            "as under Sentinel",
            "as under Sentinel",
        )
        .short(),
    beside("demoted", ALONE, Nemesis::Demoted)
        .says("the primary becomes a replica", "any", "what the other one lacks")
        .short(),
    beside("min-replicas", ALONE, Nemesis::MinReplicas)
        .says("`min-replicas-to-write` not met", "", "nothing")
        .short(),
    beside("memory-full", special(Special::LittleMemory), Nemesis::MemoryFull)
        .says("`maxmemory` reached", "`noeviction`", "nothing")
        .short(),
    beside("scripts-forgotten", ALONE, Nemesis::ScriptsForgotten)
        .says("scripts forgotten (`SCRIPT FLUSH`)", "", "nothing")
        .rules(NOTHING)
        .senders(Senders::Nothing)
        .short(),
    beside("wake-ups-lost", ALONE, Nemesis::WakeUpsLost)
        .says("connections for wake-ups lost", "", "nothing")
        .rules(NOTHING)
        .senders(Senders::Nothing)
        .short(),
    beside("slot-moves", cluster(0, ""), Nemesis::SlotMoves)
        .says("a slot moves", "", "nothing")
        .rules(NOTHING)
        .short(),
    beside("node-cut-off", ALONE, Nemesis::NodeCutOff)
        .says("one node cut off from Redis", "", "nothing")
        .rules(NOTHING)
        .short(),
    beside(
        "planned-failover",
        sentinel(2, "all"),
        Nemesis::PlannedFailover(3),
    )
    .says(
        "planned `SENTINEL FAILOVER`",
        "`\"all\"`, or the number of replicas",
        "nothing that was answered 201",
    )
    .short(),
    beside(
        "planned-failover-below",
        sentinel(2, "1"),
        Nemesis::PlannedFailover(3),
    )
    .says(
        "planned `SENTINEL FAILOVER`",
        "`wait_replicas` below the number of replicas",
        "what the old primary accepted after the promotion, while another replica still followed it: with `wait_replicas = 1` and two replicas 2,055 of 3,716 subscriptions in eight failovers",
    )
    .rules(RECENT),
    beside("primary-isolated", sentinel(2, "2"), Nemesis::PrimaryIsolated(0))
        .says(DEPOSED.0, DEPOSED.1[0], DEPOSED.2[0])
        .short(),
    beside("primary-isolated-one", sentinel(2, "1"), Nemesis::PrimaryIsolated(0))
        .says(DEPOSED.0, DEPOSED.1[1], DEPOSED.2[1])
        .rules(JUST_BEFORE)
        .short(),
    beside(
        "primary-isolated-unconfirmed",
        sentinel(2, ""),
        Nemesis::PrimaryIsolated(0),
    )
    .says(DEPOSED.0, DEPOSED.1[2], DEPOSED.2[2])
    .rules(BY_THE_DEPOSED),
    beside(
        "redis-clock-leaps",
        special(Special::RedisClock),
        Nemesis::RedisClockLeaps,
    )
    .says(
        "clocks of a node and of Redis an hour apart",
        "any",
        "the service ends nothing; what Redis itself expires is lost: see [clocks](#settings-of-redis)",
    )
    .rules(LEAPS)
    .short(),
    // Partitions, with peers on both sides.
    beside(
        "primary-isolated-with-a-replica",
        sentinel(2, "2"),
        Nemesis::PrimaryIsolated(1),
    ),
    beside("replica-isolated", sentinel(2, "1"), Nemesis::ReplicaIsolated),
    beside("sentinels-split", sentinel(1, "1"), Nemesis::SentinelsSplit),
    beside("one-way", sentinel(2, "2"), Nemesis::OneWay),
    beside("shard-isolated", cluster(1, "1"), Nemesis::PrimaryIsolated(0)),
    beside(
        "shard-isolated-unconfirmed",
        cluster(1, ""),
        Nemesis::PrimaryIsolated(0),
    )
    .says(DEPOSED.0, DEPOSED.1[2], DEPOSED.2[2])
    .rules(BY_THE_DEPOSED),
    // Failovers.
    beside(
        "planned-failover-number",
        sentinel(2, "2"),
        Nemesis::PlannedFailover(3),
    ),
    beside(
        "planned-failover-one-replica",
        sentinel(1, "1"),
        Nemesis::PlannedFailover(3),
    ),
    beside(
        "planned-failover-cluster",
        cluster(1, "1"),
        Nemesis::PlannedFailover(3),
    ),
    beside(
        "primary-dies-two-replicas",
        sentinel(2, "2"),
        Nemesis::PrimaryDies(2),
    ),
    beside("primary-paused", sentinel(2, "2"), Nemesis::PrimaryPaused),
    beside("shard-paused", cluster(1, "1"), Nemesis::PrimaryPaused),
    // Redis in other trouble.
    beside("redis-slow", ALONE, Nemesis::RedisSlow).rules(NOTHING),
    beside(
        "redis-disk-full",
        special(Special::SmallDisk),
        Nemesis::RedisDiskFull,
    ),
    // Nodes in trouble.
    beside(
        "node-clock-leaps",
        special(Special::NodeClock),
        Nemesis::NodeClockLeaps,
    )
    .rules(LEAPS),
    beside("nodes-killed", ALONE, Nemesis::NodesKilled(8)).rules(NOTHING),
    beside("nodes-killed-cluster", cluster(0, ""), Nemesis::NodesKilled(8)).rules(NOTHING),
    beside("node-paused", ALONE, Nemesis::NodePaused).rules(NOTHING),
    beside("rolling-restart", ALONE, Nemesis::RollingRestart)
        .rules(NOTHING)
        .short(),
    beside("node-descriptors", ALONE, Nemesis::NoDescriptors).rules(NOTHING),
    beside("embedded-killed", EMBEDDED, Nemesis::NodesKilled(8))
        .rules(NOTHING)
        .short(),
    beside("embedded-restarted", EMBEDDED, Nemesis::RollingRestart).rules(NOTHING),
    beside("embedded-paused", EMBEDDED, Nemesis::NodePaused).rules(NOTHING),
    beside(
        "embedded-disk-full",
        Start {
            special: Special::SmallDisk,
            ..EMBEDDED
        },
        Nemesis::NodeDiskFull(8),
    ),
    beside(
        "embedded-disk-gone",
        Start {
            special: Special::SmallDisk,
            ..EMBEDDED
        },
        Nemesis::NodeDiskFull(0),
    ),
    beside("embedded-descriptors", EMBEDDED, Nemesis::NoDescriptors)
        .rules(NOTHING)
        .short(),
    beside(
        "embedded-clock-leaps",
        Start {
            special: Special::NodeClock,
            ..EMBEDDED
        },
        Nemesis::NodeClockLeaps,
    )
    .rules(LEAPS),
    beside(
        "imports-killed",
        Start {
            nodes: 1,
            ..special(Special::Moves)
        },
        Nemesis::ImportsKilled,
    )
    .rules(NOTHING)
    .short(),
    // Valkey, if it is installed. Its `WAIT` counts only what was written over its own connection, it has `WAITAOF`, and
    // it moves slots in its own way.
    valkey("valkey-primary-isolated", sentinel(2, "2"), Nemesis::PrimaryIsolated(0)),
    valkey("valkey-primary-isolated-one", sentinel(2, "1"), Nemesis::PrimaryIsolated(0)).rules(JUST_BEFORE),
    valkey("valkey-primary-isolated-unconfirmed", sentinel(2, ""), Nemesis::PrimaryIsolated(0)).rules(BY_THE_DEPOSED),
    valkey("valkey-primary-dies", sentinel(1, "1"), Nemesis::PrimaryDies(1)),
    valkey("valkey-planned-failover", sentinel(2, "all"), Nemesis::PlannedFailover(3)),
    valkey("valkey-replica-silent", sentinel(1, "1"), Nemesis::ReplicaSilent),
    valkey("valkey-shard-fails-over", cluster(1, "1"), Nemesis::PrimaryDies(1)),
    valkey("valkey-slot-moves", cluster(0, ""), Nemesis::SlotMoves).rules(NOTHING),
    valkey("valkey-killed", special(Special::OnDisk), Nemesis::RedisKilled).rules(NOTHING),
    valkey("valkey-silent", ALONE, Nemesis::RedisSilent).rules(NOTHING),
    valkey("valkey-memory-full", special(Special::LittleMemory), Nemesis::MemoryFull),
    valkey("valkey-scripts-forgotten", ALONE, Nemesis::ScriptsForgotten)
        .rules(NOTHING)
        .senders(Senders::Nothing),
    valkey("valkey-wake-ups-lost", ALONE, Nemesis::WakeUpsLost)
        .rules(NOTHING)
        .senders(Senders::Nothing),
];

impl Row {
    /// Why the row can't be played here, if it can't.
    pub fn cannot_be_played(&self) -> Option<&'static str> {
        if self.nemesis.takes_a_lab() && !crate::lab::is_here() {
            return Some("it takes network and mount namespaces");
        }
        if !self.start.program.is_here() {
            return Some("there is no such server");
        }
        let fakes = matches!(self.start.special, Special::RedisClock | Special::NodeClock);
        if fakes && !super::clock::can_be_made() {
            return Some("there is no C compiler, cc, for the library that sets clocks");
        }
        None
    }
}

/// The rows of the docs' table: failure, setting, what is lost. An empty first cell means the one above.
pub fn documented_rows(page: &str) -> Vec<(String, String, String)> {
    let table = page
        .split_once("## What a failure costs")
        .map_or("", |(_, rest)| rest);
    let lines = table
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    let mut rows = Vec::new();
    let mut last = String::new();
    for line in lines.skip(2) {
        let cells: Vec<_> = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        let [failure, setting, lost, ..] = &cells[..] else {
            continue;
        };
        if !failure.is_empty() {
            last.clone_from(failure);
        }
        rows.push((last.clone(), setting.clone(), lost.clone()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/redis.md");

    /// Every row of the table "What a failure costs" is played, and every row that names the table is in it, word for word.
    #[test]
    fn every_row_of_the_docs_is_played() {
        let mut written = documented_rows(PAGE);
        assert!(written.len() >= 15, "the table was not read: {written:?}");
        let played = ROWS.iter().filter_map(|row| row.documented);
        let mut played: Vec<_> = played
            .map(|row| {
                (
                    row.failure.to_owned(),
                    row.setting.to_owned(),
                    row.lost.to_owned(),
                )
            })
            .collect();
        written.sort();
        played.sort();
        played.dedup();
        assert_eq!(
            written, played,
            "docs/redis.md on the left, the rows that are played on the right"
        );
    }

    /// A new row in the table is read.
    #[test]
    fn a_new_row_is_read() {
        let page = PAGE.replace(
            "| a slot moves |",
            "| a meteor | any | nothing | 503 | never |\n| a slot moves |",
        );
        let rows = documented_rows(&page);
        assert!(rows.contains(&("a meteor".into(), "any".into(), "nothing".into())));
        assert_eq!(rows.len(), documented_rows(PAGE).len() + 1);
    }

    /// No two rows have the same name.
    #[test]
    fn rows_have_names() {
        let mut names: Vec<_> = ROWS.iter().map(|row| row.id).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }
}
