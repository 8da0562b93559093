//! What the user agent's command asks the service to bring: from which urgency on, and whether only what waits.

use push_tests::application_server::{Http, Push};
use push_tests::listener::Agent;
use push_tests::node::Node;
use push_tests::settings::Settings;

/// "The command line has to be changed."
const USAGE: i32 = 2;

/// Where a subscription's messages are sent.
fn push_resource(subscription: &str) -> String {
    let subscription: serde_json::Value = serde_json::from_str(subscription).expect("a subscription in JSON");
    subscription["endpoint"].as_str().expect("a URL").to_owned()
}

/// R30-URG-5 to R30-URG-7, R30-MON-15: over either transport, what waits and what comes is handed over only if it is as urgent as
/// was asked for; the rest stays with the service until a user agent listens for it.
#[tokio::test]
async fn only_what_is_urgent_comes() {
    let node = Node::start(Settings::new()).await;
    let http2 = format!("{}/", node.connector().origin());
    for agent in [Agent::at(&node.connector()), Agent::of(&http2)] {
        let subscription = agent.subscribe("door", &[]).await;
        let send = async |urgency: &str, text: &str| {
            let sent = agent
                .try_send_with(&subscription, &["--urgency", urgency], text)
                .await;
            assert_eq!(sent.code, Some(0), "{sent:?}");
        };
        send("low", "waits, low").await;
        send("high", "waits, high").await;
        let mut listener = agent.listen(&["--urgency", "high"]);
        listener.receives("door", "waits, high").await;
        send("low", "comes, low").await;
        send("high", "comes, high").await;
        listener.receives("door", "comes, high").await;
        listener.terminate();
        assert!(listener.ended().await.success());
        assert_eq!(listener.line().await, None);

        let mut listener = agent.listen(&["--count", "2"]);
        listener.receives("door", "waits, low").await;
        listener.receives("door", "comes, low").await;
        assert!(listener.ended().await.success());
    }
}

/// R30-MON-12, R30-MON-13, R30-ACK-1: with `--until-empty` all that waits is handed over, however much it is, but what is not
/// urgent enough; it ends when nothing does, and what it handed over is gone. A message that fails is tried until it is done.
#[tokio::test]
async fn until_nothing_waits() {
    const MESSAGES: usize = 600;
    let node = Node::start(Settings::new()).await;
    let agent = Agent::of(&format!("{}/", node.connector().origin()));
    let subscription = agent.subscribe("door", &[]).await;
    agent.try_listen(&["--until-empty"]).await.succeeds_with("");
    let push = Push::empty(&push_resource(&subscription));
    let mut http = Http::connect(&node.connector()).await.expect("the node listens");
    for _ in 0..MESSAGES {
        http.accepts(&push).await;
    }
    let low = push.header("urgency", "low");
    http.accepts(&low).await;
    let ran = agent.try_listen(&["--until-empty", "--urgency", "normal"]).await;
    ran.succeeds_with(&"\n".repeat(MESSAGES));
    let fails_once = "test \"$PUSH_ATTEMPT\" = 2 && echo \"attempt $PUSH_ATTEMPT\"";
    let ran = agent.try_listen(&["--until-empty", "--exec", fails_once]).await;
    ran.succeeds_with("attempt 2\n");
    agent.try_listen(&["--until-empty"]).await.succeeds_with("");
}

/// R30-MON-12: a service doesn't say over a WebSocket that nothing waits, so a user agent must not conclude it.
#[tokio::test]
async fn a_websocket_is_never_known_to_be_empty() {
    let node = Node::start(Settings::new()).await;
    let agent = Agent::at(&node.connector());
    agent.subscribe("door", &[]).await;
    let refused = agent.try_listen(&["--until-empty"]).await;
    refused.fails_with(USAGE, &["WebSocket", "--transport http2"]);
}
