//! A user agent that prints each message, killed.
//!
//! The command is killed with SIGKILL: at random times, in half of the rounds after so many lines instead, so that there
//! are always lines before and after a kill; and started again on the same state. Now and then the service is killed as
//! well. What is printed comes in order, and a message comes again only if the kill fell between the line and the record
//! of it: see [`checker`].

use std::time::Duration;

use tokio::time::timeout;

use self::checker::Checker;
use super::stage::Stage;
use super::world::Load;
use super::{Ledger as _, Over, SUBSCRIPTIONS};
use crate::chance::Chance;
use crate::listener::Listener;
use crate::plan::Plan;
use crate::within;

pub mod checker;

/// In half of the rounds the user agent is killed within this time after its start: from before its first connection to
/// well into its messages.
const LIFE: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(300));
/// In the others after so many lines at most. Chosen: fewer than a service has on the wire at once, and than are sent in the
/// meantime; so the next messages wait in the user agent when it is killed, and again the next time, and must not be
/// taken for messages that were tried.
const LINES: usize = 16;
/// Once in so many rounds the service is killed as well.
const NODE_KILLED_ONCE_IN: usize = 6;
/// Senders wait while so many messages do: more than the longest life prints, so that no kill finds the user agent without
/// work, and no more than the drain has time for on a slow disk.
const BACKLOG: usize = 1_000;
/// The longest filler of a text, in bytes. Chosen: with it a text fills a third of a message.
const MOST_FILLER: usize = 900;
/// How long the drain may take: a user agent that has missed its service for a while is patient.
const DRAIN: Duration = Duration::from_secs(60);

/// Starts and kills the user agent.
struct Killer {
    stage: Stage<Checker>,
    chance: Chance,
    nodes_killed: usize,
}

/// Plays the plan and returns a summary.
///
/// # Panics
///
/// When something was lost, came twice without need, or changed; with every breach.
pub async fn run(plan: Plan) -> String {
    println!("the agent killed: {} kills, seed {}", plan.rounds, plan.seed);
    let mut chance = Chance::new(plan.seed);
    let load = Load {
        backlog: BACKLOG,
        most_filler: MOST_FILLER,
    };
    let mut killer = Killer {
        stage: Stage::set(Over::WebSocket, load, &mut chance, Checker::new).await,
        chance,
        nodes_killed: 0,
    };
    for round in 0..plan.rounds {
        killer.round(round).await;
    }
    killer.stage.calm().await;
    killer.drain().await;
    killer.closing_words().await;
    let (breaches, summary) = {
        let checker = killer.stage.world.checker();
        (checker.audit(), checker.summary())
    };
    let summary = format!(
        "{} kills of the user agent and {} of the service: {summary}",
        plan.rounds, killer.nodes_killed
    );
    killer.stage.audit(plan, &breaches, &summary).await
}

impl Killer {
    /// One life of the user agent.
    async fn round(&mut self, round: usize) {
        self.stage.world.checker().life_begins();
        let mut listener = self.stage.agent.listen(&[]);
        if self.chance.one_in(NODE_KILLED_ONCE_IN) {
            // Running out is how this is meant to end.
            let life = self.chance.between(LIFE);
            let _ = timeout(life, self.read(&mut listener, usize::MAX)).await;
            self.stage.service_killed().await;
            self.nodes_killed += 1;
        }
        if round.is_multiple_of(2) {
            let lines = 1 + self.chance.below(LINES);
            let goes_on = within("the lines come", self.read(&mut listener, lines)).await;
            assert!(goes_on, "it ended by itself: {}", listener.log().text());
        } else {
            // Running out is how this round is meant to end.
            let _ = timeout(self.chance.between(LIFE), self.read(&mut listener, usize::MAX)).await;
        }
        listener.kill().await;
        self.read(&mut listener, usize::MAX).await;
    }

    /// Enters so many lines, or all that come before the user agent is gone; then it is `false`. Cancel safe.
    async fn read(&self, listener: &mut Listener, lines: usize) -> bool {
        for _ in 0..lines {
            let Some(line) = listener.line().await else {
                return false;
            };
            self.stage.world.enter(|checker| checker.printed(&line));
        }
        true
    }

    /// The last life before the end: everything comes, and the user agent goes in peace.
    async fn drain(&mut self) {
        self.stage.world.checker().life_begins();
        let mut listener = self.stage.agent.listen(&[]);
        let drained = async {
            while self.stage.world.checker().sent().missing() > 0 {
                let goes_on = self.read(&mut listener, 1).await;
                assert!(goes_on, "it ended by itself: {}", listener.log().text());
            }
        };
        if timeout(DRAIN, drained).await.is_err() {
            let mut checker = self.stage.world.checker();
            panic!(
                "not within {DRAIN:?}: {} messages; {}\n{}",
                checker.sent().missing(),
                checker.summary(),
                checker.audit().join("\n")
            );
        }
        listener.terminate();
        let ended = listener.ended().await;
        assert!(ended.success(), "{ended}: {}", listener.log().text());
        self.read(&mut listener, usize::MAX).await;
        self.stage.world.checker().life_ended_in_peace();
    }

    /// A user agent that comes back now receives only what is sent now: a repeated message would come before it.
    async fn closing_words(&mut self) {
        self.stage.closing_words().await;
        self.stage.world.checker().life_begins();
        let count = SUBSCRIPTIONS.len().to_string();
        let mut listener = self.stage.agent.listen(&["--count", &count]);
        let ended = listener.ended().await;
        assert!(ended.success(), "{ended}: {}", listener.log().text());
        self.read(&mut listener, usize::MAX).await;
    }
}
