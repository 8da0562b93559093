//! The servers do what the tests that use them will take for granted. They run on real servers, so they need them
//! installed.

use super::*;

/// What a server answered before a kill is there after it, if it is durable; in memory it is gone, and so it is with
/// the disk.
#[tokio::test]
async fn a_durable_server_keeps_what_it_answered() {
    for durable in [true, false] {
        let configuration = match durable {
            true => Configuration::new().durable(),
            false => Configuration::new(),
        };
        let mut server = Server::start(configuration).await;
        server.command(&["SET", "key", "value"]).await.expect_ok();
        server.kill().await;
        assert!(server.try_command(&["PING"]).await.is_err());
        server.start_again().await;
        let kept = server.command(&["EXISTS", "key"]).await;
        assert_eq!(kept, Reply::Integer(i64::from(durable)));

        server.command(&["SET", "key", "value"]).await.expect_ok();
        server.terminate().await;
        server.start_empty().await;
        assert_eq!(server.command(&["GET", "key"]).await, Reply::Nothing);
    }
}

/// A cluster of three primaries forms, answers for each slot at its owner, and says where a key is instead.
#[tokio::test]
async fn a_cluster_forms() {
    let cluster = Cluster::start(3, 0).await;
    assert_eq!(cluster.url().split(',').count(), 3);
    let slot = cluster.slot_of("key").await;
    let owner = cluster.owner_of_slot(slot).await;
    for (number, server) in cluster.servers().iter().enumerate() {
        let reply = server.command(&["SET", "key", "value"]).await;
        match number == owner {
            true => reply.expect_ok(),
            false => assert_eq!(
                reply,
                Reply::Error(format!("MOVED {slot} {}", cluster.servers()[owner].address()))
            ),
        }
    }
}
