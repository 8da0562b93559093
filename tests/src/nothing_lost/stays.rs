//! The stays of a user agent, over any protocol: to which node it connects, for how long, and when it comes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checker::{Connection, NodeNumber};
use super::{Habit, Phase, World};
use crate::chance::Chance;
use crate::connector::Connector;

/// A message is acknowledged within this time after its arrival, unless the connection ends before.
const HESITATION: (Duration, Duration) = (Duration::ZERO, Duration::from_millis(200));
/// Acknowledgements go out together, so often.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// How long a user agent that comes and goes is away, and how long it stays.
const ABSENCE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1_500));

/// What decides the stays of one user agent, from one connection to the next.
pub(super) struct Stays {
    pub(super) world: Arc<World>,
    pub(super) number: usize,
    pub(super) habit: Habit,
    pub(super) chance: Chance,
    /// Where it was last.
    node: Option<NodeNumber>,
}

impl Stays {
    pub(super) fn new(world: Arc<World>, number: usize, chance: Chance) -> Self {
        Self {
            habit: (world.habit)(number),
            world,
            number,
            chance,
            node: None,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        *self.world.phase.borrow()
    }

    /// The node where it belongs, else another than the last; `None` when the test is over.
    pub(super) async fn next_connector(&mut self) -> Option<(NodeNumber, Connector)> {
        let (node, connector) = match self.habit {
            Habit::StaysFor(node) => (node, self.world.connectors.of(node).await?),
            Habit::Stays | Habit::ComesAndGoes => {
                let connectors = &self.world.connectors;
                connectors.any_but(self.node, &mut self.chance).await?
            }
        };
        self.node = Some(node);
        Some((node, connector))
    }

    /// When a visit that begins now ends, of one who comes and goes.
    pub(super) fn goes_at(&mut self) -> Instant {
        Instant::now() + self.chance.between(ABSENCE)
    }

    /// When a message that arrives now is to be acknowledged.
    pub(super) fn acknowledges_at(&mut self) -> Instant {
        let hesitation = match self.phase() {
            Phase::Drain | Phase::Leave => Duration::ZERO,
            Phase::Gather | Phase::Storm => self.chance.between(HESITATION),
        };
        Instant::now() + hesitation
    }

    /// Whether a visit is over. `is_settled` says that nothing is left to be acknowledged.
    pub(super) fn goes(&self, connection: Connection, goes_at: Instant, is_settled: bool) -> bool {
        match self.phase() {
            Phase::Gather => false,
            Phase::Storm => self.habit == Habit::ComesAndGoes && Instant::now() >= goes_at,
            Phase::Drain => {
                !matches!(self.habit, Habit::StaysFor(_)) && self.world.checker().is_superseded(connection)
            }
            Phase::Leave => is_settled,
        }
    }

    /// Says how the connection of a user agent ended that was to keep it: the count of connections will tell that it did.
    pub(super) fn was_closed(&self, how: &dyn std::fmt::Debug) {
        if matches!(self.habit, Habit::StaysFor(_)) && self.phase() != Phase::Leave {
            println!("user agent {} was closed: {how:?}", self.number);
        }
    }

    pub(super) async fn be_away(&mut self) {
        let mut phase = self.world.phase.clone();
        if self.habit == Habit::ComesAndGoes && *phase.borrow_and_update() == Phase::Storm {
            let absence = self.chance.between(ABSENCE);
            // Ends early when the storm does.
            let _ = tokio::time::timeout(absence, phase.changed()).await;
        }
    }
}
