//! Failovers of Redis, planned or not, and slots that move.

use std::collections::BTreeSet;
use std::time::Duration;

use super::pause;
use crate::chance::Chance;
use crate::checker::topology::{Service, Store};
use crate::redis::{Reply, Server, until};

/// The primary (of the first shard) dies, another is promoted, and the old one comes back.
pub async fn fail_over(service: &mut Service, chance: &mut Chance) {
    let shard = chance.below(3);
    let killed = match &mut service.store {
        Store::Sentinels(sentinels) => sentinels.kill_primary_and_wait_for_promotion().await.killed,
        Store::Cluster(cluster) => cluster.fail_over(shard).await.killed,
        _ => panic!("there is no replica to take over"),
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
        _ => panic!("there is no replica to take over"),
    }
}

/// The number of the primary; of the first shard in a cluster.
pub(super) async fn primary_of(service: &Service) -> usize {
    match &service.store {
        Store::Sentinels(sentinels) => sentinels.primary_number().await,
        Store::Cluster(cluster) => cluster.primary_of_shard(0).await,
        _ => 0,
    }
}

/// The servers that could be promoted instead of this one.
pub(super) fn other_than(service: &Service, primary: usize) -> Vec<usize> {
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
pub(super) async fn promoted_beside(service: &Service, old: usize) {
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

pub(super) async fn rewrite(server: &Server) {
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
pub(super) async fn slots_move(service: &Service, chance: &mut Chance) {
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
