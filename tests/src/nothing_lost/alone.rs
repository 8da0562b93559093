//! One node with embedded storage: killed, sometimes while it is still starting, and started again on the same data and port.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::checker::NodeNumber;
use super::connectors::{Connectors, DoorsNow};
use super::line::Manner;
use super::{FEW_PUSHES, Habit, MANY_PUSHES, Service, Speech, World, queues};
use crate::chance::Chance;
use crate::node::Node;
use crate::plan::Plan;
use crate::settings::Settings;

/// The node lives this long between two kills.
const LIFE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1_800));
/// Within this time after its start the node may be killed again, listening or not.
const STUMBLE: Duration = Duration::from_millis(60);

pub(super) struct Alone {
    node: Node,
    connectors: watch::Sender<DoorsNow>,
}

impl Alone {
    pub(super) async fn start() -> Self {
        let node = Node::start(queues(Settings::new())).await;
        let connectors = watch::Sender::new(vec![Some(node.connector())]);
        Self { node, connectors }
    }
}

impl Service for Alone {
    const NODES: usize = 1;
    const USER_AGENTS: usize = 8;
    /// Chosen, because all senders together then send about as much as user agents that hesitate can take, so that both
    /// ways are taken: through a session that keeps up and through one that pages.
    const PAUSE: Duration = Duration::from_millis(8);

    fn connectors(&self) -> Connectors {
        Connectors::new(self.connectors.subscribe(), 1)
    }

    /// Every second one comes and goes.
    fn habit(user_agent: usize) -> Habit {
        match user_agent % 2 {
            0 => Habit::Stays,
            _ => Habit::ComesAndGoes,
        }
    }

    /// One in two the WebSocket, whatever its habit.
    fn speech(user_agent: usize) -> Speech {
        match user_agent % 8 {
            2 => Speech::Rfc8030(Manner::Push(FEW_PUSHES)),
            3 | 7 => Speech::Rfc8030(Manner::Push(MANY_PUSHES)),
            6 => Speech::Rfc8030(Manner::Events(None)),
            _ => Speech::WebSocket,
        }
    }

    fn listens_at(_sender: usize) -> Option<NodeNumber> {
        None
    }

    async fn storm(&mut self, plan: Plan, chance: &mut Chance, world: &World) {
        for _ in 0..plan.rounds {
            tokio::time::sleep(chance.between(LIFE)).await;
            self.connectors.send_replace(vec![None]);
            world.checker().killed(0, Instant::now());
            self.node.kill().await;
            while chance.one_in(5) {
                self.node.stumble(chance.between((Duration::ZERO, STUMBLE))).await;
            }
            self.node.start_again().await;
            self.connectors.send_replace(vec![Some(self.node.connector())]);
        }
    }

    async fn deafen(&mut self) {}

    async fn hear_again(&mut self) {}
}
