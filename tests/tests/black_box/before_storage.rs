//! A service that waits for its storage: probes are answered, no peer is let in, and a signal ends it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use push_tests::node::Node;
use push_tests::redis::until;
use push_tests::settings::{Settings, free_port};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

/// The longest that the end of a start may take. Chosen: far below the wait for Redis, and enough for two shared cores.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Of a Redis that is not there.
fn settings(redis: SocketAddr) -> Settings {
    Settings::new()
        .redis(&format!("redis://{redis}"))
        .set("public_url", "https://push.example")
        .set("storage.redis.start_within", "10m")
}

/// While Redis is away, or accepts connections and answers nothing: `/healthz` is 200, `/readyz` is 503 and names Redis, no
/// public port is open. SIGTERM, SIGINT and SIGQUIT end the process at once, with exit code 0 and a line that names the signal.
#[tokio::test]
async fn a_signal_ends_a_start_at_once() {
    let rows = [
        (Signal::TERM, "SIGTERM", false),
        (Signal::TERM, "SIGTERM", true),
        (Signal::INT, "SIGINT", false),
        (Signal::QUIT, "SIGQUIT", true),
    ];
    for (signal, name, is_silent) in rows {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let redis = silent.local_addr().unwrap();
        let (why, _silent) = match is_silent {
            true => ("does not answer", Some(silent)),
            false => {
                drop(silent);
                ("refused", None)
            }
        };
        let settings = settings(redis);
        let public = free_port(settings.address());
        let mut node = Node::starting(settings.set("listen.http", vec![public.to_string()])).await;
        assert_eq!(node.ask_admin("/healthz").await.status, 200);
        let redis = redis.to_string();
        until("/readyz says what it waits for", || async {
            let answer = node.ask_admin("/readyz").await;
            let said = answer.text();
            assert_eq!(answer.status, 503, "{said}");
            (said.contains("starting: waits for Redis at") && said.contains(&redis) && said.contains(why))
                .then_some(())
        })
        .await;
        assert!(TcpStream::connect(public).await.is_err(), "a public port is open");
        // It means nothing during the start.
        node.signal(Signal::HUP);
        let began = Instant::now();
        node.signal(signal);
        let (status, log) = node.ended().await;
        let took = began.elapsed();
        let said = log.text();
        assert_eq!(status.code(), Some(0), "{name}: {said}");
        assert!(took < AT_ONCE, "{name} took {took:?}");
        assert!(
            said.contains("ended by a signal during the start") && said.contains(name),
            "{said}"
        );
        assert_eq!(said.matches("Redis cannot be used yet").count(), 1, "{said}");
        println!("{name}, {why}: ended after {took:?}");
    }
}

/// A Redis that stays away ends the process when the time is over: a failure, with the reason and the key that sets the time.
#[tokio::test]
async fn the_wait_for_redis_ends() {
    let away = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    for within in ["0s", "400ms"] {
        let refused = Node::refused(settings(away).set("storage.redis.start_within", within)).await;
        assert_eq!(refused.status.code(), Some(1), "{}", refused.said);
        let lines = refused.said.matches("Redis cannot be used yet").count();
        assert_eq!(lines, usize::from(within != "0s"), "{}", refused.said);
        for words in ["refused", "storage.redis.start_within", &away.to_string()] {
            assert!(refused.said.contains(words), "{words}: {}", refused.said);
        }
    }
}

/// A `tls.certificate` without a certificate in it ends the start before Redis is asked, not after the wait for it.
#[tokio::test]
async fn a_wrong_certificate_is_told_before_redis_is_waited_for() {
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = away.local_addr().unwrap();
    let directory = TempDir::new().unwrap();
    let wrong = directory.path().join("wrong.pem");
    std::fs::write(&wrong, "no certificate").unwrap();
    let settings = settings(away)
        .set("listen.tls", vec!["127.0.0.1:0"])
        .environment("PUSH_SERVICE__TLS__CERTIFICATE", wrong.to_str().unwrap());
    let refused = Node::refused(settings).await;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.said);
    assert!(refused.said.contains("wrong.pem"), "{}", refused.said);
    assert!(
        !refused.said.contains("Redis cannot be used yet"),
        "{}",
        refused.said
    );
}
