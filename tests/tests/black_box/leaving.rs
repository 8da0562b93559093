//! A service that goes: drained, it loses nothing and says goodbye; told twice, it goes at once.

use push_tests::application_server::{Http, Push};
use push_tests::node::Node;
use push_tests::settings::Settings;
use push_tests::user_agent::UserAgent;
use push_tests::within;
use rustix::process::Signal;

/// PR-36: after SIGTERM `/readyz` fails while the service goes on serving; then channels are closed with 1001 and the
/// process ends with success. An acknowledgement on the way is still taken.
#[tokio::test]
async fn a_drain_loses_nothing() {
    let settings = Settings::new()
        .set("drain.delay", "1s")
        .set("drain.spread", "200ms");
    let mut node = Node::start(settings).await;
    let (mut agent, uaid) = UserAgent::arrive(&node.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let mut server = Http::connect(&node.connector()).await.unwrap();
    assert_eq!(node.ask_admin("/readyz").await.status, 200);

    node.terminate();
    let failing = async {
        while node.ask_admin("/readyz").await.status == 200 {
            tokio::task::yield_now().await;
        }
    };
    within("/readyz fails", failing).await;
    for text in ["acknowledged", "not acknowledged"] {
        let answer = server.push(&Push::new(&subscription.push_resource, text)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    agent.receives("acknowledged").await;
    agent.notification().await;
    assert_eq!(agent.closed().await.code, 1001);
    let (status, log) = node.ended().await;
    assert!(status.success(), "{status}: {}", log.text());

    node.start_again().await;
    let (mut agent, again) = UserAgent::arrive(&node.connector(), Some(&uaid)).await;
    assert_eq!(again, uaid);
    agent.receives("not acknowledged").await;
}

/// PR-36: a second SIGTERM ends a drain at once.
#[tokio::test]
async fn a_second_word_ends_at_once() {
    let settings = Settings::new()
        .set("drain.delay", "60s")
        .set("drain.deadline", "10m");
    let mut node = Node::start(settings).await;
    let (_agent, _) = UserAgent::arrive(&node.connector(), None).await;
    node.terminate();
    let failing = async {
        while node.ask_admin("/readyz").await.status == 200 {
            tokio::task::yield_now().await;
        }
    };
    within("/readyz fails", failing).await;
    node.terminate();
    node.ended().await;
}

/// PR-36: SIGQUIT drains as SIGTERM does, and the log names the signal; SIGHUP, SIGUSR1 and SIGUSR2 end nothing, also beside a
/// drain.
#[tokio::test]
async fn only_some_signals_end_the_service() {
    for (signal, name) in [
        (Signal::QUIT, "SIGQUIT"),
        (Signal::TERM, "SIGTERM"),
        (Signal::INT, "SIGINT"),
    ] {
        let settings = Settings::new()
            .set("drain.delay", "300ms")
            .set("drain.spread", "0s");
        let mut node = Node::start(settings).await;
        let (mut agent, _) = UserAgent::arrive(&node.connector(), None).await;
        let subscription = agent.subscribe(None).await;
        let mut server = Http::connect(&node.connector()).await.unwrap();
        for nothing in [Signal::USR1, Signal::USR2, Signal::HUP] {
            node.signal(nothing);
        }
        node.log()
            .wait_for_line(&["SIGHUP", "no certificate files"])
            .await;
        let answer = server
            .push(&Push::new(&subscription.push_resource, "after"))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        agent.receives("after").await;

        node.signal(signal);
        let drains = node.log().wait_for("draining").await;
        assert_eq!(drains.expect("it drains")["signal"], name);
        for nothing in [Signal::USR1, Signal::USR2, Signal::HUP] {
            node.signal(nothing);
        }
        assert_eq!(agent.closed().await.code, 1001);
        let (status, log) = node.ended().await;
        assert!(status.success(), "{name}: {status}: {}", log.text());
        assert!(!log.text().contains("second signal"), "{}", log.text());
    }
}
