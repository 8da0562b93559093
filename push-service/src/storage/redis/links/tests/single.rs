//! One server: what a step does when the server forgets, stops, fills up or answers with errors.

use futures_util::FutureExt as _;
use push_tests::redis::Gate;
use push_tests::redis::gate::{Way, Which};

use super::*;
use crate::defaults::{REDIS_ANSWER_WITHIN, REDIS_PROBE_WITHIN, REDIS_START_WITHIN, REDIS_STEPS_UNDER_WAY};
use crate::storage::BUCKETS;

const BUCKET: u16 = 7;

/// PR-32: a server that has forgotten the script (restarted, flushed) gets it again, and the step runs once.
#[tokio::test]
async fn a_script_that_the_server_forgot_is_sent_again() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    let (bucket, script) = (Bucket::new(BUCKET), count(Repeat::IfNotRun));
    assert_eq!(counted(&primaries, Work::Step, bucket, &script).await.unwrap(), 1);
    server.command(&["SCRIPT", "FLUSH"]).await.expect_ok();
    assert_eq!(counted(&primaries, Work::Page, bucket, &script).await.unwrap(), 2);
    let before = server.command_stats().await;
    assert_eq!(counted(&primaries, Work::Step, bucket, &script).await.unwrap(), 3);
    let after = server.command_stats().await;
    assert_eq!(
        before["eval"].calls, after["eval"].calls,
        "known scripts go by name"
    );
}

/// PR-32: a server that stops answering costs a step under way its deadline and new ones next to nothing; it heals without
/// a restart, and what may have run was not sent twice.
#[tokio::test]
async fn a_silent_server_is_noticed_and_heals() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    let (bucket, script) = (Bucket::new(BUCKET), count(Repeat::IfNotRun));
    assert_eq!(counted(&primaries, Work::Step, bucket, &script).await.unwrap(), 1);
    server.command(&["SET", "test:{007}", "1"]).await.expect_ok();
    server.stop();
    let began = Instant::now();
    let sentence = why(counted(&primaries, Work::Step, bucket, &script).await);
    assert!(sentence.contains("did not answer in time"), "{sentence}");
    assert!(began.elapsed() >= REDIS_ANSWER_WITHIN, "it was waited for");
    // Of many, one finds out whether the server is back, and the others are told without a wait.
    let circuit = &primaries.map.primary(bucket).unwrap().circuit;
    assert!(!circuit.is_answering());
    assert_eq!(circuit.admit(), Some(REDIS_PROBE_WITHIN), "this one finds out");
    within("the others are refused at once", async {
        let is_refused = || counted(&primaries, Work::Step, bucket, &script).now_or_never();
        while is_refused().is_none_or(|refused| refused.is_ok()) {
            // It was time for the next one to find out.
            circuit.admit();
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The one that finds out is told as well.
    why(counted(&primaries, Work::Step, bucket, &script).await);
    assert!(trouble(&primaries).await.contains(&server.address().to_string()));
    server.go_on();
    assert_eq!(
        back(&primaries, "the server is well again").await.len(),
        usize::from(BUCKETS)
    );
    primaries.health().unwrap();
    assert!(counted(&primaries, Work::Step, bucket, &script).await.unwrap() > 1);
}

/// PR-32: what was sent before the last answer and is late says nothing about what is sent now: nothing is refused for it.
#[tokio::test]
async fn a_late_answer_among_others_is_no_silence() {
    let server = Server::start(Configuration::new()).await;
    let gate = Gate::listening_for(&["HELD-BACK"], server.address()).await;
    let primaries = connect(&format!("redis://{}", gate.address())).await;
    let (bucket, script) = (Bucket::new(BUCKET), count(Repeat::IfNotRun));
    gate.stall(Which::Said("HELD-BACK"), Way::Both);
    let key = key(bucket);
    let (keys, args): ([&[u8]; 1], [&[u8]; 1]) = ([&key], [b"HELD-BACK"]);
    let late = primaries.run(Work::Page, bucket, &script, &keys, &args);
    let others = async {
        gate.wait_for("the page is on its way", |counts| {
            counts.said.contains_key("HELD-BACK")
        })
        .await;
        counted(&primaries, Work::Step, bucket, &script).await
    };
    let (late, other) = tokio::join!(late, others);
    assert!(why(late).contains("did not answer in time"));
    other.unwrap();
    assert!(primaries.map.primary(bucket).unwrap().circuit.is_answering());
}

/// PR-3: a primary that was made a replica still reads, and is trouble all the same.
#[tokio::test]
async fn a_demoted_server_is_trouble() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    for bucket in Bucket::all() {
        let name = String::from_utf8(key(bucket)).unwrap();
        server.command(&["SET", &name, "1"]).await.expect_ok();
    }
    let no_primary = server.address().ip().to_string();
    server.command(&["REPLICAOF", &no_primary, "1"]).await.expect_ok();
    assert!(trouble(&primaries).await.contains("is a replica now"));
    server.command(&["REPLICAOF", "NO", "ONE"]).await.expect_ok();
    back(&primaries, "it is the primary again").await;
    primaries.health().unwrap();
}

/// PR-32: a connection that is lost before the answer came leaves a step undecided: one that may be repeated is sent again,
/// one that may not is refused, and has run once.
#[tokio::test]
async fn only_what_may_be_repeated_is() {
    let server = Server::start(Configuration::new()).await;
    let mut gate = Gate::before(server.address()).await;
    let primaries = connect(&format!("redis://{}", gate.address())).await;
    let bucket = Bucket::new(BUCKET);
    for (repeat, runs) in [(Repeat::IfNotRun, 1), (Repeat::Always, 2)] {
        let script = count(repeat);
        counted(&primaries, Work::Step, bucket, &script).await.unwrap();
        server.command(&["SET", "test:{007}", "0"]).await.expect_ok();
        gate.stall(Which::All, Way::ToClient);
        let loses = async {
            let has_run = async { while server.command(&["GET", "test:{007}"]).await.text() != "1" {} };
            within("the step has run", has_run).await;
            gate.cut().await;
            gate.resume().await;
        };
        let (answer, ()) = tokio::join!(counted(&primaries, Work::Step, bucket, &script), loses);
        match repeat {
            Repeat::Always => assert_eq!(answer.unwrap(), runs),
            Repeat::IfNotRun => assert!(why(answer).contains(&gate.address().to_string())),
        }
        assert_eq!(
            server.command(&["GET", "test:{007}"]).await.text(),
            runs.to_string()
        );
    }
}

/// PR-32: an idle connection that the server closed is replaced before a step is risked on it.
#[tokio::test]
async fn a_closed_connection_costs_no_step() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    let (bucket, script) = (Bucket::new(BUCKET), count(Repeat::IfNotRun));
    for expected in 1..=5 {
        assert_eq!(
            counted(&primaries, Work::Step, bucket, &script).await.unwrap(),
            expected
        );
        let link = primaries.map.primary(bucket).unwrap().steps_link().unwrap();
        server
            .command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .await;
        within("the end of the connection is seen", async {
            while !link.is_lost() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// PR-31: at `maxmemory` the store says that it is full, and steps that free memory go on.
#[tokio::test]
async fn a_full_server_is_full() {
    let server = Server::start(Configuration::new().memory(1, "noeviction")).await;
    let primaries = connect(&server.url()).await;
    let bucket = Bucket::new(BUCKET);
    let refused = counted(&primaries, Work::Step, bucket, &count(Repeat::IfNotRun)).await;
    assert!(matches!(refused, Err(StorageError::Full)), "{refused:?}");
    let source = "#!lua flags=allow-oom\nreturn redis.call('UNLINK', KEYS[1])";
    let free = Script::new("free", source, Repeat::Always);
    assert_eq!(counted(&primaries, Work::Step, bucket, &free).await.unwrap(), 0);
}

/// PR-3: a script's own word for trouble is told to the operator, without code and without "unknown".
#[tokio::test]
async fn trouble_that_a_script_finds_is_told() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    let source = "#!lua\nreturn redis.error_reply('TROUBLE the store is newer than this node')";
    let script = Script::new("trouble", source, Repeat::Always);
    let sentence = why(counted(&primaries, Work::Step, Bucket::new(BUCKET), &script).await);
    assert_eq!(sentence, "the store is newer than this node");
}

/// House rule on secrets: what a step carries is in no error.
#[tokio::test]
async fn errors_hold_nothing_of_a_step() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    let bucket = Bucket::new(BUCKET);
    for source in [
        "#!lua\nreturn redis.call('HSET', KEYS[1], ARGV[1])",
        "#!lua\nreturn redis.call(ARGV[1])",
        "#!lua\nreturn redis.call('GET', ARGV[1], ARGV[1])",
        "#!lua\nreturn redis.call('EXPIRE', KEYS[1], ARGV[1])",
        "#!lua\nreturn ARGV[1] + 1",
    ] {
        let script = Script::new("wrong", source, Repeat::Always);
        let answer = primaries
            .run(Work::Step, bucket, &script, &[&key(bucket)], &[b"hunter2"])
            .await;
        let sentence = why(answer);
        assert!(!sentence.contains("hunter2"), "{source}: {sentence}");
        assert!(
            sentence.contains("wrong") && sentence.contains(&server.address().to_string()),
            "{sentence}"
        );
    }
}

/// House rule on bounds: beyond the steps that may be under way one more is refused at once.
#[tokio::test]
async fn steps_under_way_are_bounded() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    let all = primaries
        .permits
        .try_acquire_many(u32::try_from(REDIS_STEPS_UNDER_WAY).unwrap());
    let sentence = why(counted(
        &primaries,
        Work::Step,
        Bucket::new(BUCKET),
        &count(Repeat::Always),
    )
    .await);
    assert!(sentence.contains("too many steps wait"), "{sentence}");
    drop(all);
    counted(
        &primaries,
        Work::Step,
        Bucket::new(BUCKET),
        &count(Repeat::Always),
    )
    .await
    .unwrap();
}

/// Cancel safety: steps that are dropped half way take nothing from those beside them.
#[tokio::test]
async fn a_dropped_step_harms_no_other() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    let (bucket, script) = (Bucket::new(BUCKET), count(Repeat::IfNotRun));
    let keys = key(bucket);
    let keys: &[&[u8]] = &[&keys];
    for work in [Work::Step, Work::Page, Work::Confirmed] {
        let steps = (0..100).map(|number| {
            let step = primaries.run(work, bucket, &script, keys, &[]);
            let patience = if number % 2 == 0 {
                Duration::ZERO
            } else {
                Duration::from_secs(10)
            };
            timeout(patience, step)
        });
        let answers = futures_util::future::join_all(steps).await;
        assert!(
            answers
                .into_iter()
                .skip(1)
                .step_by(2)
                .all(|answer| answer.unwrap().is_ok()),
            "{work:?}"
        );
    }
}

/// PR-14: reads for many buckets go out together and are answered in their order.
#[tokio::test]
async fn many_reads_are_answered_in_their_order() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    let mut reads = Vec::new();
    for bucket in Bucket::all() {
        server
            .command(&[b"SET".as_slice(), &key(bucket), &bucket.tag()])
            .await
            .expect_ok();
        let mut get = redis::Cmd::new();
        get.arg("GET").arg(key(bucket));
        reads.push((bucket, get));
    }
    let answers = primaries.pipeline(reads).await;
    assert_eq!(answers.len(), usize::from(BUCKETS));
    for (bucket, answer) in Bucket::all().zip(answers) {
        assert_eq!(answer.unwrap(), Value::BulkString(bucket.tag().to_vec()));
    }
}

/// Who has time outlasts a server that doesn't answer for a while, and hears all that it asked.
#[tokio::test]
async fn a_patient_reader_outlasts_a_silence() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    let read = || {
        let mut get = redis::Cmd::new();
        get.arg("GET").arg(key(Bucket::new(BUCKET)));
        vec![(Bucket::new(BUCKET), get)]
    };
    server.stop();
    let impatient = async {
        let answers = primaries.pipeline(read()).await;
        assert!(answers[0].is_err(), "{answers:?}");
        server.go_on();
    };
    let patient = primaries.pipeline_patiently(read(), REDIS_START_WITHIN);
    let (answers, ()) = tokio::join!(patient, impatient);
    assert!(matches!(answers[..], [Ok(Value::Nil)]), "{answers:?}");
}

/// PR-3: a primary that answers, but has lost its mark, is in trouble: it may have started empty.
#[tokio::test]
async fn a_lost_mark_is_trouble() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    primaries.health().unwrap();
    let sentence = trouble(&primaries).await;
    assert!(sentence.contains("has lost its data"), "{sentence}");
    for bucket in Bucket::all() {
        server
            .command(&[b"SET".as_slice(), &key(bucket), b"1"])
            .await
            .expect_ok();
    }
    back(&primaries, "the marks are there again").await;
    primaries.health().unwrap();
    assert!(
        primaries.clock_offset_ms().unwrap().abs() < 5_000,
        "one machine has one clock"
    );
}

/// PR-30: a clock that is more than 30 s off is trouble, on either side.
#[tokio::test]
async fn a_wrong_clock_is_trouble() {
    let server = Server::start(Configuration::new()).await;
    let primaries = connect(&server.url()).await;
    let primary = primaries.map.primary(Bucket::new(0)).unwrap();
    for (ahead_ms, expected) in [
        (30_000, None),
        (30_001, Some("30 s ahead of")),
        (-31_000, Some("31 s behind")),
    ] {
        let looked = crate::storage::redis::links::look::Looked {
            ahead_ms,
            replicas: 0,
        };
        let mut health = primaries.health.lock().unwrap();
        health.note(&primary, Vec::new(), Ok(looked));
        drop(health);
        assert_eq!(primaries.clock_offset_ms(), Some(ahead_ms));
        match expected {
            None => primaries.health().unwrap(),
            Some(expected) => assert!(why(primaries.health()).contains(expected)),
        }
    }
}
