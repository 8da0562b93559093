//! Steps that count only when replicas or disks have them.

use push_tests::redis::program::Program;
use push_tests::redis::until;

use super::*;

/// PR-33: a step is confirmed when as many replicas as asked for have it, and refused when one of them stands still, though
/// the primary has it.
#[tokio::test]
async fn a_step_is_confirmed_by_replicas() {
    let primary = Server::start(Configuration::new()).await;
    let replicas = [
        Server::start(Configuration::new().replica_of(&primary)).await,
        Server::start(Configuration::new().replica_of(&primary)).await,
    ];
    primary.wait_for_replicas(2).await;
    let options = Options {
        wait_replicas: WaitReplicas::Number(2),
        ..Options::default()
    };
    let primaries = connect_with(&primary.url(), options).await.unwrap();
    let (bucket, script) = (Bucket::new(3), count(Repeat::IfNotRun));
    // The script is not known yet: it is brought, and confirmed all the same.
    assert_eq!(
        counted(&primaries, Work::Confirmed, bucket, &script)
            .await
            .unwrap(),
        1
    );
    replicas[1].stop();
    let sentence = why(counted(&primaries, Work::Confirmed, bucket, &script).await);
    assert!(
        sentence.contains("only 1 of 2 replicas confirmed it"),
        "{sentence}"
    );
    assert_eq!(
        counted(&primaries, Work::Step, bucket, &script).await.unwrap(),
        3,
        "others don't wait"
    );
    replicas[1].go_on();
    primary.wait_for_replicas(2).await;
    let answers = (0..200).map(|_| counted(&primaries, Work::Confirmed, bucket, &script));
    let answers = futures_util::future::join_all(answers).await;
    let mut counts: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    counts.sort_unstable();
    assert_eq!(counts, (4..204).collect::<Vec<_>>(), "each ran once");
}

/// How long a missing replica counts in these tests.
const MISSED_FOR: Duration = Duration::from_secs(2);

/// PR-41: with `all`, every connected replica has to confirm: a stopped one is waited for until it no longer counts,
/// one that joins is waited for at once, and there are never fewer than the minimum.
#[tokio::test]
async fn every_connected_replica_confirms() {
    let primary = Server::start(Configuration::new()).await;
    let mut replicas = Vec::new();
    for _ in 0..2 {
        replicas.push(Server::start(Configuration::new().replica_of(&primary)).await);
    }
    primary.wait_for_replicas(2).await;
    let all = |least| Options {
        wait_replicas: WaitReplicas::All { least },
        replica_missed_for: MISSED_FOR,
        ..Options::default()
    };
    let primaries = connect_with(&primary.url(), all(1)).await.unwrap();
    let strict = connect_with(&primary.url(), all(2)).await.unwrap();
    let (bucket, script) = (Bucket::new(3), count(Repeat::Always));
    let step = async |primaries: &Primaries| counted(primaries, Work::Confirmed, bucket, &script).await;
    step(&primaries).await.unwrap();
    step(&strict).await.unwrap();

    replicas[1].stop();
    let sentence = why(step(&primaries).await);
    assert!(
        sentence.contains("only 1 of 2 replicas confirmed it"),
        "{sentence}"
    );
    // Once killed it is no longer connected, but it may have been promoted without the primary knowing.
    replicas[1].kill().await;
    let sentence = why(step(&primaries).await);
    assert!(
        sentence.contains("only 1 of 2 replicas confirmed it"),
        "{sentence}"
    );
    until("the primary forgets a dead replica", || async {
        step(&primaries).await.ok()
    })
    .await;
    // Long after the replica has ceased to count, the minimum is still not met.
    let long_after = Instant::now() + 2 * MISSED_FOR;
    while Instant::now() < long_after {
        let sentence = why(step(&strict).await);
        assert!(
            sentence.contains("only 1 of 2 replicas confirmed it"),
            "{sentence}"
        );
    }

    // It waits for one, and meanwhile another joins: that one is waited for too.
    replicas.push(Server::start(Configuration::new().replica_of(&primary)).await);
    primary.wait_for_replicas(2).await;
    replicas[2].stop();
    let sentence = why(step(&primaries).await);
    assert!(
        sentence.contains("only 1 of 2 replicas confirmed it"),
        "{sentence}"
    );
    replicas[2].go_on();
    until("the replica that joined confirms", || async {
        step(&strict).await.ok()
    })
    .await;
    let warnings = primaries.warnings();
    assert!(
        !warnings.iter().any(|warning| warning.contains("replicas")),
        "{warnings:?}"
    );
}

/// PR-33: many steps share one WAIT.
#[tokio::test]
async fn a_batch_has_one_wait() {
    let primary = Server::start(Configuration::new()).await;
    let _replica = Server::start(Configuration::new().replica_of(&primary)).await;
    primary.wait_for_replicas(1).await;
    let options = Options {
        wait_replicas: WaitReplicas::Number(1),
        ..Options::default()
    };
    let primaries = connect_with(&primary.url(), options).await.unwrap();
    let (bucket, script) = (Bucket::new(3), count(Repeat::IfNotRun));
    counted(&primaries, Work::Confirmed, bucket, &script)
        .await
        .unwrap();
    let before = primary.command_stats().await["wait"].calls;
    let answers = (0..200).map(|_| counted(&primaries, Work::Confirmed, bucket, &script));
    let answers = futures_util::future::join_all(answers).await;
    assert!(answers.iter().all(Result::is_ok));
    let waits = primary.command_stats().await["wait"].calls - before;
    assert!((1..=20).contains(&waits), "{waits}");
}

/// PR-33: with `wait_aof` a step is confirmed by the primary's disk.
#[tokio::test]
async fn a_step_is_confirmed_by_the_disk() {
    if !Program::Valkey.is_here() {
        return;
    }
    let server = Server::start(Configuration::new().valkey().durable()).await;
    let options = Options {
        wait_aof: true,
        ..Options::default()
    };
    let primaries = connect_with(&server.url(), options).await.unwrap();
    let (bucket, script) = (Bucket::new(3), count(Repeat::IfNotRun));
    assert_eq!(
        counted(&primaries, Work::Confirmed, bucket, &script)
            .await
            .unwrap(),
        1
    );
    assert!(server.command_stats().await["waitaof"].calls > 0);
}

/// PR-33: without replicas or disks to wait for, the same work is a plain step.
#[tokio::test]
async fn with_nothing_to_wait_for_nothing_waits() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    let (bucket, script) = (Bucket::new(3), count(Repeat::IfNotRun));
    assert_eq!(
        counted(&primaries, Work::Confirmed, bucket, &script)
            .await
            .unwrap(),
        1
    );
    assert!(!server.command_stats().await.contains_key("wait"));
}
