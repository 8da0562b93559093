//! Plays one row: peers use the service, it suffers the fault and recovers, and the history is checked.

use std::fmt;
use std::time::{Duration, Instant};

use super::check::{self, Kind, Lost, Rules, Verdict, Violation, check};
use super::crowd::{Busy, Crowd};
use super::history::{Entry, Recorder, Time, What};
use super::rows::{Row, SLACK, Senders};
use super::topology::Service;
use crate::chance::Chance;

/// How busy the peers are.
const BUSY: Busy = Busy {
    residents: 4,
    visitors: 3,
    absent: 1,
    newcomer_every: Duration::from_millis(400),
    pause: Duration::from_millis(60),
};

/// The longest time to recover, on any machine: after it the trial gives up.
const NEVER: Duration = Duration::from_secs(60);
/// If no message arrives for this time, although all user agents are connected, the missing ones are lost. Chosen:
/// several times the period of `cluster.reconcile`.
const STAYS_AWAY: Duration = Duration::from_secs(20);
/// How long user agents may take to come back: one that attached often has to wait.
const ARRIVES_WITHIN: Duration = Duration::from_secs(45);
/// How long receipts may take. Those of expired messages wait for a sweep of a node, a minute at most.
const TOLD_WITHIN: Duration = Duration::from_secs(75);
/// How long to wait for returning messages after all user agents are back. They would come first.
const ECHO_WITHIN: Duration = Duration::from_millis(600);
/// Violations of each kind that are shown in full.
const SHOWN: usize = 2;

/// The result of a trial.
#[derive(Debug)]
pub struct Report {
    /// The row's name.
    pub row: &'static str,
    /// Its seed.
    pub seed: u64,
    /// How long it took.
    pub took: Duration,
    /// How long the service took to recover.
    pub well_again: Option<Duration>,
    /// When each phase ended, since the start.
    pub steps: Vec<(&'static str, Duration)>,
    /// The result of the check.
    pub verdict: Verdict,
    /// The violations, each with the entries that prove it.
    pub excerpts: Vec<String>,
}

/// Plays a row.
pub async fn play(row: &Row, seed: u64) -> Report {
    let began = Instant::now();
    let mut chance = Chance::new(seed);
    let recorder = Recorder::new(seed);
    let mut service = Service::start(row.start).await;
    let mut crowd = Crowd::gather(
        recorder.clone(),
        service.connectors.subscribe(),
        BUSY,
        &mut chance,
    );
    let mut extra = Vec::new();
    let mut steps = vec![("started", began.elapsed())];
    if !crowd.is_gathered().await {
        extra.push("not all user agents got their first subscriptions".to_owned());
    }
    crowd.storm(&mut chance);
    tokio::time::sleep(chance.between((Duration::from_millis(700), Duration::from_millis(1_500)))).await;
    row.nemesis.strike(&mut service, &recorder, &mut chance).await;
    steps.push(("struck", began.elapsed()));
    let mut well_again = None;
    if row.rules.lost != Lost::NotAsked {
        well_again = is_well_again(&service, &crowd).await;
        match well_again {
            None => extra.push(format!("not well again within {NEVER:?}")),
            Some(after) if after > Duration::from_millis(row.well_again) + SLACK => {
                extra.push(format!("well again only after {after:?}"));
            }
            Some(_) => {}
        }
        recorder.enter(recorder.now(), What::WellAgain);
        tokio::time::sleep(chance.between((Duration::from_millis(400), Duration::from_millis(900)))).await;
        extra.extend(finish(&mut crowd, &recorder, row.rules, || began.elapsed(), &mut steps).await);
    }
    crowd.disperse().await;
    let history = std::mem::take(&mut recorder.kept().entries);
    let mut report = judge(row.id, seed, &history, check(&history, row.rules), extra);
    let refusals = times(row, &report.verdict);
    report.verdict.violations.extend(refusals.iter().cloned());
    report.excerpts.extend(
        refusals
            .iter()
            .map(|violation| check::excerpt(&history, violation)),
    );
    (report.took, report.well_again, report.steps) = (began.elapsed(), well_again, steps);
    report
}

/// Application servers stop and all user agents connect; every message arrives and is acknowledged, and every receipt
/// is told. Then all user agents connect once more.
pub async fn finish(
    crowd: &mut Crowd,
    recorder: &Recorder,
    rules: Rules,
    now: impl Fn() -> Duration,
    steps: &mut Vec<(&'static str, Duration)>,
) -> Vec<String> {
    let mut extra = Vec::new();
    crowd.drain().await;
    let is_all = until_none(STAYS_AWAY, || check::missing(&recorder.kept().entries).len()).await;
    // Some user agents have to wait before they may connect again.
    let since = recorder.now().saturating_sub(STAYS_AWAY.as_micros() as Time);
    let mut stayed_away = check::missing(&recorder.kept().entries);
    // A user agent that may be lost itself may hear nothing on its old channel.
    stayed_away.retain(|number| {
        rules.lost != Lost::Recent && check::is_connected_since(&recorder.kept().entries, *number, since)
    });
    steps.push(("arrived", now()));
    crowd.come_back();
    if !crowd.is_back(ARRIVES_WITHIN).await {
        extra.push("not every user agent could connect at the end and acknowledge what came".to_owned());
    }
    steps.push(("back", now()));
    tokio::time::sleep(ECHO_WITHIN).await;
    // If messages are lost, so are their receipts.
    let patience = if is_all { TOLD_WITHIN } else { STAYS_AWAY / 4 };
    until_none(patience, || check::untold(&recorder.kept().entries)).await;
    steps.push(("told", now()));
    // A lost message stays away for good. These came only when their user agents connected again (PR-14).
    let lost = check::missing(&recorder.kept().entries);
    let late = stayed_away.iter().filter(|number| !lost.contains(number));
    extra.extend(late.map(|number| {
        format!("message {number} stayed away for {STAYS_AWAY:?}, until its user agent connected again")
    }));
    extra
}

/// The result of the check, with what the trial itself found, and the violations in full.
pub fn judge(
    row: &'static str,
    seed: u64,
    history: &[Entry],
    mut verdict: Verdict,
    extra: Vec<String>,
) -> Report {
    verdict.violations.extend(extra.into_iter().map(|what| Violation {
        kind: Kind::Status,
        what,
        proof: Vec::new(),
    }));
    let shown = verdict.violations.iter().take(SHOWN);
    let excerpts = shown
        .map(|violation| check::excerpt(history, violation))
        .collect();
    Report {
        row,
        seed,
        took: Duration::ZERO,
        well_again: None,
        steps: Vec::new(),
        verdict,
        excerpts,
    }
}

/// Waits until all nodes are ready and each accepts pushes again; returns how long that took.
pub async fn is_well_again(service: &Service, crowd: &Crowd) -> Option<Duration> {
    let began = Instant::now();
    crowd.shared.all_accept(NEVER).await?;
    for node in 0..service.nodes.len() {
        while !service.is_ready(node).await {
            if began.elapsed() > NEVER {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Some(began.elapsed())
}

/// Waits until the list is empty, or has not changed for this time; returns whether it is empty.
async fn until_none(patience: Duration, count: impl Fn() -> usize) -> bool {
    let mut last = (count(), Instant::now());
    while last.0 > 0 && last.1.elapsed() < patience {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let now = count();
        if now < last.0 {
            last = (now, Instant::now());
        }
    }
    last.0 == 0
}

/// Checks the answers that senders got against the row.
fn times(row: &Row, verdict: &Verdict) -> Vec<Violation> {
    let counts = &verdict.counts;
    let what = match row.senders {
        Senders::Nothing if counts.refused > 0 => {
            format!("{} pushes were refused, and none should be", counts.refused)
        }
        Senders::Refused(within)
            if u128::from(counts.longest_refusal)
                > (Duration::from_millis(within) + SLACK / 3).as_micros() =>
        {
            format!(
                "a push was refused only after {:.1} s",
                counts.longest_refusal as f64 / 1e6
            )
        }
        _ => return Vec::new(),
    };
    vec![Violation {
        kind: Kind::Status,
        what,
        proof: Vec::new(),
    }]
}

impl Report {
    /// Whether the promise was kept.
    pub fn is_well(&self) -> bool {
        self.verdict.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_well() { "kept" } else { "BROKEN" };
        let Self {
            row, seed, verdict, ..
        } = self;
        write!(
            f,
            "{word:6} {row} --seed {seed}: {} violations; {}",
            verdict.violations.len(),
            verdict.counts
        )?;
        if let Some(after) = self.well_again {
            write!(f, "; well again after {:.1} s", after.as_secs_f64())?;
        }
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|(name, at)| format!("{name} {:.1}", at.as_secs_f64()))
            .collect();
        write!(
            f,
            "; took {:.1} s ({})",
            self.took.as_secs_f64(),
            steps.join(", ")
        )?;
        if !self.is_well() {
            let mut kinds = std::collections::BTreeMap::<Kind, usize>::new();
            for violation in &verdict.violations {
                *kinds.entry(violation.kind).or_default() += 1;
            }
            write!(f, "\n  {kinds:?}")?;
            for excerpt in &self.excerpts {
                write!(f, "\n  {excerpt}")?;
            }
        }
        Ok(())
    }
}
