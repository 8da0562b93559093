//! The user agent's command over HTTP/2: RFC 8030 from both ends, by server push, and receipts for its `send`.

use push_tests::listener::Agent;
use push_tests::node::Node;
use push_tests::settings::Settings;
use serde_json::json;

/// "send: the subscription is gone; forget it."
const GONE: i32 = 5;

/// R30-MON-2, R30-ACK-1, R30-RCP-2, R30-RDL-2: over TLS the user agent subscribes, monitors its set, is pushed what waited
/// and what comes, and acknowledges; its `send --receipt` is told so.
#[tokio::test]
async fn a_message_and_its_receipt() {
    let node = Node::start(Settings::new().tls().set("listen.http", json!([]))).await;
    let certificate = node.certificate().certificate.display().to_string();
    let server = node.public_url().to_owned();
    let agent = Agent::of(&format!("{server}/")).connecting_with(&["--ca", &certificate]);
    let subscription = agent.subscribe("door", &[]).await;
    assert!(subscription.contains("/push/"), "{subscription}");
    agent.send(&subscription, "waited").await;

    let mut listener = agent.listen(&["--count", "2"]);
    listener.receives("door", "waited").await;
    let sent = agent
        .try_send_with(&subscription, &["--receipt"], "with a receipt")
        .await;
    listener.receives("door", "with a receipt").await;
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert!(sent.output.contains("acknowledged by the user agent"), "{sent:?}");
    assert!(listener.ended().await.success());

    assert_eq!(agent.try_unsubscribe("door").await.code, Some(0));
    agent
        .try_send(&subscription, "too late")
        .await
        .fails_with(GONE, &[]);
}

/// PR-1, PR-36, R30-LB-3: a service that is killed, or that leaves, is found again; what it accepted meanwhile arrives.
#[tokio::test]
async fn a_service_that_restarts_is_found_again() {
    let mut node = Node::start(Settings::new().set("drain.delay", "0s")).await;
    let server = node.connector().origin();
    let agent = Agent::of(&format!("{server}/"));
    let subscription = agent.subscribe("door", &[]).await;
    let mut listener = agent.listen(&[]);
    listener.says(&["connected"]).await;

    node.kill().await;
    listener.says(&["again in"]).await;
    node.start_again().await;
    agent.send(&subscription, "after a kill").await;
    listener.receives("door", "after a kill").await;

    node.terminate();
    assert!(node.ended().await.0.success());
    node.start_again().await;
    agent.send(&subscription, "after a drain").await;
    listener.receives("door", "after a drain").await;
    listener.terminate();
    assert!(listener.ended().await.success());
    assert_eq!(agent.subscribe("door", &[]).await, subscription);
}
