//! A cluster: buckets that move, and primaries that die.

use push_tests::redis::Cluster;

use super::listening::{Listening, channel};
use super::*;

/// A bucket that the first primary of a fresh cluster of three has.
fn bucket_of_first() -> Bucket {
    Bucket::all().find(|bucket| bucket.slot() < 5_000).unwrap()
}

/// PR-32: each step goes to the primary of its bucket, and scripts are brought to each.
#[tokio::test]
async fn every_bucket_has_its_primary() {
    let cluster = Cluster::start(3, 0).await;
    let primaries = connect(&cluster.url()).await;
    let script = count(Repeat::IfNotRun);
    for bucket in Bucket::all() {
        assert_eq!(counted(&primaries, Work::Step, bucket, &script).await.unwrap(), 1);
    }
    for server in cluster.servers() {
        assert!(server.command(&["DBSIZE"]).await.integer() > 200);
    }
    let reads = Bucket::all().map(|bucket| {
        let mut get = redis::Cmd::new();
        get.arg("GET").arg(key(bucket));
        (bucket, get)
    });
    let answers = primaries.pipeline(reads.collect()).await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(Value::BulkString(one)) if one == b"1"))
    );
}

/// A member of a cluster is not taken for a server by itself.
#[tokio::test]
async fn a_member_alone_is_refused() {
    let cluster = Cluster::start(3, 0).await;
    let url = format!("redis://{}", cluster.servers()[0].address());
    // It may answer for another's slot first, which is a sign as good.
    let sentence = why(connect_with(&url, Options::default()).await.map(drop));
    assert!(sentence.contains("redis+cluster://"), "{sentence}");
}

/// PR-32: while a slot moves (ASK) and after it has moved (MOVED), steps run, each once; reads of many as well.
#[tokio::test]
async fn steps_follow_a_slot_that_moves() {
    let cluster = Cluster::start(3, 0).await;
    let primaries = connect(&cluster.url()).await;
    let (bucket, script) = (bucket_of_first(), count(Repeat::IfNotRun));
    assert_eq!(counted(&primaries, Work::Step, bucket, &script).await.unwrap(), 1);
    let migration = cluster.begin_migration(bucket.slot(), 1).await;
    // The key is still where it was.
    assert_eq!(counted(&primaries, Work::Step, bucket, &script).await.unwrap(), 2);
    assert_eq!(cluster.migrate_keys(migration, 10).await, 1);
    // Now it is asked for at the new owner, which does not know the script.
    assert_eq!(counted(&primaries, Work::Step, bucket, &script).await.unwrap(), 3);
    assert_eq!(counted(&primaries, Work::Page, bucket, &script).await.unwrap(), 4);
    let get = || {
        let mut get = redis::Cmd::new();
        get.arg("GET").arg(key(bucket));
        vec![(bucket, get)]
    };
    assert_eq!(
        primaries.pipeline(get()).await[0].clone().unwrap(),
        Value::BulkString(b"4".to_vec())
    );
    cluster.end_migration(migration).await;
    assert_eq!(counted(&primaries, Work::Step, bucket, &script).await.unwrap(), 5);
    assert_eq!(
        primaries.pipeline(get()).await[0].clone().unwrap(),
        Value::BulkString(b"5".to_vec())
    );
}

/// PR-32: two servers that each name the other as the owner of a slot (a storm of MOVED) are asked a bounded number of times.
/// Then the step is refused. Other buckets are served meanwhile, and this one again when a server owns it.
#[tokio::test]
async fn a_storm_of_redirections_is_bounded() {
    /// A few at once, then after pauses that double: a dozen fit into 3 s.
    const MOST: usize = 200;
    let cluster = Cluster::start(3, 0).await;
    let primaries = connect(&cluster.url()).await;
    let (bucket, script) = (bucket_of_first(), count(Repeat::IfNotRun));
    let other = Bucket::all().find(|bucket| bucket.slot() > 12_000).unwrap();
    counted(&primaries, Work::Step, other, &script).await.unwrap();
    let (first, second) = (&cluster.servers()[0], &cluster.servers()[1]);
    let ids = [
        first.command(&["CLUSTER", "MYID"]).await.text(),
        second.command(&["CLUSTER", "MYID"]).await.text(),
    ];
    let slot = bucket.slot().to_string();
    first
        .command(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[1]])
        .await
        .expect_ok();

    let step = counted(&primaries, Work::Step, bucket, &script);
    within("the step is refused", step).await.unwrap_err();
    counted(&primaries, Work::Step, other, &script).await.unwrap();
    let mut redirected = 0;
    for server in [first, second] {
        let errors = server.command(&["INFO", "errorstats"]).await.text();
        let moved = errors
            .lines()
            .find_map(|line| line.strip_prefix("errorstat_MOVED:count="));
        redirected += moved.map_or(0, |count| count.trim().parse::<usize>().unwrap());
    }
    assert!((2..=MOST).contains(&redirected), "{redirected} times");

    first
        .command(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[0]])
        .await
        .expect_ok();
    assert_eq!(counted(&primaries, Work::Step, bucket, &script).await.unwrap(), 1);
}

/// PR-32: when the primary of a shard dies, its buckets are refused or answered within the stated time, are served by the
/// promoted replica afterwards, and the others never notice.
#[tokio::test]
async fn a_dead_primary_is_replaced() {
    let mut cluster = Cluster::start(3, 1).await;
    let primaries = Arc::new(connect(&cluster.url()).await);
    let mut listening = Listening::start(&primaries);
    listening
        .gap("all buckets are subscribed to", Bucket::all().collect())
        .await;
    let (bucket, script) = (bucket_of_first(), count(Repeat::Always));
    let other = Bucket::all().find(|bucket| bucket.slot() > 12_000).unwrap();
    counted(&primaries, Work::Step, bucket, &script).await.unwrap();
    let lost: Vec<_> = Bucket::all().filter(|bucket| bucket.slot() < 5_461).collect();
    let meanwhile = async {
        let fail_over = cluster.fail_over(0).await;
        assert_ne!(fail_over.killed, fail_over.promoted);
    };
    let steps = async {
        loop {
            let step = counted(&primaries, Work::Step, bucket, &script);
            let answer = within("the step is refused or answered", step).await;
            counted(&primaries, Work::Step, other, &script).await.unwrap();
            if answer.is_err() {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::select! {
        () = meanwhile => {}
        () = steps => {}
    }
    listening
        .gap("the buckets are subscribed to at the new primary", lost)
        .await;
    counted(&primaries, Work::Step, bucket, &script).await.unwrap();
    let number = cluster.primary_of_shard(0).await;
    let publish = [b"SPUBLISH".as_slice(), &channel(bucket), b"x"];
    assert_eq!(cluster.servers()[number].command(&publish).await.integer(), 1);
    assert_eq!(listening.message("a message").await.0, bucket);
    assert!(primaries.subscribed());
}

/// PR-33: a step that is confirmed follows a slot that moves like any other, and is confirmed where it runs.
#[tokio::test]
async fn confirmed_steps_follow_as_well() {
    let cluster = Cluster::start(3, 1).await;
    let options = Options {
        wait_replicas: WaitReplicas::Number(1),
        ..Options::default()
    };
    let primaries = connect_with(&cluster.url(), options).await.unwrap();
    let (bucket, script) = (bucket_of_first(), count(Repeat::IfNotRun));
    let confirmed = || counted(&primaries, Work::Confirmed, bucket, &script);
    assert_eq!(confirmed().await.unwrap(), 1);
    let migration = cluster.begin_migration(bucket.slot(), 1).await;
    assert_eq!(cluster.migrate_keys(migration, 10).await, 1);
    assert_eq!(confirmed().await.unwrap(), 2);
    let waits = cluster.servers()[1].command_stats().await["wait"].calls;
    assert!(waits > 0, "the new owner's replica was waited for");
    cluster.end_migration(migration).await;
    assert_eq!(confirmed().await.unwrap(), 3);
}

/// PR-32: a primary that stands still, without a replica to take over, delays nothing of the others.
#[tokio::test]
async fn a_silent_primary_is_silent_alone() {
    let cluster = Cluster::start(3, 0).await;
    let primaries = connect(&cluster.url()).await;
    let (bucket, script) = (bucket_of_first(), count(Repeat::IfNotRun));
    let other = Bucket::all().find(|bucket| bucket.slot() > 12_000).unwrap();
    counted(&primaries, Work::Step, bucket, &script).await.unwrap();
    cluster.servers()[0].stop();
    let silent = counted(&primaries, Work::Step, bucket, &script);
    let mut served = 0;
    let others = async {
        loop {
            counted(&primaries, Work::Step, other, &script).await.unwrap();
            served += 1;
        }
    };
    let silent = tokio::select! {
        silent = silent => silent,
        () = others => unreachable!("they go on"),
    };
    why(silent);
    assert!(
        served > 1,
        "{served} steps of another primary ended before the one of the silent primary"
    );
    cluster.servers()[0].go_on();
}

/// PR-14: when a slot has moved, its server withdraws the subscription; it is made again at the new owner, and reported.
#[tokio::test]
async fn a_moved_slot_is_a_gap() {
    let cluster = Cluster::start(3, 0).await;
    let primaries = Arc::new(connect(&cluster.url()).await);
    let mut listening = Listening::start(&primaries);
    listening
        .gap("all buckets are subscribed to", Bucket::all().collect())
        .await;
    let bucket = bucket_of_first();
    let migration = cluster.begin_migration(bucket.slot(), 1).await;
    cluster.end_migration(migration).await;
    listening
        .gap("the bucket is subscribed to at its new owner", vec![bucket])
        .await;
    let publish = [b"SPUBLISH".as_slice(), &channel(bucket), b"x"];
    assert_eq!(cluster.servers()[1].command(&publish).await.integer(), 1);
    assert_eq!(listening.message("a message").await, (bucket, b"x".to_vec()));
    within("all buckets are heard", async {
        while !primaries.subscribed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
