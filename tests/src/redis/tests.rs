//! The servers do what the tests that use them will take for granted. They run on real servers, so they need them
//! installed.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::gate::{Way, Which};
use super::program::Program;
use super::*;
use crate::connector::Connector;
use crate::within;

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

/// When a primary dies, its replica has what it had and answers for its slots; the old one comes back as a replica.
#[tokio::test]
async fn a_cluster_fails_over() {
    let mut cluster = Cluster::start(3, 1).await;
    let slot = cluster.slot_of("key").await;
    let owner = cluster.owner_of_slot(slot).await;
    cluster.servers()[owner]
        .command(&["SET", "key", "value"])
        .await
        .expect_ok();

    let FailOver { killed, promoted } = cluster.fail_over(owner).await;
    assert_eq!((killed, promoted), (owner, owner + 3));
    assert_eq!(cluster.owner_of_slot(slot).await, promoted);
    let kept = cluster.servers()[promoted].command(&["GET", "key"]).await;
    assert_eq!(kept.text(), "value");

    cluster.server_mut(killed).start_again().await;
    cluster.wait_until_settled().await;
    assert_eq!(cluster.primary_of_shard(owner).await, promoted);
}

/// While a slot moves, what is moved is found at the new owner and the rest at the old one; then all at the new one.
#[tokio::test]
async fn a_slot_moves() {
    let cluster = Cluster::start(3, 0).await;
    let slot = cluster.slot_of("{key}").await;
    let from = cluster.owner_of_slot(slot).await;
    let to = (from + 1) % 3;
    let keys: Vec<_> = (0..5).map(|number| format!("{{key}}{number}")).collect();
    for key in &keys {
        let set = ["SET", key, "value"];
        cluster.servers()[from].command(&set).await.expect_ok();
    }
    let mut here = cluster.servers()[from].connect().await.unwrap();

    let migration = cluster.begin_migration(slot, to).await;
    assert_eq!(migration.from, from);
    assert_eq!(cluster.migrate_keys(migration, 3).await, 3);
    let mut moved = 0;
    for key in &keys {
        match here.call(&["GET", key]).await.unwrap() {
            Reply::Error(error) => {
                assert_eq!(error, format!("ASK {slot} {}", cluster.servers()[to].address()));
                moved += 1;
            }
            reply => assert_eq!(reply.text(), "value"),
        }
    }
    assert_eq!(moved, 3);

    assert_eq!(cluster.migrate_keys(migration, 100).await, 2);
    assert_eq!(cluster.migrate_keys(migration, 100).await, 0);
    cluster.end_migration(migration).await;
    assert_eq!(cluster.owner_of_slot(slot).await, to);
    for key in &keys {
        let kept = cluster.servers()[to].command(&["GET", key]).await;
        assert_eq!(kept.text(), "value");
    }
}

/// When the primary dies, the sentinels name a replica that has what it had; the old one comes back as a replica.
#[tokio::test]
async fn sentinels_promote() {
    let mut sentinels = Sentinels::start(2).await;
    assert_eq!(sentinels.primary_number().await, 0);
    let primary = sentinels.primary().await;
    let mut connection = primary.connect().await.unwrap();
    connection
        .call(&["SET", "key", "value"])
        .await
        .unwrap()
        .expect_ok();
    let copies = connection.call(&["WAIT", "2", "0"]).await.unwrap();
    assert_eq!(copies.integer(), 2);

    let FailOver { killed, promoted } = sentinels.kill_primary_and_wait_for_promotion().await;
    assert_eq!(killed, 0);
    assert_ne!(promoted, 0);
    let kept = sentinels.primary().await.command(&["GET", "key"]).await;
    assert_eq!(kept.text(), "value");

    sentinels.server_mut(killed).start_again().await;
    sentinels.wait_until_settled().await;
    assert_eq!(sentinels.primary_number().await, promoted);
}

/// A gate stalls the one connection that said SSUBSCRIBE, and what was held back comes when it passes again.
#[tokio::test]
async fn a_gate_stalls_subscribers_alone() {
    let server = Server::start(Configuration::new()).await;
    let mut gate = Gate::before(server.address()).await;
    let mut subscriber = Connection::open(gate.address(), None).await.unwrap();
    let mut other = Connection::open(gate.address(), None).await.unwrap();
    let subscribed = subscriber.call(&["ssubscribe", "channel"]).await.unwrap();
    assert_eq!(subscribed.list()[0].text(), "ssubscribe");

    gate.stall(Which::Said("SSUBSCRIBE"), Way::Both);
    let before = gate.counts();
    assert_eq!(before.present, 2);
    assert_eq!(before.said["SSUBSCRIBE"], 1);
    let publish = ["SPUBLISH", "channel", "news"];
    let received = other.call(&publish).await.unwrap();
    assert_eq!(received.integer(), 1);
    for _ in 0..100 {
        assert_eq!(other.call(&["PING"]).await.unwrap().text(), "PONG");
    }
    // All that has come through since are the other connection's answers.
    let since = gate.counts().to_client_bytes - before.to_client_bytes;
    assert_eq!(since, (":1\r\n".len() + 100 * "+PONG\r\n".len()) as u64);

    gate.resume().await;
    let message = within("the message comes", subscriber.read()).await.unwrap();
    assert_eq!(message.list()[2].text(), "news");
}

/// A gate that is stalled for all passes one way where it was told to, and nothing the other way.
#[tokio::test]
async fn a_gate_stalls_one_way() {
    let server = Server::start(Configuration::new()).await;
    let mut gate = Gate::before(server.address()).await;
    let mut connection = Connection::open(gate.address(), None).await.unwrap();
    gate.stall(Which::All, Way::ToClient);
    connection.send(&["SET", "key", "value"]).await.unwrap();
    until("the command arrives", || async {
        let value = server.command(&["GET", "key"]).await;
        (value != Reply::Nothing).then_some(())
    })
    .await;
    assert_eq!(gate.counts().to_client_bytes, 0);
    gate.resume().await;
    within("the answer comes", connection.read())
        .await
        .unwrap()
        .expect_ok();
}

/// A gate that is cut closes connections and refuses others, until it is opened again on the same port.
#[tokio::test]
async fn a_gate_is_cut() {
    let server = Server::start(Configuration::new()).await;
    let mut gate = Gate::before(server.address()).await;
    let mut connection = Connection::open(gate.address(), None).await.unwrap();
    connection.call(&["PING"]).await.unwrap();
    gate.cut().await;
    assert_eq!(gate.counts().present, 0);
    assert!(connection.read().await.is_err());
    assert!(Connection::open(gate.address(), None).await.is_err());
    gate.resume().await;
    let mut connection = Connection::open(gate.address(), None).await.unwrap();
    assert_eq!(connection.call(&["PING"]).await.unwrap().text(), "PONG");
}

/// Members of a cluster send clients to the gate that stands before one of them.
#[tokio::test]
async fn a_cluster_announces_a_gate() {
    let cluster = Cluster::start(3, 1).await;
    let slot = cluster.slot_of("key").await;
    let owner = cluster.owner_of_slot(slot).await;
    let gate = cluster.gate_before(owner).await;
    let other = &cluster.servers()[(owner + 1) % 3];
    let reply = other.command(&["GET", "key"]).await;
    assert_eq!(reply, Reply::Error(format!("MOVED {slot} {}", gate.address())));
    assert_eq!(cluster.owner_of_slot(slot).await, owner);
}

/// A server with a user refuses all other users, speaks TLS where it was told to, and counts what it did.
#[tokio::test]
async fn a_server_is_configured() {
    let configuration = Configuration::new()
        .user("push", "secret")
        .tls()
        .memory(50_000_000, "noeviction");
    let server = Server::start(configuration).await;
    assert_eq!(
        server.url(),
        format!("rediss://push:secret@{}", server.tls_address())
    );
    let mut stranger = Connection::open(server.address(), None).await.unwrap();
    assert!(stranger.call(&["PING"]).await.unwrap().is_error());

    let tls = Connector::tls(server.tls_address(), Arc::new(server.certificate().clone()));
    let mut stream = tls.connect("redis").await.unwrap();
    stream.write_all(b"AUTH push secret\r\n").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"+OK\r\n");

    let before = server
        .command_stats()
        .await
        .get("set")
        .copied()
        .unwrap_or_default();
    server.command(&["SET", "key", "value"]).await.expect_ok();
    let after = server.command_stats().await["set"];
    assert_eq!(after.calls, before.calls + 1);
    assert!(after.took >= before.took);
    assert!(server.used_memory().await > 0);
    assert!(server.cpu().await > Duration::ZERO);
    let memory = server.info("memory").await;
    assert_eq!(memory["maxmemory_policy"], "noeviction");
}

/// A stopped server keeps its connections and answers when it goes on.
#[tokio::test]
async fn a_stopped_server_answers_later() {
    let server = Server::start(Configuration::new()).await;
    let mut connection = server.connect().await.unwrap();
    server.stop();
    assert!(!server.answers());
    connection.send(&["PING"]).await.unwrap();
    server.go_on();
    assert!(server.answers());
    let answer = within("the answer comes", connection.read()).await.unwrap();
    assert_eq!(answer.text(), "PONG");
}

/// Valkey is started like Redis, where it can be had, in every kind.
#[tokio::test]
async fn valkey_is_a_server_too() {
    if !Program::Valkey.is_here() {
        eprintln!("there is no valkey-server here: nothing was tested");
        return;
    }
    let server = Server::start(Configuration::new().valkey()).await;
    assert_eq!(server.info("server").await["server_name"], "valkey");
    let mut cluster = Cluster::start_with(3, 1, &Configuration::new().valkey()).await;
    cluster.fail_over(0).await;
    let mut sentinels = Sentinels::start_with(1, &Configuration::new().valkey().durable()).await;
    sentinels.kill_primary_and_wait_for_promotion().await;
}

/// A server that was started in one runtime is there for the next: a suite may share it.
#[test]
fn a_server_outlives_the_runtime_and_the_thread_that_started_it() {
    let in_runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let started = std::thread::spawn(move || {
        let runtime = in_runtime().unwrap();
        runtime.block_on(Server::start(Configuration::new()))
    });
    let mut server = started.join().unwrap();
    in_runtime().unwrap().block_on(async {
        assert_eq!(server.command(&["PING"]).await.text(), "PONG");
        server.kill().await;
    });
}
