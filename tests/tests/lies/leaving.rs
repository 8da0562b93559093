//! A service that leaves, is slow, or says when to come back.

use std::time::Duration;

use push_tests::liar::{Answer, Lie, Step, http2, web_socket};
use push_tests::listener::Agent;
use rustix::process::Signal;

/// "the push service can't be reached, refuses, or didn't answer in time"
const UNREACHABLE: i32 = 4;

/// PR-48, R30-LB-3, R30-ACK-1: after GOAWAY, with the monitored stream still open, the next connection is opened at once, and what is
/// still pushed on the old one is acknowledged.
#[tokio::test]
async fn after_goaway_the_next_connection_acknowledges() {
    let liar = http2::Liar::start(http2::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    let subscription = agent.subscribe("door", &[]).await;
    let monitored = |step: &Step| *step == Step::Monitored;
    let before = liar.record().count(monitored);
    let mut listener = agent.listen(&[]);
    let first = liar
        .record()
        .shows("the set is monitored", before + 1, monitored)
        .await;
    liar.leaves().await;
    liar.pushes(&subscription, "1", "behind GOAWAY");
    listener.receives("door", "behind GOAWAY").await;
    let acknowledged = liar.record().shows_acknowledged("1").await;
    assert_ne!(acknowledged.connection, first.connection);
    let second = liar
        .record()
        .shows("the set is monitored again", before + 2, monitored)
        .await;
    assert_ne!(second.connection, first.connection);
    listener.terminate();
    assert!(listener.ended().await.success());
}

/// PR-48: what has arrived is read before a deadline is judged: a process that was stopped for longer than an answer may take
/// keeps the channel on which the answer waits.
#[tokio::test]
async fn a_stopped_process_reads_before_it_judges() {
    let liar = web_socket::Liar::start(web_socket::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    agent.subscribe("door", &[]).await;
    liar.changes(|lies| lies.holds_hello = true);
    let greeted = |step: &Step| matches!(step, Step::Greeted(_));
    let before = liar.record().count(greeted);
    let mut listener = agent.listen(&[]);
    liar.record().shows("a hello", before + 1, greeted).await;
    listener.signal(Signal::STOP);
    let answered = |step: &Step| *step == Step::WasAnswered;
    let answers = liar.record().count(answered);
    liar.changes(|lies| lies.holds_hello = false);
    liar.record()
        .shows("an answer to hello", answers + 1, answered)
        .await;
    // Longer than an answer may take: 10 s.
    tokio::time::sleep(Duration::from_secs(11)).await;
    listener.signal(Signal::CONT);
    listener.says(&["connected"]).await;
    assert_eq!(liar.record().count(greeted), before + 1);
    let said = listener.log().text();
    assert!(!said.contains("again in"), "{said}");
    listener.terminate();
    assert!(listener.ended().await.success());
}

/// R30-V-2: what `Retry-After` asks for on the upgrade is waited for as it is printed.
#[tokio::test]
async fn retry_after_is_waited_for_as_printed() {
    let later = Answer::status(503).retry_after(3_600);
    let liar = web_socket::Liar::start(web_socket::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    agent.subscribe("door", &[]).await;
    liar.changes(|lies| lies.upgrade = Lie::always(later));
    let listener = agent.listen(&[]);
    let line = listener.says(&["again in"]).await;
    let waits = line.rsplit_once("again in ").expect("it was there").1;
    let seconds: u64 = waits
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("seconds");
    assert!((3_600..=3_600 * 3 / 2).contains(&seconds), "{line}");
}

/// A service that asks to wait for a year with the end of a subscription: the command says so and ends.
#[tokio::test]
async fn a_year_to_wait_with_unsubscribe_is_said() {
    let liar = http2::Liar::start(http2::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    agent.subscribe("door", &[]).await;
    let later = Answer::status(429).retry_after(365 * 24 * 3_600);
    liar.changes(|lies| lies.unsubscribing = Lie::always(later));
    let ended = agent
        .connecting_with(&["--timeout", "2"])
        .try_unsubscribe("door")
        .await;
    ended.fails_with(UNREACHABLE, &["429"]);
}
