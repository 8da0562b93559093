//! Four nodes on a Redis Cluster: three that are killed one by one or two at once, and a quiet one, to which
//! no messages are sent and which is not killed.
//!
//! A third of the user agents stays at the quiet node, on one connection: whatever happens to the nodes where messages are
//! accepted, and to wake-ups on their way, they get everything without coming back. Others move from node to node.
//!
//! Between nodes and Redis stands a [`Gate`] before each member. Wake-ups stall there or lose their connection, and now and
//! then a member can't be reached at all. Members announce their gates to all clients, so all nodes suffer alike.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::checker::NodeNumber;
use super::connectors::{Connectors, DoorsNow};
use super::line::Manner;
use super::{FEW_PUSHES, Habit, MANY_PUSHES, Service, Speech, World, queues};
use crate::chance::Chance;
use crate::node::Node;
use crate::plan::Plan;
use crate::redis::Cluster;
use crate::redis::gate::{Gate, Way, Which};
use crate::settings::Settings;

/// Nodes that are killed, and at which application servers send.
const KILLED: usize = 3;
/// The node that is left in peace.
const QUIET: usize = KILLED;
/// Members of the cluster.
const MEMBERS: usize = 3;
/// Between two kills.
const LIFE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1_500));
/// Within this time after its start a node may be killed again, listening or not.
const STUMBLE: Duration = Duration::from_millis(200);
/// Between two faults of the network.
const PEACE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(2_000));
/// How long wake-ups stall: mostly unnoticed, one time in three longer than the 5 s in which a node finds a silent connection.
const STALL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1_500));
const LONG_STALL: (Duration, Duration) = (Duration::from_millis(5_000), Duration::from_millis(8_000));
/// How long a member can't be reached.
const CUT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(800));
/// Messages are sent for so long while no node hears wake-ups.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// What stands still, and what is closed: the connections that wake-ups come on.
const WAKE_UPS: Which = Which::Said("SSUBSCRIBE");

pub(super) struct OnCluster {
    // Nodes go before what they stand on.
    nodes: Vec<Node>,
    connectors: watch::Sender<DoorsNow>,
    network: Network,
}

/// What is between the nodes and Redis, and Redis itself.
struct Network {
    gates: Vec<Gate>,
    cluster: Cluster,
    closed: i64,
}

impl OnCluster {
    /// Starts the nodes; each compares its sessions with storage so often.
    pub(super) async fn start(reconcile: Duration) -> Self {
        let cluster = Cluster::start(MEMBERS, 0).await;
        let mut gates = Vec::new();
        for member in 0..MEMBERS {
            gates.push(cluster.gate_before(member).await);
        }
        let addresses: Vec<_> = gates.iter().map(|gate| gate.address().to_string()).collect();
        let url = format!("redis+cluster://{}", addresses.join(","));
        let mut nodes = Vec::new();
        for _ in 0..=KILLED {
            let settings = Settings::new()
                .redis(&url)
                .set("public_url", "http://push.test")
                .set("cluster.reconcile", format!("{}s", reconcile.as_secs()));
            nodes.push(Node::start(queues(settings)).await);
        }
        let connectors = watch::Sender::new(nodes.iter().map(|node| Some(node.connector())).collect());
        let network = Network {
            gates,
            cluster,
            closed: 0,
        };
        Self {
            nodes,
            connectors,
            network,
        }
    }
}

impl Service for OnCluster {
    const NODES: usize = KILLED + 1;
    const USER_AGENTS: usize = 9;
    /// Chosen, because four nodes and three servers then keep up on two cores.
    const PAUSE: Duration = Duration::from_millis(60);

    fn connectors(&self) -> Connectors {
        Connectors::new(self.connectors.subscribe(), KILLED)
    }

    fn habit(user_agent: usize) -> Habit {
        match user_agent % 3 {
            0 => Habit::StaysFor(QUIET),
            1 => Habit::Stays,
            _ => Habit::ComesAndGoes,
        }
    }

    /// Each habit in three ways.
    fn speech(user_agent: usize) -> Speech {
        match user_agent {
            0..3 => Speech::WebSocket,
            3 => Speech::Rfc8030(Manner::Push(FEW_PUSHES)),
            4 | 5 | 7 => Speech::Rfc8030(Manner::Push(MANY_PUSHES)),
            _ => Speech::Rfc8030(Manner::Events(None)),
        }
    }

    /// Every third at the quiet node: by events and by pushes.
    fn listens_at(sender: usize) -> Option<NodeNumber> {
        sender.is_multiple_of(3).then_some(QUIET)
    }

    async fn storm(&mut self, plan: Plan, chance: &mut Chance, world: &World) {
        let is_over = watch::Sender::new(false);
        let (mut killing, mut failing) = (chance.fork(), chance.fork());
        let kills = async {
            for _ in 0..plan.rounds {
                tokio::time::sleep(killing.between(LIFE)).await;
                kill(&mut self.nodes, &self.connectors, &mut killing, world).await;
            }
            is_over.send_replace(true);
        };
        let faults = async {
            for turn in 0.. {
                tokio::time::sleep(failing.between(PEACE)).await;
                if *is_over.borrow() {
                    break;
                }
                self.network.fail(turn, &mut failing, world).await;
            }
        };
        tokio::join!(kills, faults);
        assert!(self.network.closed > 0, "no connection of wake-ups was closed");
    }

    /// No wake-up comes any more, and no error says so.
    async fn deafen(&mut self) {
        for gate in &self.network.gates {
            gate.stall(WAKE_UPS, Way::Both);
        }
        tokio::time::sleep(LAST_WORDS).await;
    }

    async fn hear_again(&mut self) {
        for gate in &mut self.network.gates {
            gate.resume().await;
        }
    }
}

/// Kills a node or two, and starts them again.
async fn kill(nodes: &mut [Node], connectors: &watch::Sender<DoorsNow>, chance: &mut Chance, world: &World) {
    let first = chance.below(KILLED);
    let mut victims = vec![first];
    if chance.one_in(4) {
        victims.push((first + 1) % KILLED);
    }
    for victim in &victims {
        connectors.send_modify(|connectors| connectors[*victim] = None);
        world.checker().killed(*victim, Instant::now());
        nodes[*victim].kill().await;
    }
    for victim in victims {
        while chance.one_in(5) {
            nodes[victim]
                .stumble(chance.between((Duration::ZERO, STUMBLE)))
                .await;
        }
        nodes[victim].start_again().await;
        connectors.send_modify(|connectors| connectors[victim] = Some(nodes[victim].connector()));
    }
}

impl Network {
    /// One fault, from its beginning to its end; all kinds have their turn.
    async fn fail(&mut self, turn: usize, chance: &mut Chance, world: &World) {
        let member = chance.below(MEMBERS);
        match turn % 6 {
            5 => {
                world.checker().storage_goes(Instant::now());
                self.gates[member].cut().await;
                tokio::time::sleep(chance.between(CUT)).await;
                self.gates[member].resume().await;
                world.checker().storage_is_back(Instant::now());
            }
            0 | 3 => {
                let kill = ["CLIENT", "KILL", "TYPE", "pubsub"];
                let closed = self.cluster.servers()[member].command(&kill).await;
                self.closed += closed.integer();
            }
            4 => self.stall(0..MEMBERS, chance).await,
            _ => self.stall(member..member + 1, chance).await,
        }
    }

    /// Wake-ups of these members stand still for a while.
    async fn stall(&mut self, members: std::ops::Range<usize>, chance: &mut Chance) {
        let way = [Way::ToClient, Way::ToServer, Way::Both][chance.below(3)];
        for gate in &self.gates[members.clone()] {
            gate.stall(WAKE_UPS, way);
        }
        let length = if chance.one_in(3) { LONG_STALL } else { STALL };
        tokio::time::sleep(chance.between(length)).await;
        for gate in &mut self.gates[members] {
            gate.resume().await;
        }
    }
}
