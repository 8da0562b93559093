//! The faults that the service suffers while peers use it.
//!
//! Contract: [`Nemesis::strike`] causes the fault, holds it for a time that follows from the seed, ends it, and
//! returns when the topology reports that it is whole: then the service has to recover by itself. It records in the
//! history when storage was not available, and which nodes were down.

mod failovers;
mod resources;

use std::net::IpAddr;
use std::time::Duration;

pub use self::failovers::{fail_over, planned_failover};
use self::failovers::{other_than, primary_of, promoted_beside, rewrite, slots_move};
use self::resources::{
    descriptors_allowed, imports_killed, limit_descriptors, node_disk_full, redis_disk_full,
};
use super::history::{NodeNumber, Recorder, What};
use super::topology::{Service, Store};
use crate::chance::Chance;
use crate::lab::Direction;
use crate::redis::Server;

/// A fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nemesis {
    /// The primary is killed and started again with its data.
    RedisKilled,
    /// The only Redis is killed and started again without its data.
    RedisEmptied,
    /// Redis is stopped, or packets to it are dropped.
    RedisSilent,
    /// Redis is stopped and goes on, many times a second.
    RedisSlow,
    /// Redis is killed, and reads its data slowly.
    RedisLoads,
    /// The primary is killed, a replica is promoted, and the old one comes back; this number of times.
    PrimaryDies(usize),
    /// The primary is stopped until a replica is promoted.
    PrimaryPaused,
    /// A replica is stopped.
    ReplicaSilent,
    /// A planned failover, `SENTINEL FAILOVER` or `CLUSTER FAILOVER`, this number of times, with replicas that lag.
    PlannedFailover(usize),
    /// The primary, this number of its replicas and the first node are cut off from all others, with user agents and
    /// application servers on both sides.
    PrimaryIsolated(usize),
    /// One replica is cut off from all others.
    ReplicaIsolated,
    /// One sentinel and the first node are cut off from the other sentinels; then the primary dies.
    SentinelsSplit,
    /// Packets between the primary and all other servers are dropped in one direction: from it or to it.
    OneWay,
    /// The primary is made a replica, and then the primary again.
    Demoted,
    /// The primary is told to write only with replicas, and has none.
    MinReplicas,
    /// Redis is full.
    MemoryFull,
    /// The disk of Redis is full.
    RedisDiskFull,
    /// Redis forgets all scripts, again and again.
    ScriptsForgotten,
    /// The connections for wake-ups are closed, again and again.
    WakeUpsLost,
    /// Slots move, key by key, with a pause behind each key.
    SlotMoves,
    /// The first node can't reach Redis.
    NodeCutOff,
    /// The clocks of Redis leap, forwards and back.
    RedisClockLeaps,
    /// The clock of the first node leaps, forwards and back.
    NodeClockLeaps,
    /// Nodes are killed one by one, this number of times.
    NodesKilled(usize),
    /// A node is stopped for a while.
    NodePaused,
    /// Nodes are told to leave, one after the other.
    RollingRestart,
    /// The disk of embedded storage is full, except for this number of MiB.
    NodeDiskFull(u64),
    /// The node has no descriptors left.
    NoDescriptors,
    /// Everything moves from embedded storage to Redis, and the import is killed again and again.
    ImportsKilled,
}

/// The pause between two checks of a condition for which there is no event.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How far clocks leap, in seconds: within what nodes tolerate, and beyond the hour from which on they refuse to work.
const LEAPS: [i64; 4] = [
    BELIEVED_LEAP_SECONDS as i64,
    LEAP_SECONDS as i64,
    -(BELIEVED_LEAP_SECONDS as i64),
    -(LEAP_SECONDS as i64),
];

/// A leap that nodes tolerate.
pub const BELIEVED_LEAP_SECONDS: u64 = 20;

/// The farthest leap.
pub const LEAP_SECONDS: u64 = 4_000;

impl Nemesis {
    /// Causes the fault, holds it, and ends it.
    pub async fn strike(self, service: &mut Service, recorder: &Recorder, chance: &mut Chance) {
        let concerns_storage = !matches!(
            self,
            Self::NodesKilled(_) | Self::RollingRestart | Self::ScriptsForgotten | Self::NodePaused
        );
        if concerns_storage {
            recorder.enter(recorder.now(), What::StorageDown);
        }
        let hold = chance.between((Duration::from_millis(2_500), Duration::from_millis(4_500)));
        let primary = primary_of(service).await;
        match self {
            Self::RedisKilled => {
                service.server_mut(0).kill().await;
                pause(hold / 2).await;
                service.server_mut(0).start_again().await;
            }
            Self::RedisEmptied => {
                service.server_mut(0).kill().await;
                service.server_mut(0).start_empty().await;
                pause(hold).await;
            }
            Self::RedisSilent => {
                if crate::lab::is_here() && chance.one_in(2) {
                    let (nodes, servers) = (addresses_of_nodes(service, 0), addresses(service.servers()));
                    service.lab.partition(&nodes, &servers, Direction::Both);
                    pause(hold + hold / 2).await;
                    service.lab.heal();
                } else {
                    service.servers()[0].stop();
                    pause(hold + hold / 2).await;
                    service.servers()[0].go_on();
                }
            }
            Self::RedisSlow => {
                for _ in 0..30 {
                    service.servers()[primary].stop();
                    pause(chance.between((Duration::from_millis(40), Duration::from_millis(160)))).await;
                    service.servers()[primary].go_on();
                    pause(chance.between((Duration::from_millis(10), Duration::from_millis(60)))).await;
                }
            }
            Self::RedisLoads => {
                rewrite(&service.servers()[0]).await;
                service.server_mut(0).kill().await;
                service.server_mut(0).start_again().await;
            }
            Self::PrimaryDies(times) => {
                for _ in 0..times {
                    fail_over(service, chance).await;
                    service.settled().await;
                    pause(chance.between((Duration::from_millis(300), Duration::from_millis(900)))).await;
                }
            }
            Self::PrimaryPaused => {
                service.servers()[primary].stop();
                promoted_beside(service, primary).await;
                pause(hold / 2).await;
                service.servers()[primary].go_on();
                service.settled().await;
            }
            Self::ReplicaSilent => {
                let replica = other_than(service, primary)[0];
                service.servers()[replica].stop();
                pause(hold).await;
                service.servers()[replica].go_on();
            }
            Self::PlannedFailover(times) => {
                for _ in 0..times {
                    planned_failover(service, chance).await;
                    pause(chance.between((Duration::from_millis(300), Duration::from_millis(900)))).await;
                }
            }
            Self::PrimaryIsolated(replicas) => {
                let mut inside = vec![primary];
                inside.extend(&other_than(service, primary)[..replicas]);
                let mut one = vec![node_address(service, 0)];
                one.extend(
                    inside
                        .iter()
                        .map(|number| service.servers()[*number].address().ip()),
                );
                let everybody = everybody(service);
                let other: Vec<_> = everybody
                    .into_iter()
                    .filter(|address| !one.contains(address))
                    .collect();
                service.lab.partition(&one, &other, Direction::Both);
                promoted_beside(service, primary).await;
                pause(hold).await;
                service.lab.heal();
                service.settled().await;
            }
            Self::ReplicaIsolated => {
                let replica = other_than(service, primary)[0];
                let one = [service.servers()[replica].address().ip()];
                let other: Vec<_> = everybody(service)
                    .into_iter()
                    .filter(|address| !one.contains(address))
                    .collect();
                service.lab.partition(&one, &other, Direction::Both);
                pause(hold).await;
                service.lab.heal();
                service.settled().await;
            }
            Self::SentinelsSplit => {
                let Store::Sentinels(sentinels) = &service.store else {
                    return;
                };
                let watching = addresses(sentinels.sentinels());
                let one = [watching[2], node_address(service, 0)];
                service.lab.partition(&one, &watching[..2], Direction::Both);
                service.server_mut(primary).kill().await;
                promoted_beside(service, primary).await;
                pause(hold / 2).await;
                service.lab.heal();
                service.server_mut(primary).start_again().await;
                service.settled().await;
            }
            Self::OneWay => {
                let one = [service.servers()[primary].address().ip()];
                let nodes = addresses_of_nodes(service, 0);
                let other: Vec<_> = everybody(service)
                    .into_iter()
                    .filter(|address| !one.contains(address) && !nodes.contains(address))
                    .collect();
                match chance.one_in(2) {
                    true => service.lab.partition(&one, &other, Direction::OneWay),
                    false => service.lab.partition(&other, &one, Direction::OneWay),
                }
                pause(hold + hold / 2).await;
                service.lab.heal();
                service.settled().await;
            }
            Self::Demoted => {
                let server = &service.servers()[0];
                // The primary is gone: it keeps its settings.
                let no_primary = server.address().ip().to_string();
                server.command(&["REPLICAOF", &no_primary, "1"]).await.expect_ok();
                pause(hold).await;
                server.command(&["REPLICAOF", "NO", "ONE"]).await.expect_ok();
            }
            Self::MinReplicas => {
                let least = |number| ["CONFIG", "SET", "min-replicas-to-write", number];
                service.servers()[0].command(&least("1")).await.expect_ok();
                pause(hold / 2).await;
                service.servers()[0].command(&least("0")).await.expect_ok();
            }
            Self::MemoryFull => {
                let server = &service.servers()[0];
                let limit = |bytes: &str| ["CONFIG", "SET", "maxmemory", bytes].map(str::to_owned);
                server.command(&limit("1mb")).await.expect_ok();
                pause(hold).await;
                server.command(&limit("0")).await.expect_ok();
            }
            Self::RedisDiskFull => redis_disk_full(service, hold).await,
            Self::ScriptsForgotten => {
                for _ in 0..20 {
                    service.servers()[0]
                        .command(&["SCRIPT", "FLUSH"])
                        .await
                        .expect_ok();
                    pause(hold / 20).await;
                }
            }
            Self::WakeUpsLost => {
                for _ in 0..8 {
                    for server in service.servers() {
                        server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
                    }
                    pause(hold / 8).await;
                }
            }
            Self::SlotMoves => slots_move(service, chance).await,
            Self::NodeCutOff => {
                let (node, servers) = ([node_address(service, 0)], everybody_but_nodes(service));
                service.lab.partition(&node, &servers, Direction::Both);
                pause(hold + hold / 2).await;
                service.lab.heal();
            }
            Self::RedisClockLeaps | Self::NodeClockLeaps => {
                let leap = |seconds| service.clock.as_ref().expect("a clock").set(seconds);
                for seconds in LEAPS {
                    leap(seconds);
                    pause(hold / 3).await;
                }
                leap(0);
            }
            Self::NodesKilled(times) => {
                for _ in 0..times {
                    pause(chance.between((Duration::from_millis(50), Duration::from_millis(700)))).await;
                    let victim = chance.below(service.nodes.len());
                    kill_node(service, victim, recorder, chance).await;
                }
            }
            Self::NodePaused => {
                let invoked = recorder.now();
                service.nodes[0].stop();
                pause(hold).await;
                service.nodes[0].go_on();
                recorder.enter(invoked, What::NodeDown { node: 0 });
            }
            Self::RollingRestart => {
                for node in 0..service.nodes.len() {
                    let invoked = recorder.now();
                    service.hide(node);
                    service.nodes[node].terminate();
                    service.nodes[node].ended().await;
                    service.nodes[node].start_again().await;
                    service.show(node);
                    recorder.enter(invoked, What::NodeDown { node });
                    pause(hold / 4).await;
                }
            }
            Self::ImportsKilled => imports_killed(service, recorder, chance).await,
            Self::NodeDiskFull(keep) => node_disk_full(service, recorder, hold, keep << 20).await,
            Self::NoDescriptors => {
                let id = service.nodes[0].process_id();
                let used = service.nodes[0].descriptors();
                let before = descriptors_allowed(id);
                limit_descriptors(id, &(used + 2).to_string());
                pause(hold).await;
                limit_descriptors(id, &before);
            }
        }
    }

    /// Whether it needs a laboratory: for its partitions or its disks.
    pub fn takes_a_lab(self) -> bool {
        matches!(
            self,
            Self::PrimaryIsolated(_)
                | Self::ReplicaIsolated
                | Self::SentinelsSplit
                | Self::OneWay
                | Self::NodeCutOff
        )
    }
}

/// SIGKILL, sometimes again while the node is starting.
pub async fn kill_node(service: &mut Service, victim: NodeNumber, recorder: &Recorder, chance: &mut Chance) {
    let invoked = recorder.now();
    service.hide(victim);
    service.nodes[victim].kill().await;
    while chance.one_in(6) {
        let after = chance.between((Duration::ZERO, Duration::from_millis(100)));
        service.nodes[victim].stumble(after).await;
    }
    service.nodes[victim].start_again().await;
    service.show(victim);
    recorder.enter(invoked, What::NodeDown { node: victim });
}

fn addresses(servers: &[Server]) -> Vec<IpAddr> {
    servers.iter().map(|server| server.address().ip()).collect()
}

fn node_address(service: &Service, node: NodeNumber) -> IpAddr {
    service.nodes[node].connector().address.ip()
}

fn addresses_of_nodes(service: &Service, from: NodeNumber) -> Vec<IpAddr> {
    (from..service.nodes.len())
        .map(|node| node_address(service, node))
        .collect()
}

fn everybody_but_nodes(service: &Service) -> Vec<IpAddr> {
    let mut all = addresses(service.servers());
    if let Store::Sentinels(sentinels) = &service.store {
        all.extend(addresses(sentinels.sentinels()));
    }
    all
}

fn everybody(service: &Service) -> Vec<IpAddr> {
    let mut all = everybody_but_nodes(service);
    all.extend(addresses_of_nodes(service, 0));
    all
}

async fn pause(time: Duration) {
    tokio::time::sleep(time.max(LOOK_EVERY / 20)).await;
}
