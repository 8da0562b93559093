//! What is refused at start, and by which sentence.

use super::*;
use crate::defaults::REDIS_START_WITHIN;

/// PR-31: a server that would drop messages when it is full is refused, with what to set.
#[tokio::test]
async fn an_evicting_server_is_refused() {
    let server = Server::start(Configuration::new().memory(100_000_000, "allkeys-lru")).await;
    let sentence = why(connect_with(&server.url(), Options::default()).await.map(drop));
    assert!(
        sentence.contains("set `maxmemory-policy noeviction`"),
        "{sentence}"
    );
    assert!(sentence.contains(&server.address().to_string()), "{sentence}");
}

/// A wrong password, or none where one is needed, is told at once and never shown.
#[tokio::test]
async fn a_wrong_password_is_refused_at_once() {
    let server = Server::start(Configuration::new().user("push", "right")).await;
    connect(&server.url()).await;
    for user in ["push:hunter2@", ":hunter2@", ""] {
        let began = Instant::now();
        let url = format!("redis://{user}{}", server.address());
        let sentence = why(connect_with(&url, Options::default()).await.map(drop));
        assert!(began.elapsed() < REDIS_START_WITHIN, "it was not tried again");
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }
}

/// PR-1, PR-3: a server that would read its append-only file with too few rights, and drop what it may not write, is refused
/// with what to set; one that has no such file is not asked.
#[tokio::test]
async fn a_server_that_would_forget_at_its_restart_is_refused() {
    for has_file in [true, false] {
        let configuration = Configuration::new().user("push", "right");
        let configuration = match has_file {
            true => configuration.durable(),
            false => configuration,
        };
        let server = Server::start(configuration).await;
        connect(&server.url()).await;
        let no_rights = ["ACL", "SETUSER", "default", "reset"];
        server.command(&no_rights).await.expect_ok();
        let answer = connect_with(&server.url(), Options::default()).await.map(drop);
        match has_file {
            true => assert!(why(answer).contains("user default off ~* &* +@all")),
            false => answer.unwrap(),
        }
    }
}

/// `rediss://` speaks TLS with a server whose authority is configured, and with no other.
#[tokio::test]
async fn tls_trusts_the_configured_authority() {
    let server = Server::start(Configuration::new().tls().user("default", "secret")).await;
    let ca = server.directory().join("certificate.pem");
    let options = Options {
        ca: Some(ca),
        ..Options::default()
    };
    let primaries = connect_with(&server.url(), options).await.unwrap();
    let bucket = Bucket::new(1);
    assert_eq!(
        counted(&primaries, Work::Step, bucket, &count(Repeat::Always))
            .await
            .unwrap(),
        1
    );
    let sentence = why(connect_with(&server.url(), Options::default()).await.map(drop));
    assert!(sentence.contains("certificate"), "{sentence}");
}

/// A server that is not there yet is waited for.
#[tokio::test]
async fn a_server_that_comes_late_is_waited_for() {
    let mut server = Server::start(Configuration::new()).await;
    let url = server.url();
    server.kill().await;
    let (primaries, ()) = tokio::join!(connect(&url), server.start_again());
    assert_eq!(
        counted(&primaries, Work::Step, Bucket::new(1), &count(Repeat::Always))
            .await
            .unwrap(),
        1
    );
}

/// A replica is no place to write to: refused, and said so.
#[tokio::test]
async fn a_replica_is_refused() {
    let primary = Server::start(Configuration::new()).await;
    let replica = Server::start(Configuration::new().replica_of(&primary)).await;
    let sentence = why(connect_with(&replica.url(), Options::default()).await.map(drop));
    assert!(sentence.contains("is a replica"), "{sentence}");
}

/// PR-33: what the server can't confirm is refused at start.
#[tokio::test]
async fn a_server_that_knows_no_waitaof_is_refused() {
    let server = Server::start(Configuration::new()).await;
    let options = Options {
        wait_aof: true,
        ..Options::default()
    };
    let sentence = why(connect_with(&server.url(), options).await.map(drop));
    assert!(
        sentence.contains("storage.redis.wait_aof needs Redis 7.2"),
        "{sentence}"
    );
}

/// A server by itself is not taken for a cluster: told at once, not after the time that a late one is given.
#[tokio::test]
async fn a_server_alone_is_no_cluster() {
    let alone = Server::start(Configuration::new()).await;
    let url = format!("redis+cluster://{}", alone.address());
    let sentence = why(connect_with(&url, Options::default()).await.map(drop));
    assert!(sentence.contains("cluster support disabled"), "{sentence}");
}
