//! A slot that moves while it is in use, step by step, so that a test can act in between.

use super::Cluster;
use crate::redis::connection::Reply;

/// How long MIGRATE may take for one batch of keys, in milliseconds.
const MIGRATE_TIMEOUT: &str = "5000";

/// A slot on its way from one primary to another, both by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Migration {
    /// Which slot.
    pub slot: u16,
    /// Who had it.
    pub from: usize,
    /// Who will have it.
    pub to: usize,
}

impl Cluster {
    /// Begins to move a slot: new keys are made at `to` from now on (`ASK`), present ones stay where they are.
    pub async fn begin_migration(&self, slot: u16, to: usize) -> Migration {
        let from = self.owner_of_slot(slot).await;
        let (number, here, there) = (slot.to_string(), &self.ids[from], &self.ids[to]);
        let set_slot = ["CLUSTER", "SETSLOT", &number];
        let importing = [&set_slot[..], &["IMPORTING", here]].concat();
        self.servers[to].command(&importing).await.expect_ok();
        let migrating = [&set_slot[..], &["MIGRATING", there]].concat();
        self.servers[from].command(&migrating).await.expect_ok();
        Migration { slot, from, to }
    }

    /// Moves up to so many keys of the slot and returns how many: 0 when none is left.
    pub async fn migrate_keys(&self, migration: Migration, count: usize) -> usize {
        let Migration { slot, from, to } = migration;
        let (slot, count) = (slot.to_string(), count.to_string());
        let get = ["CLUSTER", "GETKEYSINSLOT", &slot, &count];
        let keys = self.servers[from].command(&get).await;
        if keys.list().is_empty() {
            return 0;
        }
        let address = self.servers[to].address();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let mut migrate: Vec<Vec<u8>> = ["MIGRATE", &host, &port, "", "0", MIGRATE_TIMEOUT]
            .map(Into::into)
            .into();
        if let Some((name, password)) = self.servers[to].user() {
            migrate.extend(["AUTH2", name, password].map(Into::into));
        }
        migrate.push("KEYS".into());
        migrate.extend(keys.list().iter().map(|key| match key {
            Reply::Bytes(key) => key.clone(),
            other => panic!("a key was expected, not {other:?}"),
        }));
        self.servers[from].command(&migrate).await.expect_ok();
        keys.list().len()
    }

    /// Gives the slot to its new owner, when all keys are moved, and waits until every server knows.
    pub async fn end_migration(&self, migration: Migration) {
        let Migration { slot, from, to } = migration;
        let slot = slot.to_string();
        let node = ["CLUSTER", "SETSLOT", &slot, "NODE", &self.ids[to]];
        // The new owner first: if the old one gave up the slot and died, no server would have it.
        self.servers[to].command(&node).await.expect_ok();
        self.servers[from].command(&node).await.expect_ok();
        self.wait_until_settled().await;
    }
}
