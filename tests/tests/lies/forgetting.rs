//! A service that says that it has forgotten the user agent, and has not.

use std::time::Duration;

use push_tests::liar::{Answer, Lie, Step, http2, web_socket};
use push_tests::listener::Agent;

/// How long a service that forgets again and again is watched.
const WATCHED: Duration = Duration::from_secs(8);

/// Subscriptions that may be made anew in that time, and the first one. Chosen: "forgotten" is asked again after some seconds,
/// and the wait before the next renewal is at least as long as that before the next connection, which doubles from 1 s.
const RENEWALS: usize = 4;

/// PR-47: one 404 for the set, as a proxy says it in the middle of a deployment, costs no subscription.
#[tokio::test]
async fn one_404_costs_no_subscription() {
    let liar = http2::Liar::start(http2::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    let subscription = agent.subscribe("door", &[]).await;
    liar.changes(|lies| lies.monitoring = Lie::times(1, Answer::status(404)));
    liar.pushes(&subscription, "1", "still yours");
    let mut listener = agent.listen(&[]);
    listener.receives("door", "still yours").await;
    liar.record().shows_acknowledged("1").await;
    listener.terminate();
    assert!(listener.ended().await.success());
    assert_eq!(agent.subscribe("door", &[]).await, subscription);
    assert_eq!(liar.record().count(|step| *step == Step::Subscribed), 1);
}

/// PR-47: a service that answers 404 for every set gets few new subscriptions.
#[tokio::test]
async fn a_404_for_ever_is_no_busy_loop() {
    let liar = http2::Liar::start(http2::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    agent.subscribe("door", &[]).await;
    liar.changes(|lies| lies.monitoring = Lie::always(Answer::status(404)));
    let mut listener = agent.listen(&[]);
    liar.record()
        .shows("the set is monitored", 1, |step| *step == Step::Monitored)
        .await;
    tokio::time::sleep(WATCHED).await;
    let made = liar.record().count(|step| *step == Step::Subscribed);
    assert!(made <= RENEWALS, "{made} subscriptions in {WATCHED:?}");
    listener.terminate();
    listener.ended().await;
}

/// PR-47, WS-HEL-4: a service that gives another identity in each hello, and closes, gets few new subscriptions.
#[tokio::test]
async fn another_identity_in_each_hello_is_no_busy_loop() {
    let liar = web_socket::Liar::start(web_socket::Lies::default()).await;
    let agent = Agent::of(&liar.url());
    agent.subscribe("door", &[]).await;
    liar.changes(|lies| {
        lies.renames = true;
        lies.closes_registered = Some((1001, String::new()));
    });
    let mut listener = agent.listen(&[]);
    liar.record()
        .shows("another hello", 2, |step| matches!(step, Step::Greeted(_)))
        .await;
    tokio::time::sleep(WATCHED).await;
    let made = liar.record().count(|step| *step == Step::Subscribed);
    assert!(made <= RENEWALS, "{made} subscriptions in {WATCHED:?}");
    listener.terminate();
    listener.ended().await;
}
