//! Many kills and failovers in one run, and a table of their costs.
//!
//! The run is cut into episodes: each has its own service, in one of four topologies. Step by step it suffers faults
//! while all peers use it; at the end all user agents connect, and the history is checked. Nodes are killed in all
//! topologies; a single Redis is killed and started again with its append-only file; primaries under Sentinel and in
//! a cluster are killed, or replaced by a planned failover. Each topology has its share of the kills and failovers,
//! and a few episodes run at a time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::check::{Acknowledgements, Lost, Rules, check};
use super::crowd::{Busy, Crowd};
use super::history::{Recorder, What};
use super::nemesis::{fail_over, kill_node, planned_failover};
use super::topology::{Service, Special, Start, Topology};
use super::trial::{Report, finish, is_well_again, judge};
use crate::chance::Chance;
use crate::redis::program::Program;

/// How busy the peers are: more messages than in a short trial, and fewer new user agents.
const BUSY: Busy = Busy {
    residents: 4,
    visitors: 4,
    absent: 1,
    newcomer_every: Duration::from_secs(2),
    pause: Duration::from_millis(40),
};
/// Steps in an episode without failovers, and in one with them. Chosen: an episode takes about a minute, so that a
/// violation is found near its cause.
const KILLS_AN_EPISODE: usize = 60;
const FAILOVERS_AN_EPISODE: usize = 8;
/// The pause between two steps.
const PEACE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(700));

/// What to play.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marathon {
    /// Kills in all, of nodes and of Redis servers.
    pub kills: usize,
    /// Failovers in all, half of them planned.
    pub failovers: usize,
    /// The seed of all random choices.
    pub seed: u64,
    /// Episodes that are played at a time.
    pub jobs: usize,
    /// `storage.redis.wait_replicas` under Sentinel, where there are two replicas.
    pub wait_replicas: &'static str,
}

/// One fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    KillNode,
    KillServer,
    FailOver,
    PlannedFailover,
}

struct Episode {
    name: &'static str,
    start: Start,
    rules: Rules,
    steps: Vec<Step>,
    seed: u64,
}

/// The result of an episode.
struct Cost {
    name: &'static str,
    steps: Vec<Step>,
    report: Report,
    took: Duration,
}

/// Plays all episodes, prints each, and the table; returns how many were broken.
pub async fn run(plan: Marathon) -> usize {
    let began = Instant::now();
    let mut episodes = plan.episodes();
    println!(
        "marathon: {} kills and {} failovers in {} episodes, seed {}",
        plan.kills,
        plan.failovers,
        episodes.len(),
        plan.seed
    );
    let mut playing = JoinSet::new();
    let mut costs: Vec<Cost> = Vec::new();
    episodes.reverse();
    while !episodes.is_empty() || !playing.is_empty() {
        while playing.len() < plan.jobs
            && let Some(episode) = episodes.pop()
        {
            playing.spawn(async move {
                let (name, steps, seed) = (episode.name, episode.steps.clone(), episode.seed);
                let began = Instant::now();
                let report = tokio::spawn(play(episode)).await.unwrap_or_else(|panic| {
                    let why = vec![format!("the episode could not go on: {panic}")];
                    judge(name, seed, &[], Default::default(), why)
                });
                Cost {
                    name,
                    steps,
                    report,
                    took: began.elapsed(),
                }
            });
        }
        if let Some(ended) = playing.join_next().await {
            let cost = ended.expect("an episode's task ends");
            println!("{:5.0} s {}", began.elapsed().as_secs_f64(), cost.report);
            costs.push(cost);
        }
    }
    table(&plan, &costs, began.elapsed());
    costs.iter().filter(|cost| !cost.report.is_well()).count()
}

impl Marathon {
    /// All episodes, in an order in which topologies take turns.
    fn episodes(&self) -> Vec<Episode> {
        let alone = Start {
            topology: Topology::Alone,
            program: Program::Redis,
            special: Special::Durable,
            wait_replicas: "",
            nodes: 2,
        };
        let nothing = Rules {
            lost: Lost::Nothing,
            acknowledgements: Acknowledgements::Kept,
            leap: 0,
        };
        let nothing_answered = Rules {
            acknowledgements: Acknowledgements::MayReturn,
            ..nothing
        };
        let unplanned = self.failovers / 2;
        let embedded = self.kills * 45 / 100;
        let standing_alone = self.kills * 20 / 100;
        let rest = self.kills.saturating_sub(embedded + standing_alone + unplanned);
        let steps = |parts: [(Step, usize); 2]| {
            let mut steps = Vec::new();
            for (step, count) in parts {
                steps.extend(std::iter::repeat_n(step, count));
            }
            steps
        };
        let orders = |count: usize| -> Vec<Step> {
            (0..count)
                .map(|turn| {
                    if turn % 2 == 0 {
                        Step::FailOver
                    } else {
                        Step::PlannedFailover
                    }
                })
                .collect()
        };
        let half = self.failovers / 2;
        let shares = [
            (
                "embedded",
                Start {
                    topology: Topology::Embedded,
                    special: Special::None,
                    ..alone
                },
                nothing,
                steps([(Step::KillNode, embedded), (Step::KillServer, 0)]),
            ),
            (
                "redis",
                alone,
                nothing,
                steps([
                    (Step::KillNode, standing_alone / 2),
                    (Step::KillServer, standing_alone - standing_alone / 2),
                ]),
            ),
            (
                "cluster",
                Start {
                    topology: Topology::Cluster(1),
                    special: Special::None,
                    wait_replicas: "1",
                    ..alone
                },
                nothing_answered,
                [
                    steps([(Step::KillNode, rest / 2), (Step::KillServer, 0)]),
                    orders(half),
                ]
                .concat(),
            ),
            (
                "sentinel",
                Start {
                    topology: Topology::Sentinel(2),
                    special: Special::None,
                    wait_replicas: self.wait_replicas,
                    ..alone
                },
                nothing_answered,
                [
                    steps([(Step::KillNode, rest - rest / 2), (Step::KillServer, 0)]),
                    orders(self.failovers - half),
                ]
                .concat(),
            ),
        ];
        let mut chance = Chance::new(self.seed);
        let mut queues: Vec<Vec<Episode>> = Vec::new();
        for (name, start, rules, steps) in shares {
            queues.push(cut(name, start, rules, &steps, &mut chance));
        }
        let mut episodes = Vec::new();
        while queues.iter().any(|queue| !queue.is_empty()) {
            for queue in &mut queues {
                episodes.extend(queue.pop());
            }
        }
        episodes
    }
}

/// Divides steps into episodes, each with its part of every kind.
fn cut(name: &'static str, start: Start, rules: Rules, steps: &[Step], chance: &mut Chance) -> Vec<Episode> {
    let failovers = steps
        .iter()
        .filter(|step| matches!(step, Step::FailOver | Step::PlannedFailover))
        .count();
    let count = (steps.len() - failovers)
        .div_ceil(KILLS_AN_EPISODE)
        .max(failovers.div_ceil(FAILOVERS_AN_EPISODE));
    let mut parts: Vec<Vec<Step>> = vec![Vec::new(); count];
    // Steps of one kind stand together; dealing them out in turn spreads them evenly.
    for (place, step) in steps.iter().enumerate() {
        parts[place % count.max(1)].push(*step);
    }
    parts
        .into_iter()
        .map(|mut steps| {
            for place in (1..steps.len()).rev() {
                steps.swap(place, chance.below(place + 1));
            }
            Episode {
                name,
                start,
                rules,
                steps,
                seed: chance.below(usize::MAX >> 16) as u64,
            }
        })
        .collect()
}

async fn play(episode: Episode) -> Report {
    let began = Instant::now();
    let mut chance = Chance::new(episode.seed);
    let recorder = Recorder::new(episode.seed);
    let mut service = Service::start(episode.start).await;
    let mut crowd = Crowd::gather(
        recorder.clone(),
        service.connectors.subscribe(),
        BUSY,
        &mut chance,
    );
    let mut extra = Vec::new();
    if !crowd.is_gathered().await {
        extra.push("not all user agents got their first subscriptions".to_owned());
    }
    crowd.storm(&mut chance);
    for (turn, step) in episode.steps.iter().enumerate() {
        tokio::time::sleep(chance.between(PEACE)).await;
        if *step == Step::KillNode {
            let victim = chance.below(service.nodes.len());
            kill_node(&mut service, victim, &recorder, &mut chance).await;
            continue;
        }
        recorder.enter(recorder.now(), What::StorageDown);
        match step {
            Step::KillServer => {
                service.server_mut(0).kill().await;
                tokio::time::sleep(chance.between((Duration::ZERO, Duration::from_millis(800)))).await;
                service.server_mut(0).start_again().await;
            }
            Step::FailOver => {
                fail_over(&mut service, &mut chance).await;
                service.settled().await;
            }
            _ => planned_failover(&service, &mut chance).await,
        }
        if is_well_again(&service, &crowd).await.is_none() {
            extra.push(format!("not well again after step {turn}, {step:?}"));
            break;
        }
        recorder.enter(recorder.now(), What::WellAgain);
    }
    let mut steps = vec![("struck", began.elapsed())];
    extra.extend(
        finish(
            &mut crowd,
            &recorder,
            episode.rules,
            || began.elapsed(),
            &mut steps,
        )
        .await,
    );
    crowd.disperse().await;
    let history = std::mem::take(&mut recorder.kept().entries);
    let mut report = judge(
        episode.name,
        episode.seed,
        &history,
        check(&history, episode.rules),
        extra,
    );
    (report.took, report.steps) = (began.elapsed(), steps);
    report
}

fn table(plan: &Marathon, costs: &[Cost], took: Duration) {
    let mut rows: BTreeMap<&str, Vec<&Cost>> = BTreeMap::new();
    for cost in costs {
        rows.entry(cost.name).or_default().push(cost);
        rows.entry("~all").or_default().push(cost);
    }
    println!(
        "\n| stands on | kills of nodes | kills of Redis | failovers | by order | messages | accepted | lost | repeats | \
         acknowledgements forgotten | broken | time |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for (name, costs) in rows {
        let steps = |wanted: &[Step]| -> usize {
            costs
                .iter()
                .map(|cost| cost.steps.iter().filter(|step| wanted.contains(step)).count())
                .sum()
        };
        let sum = |of: fn(&Report) -> usize| costs.iter().map(|cost| of(&cost.report)).sum::<usize>();
        let time: Duration = costs.iter().map(|cost| cost.took).sum();
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.0} s |",
            name.trim_start_matches('~'),
            steps(&[Step::KillNode]),
            steps(&[Step::KillServer, Step::FailOver]),
            steps(&[Step::FailOver, Step::PlannedFailover]),
            steps(&[Step::PlannedFailover]),
            sum(|report| report.verdict.counts.pushes),
            sum(|report| report.verdict.counts.accepted),
            sum(|report| report.verdict.counts.lost),
            sum(|report| report.verdict.counts.repeats),
            sum(|report| report.verdict.counts.forgotten),
            sum(|report| report.verdict.violations.len()),
            time.as_secs_f64(),
        );
    }
    println!(
        "\nmarathon: {:.0} s in all, seed {}",
        took.as_secs_f64(),
        plan.seed
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All kills and failovers that were asked for are dealt out, and the same seed deals them out alike.
    #[test]
    fn everything_that_was_asked_for_is_played() {
        let plan = Marathon {
            kills: 1_000,
            failovers: 100,
            seed: 7,
            jobs: 1,
            wait_replicas: "2",
        };
        let all: Vec<Step> = plan
            .episodes()
            .into_iter()
            .flat_map(|episode| episode.steps)
            .collect();
        let count = |wanted: &[Step]| all.iter().filter(|step| wanted.contains(step)).count();
        assert_eq!(count(&[Step::KillNode, Step::KillServer, Step::FailOver]), 1_000);
        assert_eq!(count(&[Step::FailOver, Step::PlannedFailover]), 100);
        assert!(count(&[Step::PlannedFailover]) >= 48);
        let again: Vec<Step> = plan
            .episodes()
            .into_iter()
            .flat_map(|episode| episode.steps)
            .collect();
        assert_eq!(all, again);
    }
}
