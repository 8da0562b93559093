//! Redis Cluster: primaries that share the slots, replicas that take over, slots that move.
//!
//! It is made with the cluster's own commands, and every step ends when all running servers agree on it: a test that goes
//! on sees one view, whichever server it asks.
//!
//! Servers are numbered: the primaries of the start, then a replica of each, then another of each. A *shard* is a primary
//! of the start with its replicas, and stays that when another of its servers is the primary; it has the primary's number.

use self::view::{View, view_when_settled};
use super::configuration::Configuration;
use super::gate::Gate;
use super::server::{Server, info};
use super::{FailOver, until};

mod migration;
mod view;

pub use self::migration::Migration;

/// How many slots a cluster has (Redis Cluster specification, "Key distribution model").
pub const SLOTS: u16 = 16_384;

/// A primary that is not heard of for so long is taken for dead, in milliseconds. Chosen: the tests wait for it, and a
/// server that was held back for so long by others' compilers is found dead by mistake.
const NODE_TIMEOUT: &str = "1000";

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server>,
    /// Their names in the cluster, which stay with them whatever happens.
    ids: Vec<String>,
    primaries: usize,
}

impl Cluster {
    /// Starts a cluster of so many primaries, three at least, and so many replicas of each; in memory only.
    ///
    /// It takes two to three seconds: a primary serves nothing in its first two.
    pub async fn start(primaries: usize, replicas_each: usize) -> Self {
        Self::start_with(primaries, replicas_each, &Configuration::new()).await
    }

    /// The same with servers that are configured like this.
    ///
    /// # Panics
    ///
    /// When the servers do not agree on a cluster; with fewer than three primaries, which could not agree on a failover.
    pub async fn start_with(primaries: usize, replicas_each: usize, configuration: &Configuration) -> Self {
        assert!(
            primaries >= 3,
            "two primaries of three have to agree on a failover"
        );
        let configuration = clustered(configuration);
        let mut servers = Vec::new();
        for _ in 0..primaries * (1 + replicas_each) {
            servers.push(Server::start(configuration.clone()).await);
        }
        let mut ids = Vec::new();
        for server in &servers {
            ids.push(server.command(&["CLUSTER", "MYID"]).await.text());
        }
        let cluster = Self {
            servers,
            ids,
            primaries,
        };
        cluster.give_slots().await;
        cluster.introduce().await;
        cluster.attach_replicas().await;
        cluster.wait_until_settled().await;
        cluster
    }

    /// `redis+cluster://` with the addresses of all servers.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self
            .servers
            .iter()
            .map(|server| server.address().to_string())
            .collect();
        format!(
            "redis+cluster://{}{}",
            self.servers[0].user_part(),
            addresses.join(",")
        )
    }

    /// All servers, by number.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// A server to mistreat.
    pub fn server_mut(&mut self, number: usize) -> &mut Server {
        &mut self.servers[number]
    }

    /// The numbers of the servers of a shard, the primary of the start first.
    pub fn shard(&self, shard: usize) -> Vec<usize> {
        (shard..self.servers.len()).step_by(self.primaries).collect()
    }

    /// The number of the server that is primary of this shard, by its own word.
    pub async fn primary_of_shard(&self, shard: usize) -> usize {
        until("the shard has a primary", || async {
            for number in self.shard(shard) {
                if self.is_primary(number).await {
                    return Some(number);
                }
            }
            None
        })
        .await
    }

    /// The slot of a key, by the servers' word.
    pub async fn slot_of(&self, key: &str) -> u16 {
        let reply = self.any().command(&["CLUSTER", "KEYSLOT", key]).await;
        u16::try_from(reply.integer()).expect("a slot")
    }

    /// The number of the server that owns this slot, by the word of the first that answers.
    ///
    /// # Panics
    ///
    /// When no server does.
    pub async fn owner_of_slot(&self, slot: u16) -> usize {
        let view = View::read(&self.any().command(&["CLUSTER", "SLOTS"]).await);
        let owner = view.owner(slot).expect("the slot has an owner");
        let mut ids = self.ids.iter();
        ids.position(|id| id == owner).expect("the owner is one of ours")
    }

    /// Kills the primary of a shard and waits until a replica is promoted and all other servers know.
    ///
    /// Takes two to three seconds: the cluster finds the death only after the node timeout, one second.
    pub async fn fail_over(&mut self, shard: usize) -> FailOver {
        let killed = self.primary_of_shard(shard).await;
        self.servers[killed].kill().await;
        let promoted = self.primary_of_shard(shard).await;
        self.wait_until_settled().await;
        FailOver { killed, promoted }
    }

    /// Waits until all servers that answer say that the cluster is well, name the same owners of all slots, which answer
    /// as well, and know the same replicas, which follow their primaries.
    pub async fn wait_until_settled(&self) {
        until("the servers agree on a cluster that is whole", || async {
            let mut agreed = None;
            for (server, id) in self.servers.iter().zip(&self.ids) {
                if server.answers() {
                    let view = view_when_settled(server, id).await?;
                    let first = agreed.get_or_insert_with(|| view.clone());
                    (*first == view).then_some(())?;
                }
            }
            let answers = |id: &String| {
                let mut both = self.ids.iter().zip(&self.servers);
                both.any(|(known, server)| known == id && server.answers())
            };
            let agreed = agreed?;
            (agreed.slots() == usize::from(SLOTS) && agreed.owners().all(answers)).then_some(())
        })
        .await;
    }

    /// Opens a gate before a server and lets the cluster send its peers there: clients, and the server's replicas. Members
    /// go on speaking to each other behind it. Connections that clients have already are not moved.
    ///
    /// A server that is started again is announced without the gate.
    pub async fn gate_before(&self, number: usize) -> Gate {
        let gate = Gate::before(self.servers[number].address()).await;
        let port = gate.address().port().to_string();
        let announce = ["CONFIG", "SET", "cluster-announce-port", &port];
        self.servers[number].command(&announce).await.expect_ok();
        until("every server knows the gate", || async {
            for server in self.servers.iter().filter(|server| server.answers()) {
                let nodes = server.try_command(&["CLUSTER", "NODES"]).await.ok()?;
                let place = format!("{}@", gate.address());
                nodes.text().contains(&place).then_some(())?;
            }
            Some(())
        })
        .await;
        self.wait_until_settled().await;
        gate
    }

    /// Every primary of the start gets its share of the slots, and an epoch of its own, so that no address has to be found
    /// right in a conflict.
    async fn give_slots(&self) {
        let bound = |shard: usize| shard * usize::from(SLOTS) / self.primaries;
        for (shard, server) in self.servers[..self.primaries].iter().enumerate() {
            let (first, last) = (bound(shard).to_string(), (bound(shard + 1) - 1).to_string());
            let add = ["CLUSTER", "ADDSLOTSRANGE", &first, &last];
            server.command(&add).await.expect_ok();
        }
        for (number, server) in self.servers.iter().enumerate() {
            let epoch = (number + 1).to_string();
            let set = ["CLUSTER", "SET-CONFIG-EPOCH", &epoch];
            server.command(&set).await.expect_ok();
        }
    }

    /// Every server meets every other one: that is faster than gossip.
    async fn introduce(&self) {
        for (number, server) in self.servers.iter().enumerate() {
            for other in &self.servers[number + 1..] {
                let (ip, port) = (
                    other.address().ip().to_string(),
                    other.address().port().to_string(),
                );
                let bus = other.bus_port().to_string();
                let meet = ["CLUSTER", "MEET", &ip, &port, &bus];
                server.command(&meet).await.expect_ok();
            }
        }
        until("every server knows every other", || async {
            for server in &self.servers {
                let info = info(&server.command(&["CLUSTER", "INFO"]).await.text());
                (info["cluster_known_nodes"] == self.servers.len().to_string()).then_some(())?;
            }
            Some(())
        })
        .await;
    }

    async fn attach_replicas(&self) {
        for number in self.primaries..self.servers.len() {
            let primary = &self.ids[number % self.primaries];
            let replicate = ["CLUSTER", "REPLICATE", primary];
            until("a replica finds its primary", || async {
                // Until they have shaken hands, the primary is unknown to it.
                let reply = self.servers[number].command(&replicate).await;
                (!reply.is_error()).then_some(())
            })
            .await;
        }
    }

    async fn is_primary(&self, number: usize) -> bool {
        let server = &self.servers[number];
        let role = match server.answers() {
            true => server.try_command(&["ROLE"]).await.ok(),
            false => None,
        };
        role.is_some_and(|role| role.list()[0].text() == "master")
    }

    /// The first server that answers.
    fn any(&self) -> &Server {
        let mut servers = self.servers.iter();
        servers
            .find(|server| server.answers())
            .expect("a server is running")
    }
}

fn clustered(configuration: &Configuration) -> Configuration {
    let configuration = configuration.clone();
    configuration
        .set("cluster-enabled", "yes")
        .set("cluster-node-timeout", NODE_TIMEOUT)
        // The slots of a shard that is lost are lost; the others are served.
        .set("cluster-require-full-coverage", "no")
        // Replicas stay in their shard.
        .set("cluster-allow-replica-migration", "no")
}
