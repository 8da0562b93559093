//! A user agent whose handlers work, die and find what they need away.
//!
//! The command runs a handler for each message (`workshop`). A life of it ends by SIGKILL, by a signal, or by a second
//! one that ends what is in hand; handlers are killed beside it; what they need is taken away for one life or for several;
//! and now and then the service is killed as well. None of that is a message's fault: every message is handled in the end,
//! and a message is handled twice only after a kill between its work and the record of it (see [`checker`]).

use std::time::Duration;

use tokio::time::timeout;

use self::checker::{Checker, End};
use self::workshop::{Away, Death, Workshop};
use super::stage::Stage;
use super::world::Load;
use super::{Ledger as _, Over};
use crate::PATIENCE;
use crate::chance::Chance;
use crate::listener::Listener;
use crate::plan::Plan;

pub mod checker;

mod workshop;

/// A life that ends at a random time ends within this: before its first connection, or well into its messages.
const LIFE: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(400));
/// Others end when so many handlers have begun, at most. Chosen: few, so that the same messages are in hand again and again.
const BEGUN: usize = 3;
/// How many handlers may run at once, in one life of three; in the others it is one.
const JOBS: usize = 4;
/// How long a handler may work in a life, in seconds: none to speak of; as a command does; and longer than the next life
/// needs to begin its first handler, so that what a kill leaves behind is seen.
const WORK: [f64; 3] = [0.0, 0.03, 0.3];
/// A message may be cut off so often before it is left alone until it is handled. Chosen: more often than it may fail, and
/// less often than it may crash its user agent.
const CUTS: usize = 5;
/// How many handlers are killed in one life, at most.
const VICTIMS: usize = 4;
/// How many lives an outage lasts, at most. Chosen: more than a message may fail.
const OUTAGE_LIVES: usize = 5;
/// How long handlers can't work in one of these lives, at most.
const OUTAGE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(600));
/// The last round of so many is a long outage, in one life.
const LONG_OUTAGE_EVERY: usize = 40;
/// How long it takes. Chosen: a message that fails is tried three times in less.
const LONG_OUTAGE: Duration = Duration::from_secs(8);
/// Once in so many lives the service is killed as well.
const NODE_KILLED_ONCE_IN: usize = 8;
/// Senders wait while so many messages do: more than the longest life handles.
const BACKLOG: usize = 60;
/// The longest filler of a text, in bytes. Chosen: in base64 it is a short line of a pipe.
const MOST_FILLER: usize = 300;
/// What a user agent prints if it is stopped before it has taken anything.
const NOT_BEGUN: &str = "interrupted at start";
/// How long the drain may take: a user agent whose handlers could not work for a while is patient.
const DRAIN: Duration = Duration::from_secs(60);

/// Starts, stops and kills the user agent, and takes away what handlers need.
struct Killer {
    stage: Stage<Checker>,
    chance: Chance,
    workshop: Workshop,
    services_killed: usize,
    outages: usize,
}

/// Plays the plan and returns a summary.
///
/// # Panics
///
/// When something was lost or given up, was handled twice without need, or changed; with every breach.
pub async fn run(over: Over, plan: Plan) -> String {
    println!(
        "the agent's handlers: {} rounds over {over:?}, seed {}",
        plan.rounds, plan.seed
    );
    let mut chance = Chance::new(plan.seed);
    let load = Load {
        backlog: BACKLOG,
        most_filler: MOST_FILLER,
    };
    let mut killer = Killer {
        stage: Stage::set(over, load, &mut chance, Checker::new).await,
        chance,
        workshop: Workshop::open(),
        services_killed: 0,
        outages: 0,
    };
    for round in 1..=plan.rounds {
        killer.round(round).await;
    }
    killer.stage.calm().await;
    killer.drain().await;
    killer.stage.closing_words().await;
    killer.drain().await;
    let (breaches, summary) = {
        let checker = killer.stage.world.checker();
        (checker.audit(), checker.summary())
    };
    let summary = format!(
        "{} rounds with {} outages and {} kills of the service: {summary}",
        plan.rounds, killer.outages, killer.services_killed
    );
    killer.stage.audit(plan, &breaches, &summary).await
}

impl Killer {
    async fn round(&mut self, round: usize) {
        if self.stage.world.checker().most_cuts() >= CUTS {
            return self.left_alone().await;
        }
        if round.is_multiple_of(LONG_OUTAGE_EVERY) {
            return self.long_outage().await;
        }
        match self.chance.below(8) {
            0 | 1 => {
                let (mut listener, life) = (self.begin().await, self.chance.between(LIFE));
                self.watch_for(&mut listener, life).await;
                self.end(listener, End::Killed).await;
            }
            2..=5 => {
                let (mut listener, more) = (self.begin().await, 1 + self.chance.below(BEGUN));
                self.watch(&mut listener, Checker::begun, more).await;
                let end = self.any_end();
                self.end(listener, end).await;
            }
            6 => self.handlers_killed().await,
            _ => self.outage().await,
        }
    }

    /// A life without trouble, for a message that had much of it.
    async fn left_alone(&mut self) {
        let mut listener = self.begin().await;
        while self.stage.world.checker().most_cuts() >= CUTS {
            self.watch(&mut listener, Checker::handled, 1).await;
        }
        self.end(listener, End::InOrder).await;
    }

    async fn handlers_killed(&mut self) {
        let mut listener = self.begin().await;
        for _ in 0..=self.chance.below(VICTIMS) {
            self.watch(&mut listener, Checker::begun, 1).await;
            let chance = &mut self.chance;
            let victim = self.stage.world.checker().victim(|able| chance.below(able));
            if let Some(victim) = victim {
                let deaths = [Death::Command, Death::Group, Death::Terminated];
                self.workshop
                    .kill(victim, deaths[self.chance.below(deaths.len())]);
            }
        }
        self.watch(&mut listener, Checker::handled, 1).await;
        let end = self.any_end();
        self.end(listener, end).await;
    }

    /// What handlers need is away, for one life or more; half of the time it comes back within the last of them.
    async fn outage(&mut self) {
        self.outages += 1;
        let aways = [Away::Needed, Away::Needed, Away::Command, Away::Right];
        let away = aways[self.chance.below(aways.len())];
        let begins_within = self.chance.one_in(2);
        if !begins_within {
            self.workshop.set(Some(away));
        }
        for _ in 0..=self.chance.below(OUTAGE_LIVES) {
            let mut listener = self.begin().await;
            if begins_within {
                self.workshop.set(Some(away));
            }
            let outage = self.chance.between(OUTAGE);
            self.watch_for(&mut listener, outage).await;
            let end = self.any_end();
            self.end(listener, end).await;
        }
        let mut listener = self.begin().await;
        let outage = self.chance.between(OUTAGE);
        self.watch_for(&mut listener, outage).await;
        self.workshop.set(None);
        if self.chance.one_in(2) {
            self.watch(&mut listener, Checker::handled, 1).await;
        }
        let end = self.any_end();
        self.end(listener, end).await;
    }

    async fn long_outage(&mut self) {
        self.outages += 1;
        let mut listener = self.begin().await;
        self.watch(&mut listener, Checker::handled, 1).await;
        self.workshop.set(Some(Away::Needed));
        self.watch_for(&mut listener, LONG_OUTAGE).await;
        self.workshop.set(None);
        self.watch(&mut listener, Checker::handled, 1).await;
        self.end(listener, End::InOrder).await;
    }

    /// Everything is handled, and the user agent goes in peace.
    async fn drain(&mut self) {
        let mut listener = self.begin_with(JOBS, WORK[0]);
        let drained = async {
            while self.stage.world.checker().sent().missing() > 0 {
                self.watch(&mut listener, Checker::handled, 1).await;
            }
        };
        if timeout(DRAIN, drained).await.is_err() {
            self.stalled(DRAIN);
        }
        self.end(listener, End::InOrder).await;
    }

    /// A life begins. Now and then the service has a new one as well.
    async fn begin(&mut self) -> Listener {
        let jobs = if self.chance.one_in(3) {
            1 + self.chance.below(JOBS)
        } else {
            1
        };
        let work = WORK[self.chance.below(WORK.len())];
        let mut listener = self.begin_with(jobs, work);
        if self.chance.one_in(NODE_KILLED_ONCE_IN) {
            let life = self.chance.between(LIFE);
            self.watch_for(&mut listener, life).await;
            self.stage.service_killed().await;
            self.services_killed += 1;
        }
        listener
    }

    fn begin_with(&self, jobs: usize, seconds: f64) -> Listener {
        let life = self.stage.world.checker().life_begins(jobs);
        let line = self.workshop.line(life, seconds);
        self.stage
            .agent
            .listen_with_handler(&line, &["--jobs", &jobs.to_string()])
    }

    async fn end(&mut self, mut listener: Listener, end: End) {
        if end == End::Killed {
            listener.kill().await;
        } else {
            if end == End::InOrder {
                listener.terminate();
            } else {
                listener.terminate_in_haste();
            }
            let status = listener.ended().await;
            let is_well = match end {
                End::InOrder => status.success() || listener.log().text().contains(NOT_BEGUN),
                End::InHaste | End::Killed => status.code().is_some(),
            };
            if !is_well {
                let breach = format!("stopped {end:?} it ended with {status}");
                self.stage.world.checker().breach(&breach);
            }
        }
        for said in self.workshop.said_so_far().await {
            self.stage.world.enter(|checker| checker.said(said));
        }
        self.stage.world.checker().life_ended(end);
        listener.log().wait_for_end().await;
        for line in listener.log().text().lines() {
            if line.contains("given up") || line.contains("panicked") {
                self.stage.world.checker().breach(line);
            }
        }
    }

    fn any_end(&mut self) -> End {
        let ends = [End::Killed, End::Killed, End::InOrder, End::InHaste];
        ends[self.chance.below(ends.len())]
    }

    /// Enters what handlers say until this figure of the checker has grown by so much.
    async fn watch(&mut self, listener: &mut Listener, figure: fn(&Checker) -> usize, more: usize) {
        let until = figure(&self.stage.world.checker()) + more;
        let grown = async {
            while figure(&self.stage.world.checker()) < until {
                self.next(listener).await;
            }
        };
        if timeout(PATIENCE, grown).await.is_err() {
            self.stalled(PATIENCE);
        }
    }

    /// Handlers should have gone on: the checker may tell why they did not.
    fn stalled(&self, waited: Duration) -> ! {
        let mut checker = self.stage.world.checker();
        panic!(
            "not within {waited:?}: {} messages; {}\n{}",
            checker.sent().missing(),
            checker.summary(),
            checker.audit().join("\n")
        );
    }

    /// Enters what handlers say for so long.
    async fn watch_for(&mut self, listener: &mut Listener, time: Duration) {
        let endless = async {
            loop {
                self.next(listener).await;
            }
        };
        // Running out is how this is meant to end.
        let _: Result<(), _> = timeout(time, endless).await;
    }

    /// Enters what a handler says next. Cancel safe.
    async fn next(&mut self, listener: &mut Listener) {
        tokio::select! {
            said = self.workshop.said() => self.stage.world.enter(|checker| checker.said(said)),
            _ = listener.line() => panic!("it ended by itself: {}", listener.log().text()),
        }
    }
}
