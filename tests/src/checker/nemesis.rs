//! The faults that the service suffers while peers use it.
//!
//! Contract: [`Nemesis::strike`] causes the fault, holds it for a time that follows from the seed, ends it, and
//! returns when the topology reports that it is whole: then the service has to recover by itself. It records in the
//! history when storage was not available, and which nodes were down.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::history::{NodeNumber, Recorder, What};
use super::lab::Direction;
use super::topology::{Service, Store};
use crate::chance::Chance;
use crate::redis::{Reply, Server, until};

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
                if super::lab::is_here() && chance.one_in(2) {
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
                let nobody = server.address().ip().to_string();
                server.command(&["REPLICAOF", &nobody, "1"]).await.expect_ok();
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

/// The primary (of the first shard) dies, another is promoted, and the old one comes back.
pub async fn fail_over(service: &mut Service, chance: &mut Chance) {
    let shard = chance.below(3);
    let killed = match &mut service.store {
        Store::Sentinels(sentinels) => sentinels.kill_primary_and_wait_for_promotion().await.killed,
        Store::Cluster(cluster) => cluster.fail_over(shard).await.killed,
        _ => panic!("nobody can take over"),
    };
    pause(chance.between((Duration::ZERO, Duration::from_millis(500)))).await;
    service.server_mut(killed).start_again().await;
}

/// A planned failover. One replica lags a little, as one on another network does.
pub async fn planned_failover(service: &Service, chance: &mut Chance) {
    match &service.store {
        Store::Sentinels(sentinels) => {
            let before = sentinels.primary_number().await;
            let replicas = other_than(service, before);
            let lagging = replicas[chance.below(replicas.len())];
            let lag = chance.between((Duration::ZERO, Duration::from_millis(150)));
            if replicas.len() > 1 {
                sentinels.servers()[lagging].stop();
                pause(chance.between((Duration::from_millis(100), Duration::from_millis(400)))).await;
            }
            let order = ["SENTINEL", "FAILOVER", crate::redis::sentinels::NAME];
            // The sentinels give up a chosen replica that does not answer; then they are told again.
            until("another is promoted", || async {
                if sentinels.primary_number().await != before {
                    return Some(());
                }
                let _ = sentinels.sentinels()[0].try_command(&order).await;
                if replicas.len() > 1 {
                    pause(lag).await;
                    sentinels.servers()[lagging].go_on();
                }
                None
            })
            .await;
            sentinels.wait_until_settled().await;
        }
        Store::Cluster(cluster) => {
            let shard = chance.below(3);
            let before = cluster.primary_of_shard(shard).await;
            let replicas: Vec<_> = cluster
                .shard(shard)
                .into_iter()
                .filter(|number| *number != before)
                .collect();
            let chosen = replicas[chance.below(replicas.len())];
            cluster.servers()[chosen]
                .command(&["CLUSTER", "FAILOVER"])
                .await
                .expect_ok();
            until("the replica is promoted", || async {
                let role = cluster.servers()[chosen].try_command(&["ROLE"]).await.ok()?;
                (role.list()[0].text() == "master").then_some(())
            })
            .await;
            cluster.wait_until_settled().await;
        }
        _ => panic!("nobody can take over"),
    }
}

/// The number of the primary; of the first shard in a cluster.
async fn primary_of(service: &Service) -> usize {
    match &service.store {
        Store::Sentinels(sentinels) => sentinels.primary_number().await,
        Store::Cluster(cluster) => cluster.primary_of_shard(0).await,
        _ => 0,
    }
}

/// The servers that could be promoted instead of this one.
fn other_than(service: &Service, primary: usize) -> Vec<usize> {
    let candidates = match &service.store {
        Store::Cluster(cluster) => cluster.shard(primary % 3),
        _ => (0..service.servers().len()).collect(),
    };
    candidates
        .into_iter()
        .filter(|number| *number != primary)
        .collect()
}

/// Waits until a majority says that another server than this one is primary.
async fn promoted_beside(service: &Service, old: usize) {
    until("another server is promoted", || async {
        match &service.store {
            Store::Sentinels(sentinels) => (sentinels.primary_number().await != old).then_some(()),
            _ => {
                for number in other_than(service, old) {
                    let role = service.servers()[number].try_command(&["ROLE"]).await.ok()?;
                    if role.list()[0].text() == "master" {
                        return Some(());
                    }
                }
                None
            }
        }
    })
    .await;
}

async fn rewrite(server: &Server) {
    server.command(&["BGREWRITEAOF"]).await;
    until("the file is rewritten", || async {
        let info = server.info("persistence").await;
        let is_over = info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0";
        (is_over && info["aof_last_bgrewrite_status"] == "ok").then_some(())
    })
    .await;
}

/// Slots with records in them move to another server, one key after the other, with a pause behind each: each kind of
/// key is on one side for a while when other keys of its user agent are on the other.
async fn slots_move(service: &Service, chance: &mut Chance) {
    let Store::Cluster(cluster) = &service.store else {
        return;
    };
    let mut slots = BTreeSet::new();
    for server in cluster.servers() {
        let listed = server.command(&["KEYS", "push:{*}:r:*"]).await;
        for key in listed.list().iter().map(Reply::text) {
            slots.insert(cluster.slot_of(&key).await);
        }
    }
    let mut slots: Vec<_> = slots.into_iter().collect();
    for _ in 0..6 {
        if slots.is_empty() {
            return;
        }
        let slot = slots.swap_remove(chance.below(slots.len()));
        let to = (cluster.owner_of_slot(slot).await + 1 + chance.below(2)) % 3;
        let migration = cluster.begin_migration(slot, to).await;
        pause(chance.between((Duration::ZERO, Duration::from_millis(500)))).await;
        while cluster.migrate_keys(migration, 1).await > 0 {
            pause(chance.between((Duration::ZERO, Duration::from_millis(250)))).await;
        }
        pause(chance.between((Duration::ZERO, Duration::from_millis(500)))).await;
        // New keys may have appeared at the old owner.
        while cluster.migrate_keys(migration, 10).await > 0 {}
        cluster.end_migration(migration).await;
    }
}

/// The disk of Redis is filled. With `appendfsync always` Redis ends then; its supervisor starts it again when there
/// is room.
async fn redis_disk_full(service: &mut Service, hold: Duration) {
    let filler = service.servers()[0].directory().join("filler");
    fill(&filler, super::topology::REDIS_DISK_BYTES, 0);
    pause(hold).await;
    std::fs::remove_file(&filler).expect("there is room again");
    if !service.servers()[0].answers() {
        service.server_mut(0).ended().await;
        service.server_mut(0).start_again().await;
    }
}

/// The data directory's disk is filled: up to the service's reserve, or completely. A node that ends is started again
/// when there is room.
async fn node_disk_full(service: &mut Service, recorder: &Recorder, hold: Duration, keep: u64) {
    let filler = service.disk.as_ref().expect("a disk").directory().join("filler");
    let invoked = recorder.now();
    fill(&filler, super::topology::NODE_DISK_BYTES, keep);
    pause(hold).await;
    std::fs::remove_file(&filler).expect("there is room again");
    if service.nodes[0].has_ended() {
        service.hide(0);
        service.nodes[0].ended().await;
        service.nodes[0].start_again().await;
        service.show(0);
        recorder.enter(invoked, What::NodeDown { node: 0 });
    }
}

/// The node drains; its data are exported, and imported into Redis; the import is killed at random moments, and
/// repeated as its help text says; then the node starts on Redis.
async fn imports_killed(service: &mut Service, recorder: &Recorder, chance: &mut Chance) {
    let invoked = recorder.now();
    let url = service.servers()[0].url();
    service.hide(0);
    let node = &mut service.nodes[0];
    node.terminate();
    node.ended().await;
    let file = node
        .data_directory()
        .with_file_name("moved.export")
        .display()
        .to_string();
    let exported = node.runs(&["export", &file], Stdio::null()).await;
    assert!(
        exported.status.success(),
        "{}",
        String::from_utf8_lossy(&exported.stderr)
    );
    node.reconfigure(|settings| settings.redis(&url));
    for turn in 0..8 {
        let merge: &[&str] = if turn == 0 { &[] } else { &["--merge"] };
        let words = [&["import", &file][..], merge].concat();
        // When its future is dropped, the import is killed.
        let life = chance.between((Duration::from_millis(5), Duration::from_millis(120)));
        let _ = tokio::time::timeout(life, node.runs(&words, Stdio::null())).await;
    }
    let node = &service.nodes[0];
    until("the import comes to its end", || async {
        let imported = node.runs(&["import", &file, "--merge"], Stdio::null()).await;
        imported.status.success().then_some(())
    })
    .await;
    service.nodes[0].start_again().await;
    service.show(0);
    recorder.enter(invoked, What::NodeDown { node: 0 });
}

/// Writes until the disk is full, except for this number of bytes.
fn fill(file: &std::path::Path, most: u64, keep: u64) {
    use std::io::Write as _;
    let mut filler = std::fs::File::create(file).expect("the disk takes a file");
    let block = [0x55; 1 << 14];
    let mut written = 0;
    while written < most && filler.write_all(&block).is_ok() {
        written += block.len() as u64;
    }
    if keep > 0 {
        filler
            .set_len(written.saturating_sub(keep))
            .expect("the file gets shorter");
    }
}

/// The soft limit of a process.
fn descriptors_allowed(process: i32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("the process is there");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.expect("a limit").to_owned()
}

fn limit_descriptors(process: i32, limit: &str) {
    let status = Command::new("prlimit")
        .arg("--pid")
        .arg(process.to_string())
        .arg(format!("--nofile={limit}:"))
        .stdout(Stdio::null())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "prlimit works");
}

fn addresses(servers: &[Server]) -> Vec<IpAddr> {
    servers.iter().map(|server| server.address().ip()).collect()
}

fn node_address(service: &Service, node: NodeNumber) -> IpAddr {
    service.nodes[node].door().address.ip()
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
