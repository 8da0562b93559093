//! Two nodes on one Redis, one of which can't reach it.

use push_tests::application_server::Push;
use push_tests::node::Node;
use push_tests::redis::gate::{Way, Which};
use push_tests::redis::{Configuration, Gate, Server};
use push_tests::user_agent::UserAgent;

use super::traffic::Traffic;
use super::{is_trouble, ready, returns, sender, settings};

/// PR-3, PR-10, PR-18: one node of two loses its way to Redis: it answers 503 and is not ready, the other works on. A user
/// agent that moves to the other gets everything; when the way is back, the first node is well again without a restart.
#[tokio::test]
async fn one_node_is_cut_off() {
    let server = Server::start(Configuration::new()).await;
    let mut gate = Gate::before(server.address()).await;
    let cut_off = Node::start(settings(&format!("redis://{}", gate.address()))).await;
    let well = Node::start(settings(&server.url())).await;
    let traffic = Traffic::start(&well, &well).await;
    let (mut agent, uaid) = UserAgent::arrive(&cut_off.connector(), None).await;
    let subscription = agent.subscribe(None).await;
    let push = |text: &str| Push::new(&subscription.push_resource, text);
    let mut to_cut_off = sender(&cut_off).await;
    let mut to_well = sender(&well).await;
    assert_eq!(to_cut_off.push(&push("before")).await.status, 201);
    agent.receives("before").await;

    gate.stall(Which::All, Way::Both);
    is_trouble(&to_cut_off.push(&push("refused")).await);
    let (said, unready) = ready(&cut_off, 503).await;
    ready(&well, 200).await;
    for text in ["one", "two"] {
        assert_eq!(to_well.push(&push(text)).await.status, 201);
    }
    // Its channel is silent, so it goes to the other node.
    let mut moved = returns(&well, &uaid).await;
    // What it acknowledged to the node that can't pass it on may come again.
    let mut first = moved.notification().await;
    while first.text().as_deref() == Some("before") {
        moved.acknowledge(&first).await;
        first = moved.notification().await;
    }
    assert_eq!(first.text().as_deref(), Some("one"));
    moved.acknowledge(&first).await;
    moved.receives("two").await;

    gate.resume().await;
    let (_, healed) = ready(&cut_off, 200).await;
    println!("cut off: {said:?} after {unready:?}, ready again after {healed:?}");
    // The older channel learns that it is the older one.
    assert_eq!(agent.closed().await.code, 1011);
    assert_eq!(to_cut_off.push(&push("across again")).await.status, 201);
    // A push that was refused may have been stored (PR-2).
    let mut last = moved.notification().await;
    while last.text().as_deref() == Some("refused") {
        last = moved.notification().await;
    }
    assert_eq!(last.text().as_deref(), Some("across again"));
    let audit = traffic.audit(&cut_off).await;
    assert_eq!(audit.refused, 0, "{audit:?}");
}
