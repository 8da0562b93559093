//! Making a store, by several nodes at once.

use std::sync::Arc;

use futures_util::future::join_all;
use push_tests::redis::{Configuration, Server};
use redis::cmd;

use super::super::founding::{self, Found};
use super::super::keys::{mark, own, own_bucket};
use super::super::links::Primaries;
use super::super::{Bucket, Options};
use crate::storage::NoSessions;
use crate::storage::redis::url::RedisUrl;
use crate::tasks::PanicAlarm;

/// How often nodes start at once here.
const STARTS: usize = 60;

async fn connect(server: &Server) -> Primaries {
    let options = Options::new(RedisUrl::parse(&server.url()).unwrap(), Arc::new(NoSessions));
    options.connect(&PanicAlarm::default()).await.unwrap()
}

/// PR-3: three nodes that start at once on an empty Redis make one store, and none of them takes what another is making for
/// a store that has lost data.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nodes_that_start_at_once_make_one_store() {
    let server = Server::start(Configuration::new()).await;
    let nodes = [
        connect(&server).await,
        connect(&server).await,
        connect(&server).await,
    ]
    .map(Arc::new);
    for start in 0..STARTS {
        let starts = nodes.iter().enumerate().map(|(n, node)| {
            let (node, prefix) = (Arc::clone(node), format!("start{start}"));
            // Not quite at once, differently each time.
            let late = (start * n * 97) % 2_000;
            tokio::spawn(async move {
                for _ in 0..late {
                    tokio::task::yield_now().await;
                }
                founding::found(&node, &prefix).await.unwrap()
            })
        });
        for found in join_all(starts).await {
            let found = found.unwrap();
            assert!(!matches!(found, Found::PartLost(_)), "start {start}: {found:?}");
        }
        assert_eq!(
            founding::look(&nodes[0], &format!("start{start}")).await.unwrap(),
            Found::Store
        );
    }
}

/// PR-3: a store that has lost data is still told from one that is being made, whatever it has lost; and looking changes nothing.
#[tokio::test]
async fn a_store_that_lost_data_is_told() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server).await;
    let look = async || founding::look(&primaries, "push").await.unwrap();
    assert_eq!(look().await, Found::Nothing);
    assert_eq!(founding::found(&primaries, "push").await.unwrap(), Found::Nothing);
    assert_eq!(look().await, Found::Store);
    let lose = async |bucket, key: String| {
        let lost = primaries
            .pipeline(vec![(bucket, cmd("DEL").arg(key).clone())])
            .await;
        lost.into_iter().for_each(|lost| _ = lost.unwrap());
    };
    lose(Bucket::new(5), mark("push", Bucket::new(5))).await;
    assert_eq!(look().await, Found::PartLost(1));
    assert_eq!(
        founding::found(&primaries, "push").await.unwrap(),
        Found::PartLost(1)
    );
    lose(own_bucket(), own("push", "state")).await;
    assert_eq!(look().await, Found::PartLost(1));
    assert_eq!(founding::begin_anew(&primaries, "push").await.unwrap(), 1);
    assert_eq!(look().await, Found::Store);
}
