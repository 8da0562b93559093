//! The contract suite on one Redis, on a cluster, and on Valkey.

use push_tests::redis::program::Program;
use push_tests::redis::{Cluster, Configuration, Server};

use super::{OWN, alone, open};
use crate::storage::contract::common_cases;

common_cases!(tests, alone);

/// PR-13, PR-31: the same on a cluster of three, where every step has to stay within one hash slot.
#[tokio::test]
async fn the_contract_holds_on_a_cluster() {
    let cluster = Cluster::start(3, 0).await;
    let url = cluster.url();
    common_cases!(in_turn, async || open(&url, OWN).await);
}

/// The same on Valkey, where it can be had.
#[tokio::test]
async fn the_contract_holds_on_valkey() {
    if !Program::Valkey.is_here() {
        println!("no valkey-server on this machine");
        return;
    }
    let server = Server::start(Configuration::new().valkey()).await;
    let url = server.url();
    common_cases!(in_turn, async || open(&url, OWN).await);
}
