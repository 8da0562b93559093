//! Sentinels: another server is primary from one moment to the next.

use push_tests::redis::{Configuration, Sentinels};

use super::listening::{Listening, channel};
use super::*;

/// PR-14, PR-32: when sentinels promote a replica, steps go there, every bucket is subscribed to there and reported.
#[tokio::test]
async fn a_promoted_replica_takes_over() {
    let mut sentinels = Sentinels::start(1).await;
    let primaries = Arc::new(connect(&sentinels.url()).await);
    let mut listening = Listening::start(&primaries);
    listening
        .gap("all buckets are subscribed to", Bucket::all().collect())
        .await;
    let (bucket, script) = (Bucket::new(9), count(Repeat::Always));
    counted(&primaries, Work::Step, bucket, &script).await.unwrap();
    sentinels.kill_primary_and_wait_for_promotion().await;
    listening
        .gap(
            "all buckets are subscribed to at the new primary",
            Bucket::all().collect(),
        )
        .await;
    counted(&primaries, Work::Step, bucket, &script).await.unwrap();
    let promoted = sentinels.primary().await;
    let publish = [b"SPUBLISH".as_slice(), &channel(bucket), b"x"];
    assert_eq!(promoted.command(&publish).await.integer(), 1);
    assert_eq!(listening.message("a message").await.0, bucket);
}

/// DESIGN §5: the URL's user and password are for the servers; sentinels that want none are asked without.
#[tokio::test]
async fn sentinels_without_a_password_are_asked_without() {
    let sentinels = Sentinels::start_with(1, &Configuration::new().user("push", "secret")).await;
    let primaries = connect(&sentinels.url()).await;
    counted(&primaries, Work::Step, Bucket::new(9), &count(Repeat::Always))
        .await
        .unwrap();
    let misnamed = sentinels.url().replace("/push", "/other");
    let sentence = why(
        within("it is refused", connect_with(&misnamed, Options::default()))
            .await
            .map(drop),
    );
    assert!(
        sentence.contains("watches no primary of the name in storage.url"),
        "{sentence}"
    );
}

/// PR-32: a sentinel that is dead or stands still does not keep a node from starting.
#[tokio::test]
async fn one_sentinel_that_answers_is_enough() {
    let mut sentinels = Sentinels::start(1).await;
    sentinels.sentinel_mut(0).kill().await;
    sentinels.sentinels()[1].stop();
    let primaries = connect(&sentinels.url()).await;
    counted(&primaries, Work::Step, Bucket::new(9), &count(Repeat::Always))
        .await
        .unwrap();
    sentinels.sentinels()[1].go_on();
}

/// PR-32: a primary that is made a replica while steps come has each of them answered in time, and they go on at the one
/// that the sentinels promote.
#[tokio::test]
async fn a_demoted_primary_is_left() {
    let sentinels = Sentinels::start(1).await;
    let primaries = connect(&sentinels.url()).await;
    let (bucket, script) = (Bucket::new(9), count(Repeat::IfNotRun));
    counted(&primaries, Work::Step, bucket, &script).await.unwrap();
    let before = sentinels.primary_number().await;
    let fail_over = ["SENTINEL", "FAILOVER", push_tests::redis::sentinels::NAME];
    sentinels.sentinels()[0].command(&fail_over).await.expect_ok();
    let steps = async {
        // Its connections are closed when it is made a replica: no answer is no sign.
        let role = || sentinels.servers()[before].try_command(&["ROLE"]);
        while !role().await.is_ok_and(|role| role.list()[0].text() == "slave") {
            // Refused or run: but never without an answer.
            let _ = counted(&primaries, Work::Step, bucket, &script).await;
        }
    };
    within("the primary is a replica", steps).await;
    sentinels.wait_until_settled().await;
    counted(&primaries, Work::Step, bucket, &script).await.unwrap();
}
